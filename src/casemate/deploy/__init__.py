"""Files for other people's systems, rendered from `casemate.toml`: the same project says the same,
byte for byte, and what somebody has written into them stays. `targets.TARGETS` is the list.
"""
