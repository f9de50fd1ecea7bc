"""`[train]`, `[screen]`, `[privacy]` and `[sandbox]`: how a model is made."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from casemate.config.table import Count, DetectorId, Share, Table
from casemate.core.errors import ConfigError


class ScreenTable(Table, frozen=True, kw_only=True):
    """What is looked for in the rows before anything learns from them."""

    label_noise: Annotated[
        bool, Meta(description="Suspected wrong labels by out-of-fold probabilities.")
    ] = True
    outliers: Annotated[bool, Meta(description="Cells far outside their column's spread.")] = True
    duplicates: Annotated[
        bool,
        Meta(
            description=(
                "Rows equal in every feature and the target, more of them than chance makes."
            )
        ),
    ] = True
    neighbours: Annotated[
        bool, Meta(description="Rows whose nearest rows nearly all have another label.")
    ] = True
    floods: Annotated[
        bool,
        Meta(
            description=(
                "Many near-copies of one row with one label, far more of them than chance makes."
            )
        ),
    ] = True
    provenance: Annotated[
        bool,
        Meta(
            description=(
                "Sources and times at which labels or suspicious rows are unusually frequent."
            )
        ),
    ] = True
    triggers: Annotated[
        bool,
        Meta(description="Rare values of one to three features that decide the label (backdoors)."),
    ] = True
    spectral: Annotated[
        bool,
        Meta(
            description="Small groups inside a class that stand apart from it (spectral signature)."
        ),
    ] = True
    influence: Annotated[
        bool,
        Meta(
            description=(
                "How much the rows under suspicion change a model: trained with and without them."
            )
        ),
    ] = True
    rows: Annotated[
        int,
        Meta(
            description=(
                "Rows that the detectors with a cost above n log n look at; larger tables are"
                " sampled."
            ),
            ge=100,
        ),
    ] = 50_000
    folds: Annotated[int, Meta(description="Folds of the label screen.", ge=2, le=20)] = 5
    outlier_deviations: Annotated[
        float,
        Meta(description="Robust deviations (median, MAD) from which a cell is an outlier.", gt=0),
    ] = 12.0
    quarantine: Annotated[
        Literal["report", "exclude"],
        Meta(
            description=(
                "`exclude` leaves suspicious training rows out; they stay sealed and listed. The"
                " hold-out keeps its rows in any case."
            )
        ),
    ] = "report"
    exclude: Annotated[
        list[DetectorId],
        Meta(
            description=(
                "Detectors whose training rows are left out even with `report`, such as `trigger`,"
                " before anybody looked at them."
            )
        ),
    ] = []
    cap: Annotated[
        Share,
        Meta(description="Largest share of rows under suspicion; above it the run is refused."),
    ] = 0.25


class AdversarialTable(Table, frozen=True, kw_only=True):
    """How a model is hardened."""

    eps: Annotated[
        float,
        Meta(
            description=(
                "Attack size to train against, in standard deviations (networks: see `[robustness]"
                " unit`)."
            ),
            gt=0,
        ),
    ] = 0.1
    steps: Annotated[int, Meta(description="Steps of the attack.", ge=1, le=100)] = 7
    rounds: Annotated[
        int, Meta(description="scikit-learn: rounds of attacking and training again.", ge=1, le=20)
    ] = 3


class NetworkTable(Table, frozen=True, kw_only=True):
    """How a torch network is trained."""

    epochs: Annotated[int, Meta(description="Passes over the rows.", ge=1, le=10_000)] = 10
    batch: Annotated[
        int, Meta(description="Rows a step (private training: expected rows).", ge=1, le=1_000_000)
    ] = 128
    rate: Annotated[float, Meta(description="Learning rate.", gt=0)] = 0.001
    momentum: Annotated[
        float, Meta(description="Of SGD, used for private training.", ge=0, lt=1)
    ] = 0.9


class TrainTable(Table, frozen=True, kw_only=True):
    """How the model is made."""

    entry: Annotated[
        str,
        Meta(
            description="`FILE.py:FUNCTION` that returns an unfitted scikit-learn estimator.",
            pattern=r"^[^:]+\.py:[A-Za-z_]\w*$",
        ),
    ]
    files: Annotated[
        list[str],
        Meta(description="Further code files that the entry imports, relative to the project."),
    ] = []
    model: Annotated[
        str | None,
        Meta(
            description=(
                "An imported model file (`casemate model import`) to assess and release instead of"
                " training one."
            )
        ),
    ] = None
    classes: Annotated[
        list[str],
        Meta(
            description=(
                "Of an imported model: the table's class that each of its outputs stands for, in"
                " their order; default: by name or number."
            )
        ),
    ] = []
    mode: Annotated[
        Literal["plain", "adversarial", "private"],
        Meta(
            description=(
                "`adversarial`: hardened against evasion; `private`: differentially private, within"
                " `[privacy]`."
            )
        ),
    ] = "plain"
    split: Annotated[
        Literal["random", "ordered"],
        Meta(
            description=(
                "`ordered`: the newest rows (by `[data] time`, else the last ones) are held out,"
                " and folds go forward in time."
            )
        ),
    ] = "random"
    repeats: Annotated[
        int, Meta(description="Repetitions of the cross-validation with other folds.", ge=1, le=50)
    ] = 1
    nested: Annotated[
        int,
        Meta(
            description=(
                "Outer folds that judge the whole search, not only its best candidate; 0: none."
            ),
            ge=0,
            le=20,
        ),
    ] = 0
    prune: Annotated[
        bool,
        Meta(
            description="Optuna stops candidates that fall behind after some folds (median rule)."
        ),
    ] = True
    adversarial: Annotated[
        AdversarialTable, Meta(description='How `mode = "adversarial"` hardens.')
    ] = AdversarialTable()
    network: Annotated[NetworkTable, Meta(description="How a torch network is trained.")] = (
        NetworkTable()
    )
    search: Annotated[
        dict[str, Any],
        Meta(
            description=(
                "Parameter -> list of values (grid), or `{low, high, log, int}` (Optuna); both may"
                " be mixed."
            )
        ),
    ] = {}
    trials: Annotated[Count, Meta(description="Optuna trials when a range is given.")] = 20
    calibrate: Annotated[
        bool,
        Meta(
            description=(
                "Calibrate probabilities by a slope and a shift of the model's scores, where that"
                " lowers log loss on rows of other folds by more than chance; for models that end"
                " in `LogisticRegression` or histogram gradient boosting."
            )
        ),
    ] = True
    quantile: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None,
        Meta(
            description=(
                "Predict this quantile of the quantity, such as 0.9, and not its mean: the"
                " template's trees and the search go by the pinball loss; `pinball_loss` and"
                " `quantile_coverage` are figures. A project for each quantile."
            )
        ),
    ] = None
    costs: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(
            description=(
                "What a wrong answer costs, by the class that the row is of, such as `{ ill = 10,"
                " well = 1 }`: decides the threshold, on out-of-fold predictions of training rows,"
                " and the figure `cost`. For two classes; both are named."
            )
        ),
    ] = {}
    metric: Annotated[
        str | None,
        Meta(
            description=(
                "scikit-learn scorer that chooses among candidates; default: `roc_auc`;"
                " `neg_root_mean_squared_error`; `r2`."
            )
        ),
    ] = None
    folds: Annotated[
        int,
        Meta(description="Cross-validation folds (stratified; grouped by subject).", ge=2, le=50),
    ] = 5
    test_share: Annotated[
        float,
        Meta(
            description=(
                "Share of rows (or subjects) held out, each by a keyed hash of what it is; the"
                " training code never sees them."
            ),
            gt=0.0,
            lt=1.0,
        ),
    ] = 0.25
    seed: Annotated[
        int,
        Meta(
            description=(
                "Seed of folds, search, detectors and NumPy; the hold-out does not depend on it."
            ),
            ge=0,
            le=2**32 - 1,
        ),
    ] = 0
    jobs: Annotated[Count, Meta(description="Processes for cross-validation.")] = 1
    threads: Annotated[
        int, Meta(description="Threads inside numeric libraries; 0 means all cores.", ge=0)
    ] = 0
    timeout: Annotated[
        float, Meta(description="Seconds after which the training code is stopped.", gt=0)
    ] = 3600.0
    memory_gb: Annotated[
        float,
        Meta(
            description=(
                "Memory of all processes of the training code together, and address space of each,"
                " in GiB."
            ),
            gt=0,
        ),
    ] = 16.0

    def costs_of(self, classes: list[str]) -> list[float]:
        """What a wrong answer costs for a row of each class, in their order; nothing where no costs
        are said.

        Raises:
            ConfigError: the costs are not those of these classes.
        """
        if self.costs and sorted(self.costs) != sorted(classes):
            raise ConfigError(
                f"[train] costs names {', '.join(sorted(self.costs))}, the target's classes are"
                f" {', '.join(classes[:8])}",
                hint="name each of the two classes of the target once",
            )
        return [float(self.costs[name]) for name in classes] if self.costs else []


class PrivacyTable(Table, frozen=True, kw_only=True):
    """What private training may spend, and what a data set may give away in all."""

    min_group: Annotated[
        int,
        Meta(
            description=(
                "Fewest rows that a told figure may be about; smaller groups are told together as"
                " `(others)`."
            ),
            ge=1,
            le=1000,
        ),
    ] = 10

    epsilon: Annotated[float, Meta(description="Of one private training.", gt=0, le=100)] = 1.0
    delta: Annotated[
        float,
        Meta(
            description="Of one private training; well below one over the number of rows.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-5
    rows: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description=(
                "About how many rows (or subjects) the table has, a round number from what you"
                " know; the sampling rate of private training follows from it. Needed for torch"
                " networks trained in batches; default: rows are counted with noise."
            )
        ),
    ] = None
    clip: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description=(
                "Largest norm of one row's (or subject's) gradient; default: 0.2 for linear models,"
                " 1 for networks."
            )
        ),
    ] = None
    budget: Annotated[
        float,
        Meta(
            description=(
                "Epsilon that all trainings and statistics of one data set may spend together, per"
                " purpose."
            ),
            gt=0,
        ),
    ] = 8.0
    budget_delta: Annotated[
        float,
        Meta(
            description="Delta at which the ledger adds up; the deltas spent may not exceed it.",
            gt=0,
            lt=0.1,
        ),
    ] = 1e-4


class SandboxTable(Table, frozen=True, kw_only=True):
    """How the training code is confined."""

    mode: Annotated[
        Literal["require", "prefer"],
        Meta(
            description=(
                "`require` refuses where the kernel cannot confine; `prefer` runs and records a"
                " finding that blocks no gate."
            )
        ),
    ] = "require"


def bad_space(parameter: str, space: Any) -> list[str]:
    """What is wrong with a space of `[train] search`."""
    where = f"[train] search.{parameter}"
    if isinstance(space, list):
        return [] if space else [f"{where}: the list is empty"]
    if not isinstance(space, dict):
        return [f"{where}: give a list of values or a table with low and high"]
    unknown = set(space) - {"low", "high", "log", "int"}
    if unknown:
        return [f"{where}: unknown key {sorted(unknown)[0]!r}"]
    if (
        not all(isinstance(space.get(bound), int | float) for bound in ("low", "high"))
        or space["low"] >= space["high"]
    ):
        return [f"{where}: low and high must be numbers, low below high"]
    if space.get("log") and space["low"] <= 0:
        return [f"{where}: a log range must start above 0"]
    return []
