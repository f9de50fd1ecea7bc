"""Privacy attacks: what the model tells about the rows it was trained on. One file per attack.

`membership` (loss threshold), `lira` (likelihood ratio with shadow models), `attribute` (a
sensitive value of a known person), `inversion` (the typical member of a class), `memorised` (rows
that the model file itself contains).
"""
