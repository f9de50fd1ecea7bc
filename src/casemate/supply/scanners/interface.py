"""What every scanner is, gets and answers."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msgspec import structs

from casemate.core.errors import Error
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.core.types.scan import Answered, Grade, ScanKind
from casemate.supply.scanners.fault import CouldNotLook
from casemate.supply.scanners.running import Target

__all__ = ["CouldNotLook", "Hit", "Looked", "Place", "Scanner", "bounded", "looked"]
MOST_NAMED = 50
"""Things that could not be looked at which an answer names; the rest is counted."""
MOST_WORDS = 300
"""Characters of a message: scanners quote what they found."""


class Hit(Record, frozen=True, kw_only=True):
    """Something that one scanner saw."""

    rule: str
    severity: Grade
    message: str
    path: str = ""
    line: int = 0
    cell: int = 0
    material: str = ""
    """What makes it this one and no other at this place, such as the line's text without white
    space at its ends; only a digest of it is kept.
    """
    references: list[str] = []
    package: str = ""
    version: str = ""
    fixed: list[str] = []
    mend: str = ""


class Looked(Record, frozen=True, kw_only=True):
    """What one scanner answers."""

    scanner: str
    kind: ScanKind
    version: str = ""
    hits: list[Hit] = []
    count: int = 0
    """Things that were looked at."""
    unseen: dict[str, str] = {}
    """What could not be looked at -> why; "" is all of it."""
    notes: list[str] = []
    """What was left out on purpose, and by whose word."""
    source: str = ""
    """Of somebody else's report: which one."""
    told: list[str] = []
    """What there is to say beside findings, such as what became of an attack."""
    inputs: dict[str, str] = {}
    """What of a run's own inputs it read -> SHA-256, where it says so."""

    @property
    def answer(self) -> Answered:
        """Whatever was found, an answer about a part is none about the whole."""
        return "could-not-look" if self.unseen else "found" if self.hits else "clean"


@dataclass(frozen=True)
class Place:
    """What is looked at, and what a scanner may use for it."""

    root: Path
    """The project's folder."""
    files: tuple[str, ...]
    """Every file in it that counts, relative, in order."""
    unseen: dict[str, str]
    """What of it could not be listed -> why."""
    work: Path
    """A folder for the scan alone, gone afterwards."""
    tools: Path | None = None
    """`[scan] tools`: where scanners of other people lie; else `PATH` says."""
    seconds: float = 300.0
    """For one process of one scanner."""
    veil: Callable[[str], str] = lambda text: text
    """Makes of a secret what can be told apart and not guessed."""

    target: Target | Error | None = None
    """The gateway that runs, where one is looked at; or why none does."""

    def running(self) -> Target:
        """The gateway that runs; CouldNotLook: none does."""
        if isinstance(self.target, Target):
            return self.target
        raise self.target or CouldNotLook("no gateway runs", hint="casemate scan endpoint")

    def of(self, *endings: str) -> list[str]:
        """Files with one of these endings, whatever their case."""
        return [name for name in self.files if name.lower().endswith(endings)]

    def folder(self, name: str) -> Path:
        """A new folder below `work`, called so and by a number."""
        made = self.work / f"{name}.{len(os.listdir(self.work))}"
        made.mkdir()
        return made


class Scanner(Protocol):
    """Looks at one kind of thing in one way."""

    id: str
    kind: ScanKind

    def look(self, place: Place) -> Looked:
        """Look; CouldNotLook where nothing can be said at all."""


def looked(scanner: Scanner, place: Place) -> Looked:
    """What a scanner answers, whatever happens to it."""
    try:
        return bounded(scanner.look(place))
    except Error as error:
        why = error.sentence
    except OSError as error:
        why = f"the operating system refused: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 - a scanner that broke has not looked, however it broke
        why = f"the scanner broke: {type(error).__name__}: {error}"
    return Looked(scanner=scanner.id, kind=scanner.kind, unseen={"": clean(why, MOST_WORDS)})


def bounded(found: Looked) -> Looked:
    """The same with few enough names, and texts that can be shown."""
    names = sorted(found.unseen)
    unseen = {
        clean(name, MOST_WORDS): clean(found.unseen[name], MOST_WORDS)
        for name in names[:MOST_NAMED]
    }
    if len(names) > MOST_NAMED:
        unseen["…"] = f"and {len(names) - MOST_NAMED} more"
    return structs.replace(
        found,
        version=clean(found.version, 100),
        unseen=unseen,
        notes=[clean(note, MOST_WORDS) for note in found.notes[:MOST_NAMED]],
        told=[clean(one, MOST_WORDS) for one in found.told[:MOST_NAMED]],
    )
