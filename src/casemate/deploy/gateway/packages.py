"""Packages for an image, installed by pip from files whose hashes a lock names."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.types import Record

LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip writes about itself and about this machine."""
MOST_WORDS = 2000


class Package(Record, frozen=True, kw_only=True):
    """A package of the image."""

    name: str
    version: str
    sha256: str
    """Of the file that it was installed from."""


def install(
    folder: Path,
    wheels: Path,
    locks: Sequence[Path],
    python_version: str | None = None,
    platforms: Sequence[str] = (),
) -> list[Package]:
    """Install what the locks name, from the files in `wheels` and from nowhere else.

    Args:
        folder: a new folder for the packages.
        wheels: the files.
        locks: requirements files; every line has hashes.
        python_version: of the image, such as `3.11`; default: this one.
        platforms: tags of the image, such as `manylinux_2_28_x86_64`; default: this machine's.

    Raises:
        ConfigError: pip refuses, such as a file whose hash no lock names.

    Returns:
        What was installed, by name.
    """
    report = folder.with_name(folder.name + ".json")
    words = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    words += ["--quiet", "--no-deps", "--no-index", "--find-links", str(wheels), "--require-hashes"]
    words += ["--only-binary", ":all:", "--no-compile", "--no-cache-dir", "--no-warn-conflicts"]
    words += ["--target", str(folder), "--report", str(report)]
    for lock in locks:
        words += ["--requirement", str(lock)]
    words += [] if python_version is None else ["--python-version", python_version]
    for platform in platforms:
        words += ["--platform", platform]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise ConfigError(
            f"pip does not install these packages: {done.stderr.strip()[-MOST_WORDS:]}",
            hint="pip download --no-deps --require-hashes -r LOCK -d WHEELS",
        )
    found = [
        Package(
            name=item["metadata"]["name"],
            version=item["metadata"]["version"],
            sha256=item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in json.loads(report.read_bytes())["install"]
    ]
    return sorted(found, key=lambda package: package.name.lower())


def files(folder: Path) -> dict[str, Path]:
    """Files of the installed packages by path, without programs that name this machine's Python and
    without what pip wrote about itself.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        about = relative.parts[0].endswith(".dist-info") and relative.name in LEFT_OUT
        if path.is_file() and relative.parts[0] != "bin" and not about:
            found[relative.as_posix()] = path
    return found
