"""Keys: the provider interface, the file key store, sealed tables and objects, and the project's
own CA.
"""

from pathlib import Path

CONFIG_HOME = Path("~/.config/casemate")
"""Where the key stores of the user's projects lie, each with its public keys in `public/`."""
