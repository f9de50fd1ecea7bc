"""The audit log: an append-only Merkle tree on disk as C2SP tlog-tiles, its signed checkpoint and
its verifier.
"""
