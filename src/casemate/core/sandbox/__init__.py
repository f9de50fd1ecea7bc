"""Running code that is not trusted: `run.py` starts it from outside, `child.py` confines itself and runs it.

Linux only: Landlock for files, empty network, IPC and PID namespaces, a seccomp filter, resource limits, a scrubbed
environment. What it does not cover is said in SECURITY.md.
"""
