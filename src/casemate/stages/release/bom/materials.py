"""What a bill of materials says, whatever it is written in.

One record stands between the formats: CycloneDX and SPDX are written from it, and what others wrote
in either is read into it. What nobody knows is empty here, and "not known" where it is written.
"""

from typing import Literal

from casemate.core.types import Record

Answer = Literal["yes", "no", ""]
"""Empty: not known."""
NOT_KNOWN = "not known"


class Figure(Record, frozen=True, kw_only=True):
    """One measured figure of a model, attacks included, with its interval where it has one."""

    name: str
    value: str
    low: str = ""
    high: str = ""


class Part(Record, frozen=True, kw_only=True):
    """One component: a library, a file, a program, a system."""

    name: str
    version: str = ""
    kind: str = "library"
    """CycloneDX' type of component."""
    licence: str = ""
    """SPDX expression if it is one, else as it is called."""
    author: str = ""
    """Who made it, by its own words and without an address."""
    purl: str = ""
    """Package URL (https://github.com/package-url/purl-spec)."""
    digest: str = ""
    """SHA-256 in hex: of a file its content, of an installed package what its `RECORD` lists."""
    needs: list[str] = []
    """Names of other components that it depends on, sorted."""


class Model(Record, frozen=True, kw_only=True):
    """A model, as its card has it."""

    name: str
    version: str = ""
    description: str = ""
    licence: str = ""
    producer: str = ""
    time: str = ""
    """When it was made, RFC 3339."""
    task: str = ""
    family: str = ""
    """Of architectures."""
    architecture: str = ""
    training: str = ""
    """How it was trained: `plain`, `adversarial` or `private`."""
    files: dict[str, str] = {}
    """SHA-256 by name."""
    parameters: dict[str, str] = {}
    """Hyperparameters that the search chose."""
    figures: list[Figure] = []
    inputs: list[str] = []
    outputs: list[str] = []
    uses: list[str] = []
    """What it is for."""
    limits: list[str] = []
    """What is known to be wrong with it, or was not measured."""
    tradeoffs: list[str] = []
    fairness: list[str] = []
    """What was measured of groups of people, a sentence each."""


class Data(Record, frozen=True, kw_only=True):
    """A data set that a model learnt from or was measured on."""

    name: str
    version: str = ""
    description: str = ""
    licence: str = ""
    digest: str = ""
    """SHA-256 of its source file."""
    rows: int | None = None
    types: list[str] = []
    """Of its columns."""
    sensitive: Answer = ""
    """Whether it is about people or otherwise to be protected."""
    columns: list[str] = []
    """Those that are, by name."""
    origin: str = ""
    statistics: list[str] = []
    """What is told of its rows as a whole, a sentence each."""


class Bill(Record, frozen=True, kw_only=True):
    """All of it."""

    name: str
    """Of what it is about."""
    version: str = ""
    format: str = ""
    """What it was read from, such as `CycloneDX 1.6`."""
    time: str = ""
    """When it was made, RFC 3339."""
    revision: str = ""
    """Of the bill itself."""
    producer: str = ""
    tool: str = ""
    """What wrote it, `NAME VERSION`."""
    phase: str = ""
    """Of the life cycle, such as `build`."""
    models: list[Model] = []
    data: list[Data] = []
    parts: list[Part] = []
    facts: dict[str, str] = {}
    """What has no place of its own in either format, by name: lineage, infrastructure, security."""

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}" if self.version else self.name


def in_order(part: Part) -> tuple[str, str, str]:
    """Where a component stands in a bill."""
    return part.kind, part.name, part.version
