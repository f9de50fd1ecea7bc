"""Cross-validated search: a grid for lists of values, Optuna with a resumable journal and pruning
when there are ranges.

Nested cross-validation judges the whole search: each outer fold is held out from a search of its
own (Varma and Simon, BMC Bioinformatics 2006), because the best score of a search is too good.
"""

import inspect
import itertools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer, mean_pinball_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit
from sklearn.utils.parallel import Parallel, delayed

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel
from casemate.core.threads import fitting
from casemate.ml.frame import strata_of, wanted
from casemate.ml.learn.calibrate import adjustable
from casemate.ml.learn.calibrate import scores as scores_of
from casemate.ml.learn.weights import fit_params
from casemate.stages.train.calibrate import Fold

Array = np.ndarray[Any, Any]
Score = Callable[[dict[str, Any], Callable[[list[float]], bool]], list[float]]
"""Parameters, and whether to stop after these scores -> scores of the folds."""
MODEL = "model"
"""The parameter that chooses among several."""
PINBALL = "neg_mean_pinball_loss"
"""What chooses among models of a quantile."""
BOUNDED = (
    "LogisticRegression",
    "PrivateClassifier",
    "SGDClassifier",
    "LogisticRegressionCV",
    "LinearSVC",
    "RidgeClassifier",
    "NetworkClassifier",
)
"""Final estimators that private and adversarial training prefer."""
FEW = 10
"""A user's fit stands alone, so threads pay from a tenth of the size on that they pay for ours."""


class BadSearch(Exception):
    """A parameter or metric of the configuration does not exist."""

    kind = "BadSearch"


class Rows(NamedTuple):
    """What is learnt from."""

    frame: pd.DataFrame
    """Features."""
    target: Array
    """Class numbers [n], or quantities [n, m]."""
    groups: Array | None = None
    """Subject per row, [n]; keeps a subject's rows in one fold."""
    weights: Array | None = None
    """What each row weighs, [n]; None: all weigh alike."""

    def at(self, rows: Array) -> "Rows":
        """The rows of these numbers."""
        groups, weights = (
            None if one is None else one[rows] for one in (self.groups, self.weights)
        )
        return Rows(self.frame.iloc[rows], self.target[rows], groups, weights)


class Memory:
    """What the best candidate so far said out of fold, so that nobody has to train it again to hear
    that.
    """

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.folds: list[Fold] = []
        self._best = -np.inf

    def keep(
        self,
        params: dict[str, Any],
        found: list[float],
        rows: list[Array],
        heard: list[Array | None],
    ) -> None:
        """Take it if its mean score is better; `heard` of the first folds, whose `rows` are
        numbers.
        """
        if np.mean(found) <= self._best:
            return
        self._best, self.params = float(np.mean(found)), params
        self.folds = [
            Fold(at, said) for at, said in zip(rows, heard, strict=False) if said is not None
        ]


