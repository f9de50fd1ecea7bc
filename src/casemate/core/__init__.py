"""The ground floor: errors, the vocabulary, digests, files, signatures, the store, the sandbox and
the step engine.
"""
