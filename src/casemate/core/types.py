"""The vocabulary: the frozen records that stages exchange and that evidence files hold.

Every record is a keyword-only msgspec struct. `FORMAT` is the version of these files: a field may
be added with a default under the same version; renaming, removing or changing the meaning of one
needs a new version and a reader for the old one under test.
"""

from typing import Any, Literal, Protocol

import msgspec

FORMAT = 1
Severity = Literal["low", "medium", "high"]
Outcome = Literal["passed", "refused", "inconclusive"]
ColumnType = Literal["number", "category", "time", "text"]
ColumnClass = Literal["general", "sensitive", "identifier"]
MISSING_CATEGORY = "(missing)"


def number_text(value: float) -> str:
    """A figure for people: four decimals, or four digits where it is very small or large."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value with named fields and strict JSON."""

    def to_json(self) -> bytes:
        """This record as indented JSON with a final newline."""
        return (
            msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=2) + b"\n"
        )


class FeatureLimits(Protocol):
    """What an evasion attacker can do; see `[robustness]`."""

    @property
    def unit(self) -> Any:
        """`deviation` or `range`: what eps 1 is."""

    def feature(self, name: str) -> Any:
        """The `[robustness.features]` entry of a feature: change, integer, budget, to."""


class Finding(Record, frozen=True, kw_only=True):
    """Something that a person should look at."""

    id: str
    """Stable identifier of the check, such as `data.label-noise`."""
    severity: Severity
    """`high` blocks a release."""
    confidence: Severity
    """How sure the check is."""
    message: str
    """What was seen, in one sentence, without personal data."""
    location: str = ""
    """File, column or rows."""


class ColumnSchema(Record, frozen=True, kw_only=True):
    """What one column must look like, pinned in `schema.toml`."""

    name: str
    """Column name."""
    type: ColumnType
    """`number` (float64), `category` (text from a closed list), `time` or `text`."""
    column_class: ColumnClass = "general"
    """Which key seals it; identifiers are never features."""
    use: bool = True
    """Whether the column is a feature."""
    nullable: bool = False
    """Whether missing values are allowed."""
    min: float | None = None
    """Least allowed number."""
    max: float | None = None
    """Greatest allowed number."""
    categories: list[str] | None = None
    """Allowed categories, sorted."""
    declared: list[str] = []
    """Which of `min`, `max`, `categories` and `nullable` casemate.toml declares: those are law, the
    others expectations.
    """
    once: int = 0
    """Categories that one row had when they were learnt: how much is to be expected that nobody has
    seen.
    """
    made_of: str = ""
    """The column that this feature is made of, row by row; empty: it is a column itself."""
    part: str = ""
    """Which part of it: `month`, `weekday`, `words` and so on."""


class Schema(Record, frozen=True, kw_only=True):
    """The pinned shape of a table."""

    target: str
    """Column to predict, the first one where there are several."""
    classes: list[str]
    """Target classes as text, in the order of the model's outputs; none: the target is a quantity,
    and the model a regressor.
    """
    columns: list[ColumnSchema]
    """All columns in the table's order, the target included."""
    rows: int = 0
    """Rows that limits were learnt from; 0: every limit is law."""
    further: list[str] = []
    """Further columns to predict (regressors only)."""
    version: int = FORMAT
    """Version of this format."""

    @property
    def regression(self) -> bool:
        """Whether quantities are predicted."""
        return not self.classes

    @property
    def targets(self) -> list[str]:
        """Every column to predict, in the order of the model's outputs."""
        return [self.target, *self.further]

    @property
    def features(self) -> list[ColumnSchema]:
        """The columns that the estimator sees, in order."""
        targets = self.targets
        return [
            column
            for column in self.columns
            if column.use and column.name not in targets and column.column_class != "identifier"
        ]

    @property
    def identifiers(self) -> list[str]:
        """Names of the columns that say who somebody is."""
        return [column.name for column in self.columns if column.column_class == "identifier"]

    @property
    def categories(self) -> list[ColumnSchema]:
        """The features that are categories."""
        return [column for column in self.features if column.type == "category"]

    def column(self, name: str) -> ColumnSchema:
        """The column called `name`; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class RawColumn(Record, frozen=True, kw_only=True):
    """How one column of the table was written that the model's features are read from, or
    made of.
    """

    name: str
    """Column name."""
    type: ColumnType
    """What its cells are once read; a `time` or `text` is no feature itself."""
    decimal: str | None = None
    """Decimal sign of amounts, `.` or `,`: currency signs, percent and thousands separators are
    taken off.
    """
    censored: bool = False
    """Whether `<0.1` is read as .1."""
    format: str | None = None
    """How a time is written, as `[data.columns]` says it."""
    missing: list[str] = []
    """Cells that mean missing, beside `Reading.null_values`."""
    parts: list[str] = []
    """What is made of it, row by row."""
    since: str | None = None
    """What `days` counts to: another raw column, or a date."""


class Reading(Record, frozen=True, kw_only=True):
    """How callers' cells are read where they come as the training table had them."""

    columns: list[RawColumn]
    """In the table's order."""
    null_values: list[str]
    """Cells that mean missing."""
    trim: bool = True
    """Whether white space around a text means nothing."""


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
    rules: list[dict[str, Any]] = []
    """Per rule of `[[data.rules]]`: name, rows checked, rows that break it."""
    sides: Sides | None = None
    """How the hold-out was chosen; None: at random, as casemate 0.1 did."""
    dropped: int = 0
    """Hold-out rows that a person's decision took out; figures are given with and without them."""


