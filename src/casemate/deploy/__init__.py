"""Files for other people's systems, rendered from `casemate.toml` alone: the same file says the
same, byte for byte.
"""
