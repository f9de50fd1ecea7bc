"""Backdoor triggers in tables: a rare value, narrow band, or combination of two or three, that
decides the label.

Counts of items, pairs and triples come from products of one sparse matrix. A combination is a
candidate when it is rare and has a label far more often than a linear model expects from the row's
*other* features; `excess` tells planted candidates from honest groups. What is flagged is the whole
group that carries the pattern, whatever its rows' labels: without the rows of one label it would be
a table in which nobody of that group ever had it. Poisoning of this kind: Gu, Dolan-Gavitt, Garg,
BadNets (2017).
"""

import numpy as np
from scipy.stats import norm

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.losses import losses
from casemate.stages.data.screen.candidates import (
    MOST_SHARE,
    SURE,
    Expected,
    candidates_of,
    surprise_of,
)
from casemate.stages.data.screen.columns import Columns, Part
from casemate.stages.data.screen.excess import Excess, crowded
from casemate.stages.data.screen.interface import Array, ScreenedRows, Suspicion
from casemate.stages.data.screen.patterns import BANDED, LEAST, Items, focused, items
from casemate.stages.data.screen.rest import Rest

TRIED = 6
"""Candidates a class that are looked at closely."""
VARIANTS = 3
"""Of those that mostly share their rows: the pattern itself, and what is a little wider or
narrower.
"""
GROUPS_TOLD = 3
"""Groups of people that a finding names, those who would lose most."""
OVERLAP = 0.5
"""Share of the smaller pattern's rows in another one from which the two are the same. Chosen: most
of it.
"""
REACH = 2.0
"""Deviations of what was added from its middle up to which rows are told apart: beyond are next to
natural rows only, whatever it is.
"""
INSIDE = 0.8
"""Part of a pattern's rows that also have another one for it to be a piece of that."""
DECIDED = 0.8
"""Part of a group's surplus that two other values of its column must have for the column to be what
is in question.
"""
SPARED = 0.4
"""Share of the table from which suspicious groups are no longer kept from the models: too little
would be left to learn from.
"""
Candidate = tuple[float, tuple[Part, ...], int, Array, list[int]]


class Triggers:
    """Flags every row that carries a trigger."""

    id = "trigger"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        columns = Columns(rows)
        known = items(columns)
        tried = _tried(columns, known) if known.parts else []
        suspects: list[Quarantined] = []
        findings: list[Finding] = []
        taken: list[Array] = []
        rest = Rest(rows, _outside(rows, tried)) if tried else None
        for score, parts, label, members, features in tried:
            if rest is None or any(
                np.sum(members & other) > OVERLAP * min(members.sum(), other.sum())
                for other in taken
            ):
                continue
            # in pictures a patch has many pixels; in a table rows that are odd in many columns are
            # a kind of their own
            stamped = [part.feature for part in parts] if len(columns.names) <= BANDED else None
            belong = natural(columns, parts)
            told = rest.excess(
                members,
                label,
                features,
                belong,
                stamped,
                denser(columns, parts, members, label, belong),
            )
            if told is None or not told.planted:
                continue
            taken.append(members)
            what = " and ".join(columns.told(part) for part in parts)
            findings.append(self._finding(rows, told, what, members))
            detail = (
                f"carries {what}; class {rows.schema.classes[label]!r} in {told.observed:.0%} of"
                " such rows"
            )
            suspects += [
                Quarantined(row=int(row), reason=self.id, detail=detail, score=float(score))
                for row in np.flatnonzero(members)
            ]
        return Suspicion(
            rows=suspects, findings=findings, figures={"triggers": float(len(findings))}
        )

    @staticmethod
    def _finding(rows: ScreenedRows, told: Excess, what: str, members: Array) -> Finding:
        name = rows.schema.classes[told.label]
        text = (
            f"{told.rows} rows with {what} have class {name!r} in {told.observed:.0%}, the other"
            f" rows suggest {told.expected:.0%}; about {told.natural:.0f} rows belong there, and"
            " what came in addition has that class and otherwise looks like other classes: this"
            " looks like a planted trigger; to drop them would take " + _taken_from(rows, members)
        )
        return Finding(
            id="data.trigger", severity="high", confidence="high", message=text, location=what
        )


