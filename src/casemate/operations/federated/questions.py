"""What a site lets itself be asked in a round of a job that it takes: questions of the kinds and
sizes that follow from the job, and no other.
"""

import math
from collections.abc import Callable

import numpy as np

from casemate.controls.federation.messages import Job, Question
from casemate.core.errors import ConfigError
from casemate.ml.federated import drawn
from casemate.ml.federated.bins import Bins
from casemate.ml.federated.combining import MOST_MASKED, MOST_SUM
from casemate.ml.federated.growing import range_of
from casemate.ml.federated.trees import Forest
from casemate.operations.federated.judging import Boosted, Judged, SitePolicy


def require_question(question: Question, told: Judged) -> int:
    """How many numbers the answer has before it is weighted.

    Raises:
        SitePolicy: the job has no such question.
    """
    job, many = told.job, len(told.job.limits.numbers)
    size = told.sizes.get(question.what)
    if size is None:
        raise SitePolicy(
            f"round {question.round} asks for {question.what}, which a job of"
            f" {job.rule} with {'noise' if told.cost else 'no noise'} does not have",
            hint="it would tell more of this site's rows than the job says",
        )
    weighted = job.masked and question.what == "train"
    if question.job != job.id or not 1 <= question.round <= told.numbers:
        raise SitePolicy(f"round {question.round} is not one of the job's {told.numbers}")
    wanted = 8 * job.layout.size if question.what in ("train", "sums") else 0
    if told.boosted is not None and question.what == "splits":
        size, wanted = _splits(question, told.boosted, job), len(question.weights)
    if told.boosted is not None and question.what == "leaves":
        size, wanted = _leaves(question, told.boosted, job), len(question.weights)
    fits = (
        question.size == size + weighted
        and len(question.weights) == wanted
        and len(question.control) in ({0, wanted} if job.plan.controlled else {0})
        and 0 < question.most < math.inf
        and question.most >= least_range(question, told, 0)
        and 0 <= question.full < math.inf
        and (not question.cuts or question.what in ("splits", "leaves"))
    )
    scale = question.scale
    if scale is not None:
        spread = np.asarray(scale.deviations)
        fits = fits and len(scale.means) == len(spread) == many and bool((spread > 0).all())
        fits = fits and bool(np.isfinite([*scale.means, *scale.deviations]).all())
    # only what has the right length can be read as numbers
    if not fits or not all(
        np.isfinite(np.frombuffer(one, dtype="<f8")).all()
        for one in (question.weights, question.control)
    ):
        raise SitePolicy(f"round {question.round} comes with numbers that do not fit the job")
    if told.cost is not None and question.full:
        raise SitePolicy("how many rows this site has is covered by noise, and would weigh")
    return size


def least_range(question: Question, told: Judged, rows: int) -> float:
    """Range that a question under masks must have for a site of so many rows: with a smaller one,
    whether its answer fits would tell how large its own numbers are.
    """
    if not told.job.masked:
        return 0.0
    if told.boosted is not None and question.what == "splits":
        return range_of(rows, told.boosted.classes)
    return MOST_MASKED if question.what == "train" else MOST_SUM


def _splits(question: Question, boosted: Boosted, job: Job) -> int:
    """Numbers of an answer about trees; SitePolicy: there are no such trees."""
    asked = _asked(question, boosted, job, lambda forest: forest.asked)
    if not asked:
        raise SitePolicy(f"round {question.round} asks about no node of its trees")
    return asked


def _leaves(question: Question, boosted: Boosted, job: Job) -> int:
    """Numbers of an answer about the leaves of the last tree; SitePolicy: there are no such."""
    return 2 * _asked(question, boosted, job, lambda forest: len(drawn.asked_leaves(forest)))


def _asked(question: Question, boosted: Boosted, job: Job, count: Callable[[Forest], int]) -> int:
    """What is asked of a question's trees; SitePolicy: there are no such trees."""
    bins = Bins(limits=job.limits, cuts=question.cuts)
    try:
        if len(question.weights) % 8:
            raise ConfigError("trees of no whole number of numbers")
        weights = np.frombuffer(question.weights, dtype="<f8")
        return count(Forest.from_flat(weights, boosted.growth, bins, boosted.classes))
    except ConfigError as error:
        raise SitePolicy(
            f"round {question.round} asks about {error.message}",
            hint="do not answer a coordinator that asks about trees that cannot be grown",
        ) from error
