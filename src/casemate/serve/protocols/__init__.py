"""How callers speak: one file a protocol, each turns bytes into rows of a model and the model's
answer into bytes.
"""
