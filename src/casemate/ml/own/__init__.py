"""Code of the user's that a model carries: what such a file may be (`code`), and the model asked in
a process apart (`asked` from here, `process` there).
"""
