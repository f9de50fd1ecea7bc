"""The screen: one detector a file, each returns the rows it suspects and why. Nothing is removed
silently.
"""