class Models:
    """Estimators to choose among; a search names them by `model`, and their parameters as
    `NAME__PARAMETER`.
    """

    def __init__(self, by_name: dict[str, Any], left_out: Collection[str] = ()) -> None:
        """Take them, the first is the one that is trained where no search chooses; `""` names a
        single one.

        Args:
            by_name: unfitted estimators.
            left_out: names of others that cannot do what casemate.toml asks for; a search may name
                them in vain.
        """
        self.by_name = by_name
        self.left_out = frozenset(left_out)

    @property
    def first(self) -> Any:
        """The one that is trained where no search chooses."""
        return next(iter(self.by_name.values()))

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return "" in self.by_name

    def for_mode(self, mode: str, space: dict[str, Any]) -> "Models":
        """Those that the mode can train well: private and adversarial training keep linear models
        and networks where there are some.

        What a search names alone stays: somebody asked for it.
        """
        if self.single or mode == "plain":
            return self
        asked = space.get(MODEL, list(self.by_name))
        named = {name: model for name, model in self.by_name.items() if name in asked}
        fitting = {name: model for name, model in named.items() if final_of(model) in BOUNDED}
        return Models(fitting or named or self.by_name, self.left_out)

    def unknown(self, space: dict[str, Any]) -> str:
        """A name of the search that is no parameter; empty when there is none."""
        if self.single:
            return next((name for name in sorted(space) if name not in self.first.get_params()), "")
        known = {
            f"{name}__{one}" for name, model in self.by_name.items() for one in model.get_params()
        }
        return next((name for name in sorted(space) if name != MODEL and name not in known), "")

    def kept(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters that concern the model that they choose."""
        if self.single:
            return params
        chosen = params.get(MODEL, next(iter(self.by_name)))
        return {
            name: value
            for name, value in params.items()
            if name == MODEL or name.startswith(f"{chosen}__")
        }

    def made(self, params: dict[str, Any]) -> Any:
        """A fresh estimator with these parameters."""
        if self.single:
            return clone(self.first).set_params(**params)
        chosen = params.get(MODEL, next(iter(self.by_name)))
        given = {
            name.partition("__")[2]: value
            for name, value in params.items()
            if name.startswith(f"{chosen}__")
        }
        return clone(self.by_name[chosen]).set_params(**given)


def final_of(model: Any) -> str:
    """Name of the class that a pipeline ends in."""
    return type(model.steps[-1][1] if hasattr(model, "steps") else model).__name__


def search(
    models: Models,
    rows: Rows,
    options: TrainTable,
    study: Path,
    channel: Channel,
    memory: "Memory | None" = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """(best parameters, every candidate with its scores, metric).

    Args:
        models: unfitted classifiers or regressors.
        rows: training rows.
        options: the `[train]` table.
        study: folder for Optuna's journal.
        channel: gets progress.
        memory: gets what the best candidate said out of fold.
    """
    metric = metric_of(options, rows.target)
    _require_weighable(metric, rows)
    space = _space(models, options)
    score = _scorer(models, rows, options, metric, memory)
    candidates = (
        _study(models, space, options, study, score)
        if _ranges(space)
        else _grid(models, space, score)
    )
    total = options.trials if _ranges(space) else len(_products(models, space))
    history: list[dict[str, Any]] = []
    channel.progress("cross-validation", 0, total)
    for params, scores in candidates:
        if not np.isfinite(scores).all():
            raise BadSearch(
                f"{metric} is not defined in every fold (a class may be missing in one): lower"
                " [train] folds, or use more rows"
            )
        history.append(
            {
                "params": params,
                "scores": scores,
                "mean": float(np.mean(scores)),
                "std": float(np.std(scores)),
            }
        )
        channel.progress(
            f"cross-validation, {metric} {history[-1]['mean']:.4f}", len(history), total
        )
    return _best(history)["params"], history, metric


def nested(models: Models, rows: Rows, options: TrainTable, channel: Channel) -> list[float]:
    """Score of the whole search on every outer fold."""
    metric = metric_of(options, rows.target)
    found = []
    for number, (train, test) in enumerate(splits(rows, options, options.nested, options.seed + 1)):
        channel.progress("nested cross-validation", number, options.nested)
        space = _space(models, options)
        score = _scorer(models, rows.at(train), options, metric)
        candidates = (
            _study(models, space, options, None, score)
            if _ranges(space)
            else _grid(models, space, score)
        )
        history = [
            {"params": params, "mean": float(np.mean(scores)), "scores": scores}
            for params, scores in candidates
        ]
        found.append(
            _scored(models.made(_best(history)["params"]), rows, train, test, metric, options)[0]
        )
    return found


def _scored(
    model: Any, rows: Rows, train: Array, test: Array, metric: str, options: TrainTable
) -> tuple[float, Array | None]:
    """Trained on some rows: (score on others, what it says of them where that can be calibrated);
    weights count on both sides.
    """
    taught, asked = rows.at(train), rows.at(test)
    model.fit(taught.frame, wanted(taught.target), **fit_params(model, taught.weights))
    weights = {} if asked.weights is None else {"sample_weight": asked.weights}
    said = scores_of(model, asked.frame) if asked.target.ndim == 1 and adjustable(model) else None
    return float(scorer(metric, options)(model, asked.frame, wanted(asked.target), **weights)), said


def scorer(metric: str, options: TrainTable) -> Any:
    """scikit-learn's, or that of the declared quantile."""
    if metric != PINBALL:
        return get_scorer(metric)
    return make_scorer(mean_pinball_loss, greater_is_better=False, alpha=options.quantile)


def _require_weighable(metric: str, rows: Rows) -> None:
    """BadSearch when rows are weighted and the scorer would count them alike."""
    if metric == PINBALL:
        return
    score = get_scorer(metric)._score_func  # noqa: SLF001 - scikit-learn does not say it elsewhere
    if rows.weights is not None and (
        "sample_weight" not in inspect.signature(score).parameters or "_ovo" in metric
    ):
        raise BadSearch(
            f"[train] metric {metric!r} cannot weigh rows, and [data] weight is set: use another"
            " one, such as neg_log_loss or r2"
        )


def metric_of(options: TrainTable, target: Array) -> str:
    """The scorer's name; BadSearch when scikit-learn has none of it."""
    if options.quantile is not None:
        return PINBALL
    metric = options.metric or (
        "roc_auc"
        if target.ndim == 1
        else "r2"
        if target.shape[1] > 1
        else "neg_root_mean_squared_error"
    )
    if metric == "roc_auc" and target.ndim == 1 and target.max() > 1:
        metric = "roc_auc_ovr"
    if metric not in get_scorer_names():
        raise BadSearch(f"[train] metric {metric!r} is no scikit-learn scorer")
    of_quantities = get_scorer(metric)._score_func.__module__.endswith("_regression")  # noqa: SLF001 - scikit-learn does not say it elsewhere
    if of_quantities != (target.ndim == 2):
        raise BadSearch(
            f"[train] metric {metric!r} does not fit [data] task: it is for"
            f" {'regression' if of_quantities else 'classification'}"
        )
    return metric


def _space(models: Models, options: TrainTable) -> dict[str, Any]:
    """What to search: the `[train] search` of casemate.toml, without the models that the mode does
    not train.

    Raises:
        BadSearch: it names what no model has.
    """
    space = options.search
    named = space.get(MODEL) if not models.single else None
    if named is not None:
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise BadSearch(f"[train] search: {MODEL} must be a list of names")
        left = [name for name in named if name in models.by_name]
        missing = next(
            (name for name in named if name not in models.by_name and name not in models.left_out),
            "",
        )
        if not left or (options.mode == "plain" and missing):
            missing = missing or named[0]
            raise BadSearch(
                f"[train] search names the model {missing!r}, there are:"
                f" {', '.join(models.by_name)}"
            )
        gone = tuple(f"{name}__" for name in named if name not in left)
        space = (
            {name: value for name, value in space.items() if not name.startswith(gone)}
            | {MODEL: left}
            if gone
            else space
        )
        space = {MODEL: space[MODEL], **space}  # first: it decides which parameters follow
    unknown = models.unknown(space)
    if unknown:
        known = (
            ", ".join(sorted(models.first.get_params()))[:300]
            if models.single
            else f"{MODEL} ({', '.join(models.by_name)}) and their parameters"
        )
        raise BadSearch(
            f"[train] search names {unknown!r}, the estimator has: {known}; write the search that"
            " fits train.py, or leave it out"
        )
    return space


def _ranges(space: dict[str, Any]) -> bool:
    return any(isinstance(values, dict) for values in space.values())


def _best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The best of those that were not stopped early."""
    most = max(len(candidate["scores"]) for candidate in history)
    return max(
        (candidate for candidate in history if len(candidate["scores"]) == most),
        key=lambda candidate: candidate["mean"],
    )


def splits(rows: Rows, options: TrainTable, folds: int, seed: int) -> list[tuple[Array, Array]]:
    """(numbers of the rows to train on, to ask about) of each fold."""
    frame, target, groups, _ = rows
    if options.split == "ordered":
        return [
            _forward(train, test, target, groups)
            for train, test in TimeSeriesSplit(folds).split(frame)
        ]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    return list(
        splitter(folds, shuffle=True, random_state=seed).split(frame, strata_of(target), groups)
    )


def _forward(train: Array, test: Array, target: Array, groups: Array | None) -> tuple[Array, Array]:
    """A fold that goes forward in time, without the later rows of people who are known already."""
    if groups is not None:
        test = test[~np.isin(groups[test], groups[train])]
    if target.ndim == 1 and any(
        len(np.unique(target[side])) <= target.max() for side in (train, test)
    ):
        text = (
            f"[train] folds: cut in order of time, {len(train)} older rows and {len(test)} newer"
            " ones do not hold every class both"
        )
        raise BadSearch(text + ": lower folds, or use more rows")
    return train, test


def _scorer(
    models: Models, rows: Rows, options: TrainTable, metric: str, memory: "Memory | None" = None
) -> Score:
    repeats = 1 if options.split == "ordered" else options.repeats
    folds = [
        fold
        for repeat in range(repeats)
        for fold in splits(rows, options, options.folds, options.seed + repeat)
    ]

    def score(params: dict[str, Any], stop: Callable[[list[float]], bool]) -> list[float]:
        model = models.made(params)
        found: list[float] = []
        heard: list[Array | None] = []
        step = options.jobs if options.prune and _ranges(options.search) else len(folds)
        for start in range(0, len(folds), step):
            cut = folds[start : start + step]
            with fitting(FEW * rows.frame.size):
                parts = Parallel(n_jobs=options.jobs)(
                    delayed(_scored)(clone(model), rows, *fold, metric, options) for fold in cut
                )
            found, heard = (
                found + [value for value, _ in parts],
                heard + [said for _, said in parts],
            )
            if len(found) < len(folds) and stop(found):
                break
        if memory is not None and len(found) == len(folds):
            memory.keep(params, found, [fold for _, fold in folds[: options.folds]], heard)
        return found

    return score


def _products(models: Models, space: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination once; parameters of the models that are not chosen make none."""
    found: list[dict[str, Any]] = []
    for values in itertools.product(*space.values()):
        params = models.kept(dict(zip(space, values, strict=True)))
        if params not in found:
            found.append(params)
    return found


def _grid(
    models: Models, space: dict[str, Any], score: Score
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    for params in _products(models, space):
        yield params, score(params, lambda _: False)


def _study(
    models: Models, space: dict[str, Any], options: TrainTable, folder: Path | None, score: Score
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = (
        None if folder is None else JournalStorage(JournalFileBackend(str(folder / "journal")))
    )
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=5)
        if options.prune
        else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        study_name="search",
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        pruner=pruner,
    )
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    for earlier in finished:
        yield earlier.user_attrs["params"], earlier.user_attrs["scores"]
    for count in range(len(finished), options.trials):
        # A sampler seeded by the number of finished trials makes a resumed search equal an
        # uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + count)
        trial = study.ask()
        params: dict[str, Any] = {}
        for name, values in space.items():
            if name in models.kept({**params, name: None}):
                params[name] = _suggest(trial, name, values)

        def stop(scores: list[float], trial: Any = trial) -> bool:
            trial.report(float(np.mean(scores)), len(scores))
            return bool(trial.should_prune())

        scores = score(params, stop if options.prune else lambda _: False)
        trial.set_user_attr("params", params)
        trial.set_user_attr("scores", scores)
        whole = len(scores) == max(
            [
                len(scores),
                *(
                    len(one.user_attrs["scores"])
                    for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
                ),
            ]
        )
        if whole:
            study.tell(trial, float(np.mean(scores)))
        else:
            study.tell(trial, state=TrialState.PRUNED)
        yield params, scores


def _suggest(trial: Any, name: str, space: Any) -> Any:
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    log = bool(space.get("log", False))
    if space.get("int"):
        return trial.suggest_int(name, int(space["low"]), int(space["high"]), log=log)
    return trial.suggest_float(name, float(space["low"]), float(space["high"]), log=log)