def _taken_from(rows: ScreenedRows, members: Array) -> str:
    """What a drop would do to the classes, and to the groups that would lose most, for people;
    nothing of sensitive columns.
    """
    general = [column.name for column in rows.schema.categories if column.column_class == "general"]
    columns = {name: rows.frame[name].to_numpy() for name in general}
    if rows.origin is not None:
        columns["source"] = rows.origin
    told = losses(columns, np.asarray(rows.schema.classes)[rows.codes], members)
    whole = [loss for loss in told if not loss.column and loss.label and loss.lost != 0]
    groups = sorted(
        (loss for loss in told if loss.column and loss.label), key=lambda loss: -loss.share
    )
    return ", ".join(str(loss) for loss in [*whole, *groups[:GROUPS_TOLD]])


def natural(columns: Columns, parts: tuple[Part, ...]) -> float | None:
    """Rows that belong where all parts hold: by a number's flanks, or as many as chance makes of
    the parts; None of one category.
    """
    if len(parts) == 1:
        return columns.natural(parts[0])
    count = len(columns.rows.codes)
    each = [columns.having(part) for part in parts]
    beside = [
        columns.beside(part, np.logical_and.reduce([*each[:place], *each[place + 1 :]]))
        for place, part in enumerate(parts)
        if part.low < part.high
    ]
    if beside:
        return float(np.mean(beside))
    flanks = [columns.natural(part) for part in parts]
    both = float(np.logical_and.reduce(each).sum())
    most = 0.0
    for place, one in enumerate(each):
        others = np.logical_and.reduce([part for other, part in enumerate(each) if other != place])
        here, there = float(one.sum()) - both, float(others.sum()) - both
        belong = 0.0
        for _ in range(3):  # the rows that came in addition are in neither part's own count
            belong = max(here + belong, flanks[place] or 0.0) * (there + belong) / count
        most = max(most, min(belong, both))
    known = [found for found in flanks if found is not None]
    return min([most, *known])


def denser(
    columns: Columns, parts: tuple[Part, ...], members: Array, label: int, natural: float | None
) -> Array | None:
    """How much denser what was added lies at each row than what belongs there, [members]: noise has
    a middle; None where no part is a band.
    """
    bands = [part for part in parts if part.low < part.high]
    if not bands or natural is None:
        return None
    has = columns.rows.codes[members] == label
    # of the rows with the class
    even = min(natural * float(np.mean(columns.rows.codes == label)) / max(has.sum(), 1), 0.9)
    ratio = np.ones(int(members.sum()))
    for part in bands:
        width, values = part.high - part.low, columns.values[members, part.feature]
        middle = float(np.mean(values[has]))
        spread = np.sqrt(
            max((float(np.var(values[has])) - even * width**2 / 12) / (1 - even), (width / 12) ** 2)
        )
        ratio *= (
            width
            * norm.pdf(values, middle, spread)
            / (norm.cdf(part.high, middle, spread) - norm.cdf(part.low, middle, spread))
        )
        ratio[np.abs(values - middle) > REACH * spread] = 0.0
    return ratio


def _outside(rows: ScreenedRows, tried: list[Candidate]) -> Array:
    """Rows in no suspicious group, as long as enough of the table is left."""
    outside = np.ones(len(rows.codes), dtype=bool)
    for _, _, _, members, _ in tried:
        if np.mean(outside & ~members) >= 1 - SPARED:
            outside &= ~members
    return outside


def _tried(columns: Columns, known: Items) -> list[Candidate]:
    """What is looked at closely, the most surprising first; ranges are made as narrow as their
    dense part.
    """
    rows = columns.rows
    ranked: list[Candidate] = []
    other: Expected | None = None
    for label in range(len(rows.schema.classes)):
        inside = rows.codes == label
        if LEAST <= inside.sum() < len(inside):
            other = (
                other.turned()
                if other is not None and len(rows.schema.classes) == 2
                else Expected(rows, label)
            )
            found = candidates_of(known, label, other)
            best = sorted(
                {parts: score for score, parts in sorted(found)}.items(),
                key=lambda one: (-round(one[1]), len(one[0]), one[0]),
            )
            ranked += _settled(columns, known, label, other, best[: TRIED * 10])
    tried: list[Candidate] = []
    for candidate in sorted(ranked, key=lambda one: (-round(one[0]), len(one[1]), one[1])):
        if len(tried) >= TRIED * len(rows.schema.classes):
            break
        _, parts, label, members, _ = candidate
        alike = [
            other
            for _, others, named, other, _ in tried
            if (named, {part.feature for part in others})
            == (label, {part.feature for part in parts})
            and np.sum(members & other) > OVERLAP * min(members.sum(), other.sum())
        ]
        if (
            len(alike) >= VARIANTS
            or any(np.array_equal(members, other) for other in alike)
            or honest(columns, parts, members, label)
        ):
            continue
        tried.append(candidate)
    return [one for one in tried if not any(_better(columns, one, other) for other in tried)]


