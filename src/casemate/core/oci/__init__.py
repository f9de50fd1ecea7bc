"""OCI image layouts on disk (https://github.com/opencontainers/image-spec, 1.1), read and written
without a registry and without a daemon.

What is written is the same bytes whenever it is written; what is read is not believed: sizes are
bounded, digests are compared, and archives give regular files or nothing.
"""
