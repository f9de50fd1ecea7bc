"""Which packages, in which versions, a project stands on: what is installed beside it, and what its
lock files name.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import PurePosixPath

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.place import MOST_BYTES

INSTALLED = "installed"
"""Where what is installed is said to lie."""
TEXTS = re.compile(r"(^|[-_.])(requirements|constraints)([-_.].*)?\.txt$")
TOMLS = re.compile(r"^(uv\.lock|poetry\.lock|pdm\.lock|pylock(\.[^.]+)?\.toml)$")
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


def packages(place: Place) -> Packages:
    """Of this Python's environment and of lock files in the tree."""
    all_ = Packages()
    _installed(all_)
    for path in place.files:
        parts = PurePosixPath(path)
        is_text = TEXTS.search(parts.name) or parts.parts[:-1][-1:] == ("requirements",)
        try:
            if is_text and parts.suffix == ".txt":
                _requirements(all_, path, _read(place, path))
            elif TOMLS.match(parts.name):
                _lock(all_, path, _read(place, path))
        except OSError as error:
            all_.unseen[path] = f"it cannot be read: {error.strerror}"
        except (ValueError, RecursionError) as error:
            all_.unseen[path] = f"it cannot be read: {error}"
    return all_


def _read(place: Place, path: str) -> str:
    with (place.root / path).open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    return content.decode("utf-8-sig")


def _installed(all_: Packages) -> None:
    for one in metadata.distributions():
        name = one.metadata["Name"]
        _add(all_, str(name or ""), str(one.version or ""), INSTALLED)


def _add(all_: Packages, name: str, version: str, where: str, line: int = 0) -> None:
    try:
        all_.found.append(
            Wanted(canonicalize_name(name, validate=True), Version(version), where, line)
        )
    except ValueError:  # a name, or a version, that is none
        all_.unseen[f"{where}: {name or '?'}"] = f"{version[:50]!r} cannot be compared"


def _requirements(all_: Packages, path: str, text: str) -> None:
    """As pip reads them: https://pip.pypa.io/en/stable/reference/requirements-file-format."""
    for number, line in _logical(text):
        if line.startswith(("-r", "--requirement", "-c", "--constraint")):
            all_.notes.append(f"{path}:{number}: {line[:100]} is looked at where it lies")
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
    exact = [
        one.version
        for one in wanted.specifier
        if one.operator in ("==", "===") and not one.version.endswith(".*")
    ]
    if exact:
        _add(all_, wanted.name, exact[0], path, number)
    else:
        all_.loose.append((text, path, number))


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
    if not isinstance(rows, list):
        raise ValueError("it has no list of packages")  # noqa: TRY004 - of a file
    for row in rows:
        source = row.get("source", {})
        own = isinstance(source, dict) and {"editable", "virtual", "directory"} & source.keys()
        if own or "directory" in row:
            continue
        if not isinstance(row.get("version"), str):
            all_.unseen[f"{path}: {row.get('name')}"] = "it has no version"
            continue
        marker = row.get("marker")
        if isinstance(marker, str) and not Requirement(f"x ; {marker}").marker.evaluate():  # type: ignore[union-attr]
            continue
        _add(all_, str(row.get("name", "")), row["version"], path)
