"""What the assess stage measured."""

from typing import Any, Literal

from casemate.core.types.baseline import Baseline
from casemate.core.types.record import Finding, Record


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

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2


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


# Fields stand in the order of the alphabet: as the plain objects that these were, they are written
# in the same bytes, and digests of assessments stay what they are.
class BehaviourResult(Record, frozen=True, kw_only=True):
    """What became of one behavioural test."""

    broken: int
    """Rows that broke it."""
    expect: Literal["same", "up", "down"]
    feature: str
    """What was changed."""
    name: str
    passed: bool
    """Whether no more rows broke it than are tolerated."""
    rows: int
    """Rows that were tried."""


class FeatureImportance(Record, frozen=True, kw_only=True):
    """What the model loses when one feature is shuffled."""

    feature: str
    mean: float
    """Loss of the metric, over the shuffles."""
    std: float
    """Its standard deviation."""


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
    baseline: Baseline | None = None
    """What inputs and answers are watched against; signed with the model."""
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
    importance: list[FeatureImportance] = []
    """Per feature: loss of the metric when it is shuffled, mean and standard deviation."""
    behaviour: list[BehaviourResult] = []
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
    labels: dict[str, "Assessment"] = {}
    """Where a row carries several labels, what was measured of each; `metrics` and `figures` are
    then the worst label's, and those of all labels of a row together.
    """
    worth: float = 0.0
    """Where rows are weighted: so many hold-out rows of equal weight would tell a mean as well
    (Kish); 0: all weigh alike.
    """

    @property
    def of_quality(self) -> dict[str, Interval]:
        """`metrics`, and each label's as `LABEL.FIGURE`."""
        return self.metrics | {
            f"{label}.{name}": figure
            for label, one in self.labels.items()
            for name, figure in one.metrics.items()
        }
