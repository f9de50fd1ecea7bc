"""Cross-validated search: a grid for lists of values, Optuna with a resumable journal and pruning when there are ranges.

Nested cross-validation judges the whole search: each outer fold is held out from a search of its own (Varma and Simon, BMC
Bioinformatics 2006), because the best score of a search is too good.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit, cross_val_score

from casemate.config import TrainTable
from casemate.core.frame import strata_of, wanted
from casemate.core.sandbox.child import Channel
from casemate.core.threads import fitting

Array = np.ndarray[Any, Any]
Score = Callable[[dict[str, Any], Callable[[list[float]], bool]], list[float]]
"""Parameters, and whether to stop after these scores -> scores of the folds."""
FEW = 10
"""A user's fit stands alone, so threads pay from a tenth of the size on that they pay for ours."""


class BadSearch(Exception):
    """A parameter or metric of the configuration does not exist."""

    kind = "BadSearch"


def search(
    estimator: BaseEstimator,
    frame: pd.DataFrame,
    target: Array,
    groups: Array | None,
    options: TrainTable,
    study: Path,
    channel: Channel,
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """(best parameters, every candidate with its scores, metric).

    Args:
        estimator: unfitted classifier or regressor.
        frame: feature frame.
        target: class numbers [n], or quantities [n, m].
        groups: subject per row; keeps a subject's rows in one fold.
        options: the `[train]` table.
        study: folder for Optuna's journal.
        channel: gets progress.
    """
    metric = metric_of(options, target)
    unknown = set(options.search) - set(estimator.get_params())
    if unknown:
        known = ", ".join(sorted(estimator.get_params()))[:300]
        raise BadSearch(f"[train] search names {sorted(unknown)[0]!r}, the estimator has: {known}")
    score = _scorer(estimator, frame, target, groups, options, metric)
    candidates = _study(options, study, score) if _ranges(options) else _grid(options, score)
    total = options.trials if _ranges(options) else int(np.prod([len(values) for values in options.search.values()], dtype=int))
    history: list[dict[str, Any]] = []
    channel.progress("cross-validation", 0, total)
    for params, scores in candidates:
        if not np.isfinite(scores).all():
            raise BadSearch(f"{metric} is not defined in every fold (a class may be missing in one): lower [train] folds, or use more rows")
        history.append({"params": params, "scores": scores, "mean": float(np.mean(scores)), "std": float(np.std(scores))})
        channel.progress(f"cross-validation, {metric} {history[-1]['mean']:.4f}", len(history), total)
    return _best(history)["params"], history, metric


def nested(estimator: BaseEstimator, frame: pd.DataFrame, target: Array, groups: Array | None, options: TrainTable, channel: Channel) -> list[float]:
    """Score of the whole search on every outer fold."""
    metric = metric_of(options, target)
    found = []
    for number, (train, test) in enumerate(_splits(frame, target, groups, options, options.nested, options.seed + 1)):
        channel.progress("nested cross-validation", number, options.nested)
        inner = None if groups is None else groups[train]
        score = _scorer(estimator, frame.iloc[train], target[train], inner, options, metric)
        candidates = _study(options, None, score) if _ranges(options) else _grid(options, score)
        history = [{"params": params, "mean": float(np.mean(scores)), "scores": scores} for params, scores in candidates]
        model = clone(estimator).set_params(**_best(history)["params"]).fit(frame.iloc[train], wanted(target[train]))
        found.append(float(get_scorer(metric)(model, frame.iloc[test], wanted(target[test]))))
    return found


def metric_of(options: TrainTable, target: Array) -> str:
    """The scorer's name; BadSearch when scikit-learn has none of it."""
    metric = options.metric or ("roc_auc" if target.ndim == 1 else "r2" if target.shape[1] > 1 else "neg_root_mean_squared_error")
    if metric == "roc_auc" and target.ndim == 1 and target.max() > 1:
        metric = "roc_auc_ovr"
    if metric not in get_scorer_names():
        raise BadSearch(f"[train] metric {metric!r} is no scikit-learn scorer")
    of_quantities = get_scorer(metric)._score_func.__module__.endswith("_regression")  # noqa: SLF001 - scikit-learn does not say it elsewhere
    if of_quantities != (target.ndim == 2):
        raise BadSearch(f"[train] metric {metric!r} does not fit [data] task: it is for {'regression' if of_quantities else 'classification'}")
    return metric


def _ranges(options: TrainTable) -> bool:
    return any(isinstance(space, dict) for space in options.search.values())


def _best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The best of those that were not stopped early."""
    most = max(len(candidate["scores"]) for candidate in history)
    return max((candidate for candidate in history if len(candidate["scores"]) == most), key=lambda candidate: candidate["mean"])


def _splits(frame: pd.DataFrame, target: Array, groups: Array | None, options: TrainTable, folds: int, seed: int) -> list[tuple[Array, Array]]:
    if options.split == "ordered":
        return [_forward(train, test, target, groups) for train, test in TimeSeriesSplit(folds).split(frame)]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    return list(splitter(folds, shuffle=True, random_state=seed).split(frame, strata_of(target), groups))


def _forward(train: Array, test: Array, target: Array, groups: Array | None) -> tuple[Array, Array]:
    """A fold that goes forward in time, without the later rows of people who are known already."""
    if groups is not None:
        test = test[~np.isin(groups[test], groups[train])]
    if target.ndim == 1 and any(len(np.unique(target[side])) <= target.max() for side in (train, test)):
        text = f"[train] folds: cut in order of time, {len(train)} older rows and {len(test)} newer ones do not hold every class both"
        raise BadSearch(text + ": lower folds, or use more rows")
    return train, test


def _scorer(estimator: BaseEstimator, frame: pd.DataFrame, target: Array, groups: Array | None, options: TrainTable, metric: str) -> Score:
    repeats = 1 if options.split == "ordered" else options.repeats
    splits = [split for repeat in range(repeats) for split in _splits(frame, target, groups, options, options.folds, options.seed + repeat)]

    def score(params: dict[str, Any], stop: Callable[[list[float]], bool]) -> list[float]:
        model = clone(estimator).set_params(**params)
        found: list[float] = []
        step = options.jobs if options.prune and _ranges(options) else len(splits)
        for start in range(0, len(splits), step):
            cut = splits[start : start + step]
            with fitting(FEW * frame.size):
                part = cross_val_score(model, frame, wanted(target), cv=cut, scoring=metric, n_jobs=options.jobs, error_score="raise")
            found += [float(value) for value in part]
            if len(found) < len(splits) and stop(found):
                break
        return found

    return score


def _grid(options: TrainTable, score: Score) -> Iterator[tuple[dict[str, Any], list[float]]]:
    for values in itertools.product(*options.search.values()):
        params = dict(zip(options.search, values, strict=True))
        yield params, score(params, lambda _: False)


def _study(options: TrainTable, folder: Path | None, score: Score) -> Iterator[tuple[dict[str, Any], list[float]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None if folder is None else JournalStorage(JournalFileBackend(str(folder / "journal")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if options.prune else optuna.pruners.NopPruner()
    study = optuna.create_study(study_name="search", storage=storage, load_if_exists=True, direction="maximize", pruner=pruner)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    for earlier in finished:
        yield earlier.user_attrs["params"], earlier.user_attrs["scores"]
    for count in range(len(finished), options.trials):
        # A sampler seeded by the number of finished trials makes a resumed search equal an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + count)
        trial = study.ask()
        params = {name: _suggest(trial, name, space) for name, space in options.search.items()}

        def stop(scores: list[float], trial: Any = trial) -> bool:
            trial.report(float(np.mean(scores)), len(scores))
            return bool(trial.should_prune())

        scores = score(params, stop if options.prune else lambda _: False)
        trial.set_user_attr("params", params)
        trial.set_user_attr("scores", scores)
        whole = len(scores) == max(
            [len(scores), *(len(one.user_attrs["scores"]) for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))]
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