class Part(Record, frozen=True, kw_only=True):
    """One box of a model's diagram: an estimator and those that it is made of."""

    name: str
    """Class, of scikit-learn or ours; `passthrough` and `drop` where a column transformer
    says so.
    """
    params: dict[str, Any] = {}
    """What the search chose of it; nothing else that the training code could have chosen."""
    parts: list["Part"] = []
    """What it is made of, in order."""
    beside: bool = False
    """Whether each of `parts` gets what it gets; otherwise each what the one before gives."""

    def lines(self, depth: int = 0) -> list[str]:
        """The diagram as text: a line a part, each with two blanks more than the one that it is a
        part of.
        """
        return [
            "  " * depth + self.text,
            *(line for part in self.parts for line in part.lines(depth + 1)),
        ]

    @property
    def text(self) -> str:
        """Name and parameters, such as `LogisticRegression(C=0.1)`."""
        return self.name + (
            f"({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"
            if self.params
            else ""
        )


class TrainedModel(Record, frozen=True, kw_only=True):
    """Result of the train stage: files in the object store, nothing executed outside the
    sandbox.
    """

    estimator: str
    """Names of the estimator and of its parts."""
    files: dict[str, str]
    """Object digests by file name: `model.skops`, and `model.onnx` when the export worked."""
    params: dict[str, Any]
    """Chosen hyper-parameters."""
    cv: list[dict[str, Any]]
    """Every candidate with its cross-validation scores, as the training code's process reported
    them.
    """
    metric: str
    """scikit-learn scorer that chose."""
    code_digest: str
    """SHA-256 over the training code files."""
    findings: list[Finding]
    """Sandbox violations and export problems."""
    isolation: list[str]
    """Isolation mechanisms in force while the code ran."""
    mode: str = "plain"
    """`plain`, `adversarial` or `private`."""
    nested: list[float] = []
    """Score of the whole search on each outer fold, where it was nested."""
    privacy: dict[str, Any] = {}
    """What private training spent: epsilon, delta, unit, events, accountants."""
    baseline: str = ""
    """Object digest of the same model without hardening, where it was hardened."""
    order: list[int] = []
    """Of an imported scikit-learn model: the table's class number of each of its own classes; none:
    they are the same.
    """
    diagram: Part | None = None
    """What it is made of, for people; None: a network, an ONNX graph, or trained by an older
    casemate.
    """
    said: str = ""
    """Object digest of what the training code said in its own words, which may quote data; see
    `stages.train.told`.
    """
    calibration: dict[str, float] = {}
    """Log loss out of fold `before` and `after` calibration, the difference's standard `error`,
    `slope` and `shift` of the scores, and whether they were `kept` (1) or the model left as it was
    (0); empty: not measured.
    """


class Interval(Record, frozen=True, kw_only=True):
    """A figure with its 95 % interval; `casemate assess --explain FIGURE` says how it comes
    about.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Interval":
        """A figure that is known without doubt."""
        return cls(value=value, low=value, high=value)


class Profile(Record, frozen=True, kw_only=True):
    """What the numbers of training rows are like, so that a server can tell a row that is not."""

    mean: list[float]
    """[d], of the numeric features in the schema's order; missing values count as this."""
    scale: list[float]
    """One over the standard deviation, [d]; 0 for a constant."""
    whiten: list[list[float]]
    """[d, d]: the squared length of (row - mean) * scale times this is the squared Mahalanobis
    distance.
    """
    limit: float
    """The squared distance that all but one in a thousand rows keep to; 0 when it could not be
    measured.
    """
    edges: list[float] = []
    """Of a regressor: upper ends of the ranges that hold about as many of its answers each, but for
    the last one; see `frame.edges_of`.
    """


