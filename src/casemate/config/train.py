"""`[train]`: how the model is made."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from casemate.config.code import CodeOptions
from casemate.config.hardening import AdversarialTable, NetworkTable
from casemate.config.table import MOST_GB, MOST_SECONDS, Count
from casemate.core.errors import ConfigError


class TrainTable(CodeOptions, frozen=True, kw_only=True):
    """How the model is made."""

    mode: Annotated[
        Literal["plain", "adversarial", "private"],
        Meta(
            description=(
                "`adversarial`: hardened against evasion; `private`: differentially private, within"
                " `[privacy]`."
            )
        ),
    ] = "plain"
    rows: Annotated[
        Literal["sample", "all"],
        Meta(
            description=(
                "With `[data] sample`: learn from the drawn rows alone, or go on with `all` others"
                " that are not held out, in a stream, by an estimator with `partial_fit`; the"
                " search stays with the drawn rows."
            )
        ),
    ] = "sample"
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
        float,
        Meta(
            description="Seconds after which the training code is stopped.", gt=0, le=MOST_SECONDS
        ),
    ] = 3600.0
    memory_gb: Annotated[
        float,
        Meta(
            description=(
                "Memory of all processes of the training code together, and address space of each,"
                " in GiB."
            ),
            gt=0,
            le=MOST_GB,
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
