"""Gate -> verdict -> signed bundle -> registry. A refused model is kept unsigned and cannot be
served.
"""
