"""Keys: the provider interface, the file key store, sealed tables and objects, and the project's
own CA.
"""
