"""Cross-validated search: a grid for lists of values, Optuna with a resumable journal when there are ranges."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel


class BadSearch(Exception):
    """A parameter or metric of the configuration does not exist."""

    kind = "BadSearch"


def search(
    estimator: BaseEstimator,
    frame: pd.DataFrame,
    codes: np.ndarray[Any, Any],
    groups: np.ndarray[Any, Any] | None,
    options: TrainTable,
    study: Path,
    channel: Channel,
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """(best parameters, every candidate with its scores, metric).

    Args:
        estimator: unfitted classifier.
        frame: feature frame.
        codes: class numbers.
        groups: subject per row; keeps a subject's rows in one fold.
        options: the `[train]` table.
        study: folder for Optuna's journal.
        channel: gets progress.
    """
    metric = options.metric
    if metric == "roc_auc" and codes.max() > 1:
        metric = "roc_auc_ovr"
    if metric not in get_scorer_names():
        raise BadSearch(f"[train] metric {metric!r} is no scikit-learn scorer")
    unknown = set(options.search) - set(estimator.get_params())
    if unknown:
        known = ", ".join(sorted(estimator.get_params()))[:300]
        raise BadSearch(f"[train] search names {sorted(unknown)[0]!r}, the estimator has: {known}")
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = splitter(options.folds, shuffle=True, random_state=options.seed)
    splits = list(folds.split(frame, codes, groups))

    def score(params: dict[str, Any]) -> list[float]:
        model = clone(estimator).set_params(**params)
        found = cross_val_score(model, frame, codes, cv=splits, scoring=metric, n_jobs=options.jobs, error_score="raise")
        return [float(value) for value in found]

    ranges = any(isinstance(space, dict) for space in options.search.values())
    candidates = _study(options, study, score) if ranges else _grid(options, score)
    total = options.trials if ranges else int(np.prod([len(values) for values in options.search.values()], dtype=int))
    history: list[dict[str, Any]] = []
    channel.progress("cross-validation", 0, total)
    for params, scores in candidates:
        if not np.isfinite(scores).all():
            raise BadSearch(f"{metric} is not defined in every fold (a class may be missing in one): lower [train] folds, or use more rows")
        history.append({"params": params, "scores": scores, "mean": float(np.mean(scores)), "std": float(np.std(scores))})
        channel.progress(f"cross-validation, {metric} {history[-1]['mean']:.4f}", len(history), total)
    best = max(history, key=lambda candidate: candidate["mean"])
    return best["params"], history, metric


def _grid(options: TrainTable, score: Any) -> Iterator[tuple[dict[str, Any], list[float]]]:
    for values in itertools.product(*options.search.values()):
        params = dict(zip(options.search, values, strict=True))
        yield params, score(params)


def _study(options: TrainTable, folder: Path, score: Any) -> Iterator[tuple[dict[str, Any], list[float]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal")))
    study = optuna.create_study(study_name="search", storage=storage, load_if_exists=True, direction="maximize")
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for earlier in finished:
        yield earlier.user_attrs["params"], earlier.user_attrs["scores"]
    for count in range(len(finished), options.trials):
        # A sampler seeded by the number of finished trials makes a resumed search equal an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + count)
        trial = study.ask()
        params = {name: _suggest(trial, name, space) for name, space in options.search.items()}
        scores = score(params)
        trial.set_user_attr("params", params)
        trial.set_user_attr("scores", scores)
        study.tell(trial, float(np.mean(scores)))
        yield params, scores


def _suggest(trial: Any, name: str, space: Any) -> Any:
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    log = bool(space.get("log", False))
    if space.get("int"):
        return trial.suggest_int(name, int(space["low"]), int(space["high"]), log=log)
    return trial.suggest_float(name, float(space["low"]), float(space["high"]), log=log)
