"""What people can ask a project for: one file per noun, one function per verb.

Every operation is declared once, with the action that policy decides about (`acting.operation`),
asks before it does anything, and records what it did. Faces (command line, gateway, Python)
translate and call these; they decide nothing.
"""
