"""What a coordinator takes of an answer: numbers that rows can have."""

from typing import Any, NamedTuple

import msgspec
import numpy as np

from casemate.controls.federation.messages import Given, Question
from casemate.core.digest import sha256
from casemate.ml.federated.bins import Bins
from casemate.ml.federated.growing import require_sums
from casemate.ml.federated.updates import LARGEST, Layout, Update, UpdateRefused, unpack
from casemate.operations.federated.meeting import MOST_ROWS

Array = np.ndarray[Any, Any]
ROUNDING = 1e-4
"""By which sums may be beyond what they can be, relatively: rounding of many rows and of masks."""


class Taken(NamedTuple):
    """What is taken of an answer without masks."""

    vector: Array
    """A difference of weights, or sums, float64 [p]."""
    rows: int
    """That the site says it has."""
    control: Array
    """SCAFFOLD's difference, float64 [p], or nothing."""
    digest: str
    """SHA-256 of the update, as msgpack."""


def taken_of(
    given: Given,
    question: Question,
    layout: Layout,
    bins: Bins | None,
    classes: int,
    *,
    controlled: bool,
) -> Taken:
    """What is taken of a site's answer without masks.

    Args:
        given: the answer.
        question: what was asked.
        layout: of what must be in it.
        bins: see `plausible`.
        classes: see `plausible`.
        controlled: whether a control variate belongs to it.

    Raises:
        UpdateRefused, VerificationError: nothing is.
    """
    update: Update | None = given.update
    if update is None:
        raise UpdateRefused("the answer holds no update")
    if update.rows > MOST_ROWS:
        raise UpdateRefused("nobody trains on so many rows")
    vector = unpack(update, layout, question.round, question.most)
    plausible(question.what, vector, bins, classes)
    control = np.zeros(0)
    if controlled:
        if len(given.control) != 8 * len(vector):
            raise UpdateRefused("the answer's control variate has another size")
        control = np.frombuffer(given.control, dtype="<f8")
        if not (np.isfinite(control).all() and float(np.abs(control).max()) <= LARGEST):
            raise UpdateRefused("the answer's control variate holds NaN, infinity or huge numbers")
    return Taken(vector, update.rows, control, sha256(msgspec.msgpack.encode(update)))


def plausible(what: str, vector: Array, bins: Bins | None, classes: int) -> None:
    """Nothing.

    Args:
        what: of `messages.What`.
        vector: a site's sums, or those of several, [p].
        bins: that they are by, of boosted trees.
        classes: of the target; 0: it is a quantity.

    Raises:
        VerificationError: no rows have such sums.
    """
    if what == "moments":
        rows, total, squares = np.split(vector, 3)
        most = np.abs(rows) * (1 + ROUNDING) + ROUNDING
        right = (rows >= -ROUNDING) & (np.abs(total) <= most) & (squares >= -ROUNDING)
        if not (right & (squares <= most)).all():
            raise UpdateRefused("sums of numbers within their limits are not like that")
    if bins is not None:
        require_sums(vector, bins, classes, counts=what == "counts")
    if what in ("sums", "gram", "counts") and not vector[0] >= 1 - ROUNDING:
        raise UpdateRefused("these are sums of no row")
    if what == "sums" and not vector[1] >= -ROUNDING:
        raise UpdateRefused("these are losses below nought")
