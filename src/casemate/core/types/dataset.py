"""What the data stage says of a sealed version: its rows, and how they were divided."""

from typing import Literal

from casemate.core.types.record import Finding, Record, Severity
from casemate.core.types.schema import Schema


class Quarantined(Record, frozen=True, kw_only=True):
    """One row under suspicion, by number only: values stay sealed."""

    row: int
    """Row number in the source table, from 0."""
    reason: str
    """Id of the detector."""
    detail: str
    """Why, without the row's values."""
    score: float
    """Larger is more suspicious; comparable within one detector."""


class RuleChecked(Record, frozen=True, kw_only=True):
    """What became of one rule of `[[data.rules]]`. The fields are in the order in which files have
    them.
    """

    broken: int
    """Rows that break it."""
    check: str
    """The expression."""
    name: str
    """What the configuration calls it."""
    rows: int
    """Rows that it was asked of."""
    severity: Severity
    """Of the finding, if it is broken."""
    unknown: int
    """Rows of which it cannot be told, because a value is missing."""


class Sides(Record, frozen=True, kw_only=True):
    """How the hold-out was chosen: later versions choose alike, and comparisons know what an
    earlier model saw.
    """

    rule: Literal["hash", "ordered"]
    """`hash`: by each row's place under a key (see `stages.data.sides`); `ordered`: the newest
    rows.
    """
    share: float
    """Rows with a place below this are held out; of an ordered table the newest share of
    the rows.
    """
    thresholds: dict[str, float] = {}
    """Classes that have another threshold, because the plain one left them too few rows on
    a side.
    """
    by: list[str] = []
    """What the place is reckoned from: the subject's column, or every feature."""
    key: str = ""
    """Fingerprint of the key; it says nothing of the key itself."""
    draws: int = 1
    """How many hold-outs this project has drawn up to this one: whoever draws until a model passes
    makes every figure too good.
    """


class Taught(Record, frozen=True, kw_only=True):
    """Rows of feedback in a version: they lie behind those of the source, and none is held out."""

    rows: int
    """How many there are, those that are left out included."""
    object: str
    """Object digest of the rows as they were told, each with its request: an Arrow stream, see
    `stages.data.lessons`.
    """
    sources: dict[str, int]
    """Rows by who told."""
    known: int
    """Of these, rows that are left out because the hold-out has the same one."""


class Basis(Record, frozen=True, kw_only=True):
    """Why a version's rows may be processed, and whose were left out for that."""

    legal: str
    """`consent` or another basis of `[privacy.basis]`."""
    purpose: str
    """The project's."""
    record: str = ""
    """Where the decision for it is written down."""
    texts: list[str] = []
    """Versions of the text of consent that count; empty: every one."""
    register: str = ""
    """SHA-256 of who was covered, by pseudonym."""
    left_out: int = 0
    """Rows that nobody has consented to."""
    people: int = 0
    """Whose they are."""


class Restricted(Record, frozen=True, kw_only=True):
    """Whose rows of a version were left out because their processing is restricted."""

    register: str
    """SHA-256 of everybody whose processing was restricted then, by pseudonym."""
    left_out: int
    """Rows."""
    people: int
    """Whose they are."""


class Whole(Record, frozen=True, kw_only=True):
    """What all rows of a table show of which a declared sample is learnt from."""

    rows: int
    """Those that may be learnt from."""
    read: int
    """Those that its source has."""
    missing: dict[str, float]
    """Share of cells, per column of class `general`."""
    statistics: dict[str, dict[str, float]]
    """Per column of numbers of class `general`: mean, std, min, max."""
    classes: dict[str, dict[str, int]]
    """Rows of each class, per target; -1: too few to be told."""
    rest: int | None = None
    """Rows beside those that were drawn with which training goes on; None: with none."""

    @property
    def text(self) -> str:
        """For people."""
        looked = f"{self.rows} rows, looked at in a stream"
        if self.rest is None:
            return looked
        return f"{looked}; {self.rest} beside the drawn ones are learnt from in a stream too"


class SealedDataset(Record, frozen=True, kw_only=True):
    """Result of the data stage."""

    name: str
    """Data set name."""
    version: str
    """First 16 hex digits of the SHA-256 over source, schema, screen settings and exclusions."""
    source_digest: str
    """SHA-256 of the source file."""
    rows: int
    """Rows sealed, quarantined ones included."""
    schema: Schema
    """The pinned schema it was checked against."""
    quarantined: dict[str, int]
    """Rows under suspicion per detector."""
    quarantine: str
    """Object digest of the list of `Quarantined` rows."""
    excluded: int
    """Rows on neither side: training rows left out by `[screen]`, rows dropped by a person, and in
    an ordered split late rows of people who are among the older ones.
    """
    split: str
    """Object digest of the split: an Arrow stream with the boolean columns `holdout` and
    `excluded`, and `order`, each row's place in time.
    """
    holdout: int
    """Hold-out rows that figures stand on: the training code never sees them. Those dropped by a
    person are not among them.
    """
    statistics: dict[str, dict[str, float]]
    """Per numeric feature of class `general`: mean, std, median, missing share."""
    findings: list[Finding]
    """What the checks saw."""
    figures: dict[str, float]
    """Measured figures of the screen."""
    subject: str | None = None
    """The column that names the person, where identifiers are encrypted per subject."""
    profile: str = ""
    """Object digest of the `TableProfile`s of its columns, which later versions are
    compared with.
    """
    reference: str = ""
    """The version whose statistics this one was compared with; empty for the first under its
    schema.
    """
    rules: list[RuleChecked] = []
    """What became of each rule of `[[data.rules]]`."""
    sides: Sides | None = None
    """How the hold-out was chosen; None: at random, as casemate 0.1 did."""
    dropped: int = 0
    """Hold-out rows that a person's decision took out; figures are given with and without them."""
    taught: Taught | None = None
    """Rows that did not come from the source but from feedback."""
    basis: Basis | None = None
    """On which legal basis they are processed; None: the configuration named none."""
    restricted: Restricted | None = None
    """Whose rows were left out by a restriction or an objection; None: nobody had one."""
    whole: Whole | None = None
    """What all rows show, where `[data] sample` drew those that were sealed; None: it drew none."""

    @property
    def rest(self) -> int:
        """Rows beside `rows` with which training goes on."""
        return 0 if self.whole is None or self.whole.rest is None else self.whole.rest

    @property
    def goes_on(self) -> bool:
        """Whether training goes on with such rows, if there are any."""
        return self.whole is not None and self.whole.rest is not None
