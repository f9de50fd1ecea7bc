"""Tables of figures on the card: what was dropped, compared, attacked, shuffled and grouped."""

from typing import Any

from casemate.core import figures
from casemate.core.page import NOTHING, Section
from casemate.core.types import Assessment, Interval, number_text

MOST_ROWS = 40
"""Of a table on the card; the evidence has all of them."""


def first_rows(rows: list[list[Any]]) -> list[list[Any]]:
    """The first rows of a table, and how many more there are."""
    more = len(rows) - MOST_ROWS
    return (
        [*rows[:MOST_ROWS], [f"and {more} more", *[""] * (len(rows[0]) - 1)]] if more > 0 else rows
    )


def further_tables(assessment: Assessment, regression: bool) -> dict[str, list[Section]]:
    """Tables that belong to a group of figures, by its title."""
    return {
        figures.GOOD.title: [
            *_dropped(assessment),
            *_compared(assessment),
            *_importance(assessment, regression),
        ],
        figures.WHOM.title: _groups(assessment, regression),
        figures.ROBUST.title: _robustness(assessment),
    }


def _dropped(assessment: Assessment) -> list[Section]:
    if not assessment.with_dropped:
        return []
    text = (
        f"The hold-out as it was chosen, with the {assessment.dropped} rows that a person's"
        " decision took out; gates go by the figures without."
    )
    with_, without = assessment.with_dropped, assessment.metrics
    rows = [
        [name, _number(w.value), range_text(w), _number(without[name].value)]
        for name, w in sorted(with_.items())
        if name in without
    ]
    return [
        Section(
            "With the rows that were taken out",
            text,
            heads=["figure", "with these rows", "95 % interval", "without"],
            rows=rows,
        )
    ]


def _compared(assessment: Assessment) -> list[Section]:
    if not assessment.compared:
        return []
    rows = [
        [name, _number(figure.value), range_text(figure)]
        for name, figure in sorted(assessment.compared.items())
    ]
    counts = assessment.mcnemar
    gained, lost, p = (
        counts.get(name, default) for name, default in (("gained", 0), ("lost", 0), ("p", 1))
    )
    text = (
        f"Against {assessment.previous} on the same {assessment.compared_rows} hold-out rows, which"
        " neither saw"
    )
    whose = f" over {counts['subjects']:g} subjects" if "subjects" in counts else ""
    text += f": {gained:g} gained, {lost:g} lost, p {p:.3g}{whose}." if counts else "."
    return [
        Section(
            "Compared with the model before",
            text,
            heads=["figure", "difference", "95 % interval"],
            rows=rows,
        )
    ]


def _robustness(assessment: Assessment) -> list[Section]:
    """The attacks, and the declared tests of behaviour."""
    parts = _attacked(assessment)
    if assessment.behaviour:
        rows = [
            [
                test.name,
                test.expect,
                test.rows,
                test.broken,
                "passed" if test.passed else "refused",
            ]
            for test in assessment.behaviour
        ]
        parts.append(
            Section("Behaviour", heads=["test", "expects", "rows", "broken", ""], rows=rows)
        )
    return parts


def _attacked(assessment: Assessment) -> list[Section]:
    curve = assessment.robustness.get("curve", [])
    if not curve:
        return []
    rows = [
        [
            point["eps"],
            point["robust_accuracy"],
            point.get("certified_accuracy", NOTHING),
            point["noise_accuracy"],
        ]
        for point in curve
    ]
    text = (
        f"Attacks: {', '.join(assessment.robustness['attacks'])}; eps in"
        f" {assessment.robustness['unit']}; {assessment.robustness['rows']} rows."
    )
    if "strongest" in assessment.robustness:
        spent = assessment.robustness["budget"][assessment.robustness["strongest"]]
        text += (
            f" The strongest, {assessment.robustness['strongest']}, broke {spent['broke']} rows"
            f" with {spent['queries']} questions."
        )
    if "second_opinion" in assessment.robustness:
        broke = sum(assessment.robustness["second_opinion"]["broke"].values())
        text += (
            f" A second opinion ({assessment.robustness['second_opinion']['by']}) broke {broke}"
            " rows by itself; the worse figure counts."
        )
    if "tolerance" in assessment.robustness:
        text += (
            f" Right is what lies within {assessment.robustness['tolerance']:g} deviations of the"
            " target."
        )
    if assessment.tradeoff:
        plain = {
            point["eps"]: point["robust_accuracy"] for point in assessment.tradeoff["plain_curve"]
        }
        text += (
            f" Without hardening: accuracy {assessment.tradeoff['plain_accuracy']:.3f}, robust"
            " accuracy "
        )
        text += ", ".join(f"{value:.3f} at {eps:g}" for eps, value in plain.items()) + "."
    return [
        Section(
            "Attacks", text, heads=["eps", "robust accuracy", "certified", "under noise"], rows=rows
        )
    ]


def _importance(assessment: Assessment, regression: bool) -> list[Section]:
    if not assessment.importance:
        return []
    rows = first_rows([[row.feature, row.mean, row.std] for row in assessment.importance])
    loss = (
        "Rise of the squared error, in variances of the target,"
        if regression
        else "Loss of log-likelihood"
    )
    return [
        Section(
            "What it goes by",
            f"{loss} when a feature is shuffled.",
            heads=["feature", "mean", "deviation"],
            rows=rows,
        )
    ]


def _groups(assessment: Assessment, regression: bool) -> list[Section]:
    """By protected attribute, then the parts of the table that come off worst."""
    parts = []
    if assessment.fairness:
        keys = list(assessment.fairness[0])
        heads = ["attribute", "group", *(key.replace("_", " ") for key in keys[2:])]
        rows = [
            [NOTHING if group[key] is None else group[key] for key in keys]
            for group in assessment.fairness
        ]
        parts.append(
            Section(
                "Groups",
                "In deviations of the target." if regression else "",
                heads=heads,
                rows=rows,
            )
        )
    if assessment.slices:
        figure, sign = ("mae", -1) if regression else ("accuracy", 1)
        worst = sorted(assessment.slices, key=lambda part: sign * part[figure])[:MOST_ROWS]
        rows = [[s["column"], s["value"], s["rows"], s[figure]] for s in worst]
        parts.append(Section("Slices", heads=["column", "value", "rows", figure], rows=rows))
    return parts


def _number(value: float) -> str:
    return number_text(value)


def range_text(figure: Interval) -> str:
    """The ends of an interval, for people."""
    return (
        NOTHING if figure.low == figure.high else f"{_number(figure.low)} to {_number(figure.high)}"
    )
