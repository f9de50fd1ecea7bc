"""What is watched against: sketches of the rows that a model learnt from, and of what it says on
rows that it never saw.
"""

from casemate.core.types.record import Record


class Bin(Record, frozen=True, kw_only=True):
    """Neighbouring numbers of one column, enough of them to be told together."""

    low: float
    high: float
    rows: int
    positive: int = 0
    """Of a score: rows whose outcome was the positive class, or whose class was said rightly."""
    error: float = 0.0
    """Of an answered quantity: mean absolute error, in the target's unit."""
    square: float = 0.0
    """Of an answered quantity: mean squared error."""


class ColumnSketch(Record, frozen=True, kw_only=True):
    """One column without its rows: bins of numbers, or counted categories, never both."""

    name: str
    rows: int
    missing: int
    """Rows without a value, of `rows`."""
    bins: list[Bin] = []
    """In order; each holds at least `[privacy] min_group` rows."""
    categories: dict[str, int] = {}
    """Rows a category, for those that are frequent enough to be told."""
    others: int = 0
    """Rows of all other categories together."""


class Baseline(Record, frozen=True, kw_only=True):
    """`baseline.json`: what a model's inputs and answers were like before it was served; signed
    with it.
    """

    rows: int
    """Training rows that `features` stand for."""
    features: list[ColumnSketch]
    answers: ColumnSketch
    """Of hold-out rows, which training never saw: the classes said, or the first quantity."""
    scores: list[Bin] = []
    """Of two classes: the probability of the second one in hold-out rows, with how many were of it;
    of more: the probability of the class that was said, with how often it was right.
    """
    positive: str = ""
    """The second of two classes."""
