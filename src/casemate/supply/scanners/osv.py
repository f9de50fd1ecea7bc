"""Advisories in the Open Source Vulnerability format, and which versions they are about, by the
format's own algorithm: https://ossf.github.io/osv-schema (1.7), section "Evaluation". Versions are
compared as PEP 440 has it.
"""

import datetime

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from casemate.core.types.scan import Grade

ECOSYSTEM = "PyPI"
WORDS: dict[str, Grade] = {
    "CRITICAL": "critical",
    "HIGH": "high",
    "MODERATE": "medium",
    "MEDIUM": "medium",
    "LOW": "low",
}
"""As GitHub grades advisories in `database_specific`."""
EVER = "0"
"""An `introduced` that is before every version."""


class Undecidable(ValueError):
    """What an advisory says of versions cannot be compared."""


class Event(msgspec.Struct, frozen=True):
    """One of them is given."""

    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class Range(msgspec.Struct, frozen=True):
    """`GIT` ranges are about commits, and say nothing of versions."""

    type: str
    events: list[Event]


class Package(msgspec.Struct, frozen=True):
    """`PyPI`, or `PyPI:URL` of another index."""

    ecosystem: str
    name: str


class Affected(msgspec.Struct, frozen=True):
    """Which versions of a package."""

    package: Package | None = None
    ranges: list[Range] = []
    versions: list[str] = []

    @property
    def name(self) -> str | None:
        """Of the package, normalised; None: it is of another ecosystem."""
        package = self.package
        if package is None or package.ecosystem.partition(":")[0] != ECOSYSTEM:
            return None
        return canonicalize_name(package.name)


class Specific(msgspec.Struct, frozen=True):
    """What the database adds."""

    severity: str | None = None
    cwe_ids: list[str] | None = None


class Advisory(msgspec.Struct, frozen=True):
    """One advisory; what else it says is not read."""

    id: str
    modified: datetime.datetime
    affected: list[Affected] = []
    withdrawn: str | None = None
    aliases: list[str] | None = None
    summary: str = ""
    database_specific: Specific | None = None

    @property
    def names(self) -> list[str]:
        """Everything that it is called."""
        return list(dict.fromkeys([self.id, *(self.aliases or [])]))

    @property
    def severity(self) -> Grade | None:
        """How grave; None: nobody says."""
        word = self.database_specific.severity if self.database_specific else None
        return WORDS.get(str(word).upper())

    def packages(self) -> set[str]:
        """Normalised names of packages that it is about."""
        return {name for one in self.affected if (name := one.name) is not None}

    def concerns(self, name: str, version: Version) -> bool:
        """Whether it is about this version.

        Args:
            name: normalised, of the package.
            version: of it; what builders add to it (`+cpu`) is no other version of the text.

        Raises:
            Undecidable: it says something of versions that is none of PEP 440's.
        """
        version = Version(version.public)
        return any(_concerned(one, version) for one in self.affected if one.name == name)

    def fixed(self, name: str, version: Version) -> set[str]:
        """Later versions that mend it."""
        return {
            event.fixed
            for one in self.affected
            if one.name == name
            for range_ in one.ranges
            if range_.type != "GIT"
            for event in range_.events
            if event.fixed is not None and _is_later(event.fixed, version)
        }


def _is_later(text: str, version: Version) -> bool:
    try:
        return Version(text) > version
    except InvalidVersion:
        return False


def _concerned(affected: Affected, version: Version) -> bool:
    ranges = [one for one in affected.ranges if one.type != "GIT"]
    if not ranges and not affected.versions:
        # nothing is said of versions, or of commits alone: then it may be any
        return True
    return _is_listed(affected.versions, version) or any(_within(one, version) for one in ranges)


def _is_listed(versions: list[str], version: Version) -> bool:
    for text in versions:
        try:
            if Version(text) == version:
                return True
        except InvalidVersion:
            continue  # a version that no installed package can have
    return False


def _within(range_: Range, version: Version) -> bool:
    """`IncludedInRanges` of the format, with `BeforeLimits`."""
    limits = [event.limit for event in range_.events if event.limit is not None]
    if limits and not any(one == "*" or version < _version(one) for one in limits):
        return False
    vulnerable = False
    for event in sorted((one for one in range_.events if one.limit is None), key=_order):
        if event.introduced is not None:
            if event.introduced == EVER or version >= _version(event.introduced):
                vulnerable = True
        elif event.fixed is not None:
            if version >= _version(event.fixed):
                vulnerable = False
        elif event.last_affected is not None and version > _version(event.last_affected):
            vulnerable = False
    return vulnerable


def _order(event: Event) -> tuple[int, Version, int]:
    """By version; what ends goes before what begins at the same one, so that it is vulnerable."""
    if event.introduced is not None:
        if event.introduced == EVER:
            return 0, Version("0"), 0
        return 1, _version(event.introduced), 1
    text = event.fixed if event.fixed is not None else event.last_affected
    return 1, _version(str(text)), 0


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as error:
        raise Undecidable(f"{text[:50]!r} is no version") from error
