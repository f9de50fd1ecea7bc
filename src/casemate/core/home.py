"""Where this machine keeps what no project's folder may hold: keys, and whom its user trusts."""

from pathlib import Path

CONFIG_HOME = Path("~/.config/casemate")
"""The key stores of the user's projects, each with its public keys in `public/`."""


def keystore_folder(project_id: str) -> Path:
    """Where a project's keys live on this machine."""
    return CONFIG_HOME.expanduser() / project_id
