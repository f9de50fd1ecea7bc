"""Which rows a figure stands on, and what that many can decide.

Sources: the width of an interval falls with the root of the number of rows; power of a
non-inferiority margin as in Julious, Sample Sizes for Clinical Trials (2010), ch. 4.
"""

import math

from casemate.core.types import Assessment, Interval, SealedDataset

POWER = 0.8
"""Chance at which a difference counts as one that a hold-out can decide."""
SIDED = 1.9599639845400536
"""Standard errors of a half of a 95 % interval, as `intervals.LEVEL`."""
MOST = 10**9
"""Rows above which a hold-out cannot be collected, and no number is told."""
HOLDOUT = "hold-out rows"


def standing(name: str, dataset: SealedDataset, assessment: Assessment) -> tuple[int, str, int]:
    """(number of rows, whose they are, of how many subjects) that a figure stands on.

    Rows are 0 where it stands on none or they were not counted, subjects where each row is of
    another one.
    """
    if assessment.labels:  # of the same rows each
        label, figure = of_label(name, assessment)
        one = assessment.labels[label or next(iter(assessment.labels))]
        return standing(figure, dataset, one)
    count, whose = _standing(name, dataset, assessment)
    table, dot, _ = name.partition("@")[0].rpartition(".")
    if dot:
        return count, whose, int(assessment.tables.get(table, {}).get("subjects", 0))
    if "@" in name:
        return count, whose, int(assessment.robustness.get("subjects", 0))
    return count, whose, assessment.subjects if whose == HOLDOUT else 0


def of_label(name: str, assessment: Assessment) -> tuple[str, str]:
    """(the label that a figure is about, its name without that); no label where it is about all of
    them, or there are none.
    """
    figure, at, eps = name.partition("@")
    label, _, plain = figure.rpartition(".")
    return (label, plain + at + eps) if label in assessment.labels else ("", name)


def _standing(name: str, dataset: SealedDataset, assessment: Assessment) -> tuple[int, str]:
    figure, _, eps = name.partition("@")
    table, dot, _ = figure.rpartition(".")
    if dot:
        return int(assessment.tables.get(table, {}).get("rows", 0)), f"rows of {table}"
    if eps:
        return int(assessment.robustness.get("rows", 0)), "attacked hold-out rows"
    if figure.startswith("membership"):
        return int(assessment.membership.get("rows_per_side", 0)), "rows a side"
    for start, part in (("lira", "lira"), ("memorised", "lira"), ("attribute", "attribute")):
        if figure.startswith(start):
            return int(assessment.leakage.get(part, {}).get("rows_per_side", 0)), "rows a side"
    if figure in dataset.figures:
        return dataset.rows, "rows of the table"
    if figure == "epsilon":
        return 0, ""
    if figure == "nested_cv":
        return dataset.rows - dataset.holdout - dataset.excluded, "training rows"
    return assessment.rows, HOLDOUT


def settling(figure: Interval, limit: float, rows: int) -> int | None:
    """About how many rows bring the end of the interval to `limit`, if the figure stays what it is;
    None: no number does.
    """
    distance = abs(figure.value - limit)
    half = figure.value - figure.low if figure.value > limit else figure.high - figure.value
    return _scaled(rows, half, distance)


def auc_half(positives: int, others: int, auc: float = 0.8) -> float:
    """About half the width of the 95 % interval of an AUC on so many rows: how far from a limit it
    must lie to be decided.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve (Radiology 143,
    1982), for exponential scores.
    """
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (positives - 1) * (one - auc**2) + (others - 1) * (two - auc**2)
    ) / (positives * others)
    return SIDED * math.sqrt(variance)


def decidable(half: float) -> float:
    """Difference that an interval of half-width `half` tells from none with `POWER`, two-sided at 5
    %.
    """
    from statistics import NormalDist

    return half * (SIDED + NormalDist().inv_cdf(POWER)) / SIDED


def needed(half: float, margin: float, rows: int) -> int | None:
    """About how many rows an equally good model needs to be shown no worse than `margin` with
    `POWER`; None: no number does.
    """
    return _scaled(rows, decidable(half), margin)


def _scaled(rows: int, half: float, distance: float) -> int | None:
    if distance <= 0 or half <= 0 or not rows:
        return None
    wanted = rows * (half / distance) ** 2
    return math.ceil(wanted) if wanted < MOST else None


def wanted_rows(wanted: int, rows: int, subjects: int) -> str:
    """About how many rows are wanted; of subjects with several rows also how many subjects, because
    more rows of the same ones say little.
    """
    return about(wanted) + (
        f" of about {about(math.ceil(wanted * subjects / rows))} subjects" if subjects else ""
    )


def about(count: int) -> str:
    """A number of rows to two digits."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{round(count / step) * step:,}".replace(",", " ")