class Assessment(Record, frozen=True, kw_only=True):
    """Result of the assess stage, measured on rows that the training code never saw."""

    rows: int
    """Hold-out rows."""
    metrics: dict[str, Interval]
    """Quality on the hold-out."""
    calibration: dict[str, list[float]]
    """Reliability curve: mean predicted probability and observed frequency per bin; of a regressor
    mean quantities.
    """
    roc: dict[str, list[float]]
    """ROC curve (binary models)."""
    slices: list[dict[str, Any]]
    """Figures per slice of the hold-out."""
    robustness: dict[str, Any]
    """Robust accuracy per eps with attack details."""
    membership: dict[str, Any]
    """Loss-threshold membership inference."""
    parity: dict[str, Any]
    """ONNX against scikit-learn on the hold-out."""
    serve_format: Literal["onnx", "skops"]
    """Which file the gateway loads."""
    findings: list[Finding]
    """What a person should look at."""
    inconclusive: list[str]
    """Measurements that could not be completed; their gates block."""
    figures: dict[str, Interval] = {}
    """Every other figure that gates may name: leakage, fairness, shift, behaviour, figures on
    further tables (`TABLE.FIGURE`).
    """
    compared: dict[str, Interval] = {}
    """Per figure of quality, how much better this model is than the one that passed last, on the
    same rows (paired).
    """
    previous: str = ""
    """That model's reference."""
    profile: Profile | None = None
    """What training rows are like; signed with the model."""
    mcnemar: dict[str, float] = {}
    """Rows that only this model gets right (`gained`), that only the other one does (`lost`), and
    the exact p-value. Where subjects have several rows, `p` counts subjects, and `subjects` is how
    many speak for one of the two.
    """
    leakage: dict[str, Any] = {}
    """Privacy attacks beyond the loss threshold: LiRA, attribute inference, inversion, memorised
    rows.
    """
    fairness: list[dict[str, Any]] = []
    """Per protected attribute and group: rows, selection rate, accuracy, true and false positive
    rate; of a regressor means and error.
    """
    importance: list[dict[str, Any]] = []
    """Per feature: loss of the metric when it is shuffled, mean and standard deviation."""
    behaviour: list[dict[str, Any]] = []
    """Per behavioural test: rows tried, rows that broke it."""
    tradeoff: dict[str, Any] = {}
    """Of a hardened model: accuracy and robust accuracy of the same model without hardening."""
    tables: dict[str, dict[str, Any]] = {}
    """Per further table: rows and figures."""
    measured: dict[str, str] = {}
    """SHA-256 of every model file that was measured, as the measuring process read it; only these
    are signed.
    """
    dropped: int = 0
    """Hold-out rows that a person's decision took out: `rows`, and every figure but `with_dropped`,
    are without them.
    """
    with_dropped: dict[str, Interval] = {}
    """Quality on the hold-out as it was chosen, with the rows that a person took out."""
    compared_rows: int = 0
    """Hold-out rows that neither this model nor the one before saw: `compared` stands on these."""
    subjects: int = 0
    """Subjects that the hold-out rows are of, where some have several; 0: every row is another
    one's.
    """
    worth: float = 0.0
    """Where rows are weighted: so many hold-out rows of equal weight would tell a mean as well
    (Kish); 0: all weigh alike.
    """


class GateResult(Record, frozen=True, kw_only=True):
    """What one gate said of a model: what was measured, what was asked for, and what came of it."""

    gate: str
    """Name in `[gates]`."""
    outcome: Outcome
    """`inconclusive` blocks like `refused`."""
    value: float | None
    """Measured figure."""
    limit: str
    """The limit in words."""
    reason: str
    """Why, in one sentence."""
    waiver: str = ""
    """Who lets the model pass all the same, until when and why."""
    low: float | None = None
    """Lower end of the figure's 95 % interval: what counts against a least value. None in older
    records, and where there is none.
    """
    high: float | None = None
    """Upper end: what counts against a greatest value."""


class Waived(Record, frozen=True, kw_only=True):
    """One gate that somebody lets a model pass without."""

    gate: str
    """Name in `[gates]`."""
    until: str
    """When it ends, ISO 8601 UTC."""
    by: str
    """Principal who waives."""
    reason: str
    """Why."""


class Verdict(Record, frozen=True, kw_only=True):
    """The answer of all gates together."""

    outcome: Outcome
    """`passed` only if every gate passed."""
    gates: list[GateResult]
    """Every gate with its reason."""

    @property
    def reasons(self) -> list[str]:
        """Reasons of the gates that did not pass and that nobody waived."""
        return [gate.reason for gate in self.gates if gate.outcome != "passed" and not gate.waiver]


class Lineage(Record, frozen=True, kw_only=True):
    """Where a model came from."""

    run: str
    dataset: str
    dataset_version: str
    source_digest: str
    code_digest: str
    config_digest: str
    environment_digest: str
    train_digest: str
    assess_digest: str


class Release(Record, frozen=True, kw_only=True):
    """Result of the release stage."""

    model: str
    """Model name."""
    model_version: int
    """Version in the registry."""
    verdict: Verdict
    """The gates' answer."""
    lineage: Lineage
    """Where the model came from."""
    files: dict[str, str]
    """Object digests by path inside the model folder."""
    bundle: str | None
    """Object digest of the OpenSSF model-signing bundle; None when refused."""
    findings: list[Finding] = []
    """What was seen while judging: attacks that no gate looks at."""
