"""What of `[train]` and `[assess]` does not go together, or not with the table."""

from typing import Any

from casemate.config.whole import Config


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


def impossible_training(config: Config) -> list[str]:
    """What of `[train]` and `[assess]` does not go together."""
    problems = []
    if config.data.weight is not None and config.train.mode != "plain":
        problems.append(
            f"[data] weight: {config.train.mode!r} training takes every row alike; leave weight"
            ' out, or set [train] mode = "plain"'
        )
    if config.privacy.budget_delta < config.privacy.delta:
        problems.append("[privacy] budget_delta is below delta: no training could ever be paid for")
    if config.train.mode == "private" and config.train.search:
        problems.append(
            "[train] search: every candidate of a search spends privacy: delete the line that"
            " begins with `search =`; parameters are set in train.py"
        )
    if config.train.mode == "private" and config.train.nested:
        problems.append("[train] nested: every outer fold would spend privacy")
    if config.data.several_labels:
        problems += _impossible_labels(config)
    if config.data.task == "regression" and config.train.mode != "plain":
        problems.append(
            f"[train] mode: {config.train.mode!r} is for classifiers, [data] task is regression"
        )
    if config.train.model is not None and config.train.mode != "plain":
        problems.append(
            "[train] model: an imported model is not trained here, so mode cannot be"
            f" {config.train.mode!r}"
        )
    problems += _impossible_wishes(config)
    problems += _impossible_rest(config)
    if config.train.classes and config.train.model is None:
        problems.append(
            "[train] classes: is for an imported model; classes of your own training are the"
            " table's"
        )
    for behaviour in config.assess.behaviour:
        if (behaviour.add is None) == (behaviour.to is None):
            problems.append(
                f"[[assess.behaviour]] {behaviour.name}: give add (a number) or to (categories)"
            )
        if behaviour.expect != "same" and behaviour.add is None:
            problems.append(f"[[assess.behaviour]] {behaviour.name}: up and down need add")
    return problems


def _impossible_labels(config: Config) -> list[str]:
    """What is for one target only."""
    problems = [
        f"[assess] tables: {name!r} is a label's name too, and gates could not tell them apart"
        for name in config.assess.tables
        if name in config.data.targets
    ]
    way = "make a project for each label (casemate init a-folder --table FILE --target LABEL)"
    if config.train.mode != "plain":
        problems.append(
            f"[train] mode: {config.train.mode!r} training is for one target, [data] target names"
            f" {len(config.data.targets)} labels: {way}"
        )
    if config.train.transformers:
        problems.append(
            "[train] transformers: code of your own is asked apart, for one target, [data] target"
            f" names {len(config.data.targets)} labels: {way}"
        )
    if config.train.model is not None:
        problems.append(
            "[train] model: an imported model answers for one target, [data] target names"
            f" {len(config.data.targets)} labels: {way}"
        )
    return problems


def _impossible_rest(config: Config) -> list[str]:
    """What cannot go on with the rows beside a sample."""
    data, train = config.data, config.train
    if train.rows == "sample":
        return []
    where = '[train] rows = "all"'
    reasons = {
        "needs [data] sample: without it every row is learnt from already": data.sample is None,
        (
            f"{train.mode!r} training needs all its rows at once: hand over fewer rows, or set"
            ' mode = "plain"'
        ): train.mode != "plain",
        "an imported model is not trained here: take out [train] model": train.model is not None,
        (
            "several labels are learnt by a model each, and the stream is read once: make a project"
            " for each label"
        ): data.several_labels,
        (
            "costs decide the threshold by answers to rows that other folds held out, and the model"
            " that goes on gives others: leave costs out"
        ): bool(train.costs),
        (
            "of an ordered split the newest of the drawn rows are held out, and a row beside them"
            ' may be newer or older: set split = "random"'
        ): train.split == "ordered",
    }
    return [f"{where}: {reason}" for reason, holds in reasons.items() if holds]


def _impossible_wishes(config: Config) -> list[str]:
    """Costs and monotone effects where nothing keeps them."""
    data, train, problems = config.data, config.train, []
    if train.costs and data.task == "regression":
        problems.append(
            "[train] costs: is for classes; of a quantity, weigh its errors by the estimator's loss"
        )
    elif train.costs and len(train.costs) != 2:
        problems.append(
            f"[train] costs: names {len(train.costs)} classes, it decides between two: say what a"
            " row of each costs when it is missed"
        )
    monotone = [name for name, column in data.columns.items() if column.monotone is not None]
    problems += [
        f"[data.columns] {name}: monotone, and it is no feature"
        for name in monotone
        if name in data.no_features or data.column(name).use is False
    ]
    if train.quantile is not None and (data.task != "regression" or len(data.targets) > 1):
        problems.append(
            '[train] quantile: is of one quantity ([data] task = "regression" with one target)'
        )
    if train.quantile is not None and train.metric not in (None, "neg_mean_pinball_loss"):
        problems.append(
            f"[train] metric: {train.metric!r} does not judge a quantile; leave it out, the pinball"
            " loss chooses"
        )
    if data.ordinal and train.mode == "private":
        problems.append(
            "[data] ordinal: private training takes classes in the order of [data.columns]"
            " categories"
        )
    wishes = [
        ("[train] costs", bool(train.costs)),
        *((f"[data.columns] {name}: monotone", True) for name in monotone),
    ]
    if train.mode != "plain":
        problems += [f'{wish} needs [train] mode = "plain"' for wish, said in wishes if said]
    return problems
