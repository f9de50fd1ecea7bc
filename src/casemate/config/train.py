"""`[train]` and `[sandbox]`: how a model is made."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from casemate.config.table import Count, Table
from casemate.core.errors import ConfigError


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
            pattern=r"^[^:]+\.py:[A-Za-z_]\w*$(?!\n)",
        ),
    ]
    files: Annotated[
        list[str],
        Meta(description="Further code files that the entry imports, relative to the project."),
    ] = []
    transformers: Annotated[
        list[str],
        Meta(
            description=(
                "Python files with estimators of your own that `entry` imports by the file's name:"
                " signed with the model, and run in a sandbox wherever it is used; see"
                " docs/how-to/own-transformers.md."
            )
        ),
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
