"""What candidates are judged by."""

import inspect
from typing import Any

from sklearn.metrics import get_scorer, get_scorer_names, make_scorer, mean_pinball_loss

from casemate.config import TrainTable
from casemate.stages.train.folds import Array, BadSearch, Rows

PINBALL = "neg_mean_pinball_loss"
"""What chooses among models of a quantile."""


def scorer(metric: str, options: TrainTable) -> Any:
    """scikit-learn's, or that of the declared quantile."""
    if metric != PINBALL:
        return get_scorer(metric)
    return make_scorer(mean_pinball_loss, greater_is_better=False, alpha=options.quantile)


def require_weighable(metric: str, rows: Rows) -> None:
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
