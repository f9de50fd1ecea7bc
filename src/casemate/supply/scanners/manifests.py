"""What projects declare that they stand on: `pyproject.toml`, `setup.cfg`, `Pipfile`, environments
of conda; and locks that are no TOML. A name without a version is looked at in the lock beside it or
as it is installed; where neither has it, it was not looked at, and that is said.

Formats: https://packaging.python.org/en/latest/specifications/pyproject-toml/ and
.../dependency-groups/; https://python-poetry.org/docs/pyproject/; https://pipenv.pypa.io;
https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html.
"""

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from casemate.core.text import listed
from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.packages import (
    INSTALLED,
    Packages,
    add,
    exact,
    follow,
    is_lock,
    packages,
    requirements,
    tried,
)

MOST_YAML, MOST_DEPTH = 8 * 2**20, 20
"""Bytes, and levels, of an environment of conda: locks of real ones have some megabytes."""
MOST_NAMED = 5
OPTIONAL = "an extra or a group that nobody has installed here"
NOT_OF_PYPI = ("python", "pip", "setuptools", "wheel")
"""What each environment of conda names, and casemate looks at as it is installed."""


@dataclass(frozen=True)
class Declared:
    """One package that somebody wants."""

    name: str
    """Normalised."""
    text: str
    """As it is written."""
    where: str
    specifier: SpecifierSet
    """Of the versions that will do."""
    optional: bool = False
    """Whether the project runs without it."""
    of_conda: bool = False
    """A package of conda's, which may have another name on PyPI, and which no advisory is about."""


def everything(place: Place) -> Packages:
    """Of this Python's environment, of locks, and of what is declared."""
    all_ = packages(place)
    declared: list[Declared] = []
    for path in place.files:
        reader = _reader(path)
        if reader is not None:
            tried(all_, place, path, partial(_declare, reader, declared))
    follow(all_, place, [one for one in all_.named if one not in all_.files])
    _settle(all_, declared)
    return all_


def _declare(
    reader: "Reader", declared: list["Declared"], all_: Packages, path: str, text: str
) -> None:
    try:
        declared += reader(all_, path, text)
    except configparser.Error as error:
        raise ValueError(str(error)) from error


def names_packages(path: str) -> bool:
    """Whether a file is one that names packages, by what it is called."""
    return is_lock(path) or _reader(path) is not None


def _settle(all_: Packages, declared: Iterable[Declared]) -> None:
    """Hold what is declared against what has a version."""
    installed = {one.name: one.version for one in all_.found if one.where == INSTALLED}
    locked: dict[str, set[str]] = {}
    for one in all_.found:
        if one.where != INSTALLED:
            locked.setdefault(str(PurePosixPath(one.where).parent), set()).add(one.name)
    foreign: dict[str, list[str]] = {}
    for wanted in declared:
        folders = map(str, PurePosixPath(wanted.where).parents)
        if not wanted.of_conda and any(wanted.name in locked.get(one, ()) for one in folders):
            continue
        version = installed.get(wanted.name)
        is_here = version is not None and wanted.specifier.contains(version, prereleases=True)
        if wanted.of_conda:
            if not is_here:
                foreign.setdefault(wanted.where, []).append(wanted.text)
            continue
        if not wanted.optional:
            all_.loose.append((wanted.text, wanted.where, 0))
        if is_here:
            continue
        if wanted.optional:
            all_.notes.append(f"{wanted.where}: {wanted.text[:100]} is of {OPTIONAL}")
        else:
            all_.unseen[f"{wanted.where}: {wanted.name}"] = (
                f"{wanted.text[:100]} names no version, and no lock beside it does; no such version"
                " is installed here"
            )
    for where, names in foreign.items():
        all_.unseen[where] = (
            f"{listed(names, MOST_NAMED)}: of conda, not installed here as a package of"
            " Python, and no advisory is about them"
        )


def _wanted(all_: Packages, path: str, text: str, *, optional: bool = False) -> Iterator[Declared]:
    """One requirement (PEP 508); what has a version is looked at as that."""
    try:
        found = Requirement(text)
        if found.marker is not None and not found.marker.evaluate({"extra": ""}):
            return
    except (InvalidRequirement, UndefinedEnvironmentName) as error:
        all_.unseen[f"{path}: {text[:50]}"] = f"it is no requirement: {error}"
        return
    if found.url is not None:
        all_.unseen[f"{path}: {found.name}"] = "it is named by a place and has no version"
        return
    version = exact(found.specifier)
    if version:
        add(all_, found.name, version, path)
        return
    name = canonicalize_name(found.name)
    yield Declared(name, text, path, found.specifier, optional)


