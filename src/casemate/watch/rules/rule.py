"""What is known of a rule once it was read, and what is wrong with one that was not."""

from typing import Literal

from casemate.core.types import Record

Grade = Literal["informational", "low", "medium", "high", "critical"]
"""Sigma's levels."""
Kind = Literal["event_count", "value_count", "temporal", "temporal_ordered"]


class Fault(Record, frozen=True, kw_only=True):
    """Why a rule does not run."""

    file: str
    rule: str
    """Its title; "" where not even that could be read."""
    reason: str


class Counted(Record, frozen=True, kw_only=True):
    """What a correlation counts."""

    kind: Kind
    of: tuple[str, ...]
    """Keys of the rules whose lines count."""
    group: tuple[str, ...]
    """Fields: lines count together where these are the same."""
    field: str
    """Whose different values are counted, for `value_count`."""
    span: int
    """Seconds."""
    least: int
    """Matches from here on."""


class Rule(Record, frozen=True, kw_only=True):
    """A rule that runs."""

    key: str
    """Its id, or the name that correlations call it by."""
    title: str
    file: str
    level: Grade | None
    """None: it only counts for correlations."""
    queries: tuple[str, ...] = ()
    """SELECT statements on the table of lines; none for a correlation."""
    fields: tuple[str, ...] = ()
    """All that they read."""
    counted: Counted | None = None
    is_told: bool = True
    """Whether a match of its own is told; not of what only counts for correlations."""
    description: str = ""
    falsepositives: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
