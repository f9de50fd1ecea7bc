"""Tools of Node.js, from a lock."""

import shutil
import subprocess
from pathlib import Path

import pytest


def installed(source: Path, folder: Path, what: str) -> Path:
    """`npm ci` of a lock, without scripts; the test is skipped, visibly, where it cannot be had.

    Args:
        source: a folder with package.json and package-lock.json.
        folder: where the packages go, beside copies of both.
        what: people are told of.

    Returns:
        the folder of the packages.
    """
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install nodejs npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install {what} here: {done.stderr[-300:]}")
    return folder / "node_modules"
