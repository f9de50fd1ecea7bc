"""What no single table can know: which of them go together."""

from typing import Any

from casemate.config.access import impossible_access
from casemate.config.aws import impossible_aws
from casemate.config.data import impossible_data
from casemate.config.deploy import impossible_deploy
from casemate.config.figures import (
    AT_EPS,
    CLASSIFICATION,
    FIGURES,
    LABELS,
    OF_CLASSES,
    OF_QUANTITIES,
    ON_TRAINING_ROWS,
    QUALITY,
    REGRESSION,
    SCAN,
)
from casemate.config.release import GateTable
from casemate.config.screen import ScreenTable
from casemate.config.serve import impossible_serve
from casemate.config.sinks import impossible_sinks
from casemate.config.trackers import impossible_trackers
from casemate.config.train import bad_space
from casemate.config.trust import impossible_audit
from casemate.config.whole import Config
from casemate.config.words import nearest


def impossible(config: Config) -> list[str]:
    """What of the whole file does not go together."""
    problems = []
    for name, gate in config.gates.items():
        problems += _bad_scan_gate(gate) if name == SCAN else _bad_gate(name, gate, config)
    for parameter, space in config.train.search.items():
        problems += bad_space(parameter, space)
    if any(eps <= 0 for eps in config.assess.eps):
        problems.append("[assess] eps: sizes must be positive")
    problems += _bad_retraining(config)
    problems += (
        impossible_data(config.data) + _impossible_training(config) + _impossible_private(config)
    )
    problems += impossible_audit(config.audit) + impossible_access(config.access)
    problems += impossible_sinks(config.sinks) + config.privacy.impossible_terms()
    problems += impossible_deploy(config.deploy) + impossible_aws(config.deploy.aws)
    problems += impossible_serve(config.serve)
    return problems + impossible_trackers(config.trackers)


def _bad_gate(name: str, gate: GateTable, config: Config) -> list[str]:
    table, dot, figure = name.rpartition(".")
    of_label = config.data.several_labels and table in config.data.targets
    known = QUALITY if dot and not of_label else FIGURES
    if dot and not of_label and table not in config.assess.tables:
        more = " and [data] target no such label" if config.data.several_labels else ""
        return [f"[gates] {name}: [assess] tables has no {table!r}{more}"]
    if figure not in known:
        return [f"[gates] unknown figure {name!r}{nearest(figure, known)}"]
    problems = []
    wanting: dict[str, tuple[Any, str]] = {
        "cost": (config.train.costs, "what mistakes cost in [train] costs")
    }
    wanting |= dict.fromkeys(
        ("quadratic_kappa", "rank_error"),
        (config.data.ordinal, "the order of the classes in [data] ordinal"),
    )
    wanting |= dict.fromkeys(
        ("pinball_loss", "quantile_coverage"),
        (config.train.quantile, "which quantile is predicted in [train] quantile"),
    )
    if figure in wanting and not wanting[figure][0]:
        problems.append(f"[gates] {name}: say {wanting[figure][1]}")
    foreign = OF_CLASSES if config.data.task == "regression" else OF_QUANTITIES
    if figure in foreign:
        ours = ", ".join(
            REGRESSION
            if config.data.task == "regression"
            else CLASSIFICATION | (LABELS if config.data.several_labels else {})
        )
        problems.append(f"[gates] {name}: no figure of {config.data.task}, which has {ours}")
    if figure in LABELS and (of_label or dot or not config.data.several_labels):
        problems.append(
            f"[gates] {name}: is about all labels of a row together, on the hold-out of a table"
            " with several labels"
        )
    least, most = known[figure]
    if gate.min is None and gate.max is None and gate.no_worse_than is None:
        problems.append(f"[gates] {name}: give min, max or no_worse_than")
    if gate.min is not None and gate.max is not None and gate.min > gate.max:
        problems.append(f"[gates] {name}: min {gate.min} is above max {gate.max}, nothing can pass")
    if (gate.min is not None and most is not None and gate.min > most) or (
        gate.max is not None and gate.max < least
    ):
        problems.append(f"[gates] {name}: impossible, its range is {least} to {most}")
    if gate.eps is not None and figure not in AT_EPS:
        problems.append(f"[gates] {name}: eps belongs to {' and '.join(sorted(AT_EPS))} only")
    problems += _bad_scan_words(name, gate)
    if gate.eps is None and figure in AT_EPS:
        problems.append(f"[gates] {name}: give eps, the attack size in standard deviations")
    if gate.no_worse_than and (
        dot or name not in QUALITY or name.startswith("worst_") or name == "quantile_coverage"
    ):
        problems.append(
            f"[gates] {name}: no_worse_than compares figures of quality on the hold-out only"
        )
    return problems


def _bad_scan_words(name: str, gate: GateTable) -> list[str]:
    alien = gate.max_severity is not None
    return [f"[gates] {name}: max_severity belongs to {SCAN} only"] if alien else []


def _bad_scan_gate(gate: GateTable) -> list[str]:
    problems = []
    if gate.max_severity is None:
        problems.append(f'[gates] {SCAN}: give max_severity, such as "medium"')
    if (gate.min, gate.max, gate.eps, gate.no_worse_than) != (None,) * 4:
        problems.append(f"[gates] {SCAN}: it takes max_severity and nothing else")
    return problems


def _bad_retraining(config: Config) -> list[str]:
    """The figure of `[retrain]` must be one in which two models can be compared."""
    name = config.retraining_figure
    known = REGRESSION if config.data.task == "regression" else CLASSIFICATION
    if name not in known or name.startswith("worst_") or name == "quantile_coverage":
        return [f"[retrain] figure: models cannot be compared in {name!r}{nearest(name, known)}"]
    return []


def _impossible_training(config: Config) -> list[str]:
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


def _impossible_private(config: Config) -> list[str]:
    """What reads training rows before the noise, or tells something of them afterwards; each is
    refused before anything is spent.
    """
    if config.train.mode != "private":
        return []
    problems = []
    if config.train.split == "ordered":
        problems.append(
            "[train] split: where the newest share begins depends on how many rows there are;"
            ' private training needs "random"'
        )
    if config.screen.quarantine == "exclude" or config.screen.exclude not in (
        [],
        ScreenTable().exclude,
    ):
        problems.append(
            "[screen] quarantine, exclude: a row that is left out for what the others look like"
            " tells of them; private training reports only"
        )
    if config.serve.guard.unusual == "refuse":
        problems.append(
            "[serve.guard] unusual: a private model says nothing of what training rows are like;"
            ' set "flag", limits are declared'
        )
    figures = sorted(name for name in config.gates if name in ON_TRAINING_ROWS)
    limit = f"epsilon = {{ max = {config.privacy.epsilon:g} }}"
    instead = "" if "epsilon" in config.gates else f", and write `{limit}` in its place"
    problems += [
        f"[gates] {name}: training rows decide it, and private training tells nothing of them:"
        f" delete that line{instead}"
        for name in figures
    ]
    if config.privacy.rows is not None and config.privacy.rows * (1 - config.train.test_share) < 1:
        problems.append("[privacy] rows: none is left to train on")
    return problems
