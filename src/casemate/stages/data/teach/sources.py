"""Sources of feedback that say another thing than the model's scores and the other sources let
expect: somebody who turns labels, or one place that is unlike the others.

A source is named only if two tests of different grounds say so. Against the model: how many of its
rows contradict the model, where each does with the probability that the model itself gave to be
wrong; the sum has a Poisson binomial law (Hong, On computing the distribution function for the
Poisson binomial distribution, Computational Statistics & Data Analysis 59, 2013). A model that is
too sure of itself fails that test with every source, so against the others: rows are put into
strata of equal answers and scores, and within them the source contradicts as often as the others
do; the sum over strata has the law of the exact test of Mantel and Haenszel (Gart, Point and
interval estimation of the common odds ratio, Biometrika 57, 1970), which needs no calibration. The
larger of the two probabilities counts (both must hold: an intersection-union test, Berger 1982),
times the number of sources (Bonferroni). The first test protects the sources that somebody else
makes look odd, for a liar who tells most of the rows turns the second one round.

Cannot be seen: a source that turns fewer of its labels than `TURNED`; sources that lie together;
whether a named source lies or has other people than the model learnt from. With a single source the
second test says nothing, and nobody is named.
"""

from typing import Any

import numpy as np
from scipy import stats

from casemate.core.types import Record

Array = np.ndarray[Any, Any]
SURE = 1e-4
"""Chance, over all sources together, below which one is named: in one of 10 000 looks where nobody
turns anything. As in `screen.provenance`.
"""
TURNED = 0.1
"""Part of a source's labels beyond what the others let expect, from which it is named, among rows
that others tell of too: differences of places that see other people are mostly smaller. Chosen.
"""
LEAST = 10
"""Rows of a source, like rows of others, below which nothing is said of it: no ten labels are
beyond chance by `SURE` unless nearly all are turned.
"""
STEPS = (0.6, 0.7, 0.8, 0.9, 0.95)
"""Borders of the model's surety within which rows are compared. Chosen: finer ones leave strata
without others to compare with.
"""
FAR = 0.9
"""Of quantities: a row contradicts where its error is among the largest tenth of all rows'."""


class SourceSeen(Record, frozen=True, kw_only=True):
    """What one source told, beside what was to be expected."""

    name: str
    rows: int
    against: int
    """Rows that contradict the model."""
    by_model: float
    """How many the model's own scores let expect; of quantities the same as `by_others`."""
    by_others: float | None
    """How many the other sources do on rows with such scores, its own number where none tells of
    such; None: there are no others.
    """
    chance: float
    """Probability of so many, were it like the model and the others, over all sources."""
    turned: bool
    """Whether it is named."""


def strata(answers: Array, surety: Array) -> Array:
    """Rows that are alike for the model, as numbers [n].

    Args:
        answers: class numbers, or parts of the range of quantities, int64 [n].
        surety: the probability of the answer, [n]; of quantities ones.
    """
    return np.asarray(answers * (len(STEPS) + 1) + np.searchsorted(STEPS, surety, side="right"))


def judge(names: Array, against: Array, doubt: Array | None, alike: Array) -> list[SourceSeen]:
    """Every source, the most unlikely first.

    Args:
        names: who told, text [n].
        against: whether a row contradicts the model, bool [n].
        doubt: the probability that the model gave to be wrong, [n]; None of quantities.
        alike: numbers of strata, [n].
    """
    kinds = np.unique(names)
    found = [_judged(str(name), names == name, against, doubt, alike, len(kinds)) for name in kinds]
    return sorted(found, key=lambda one: (one.chance, one.name))


def _judged(
    name: str, mine: Array, against: Array, doubt: Array | None, alike: Array, sources: int
) -> SourceSeen:
    count, hits = int(mine.sum()), int(against[mine].sum())
    law, least, others, compared = _law(mine, against, alike)
    chances = [] if law is None else [float(law[max(hits - least, 0) :].sum())]
    expected = float(hits) if others is None else others
    if doubt is not None:
        expected = float(doubt[mine].sum())
        chances.append(float(stats.poisson_binom.sf(hits - 1, np.clip(doubt[mine], 0.0, 1.0))))
    chance = min(max(chances, default=1.0) * sources, 1.0)
    beyond = 0.0 if others is None else (hits - others) / compared
    named = compared >= LEAST and chance < SURE and beyond >= TURNED
    return SourceSeen(
        name=name,
        rows=count,
        against=hits,
        by_model=expected,
        by_others=others,
        chance=chance,
        turned=named,
    )


def _law(mine: Array, against: Array, alike: Array) -> tuple[Array | None, int, float | None, int]:
    """(law of the source's contradictions given everybody's; the number that its first entry stands
    for; how many the others let expect, without the source's own, which in the mean of the law
    would hide who tells most rows; rows in strata with others); no law without any.
    """
    law: Array = np.ones(1)
    least, others, compared = 0, 0.0, 0
    for stratum in np.unique(alike[mine]):
        here = alike == stratum
        own, total = int((here & mine).sum()), int(here.sum())
        wrong, turned = int(against[here].sum()), int(against[here & mine].sum())
        if own == total:  # nobody to compare with: they are taken as they are
            least, others = least + wrong, others + wrong
            continue
        compared += own
        others += own * (wrong - turned) / (total - own)
        low, high = max(0, own + wrong - total), min(own, wrong)
        part = stats.hypergeom.pmf(np.arange(low, high + 1), total, wrong, own)
        law, least = np.convolve(law, part), least + low
    return (law, least, others, compared) if compared else (None, 0, None, 0)
