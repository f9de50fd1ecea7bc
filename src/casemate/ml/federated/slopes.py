"""Losses of boosted trees, by their derivatives."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def slopes_of(scores: Array, target: Array, classes: int) -> tuple[Array, Array]:
    """(first, second derivatives of each row's loss by its scores), both [n, k].

    Args:
        scores: [n, k].
        target: class numbers, or quantities as they are learnt [n].
        classes: how many; 0 of a quantity: half its squared error.
    """
    if not classes:
        return scores - target[:, None], np.ones_like(scores)
    if classes == 2:
        chances = np.exp(-np.logaddexp(0.0, -scores))
        return chances - (target == 1)[:, None], chances * (1 - chances)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances = powers / powers.sum(axis=1, keepdims=True)
    return chances - np.eye(classes)[target], chances * (1 - chances)
