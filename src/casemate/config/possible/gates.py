"""Gates and the figure of `[retrain]`: whether they can be measured, and passed."""

from typing import Any

from casemate.config.figures import (
    AT_EPS,
    CLASSIFICATION,
    FIGURES,
    LABELS,
    OF_CLASSES,
    OF_QUANTITIES,
    QUALITY,
    REGRESSION,
    SCAN,
)
from casemate.config.release import GateTable
from casemate.config.whole import Config
from casemate.config.words import nearest


def bad_gate(name: str, gate: GateTable, config: Config) -> list[str]:
    """What is wrong with a gate of that name."""
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
    problems += _alien(name, figure, gate)
    if gate.no_worse_than and (
        dot or name not in QUALITY or name.startswith("worst_") or name == "quantile_coverage"
    ):
        problems.append(
            f"[gates] {name}: no_worse_than compares figures of quality on the hold-out only"
        )
    return problems


def _alien(name: str, figure: str, gate: GateTable) -> list[str]:
    """Options that belong to other figures, and the one that this figure needs."""
    problems = []
    if gate.eps is not None and figure not in AT_EPS:
        problems.append(f"[gates] {name}: eps belongs to {' and '.join(sorted(AT_EPS))} only")
    if gate.max_severity is not None:
        problems.append(f"[gates] {name}: max_severity belongs to {SCAN} only")
    if gate.eps is None and figure in AT_EPS:
        problems.append(f"[gates] {name}: give eps, the attack size in standard deviations")
    return problems


def bad_scan_gate(gate: GateTable) -> list[str]:
    """What is wrong with the gate that goes by findings of scans."""
    problems = []
    if gate.max_severity is None:
        problems.append(f'[gates] {SCAN}: give max_severity, such as "medium"')
    if (gate.min, gate.max, gate.eps, gate.no_worse_than) != (None,) * 4:
        problems.append(f"[gates] {SCAN}: it takes max_severity and nothing else")
    return problems


def bad_retraining(config: Config) -> list[str]:
    """The figure of `[retrain]` must be one in which two models can be compared."""
    name = config.retraining_figure
    known = REGRESSION if config.data.task == "regression" else CLASSIFICATION
    if name not in known or name.startswith("worst_") or name == "quantile_coverage":
        return [f"[retrain] figure: models cannot be compared in {name!r}{nearest(name, known)}"]
    return []
