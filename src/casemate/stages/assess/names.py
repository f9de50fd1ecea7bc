"""The names of the measurements, for whoever asks for some of them without loading what
measures.
"""

PARTS = (
    "quality", "comparison", "fairness", "shift", "behaviour", "importance", "robustness",
    "trade-off", "membership", "lira", "attribute inference", "inversion", "memorised rows",
    "parity", "profile", "tables",
)  # fmt: skip
"""In the order in which they run."""
SCREENS = (
    "duplicates",
    "floods",
    "outliers",
    "neighbours",
    "label_noise",
    "triggers",
    "spectral",
    "provenance",
    "influence",
)
"""What screens a table: the switches of `[screen]`. Its checks always run."""