def _pyproject(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    found = tomllib.loads(text)
    project = _table(found, "project")
    if "dependencies" in _texts(project, "dynamic"):
        all_.unseen[f"{path}: dependencies"] = "they are made by the build: dynamic"
    for one in _texts(project, "dependencies"):
        yield from _wanted(all_, path, one)
    extras = _table(project, "optional-dependencies")
    for extra in extras:
        for one in _texts(extras, extra):
            yield from _wanted(all_, path, one, optional=True)
    for one in _texts(_table(found, "build-system"), "requires"):
        yield from _wanted(all_, path, one, optional=True)
    groups = _table(found, "dependency-groups")
    yield from _groups(all_, path, groups)
    yield from _poetry(all_, path, _table(_table(found, "tool"), "poetry"))


def _groups(all_: Packages, path: str, groups: Mapping[str, Any]) -> Iterator[Declared]:
    from packaging.dependency_groups import resolve_dependency_groups

    try:
        texts = resolve_dependency_groups(groups, *groups)
    except (TypeError, LookupError, ExceptionGroup) as error:
        raise ValueError(f"[dependency-groups]: {error}") from error
    for one in dict.fromkeys(texts):
        yield from _wanted(all_, path, one, optional=True)


def _poetry(all_: Packages, path: str, poetry: Mapping[str, Any]) -> Iterator[Declared]:
    for name, value in _table(poetry, "dependencies").items():
        if name != "python":
            is_optional = isinstance(value, dict) and value.get("optional") is True
            yield from _loosely(all_, path, name, value, optional=is_optional)
    for group in _table(poetry, "group").values():
        for name, value in _table(group, "dependencies").items():
            yield from _loosely(all_, path, name, value, optional=True)


def _pipfile(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    found = tomllib.loads(text)
    for section in ("packages", "dev-packages"):
        for name, value in _table(found, section).items():
            yield from _loosely(all_, path, name, value, optional=section != "packages")


def _loosely(
    all_: Packages, path: str, name: str, value: object, *, optional: bool
) -> Iterator[Declared]:
    """A package as Poetry and Pipenv have it: their ranges are their own, so of those that are none
    of Python's any version will do.
    """
    table = value if isinstance(value, dict) else {"version": value}
    if "path" in table:
        return  # it lies in the tree, or a link to it does
    version = table.get("version", "*")
    if not isinstance(version, str) or {"git", "url", "file", "hg", "svn"} & table.keys():
        all_.unseen[f"{path}: {name}"] = "it is named by a place and has no version"
        return
    try:
        bare = f"=={version}" if version[:1].isdigit() else version  # Poetry's way to write it
        specifier = SpecifierSet("" if version == "*" else bare)
    except InvalidSpecifier:
        specifier = SpecifierSet()
    if one := exact(specifier):
        add(all_, name, one, path)
        return
    yield Declared(canonicalize_name(name), f"{name} {version}", path, specifier, optional)


def _pipfile_lock(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    found = json.loads(text)
    for section in ("default", "develop"):
        for name, row in _table(found, section).items():
            if not isinstance(row, dict) or not isinstance(row.get("version"), str):
                if not (isinstance(row, dict) and {"path", "editable"} & row.keys()):
                    all_.unseen[f"{path}: {name}"] = "it has no version"
                continue
            marker = row.get("markers")
            if isinstance(marker, str) and not Marker(marker).evaluate():
                continue
            add(all_, name, row["version"].removeprefix("=="), path)
    yield from ()


def _setup_cfg(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    options = dict(parser["options"]) if parser.has_section("options") else {}
    extras = (
        dict(parser["options.extras_require"])
        if parser.has_section("options.extras_require")
        else {}
    )
    lists = [
        (options.get("install_requires", ""), False),
        (options.get("setup_requires", ""), True),
        *((one, True) for one in extras.values()),
    ]
    for lines, optional in lists:
        for line in filter(None, map(str.strip, lines.splitlines())):
            if line.startswith(("file:", "attr:")):
                all_.unseen[f"{path}: {line[:50]}"] = "they are made by the build"
            elif not line.startswith("#"):
                yield from _wanted(all_, path, line, optional=optional)


def _setup_py(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    """Nobody runs it to hear what it says."""
    if re.search(r"\b(install|setup|extras)_require", text):
        all_.unseen[path] = "what it requires is known to whoever runs it, which a scan does not"
    yield from ()


def _conda(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    """`environment.yml`, and `conda-lock.yml`, which has a list of packages."""
    found = _yaml(text)
    for row in _list(found, "package"):
        if not isinstance(row, dict):
            raise _wrong("it has no list of packages")
        name, version = row.get("name"), row.get("version")
        if row.get("manager") == "pip":
            add(all_, str(name), str(version), path)
        else:
            yield from _of_conda(all_, path, f"{name}={version}")
    for one in _list(found, "dependencies"):
        if isinstance(one, str):
            yield from _of_conda(all_, path, one)
        elif isinstance(one, dict):
            requirements(all_, path, "\n".join(map(str, _list(one, "pip"))))
        else:
            all_.unseen[f"{path}: {one!r}"[:100]] = "it is no name of a package"


def _of_conda(_: Packages, path: str, text: str) -> Iterator[Declared]:
    """`[CHANNEL::]NAME[=VERSION[=BUILD]]`, or with a range."""
    found = re.match(r"(?:[^:]*::)?([\w.-]+)\s*(==?)?\s*([\w.!+]+)?", text)
    if found is None or found[1].lower() in NOT_OF_PYPI:
        return
    version = found[3] if found[2] else None
    try:
        specifier = SpecifierSet(f"=={version}.*" if found[2] == "=" else f"=={version}")
    except InvalidSpecifier:
        specifier = SpecifierSet()
    if version is None:
        specifier = SpecifierSet()
    name = canonicalize_name(found[1])
    yield Declared(name, text, path, specifier, of_conda=True)


def _explicit(all_: Packages, path: str, text: str) -> Iterator[Declared]:
    """`@EXPLICIT`: an address a line, `.../NAME-VERSION-BUILD.conda`."""
    for line in text.splitlines():
        address = line.split("#")[0].strip()
        file = re.search(r"/([^/]+)-([^-/]+)-[^-/]+\.(?:conda|tar\.bz2)$", address)
        if file:
            yield from _of_conda(all_, path, f"{file[1]}=={file[2]}")
        elif address and not address.startswith("@"):
            all_.unseen[f"{path}: {address[:50]}"] = "it is no address of a package"


def _unread(all_: Packages, path: str, _: str) -> Iterator[Declared]:
    all_.unseen[path] = "nobody here reads such a file; a lock of pip, uv, Poetry or PDM is read"
    yield from ()


def _yaml(text: str) -> dict[str, Any]:
    """A document of mappings; ValueError: it is none, or too much."""
    import yaml

    if len(text) > MOST_YAML:
        raise ValueError(f"it is larger than {MOST_YAML} bytes")
    try:
        depth = 0
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _wrong("aliases (*name) are not read: write it out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise ValueError(f"more than {MOST_DEPTH} levels are not read")
        found = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise _wrong("it has no names")
    return found


def _wrong(text: str) -> ValueError:
    """What is in a file is the file's fault, whatever its type."""
    return ValueError(text)


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise _wrong(f"what is to have {name} is no table")
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise _wrong(f"{name} is no table")
    return found


def _list(table: Mapping[str, Any], name: str) -> list[Any]:
    """A list of YAML's; a name without anything is an empty one."""
    found = table.get(name)
    if not isinstance(found, list | None):
        raise _wrong(f"{name} is no list")
    return found or []


def _texts(table: Mapping[str, Any], name: str) -> list[str]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is no list of texts")
    return found


Reader = Callable[[Packages, str, str], Iterator[Declared]]
READERS: tuple[tuple[str, Reader], ...] = (
    (r"pyproject\.toml", _pyproject),
    (r"setup\.cfg", _setup_cfg),
    (r"setup\.py", _setup_py),
    (r"Pipfile", _pipfile),
    (r"Pipfile\.lock", _pipfile_lock),
    (r"(.*[-_.])?(environment|conda)([-_.].*)?\.ya?ml", _conda),
    (r"conda-.*\.lock", _explicit),
    (r"pixi\.(toml|lock)", _unread),
)
"""What a file is called -> who reads it."""


def _reader(path: str) -> Reader | None:
    name = PurePosixPath(path).name
    return next((reader for pattern, reader in READERS if re.fullmatch(pattern, name)), None)
