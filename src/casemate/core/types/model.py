"""What the train stage says of a model: its files, its parts, and what its training promised."""

from typing import Any, Literal, Protocol

from casemate.core.types.assessment import Interval
from casemate.core.types.record import Finding, Record

NoiseUnit = Literal["subject", "site"]
"""Whom noise covers: each row, or all rows of one subject where there are subjects; or all rows of
a site at once, whosever they are.
"""


class FeatureLimits(Protocol):
    """What an evasion attacker can do; see `[robustness]`."""

    @property
    def unit(self) -> Any:
        """`deviation` or `range`: what eps 1 is."""

    def feature(self, name: str) -> Any:
        """The `[robustness.features]` entry of a feature: change, integer, budget, to."""


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


class Unlearning(Record, frozen=True, kw_only=True):
    """That a model was trained so that rows can be unlearnt exactly, and what it was made from."""

    kind: Literal["forest", "least-squares"]
    trees: int = 0
    """Of a forest."""
    each: int = 0
    """How many of them hold a row."""
    rows: int
    """Training rows."""
    former: str = ""
    """The model, `NAME@VERSION`, whose trees were offered to it; empty: none."""
    former_rows: int = 0
    former_data: str = ""
    """What that one was trained on, `DATASET@VERSION`: what is not in this model's own data set any
    more is what was unlearnt.
    """
    kept: int = 0
    """Trees that were taken over, because they held none of the rows that went or came; the others
    were grown.
    """


class Leak(Record, frozen=True, kw_only=True):
    """How well an attack told rows that one site gave from rows that it held out."""

    attack: str
    """Its name, such as `loss-threshold`."""
    figure: Interval
    rows: int
    """On each side."""


class Stated(Record, frozen=True, kw_only=True):
    """What one site says that a model tells of its rows."""

    site: str
    """Its name, as its card has it."""
    statement: str = ""
    """SHA-256 of what it signed; empty: it said nothing."""
    leaks: dict[str, Leak] = {}
    """By figure, as gates call it."""


class Federated(Record, frozen=True, kw_only=True):
    """That several owners learnt a model together, none of whom saw another's rows."""

    record: str
    """SHA-256 of its coordinator's signed record of the job."""
    charter: str
    """SHA-256 of the charter under which they did."""
    job: str
    """SHA-256 of the job."""
    coordinator: str
    """Fingerprint of the coordinator's card."""
    rounds: int
    """How many were gathered."""
    sites: list[str]
    """Fingerprints of the sites that were heard."""
    stated: list[Stated] = []
    """What each of them says that the model tells of its rows; empty: nobody was asked."""
    epsilon: float = 0.0
    """That each unit spent; 0: there was no noise."""
    delta: float = 0.0
    """At which."""
    unit: NoiseUnit = "subject"
    """Whom the noise covers."""


class WentOn(Record, frozen=True, kw_only=True):
    """With which rows a model that was trained on a sample went on."""

    rows: int
    """Beside the sample's training rows."""
    loss: float
    """Over them, each asked before it was learnt from: log loss of classes, squared error of
    quantities, as the training code's process reported it.
    """

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{self.rows} rows beside the sample, in a stream; loss before each piece was learnt"
            f" from: {self.loss:g}"
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
    unlearning: Unlearning | None = None
    """Of an estimator that can be unlearnt exactly; None: of every other."""
    federated: Federated | None = None
    """Of an imported model with a record that says so; None: of every other."""
    calibration: dict[str, float] = {}
    """Log loss out of fold `before` and `after` calibration, the difference's standard `error`,
    `slope` and `shift` of the scores, and whether they were `kept` (1) or the model left as it was
    (0); empty: not measured.
    """
    went_on: WentOn | None = None
    """With which rows beside a sample it went on; None: with none."""
