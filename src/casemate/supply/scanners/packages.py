"""Which packages, in which versions, a project stands on: what is installed beside it, and what its
lock files name.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import normpath

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from casemate.core import installed
from casemate.core.digest import sha256
from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.place import MOST_BYTES

INSTALLED = "installed"
"""Where what is installed is said to lie."""
TEXTS = re.compile(r"(^|[-_.])(requirements|constraints)([-_.].*)?\.txt$")
TOMLS = re.compile(r"^(uv\.lock|poetry\.lock|pdm\.lock|pylock(\.[^.]+)?\.toml)$")
_OTHER = re.compile(r"(?:-[rc]|--requirement|--constraint)[ \t=]*(.+)")
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(r"\s--?[a-zA-Z].*$")


@dataclass(frozen=True)
class Wanted:
    """One package in one version."""

    name: str
    """Normalised."""
    version: Version
    where: str
    """A file below the project's folder, or `INSTALLED`."""
    line: int = 0


@dataclass
class Packages:
    """What was found."""

    found: list[Wanted] = field(default_factory=list)
    loose: list[tuple[str, str, int]] = field(default_factory=list)
    """(requirement, file, line) of what names no version."""
    unseen: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tree: frozenset[str] = frozenset()
    """Every file that is looked at."""
    named: dict[str, None] = field(default_factory=dict)
    """Files of it that others name."""
    files: dict[str, str] = field(default_factory=dict)
    """Of files that name packages: SHA-256 of what was read."""
    environment: dict[str, str] = field(default_factory=dict)
    """Version by name of what is installed, as it is written there."""


def packages(place: Place) -> Packages:
    """Of this Python's environment and of lock files in the tree."""
    all_ = Packages(tree=frozenset(place.files))
    _installed(all_)
    follow(all_, place, [path for path in place.files if _is_requirements(path)])
    for path in place.files:
        if TOMLS.match(PurePosixPath(path).name):
            tried(all_, place, path, _lock)
    return all_


def follow(all_: Packages, place: Place, texts: Iterable[str]) -> None:
    """Read files of requirements, and those that they name."""
    waiting, known = list(texts), set(texts)
    for path in waiting:  # it grows meanwhile
        tried(all_, place, path, requirements)
        waiting += [one for one in all_.named if one not in known]
        known |= set(all_.named)


def tried(
    all_: Packages, place: Place, path: str, reader: Callable[[Packages, str, str], object]
) -> None:
    """Let somebody read a file; where that fails, it was not looked at."""
    try:
        reader(all_, path, read(all_, place, path))
    except OSError as error:
        all_.unseen[path] = f"it cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        all_.unseen[path] = f"it cannot be read: {' '.join(str(error).split())[:200]}"


def is_lock(path: str) -> bool:
    """Whether a file is one that names packages, by what it is called."""
    return _is_requirements(path) or bool(TOMLS.match(PurePosixPath(path).name))


def _is_requirements(path: str) -> bool:
    parts = PurePosixPath(path)
    named = TEXTS.search(parts.name) or parts.parts[:-1][-1:] == ("requirements",)
    return bool(named) and parts.suffix == ".txt"


def read(all_: Packages, place: Place, path: str) -> str:
    """A file's text, whose digest is kept; ValueError: it is too large, or no text."""
    with (place.root / path).open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    all_.files[path] = sha256(content)
    return content.decode("utf-8-sig")


def _installed(all_: Packages) -> None:
    found = list(installed.distributions())
    all_.environment = installed.versions(found)
    for _, told in found:
        add(all_, installed.said(told, "Name"), installed.said(told, "Version"), INSTALLED)


def add(all_: Packages, name: str, version: str, where: str, line: int = 0) -> None:
    """Note one package in one version; what is no version cannot be compared."""
    try:
        all_.found.append(
            Wanted(canonicalize_name(name, validate=True), Version(version), where, line)
        )
    except ValueError:  # a name, or a version, that is none
        all_.unseen[f"{where}: {name or '?'}"] = f"{version[:50]!r} cannot be compared"


def requirements(all_: Packages, path: str, text: str) -> None:
    """As pip reads them: https://pip.pypa.io/en/stable/reference/requirements-file-format.

    Files of the tree that it names are noted; others cannot be looked at.
    """
    for number, line in _logical(text):
        if found := _OTHER.match(line):
            other = normpath(PurePosixPath(path).parent / found[1].strip("\"'"))
            if other in all_.tree:
                all_.named[other] = None
                all_.notes.append(f"{path}:{number}: {line[:100]} is looked at where it lies")
            else:
                all_.unseen[f"{path}:{number}"] = f"{line[:100]} names no file that is looked at"
        elif line.startswith(("-e", "--editable", ".", "/")) or "://" in line.split(" ;")[0]:
            if line.split()[-1] not in (".", "./"):
                all_.unseen[f"{path}:{number}"] = "it is named by a place and has no version"
        elif not line.startswith("-"):
            _requirement(all_, path, number, _OPTION.sub("", line))


def _requirement(all_: Packages, path: str, number: int, text: str) -> None:
    try:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return  # not for this machine and this Python
    except (InvalidRequirement, UndefinedEnvironmentName) as error:
        all_.unseen[f"{path}:{number}"] = f"it is no requirement: {error}"
        return
    version = exact(wanted.specifier)
    if version:
        add(all_, wanted.name, version, path, number)
    else:
        all_.loose.append((text, path, number))


def exact(specifier: SpecifierSet) -> str:
    """The one version that will do; empty: there may be several."""
    for one in specifier:
        if one.operator in ("==", "===") and not one.version.endswith(".*"):
            return one.version
    return ""


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first line, what it and those that continue it say)."""
    begun, parts = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        whole = _COMMENT.sub("", line).rstrip()
        begun = begun or number
        if whole.endswith("\\"):
            parts.append(whole[:-1])
            continue
        joined = " ".join([*parts, whole]).strip()
        if joined:
            yield begun, joined
        begun, parts = 0, []
    if parts and (joined := " ".join(parts).strip()):
        yield begun, joined


def _lock(all_: Packages, path: str, text: str) -> None:
    """`[[package]]` of uv, Poetry and PDM, `[[packages]]` of PEP 751."""
    read = tomllib.loads(text)
    rows = read.get("packages", read.get("package", []))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it has no list of packages")
    for row in rows:
        source = row.get("source", {})
        own = isinstance(source, dict) and {"editable", "virtual", "directory"} & source.keys()
        if own or "directory" in row:
            continue
        if not isinstance(row.get("version"), str):
            all_.unseen[f"{path}: {row.get('name')}"] = "it has no version"
            continue
        marker = row.get("marker")
        if isinstance(marker, str) and not Marker(marker).evaluate():
            continue
        add(all_, str(row.get("name", "")), row["version"], path)