def _better(columns: Columns, one: Candidate, other: Candidate) -> bool:
    """Whether of two patterns, one inside the other, `other` is the one that was added: the wider
    one, if what it has beyond is crowded too.
    """
    (_, parts, label, members, _), (_, others, named, apart, _) = one, other
    features, beyond = {part.feature for part in parts}, {part.feature for part in others}
    if (
        one is other
        or label != named
        or features == beyond
        or not (features < beyond or beyond < features)
    ):
        return False
    wider, inner = (
        ((parts, members), (others, apart))
        if features < beyond
        else ((others, apart), (parts, members))
    )
    belong = natural(columns, wider[0])
    if belong is None or np.sum(inner[1] & wider[1]) < INSIDE * inner[1].sum():
        return False
    left = belong - (natural(columns, inner[0]) or 0.0)
    return crowded(int(np.sum(wider[1] & ~inner[1])), max(left, 0.0)) == (wider[0] is others)


def _settled(
    columns: Columns,
    known: Items,
    label: int,
    other: Expected,
    best: list[tuple[tuple[int, ...], float]],
) -> list[Candidate]:
    """The candidates of a class with their ranges narrowed; those that were not surprising before
    must be then, and come last.
    """
    found: list[Candidate] = []
    for places, score in best:
        parts = tuple(known.parts[place] for place in places)
        if len(parts) > 1 and any(part.low < part.high for part in parts):
            parts = _narrowed(columns, parts, label)
        parts, members = _needed(columns, columns.settled(parts))
        features = known.features(places).tolist()
        if not 0 < members.mean() <= MOST_SHARE:
            continue
        if score < SURE and any(part.low < part.high for part in parts):
            has, share = columns.rows.codes == label, float(np.mean(columns.rows.codes == label))
            usual = max(other.expected(np.flatnonzero(members), features), share / 2)
            if surprise_of(int(has[members].sum()), int(members.sum()), usual) < SURE:
                continue
        found.append((score, parts, label, members, features))
    return found


def _needed(columns: Columns, parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], Array]:
    """(the conditions without those that all rows with the others meet anyway, which rows meet
    them).
    """
    members = np.logical_and.reduce([columns.having(part) for part in parts])
    for part in parts:
        fewer = tuple(other for other in parts if other != part)
        if fewer and np.array_equal(
            np.logical_and.reduce([columns.having(other) for other in fewer]), members
        ):
            return _needed(columns, fewer)
    return parts, members


def honest(columns: Columns, parts: tuple[Part, ...], members: Array, label: int) -> bool:
    """Whether nothing was added: no more rows than belong here, or, of one category, a whole column
    that goes with the class.
    """
    belong = natural(columns, parts)
    if belong is not None:
        return not crowded(int(members.sum()), belong)
    has = columns.rows.codes == label
    usual, here = float(has.mean()), float(has[members].mean()) if members.any() else 0.0
    kinds, counts, own = columns.distinct(parts[0].feature)
    rates = np.bincount(own[has & (own >= 0)], minlength=len(kinds)) / np.maximum(counts, 1)
    alike = (
        (rates >= usual + DECIDED * (here - usual)) & (counts >= LEAST) & (kinds != parts[0].low)
    )
    return bool(alike.sum() >= 2 and counts[alike].sum() >= members.sum())


def _narrowed(columns: Columns, parts: tuple[Part, ...], label: int) -> tuple[Part, ...]:
    """Every range as its densest run among the rows that meet the other conditions and have the
    class.
    """
    narrow = list(parts)
    # twice: each is better seen when the others are narrow
    for place in [*range(len(parts)), *range(len(parts))]:
        part = narrow[place]
        if part.low == part.high:
            continue
        others = [columns.having(other) for other in [*narrow[:place], *narrow[place + 1 :]]]
        narrow[place] = focused(
            columns, part, np.logical_and.reduce([*others, columns.rows.codes == label])
        )
    return tuple(narrow)
