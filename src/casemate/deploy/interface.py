"""What a target is, and what its rendering may depend on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from casemate.config import Config


@dataclass(frozen=True)
class Given:
    """All that a rendering may depend on: the same gives the same bytes."""

    config: Config
    root: Path
    """The project's folder."""
    folder: Path
    """Where the files will lie."""
    options: Mapping[str, str]
    """Of the command, by their names; those without a default may be missing."""


@dataclass(frozen=True)
class Rendering:
    """What a target makes of it."""

    files: dict[str, bytes]
    """Content by path within the folder."""
    model: str = ""
    """`NAME@VERSION sha256:...`, if the files are about one model and no other."""
    notes: tuple[str, ...] = ()
    """What whoever renders should know."""


@dataclass(frozen=True)
class Option:
    """An option of the command."""

    name: str
    """Without its dashes."""
    help: str
    metavar: str
    default: str | None = None


@dataclass(frozen=True)
class Target:
    """Somebody else's system."""

    help: str
    """What its files are, in half a line."""
    render: Callable[[Given], Rendering]
    """Pure; raises a ConfigError rather than rendering what could not be used safely."""
    next: str
    """The file that says what to do next."""
    options: tuple[Option, ...] = ()
    dangers: Callable[[str, bytes], list[str]] = lambda _name, _content: []
    """What is unsafe in a file as it lies in the folder, edited perhaps; its path and content."""
    unfit: Callable[[Given, str, bytes], list[str]] = lambda _given, _name, _content: []
    """What the system, as the project describes it, would not take of such a file."""
