"""What a site does in a round: some passes of stochastic gradient descent over its own rows.

FedAvg: McMahan et al., AISTATS 2017. FedProx adds a pull to the weights that were sent (Li et al.,
MLSys 2020). SCAFFOLD takes off how a site's gradient differs from all sites' (Karimireddy et al.,
ICML 2020, option II). Calibration keeps a site's shares of classes out of what it learns: in its
loss the logarithm of its share is added to the score of each class (Menon et al., Long-Tail
Learning via Logit Adjustment, ICLR 2021; as balanced softmax at federated sites: Chen and Chao, On
Bridging Generic and Personalized Federated Learning, ICLR 2022).
"""

from typing import Any

import numpy as np

from casemate.core.types import NoiseUnit, Record
from casemate.ml.federated.learners import Learner
from casemate.ml.learn.noise import Noise

Array = np.ndarray[Any, Any]


class LocalPlan(Record, frozen=True, kw_only=True):
    """How a site trains in one round; the same for all sites."""

    epochs: int = 1
    """Passes over the site's rows."""
    batch: int = 32
    """Rows a step."""
    rate: float = 0.1
    """Learning rate."""
    momentum: float = 0.0
    """Of the descent; begins anew each round."""
    pull: float = 0.0
    """FedProx's mu: half of it, times the squared distance to the weights sent, is in the loss."""
    calibrated: float = 0.0
    """How many times the logarithm of its share in the site's rows is added to the score of each
    class, in the site's loss alone; 0: not at all. See `offsets_of`.
    """
    controlled: bool = False
    """Whether control variates are kept (SCAFFOLD)."""
    unit: NoiseUnit = "subject"
    """Whom noise covers."""
    sigma: float = 0.0
    """Noise over what one unit can change of a sum; 0: none. For a subject, in each pass, which is
    one step over all rows; for a site, once a round, whatever it did in between.
    """
    clip: float = 1.0
    """Where there is noise: largest norm of a subject's gradient; or of the site's difference."""

    @property
    def sums(self) -> int:
        """Noisy sums over the rows in a round: one a pass; over a whole site its difference."""
        return 1 if self.unit == "site" else self.epochs

    @property
    def counts(self) -> bool:
        """Whether the subjects are counted too, once, with noise: means are taken of their sums,
        and none of a site's difference.
        """
        return self.unit == "subject"

    @property
    def spread(self) -> float:
        """Standard deviation of the noise over the clip. With or without a subject a sum differs by
        one clip; with other rows a whole site sends another vector, which may point the other way.
        """
        return self.sigma * (2 if self.unit == "site" else 1)


POSSIBLE: dict[str, tuple[float, float]] = {
    "epochs": (1, 1_000),
    "batch": (1, 1_000_000),
    "rate": (1e-9, 1e6),
    "momentum": (0.0, 0.9999),
    "pull": (0.0, 1e6),
    "calibrated": (0.0, 10.0),
    "sigma": (0.0, 1e9),
    "clip": (1e-9, 1e9),
}
"""Least and most of each number of a plan. A judgement: what is beyond is a slip or an attack."""


class SiteRows:
    """A site's rows, encoded, and what it remembers from one round to the next.

    Args:
        rows: encoded features [n, d].
        codes: class numbers int64 [n].
        seed: of the order in which rows are taken.
        owners: number of each row's subject, int64 [n]; None: each row stands for itself.
    """

    def __init__(
        self, rows: Array, codes: Array, seed: int = 0, owners: Array | None = None
    ) -> None:
        self.rows, self.codes, self.seed = rows, codes, seed
        self.owners = (
            np.arange(len(codes))
            if owners is None
            else np.unique(owners, return_inverse=True)[1].astype(np.int64)
        )
        self.counted: float | None = None
        """How many subjects there are, with noise; counted once, for all rounds."""
        self.control: Array | None = None
        """SCAFFOLD's own control variate, flat [p]; it never leaves the site."""

    def __len__(self) -> int:
        return len(self.codes)


def train(
    learner: Learner,
    site: SiteRows,
    weights: Array,
    plan: LocalPlan,
    number: int,
    control: Array | None = None,
) -> tuple[Array, Array | None]:
    """(difference of the weights float64 [p], difference of the site's control or None).

    Args:
        learner: the model.
        site: whose rows.
        weights: what the round began with, flat [p].
        plan: how.
        number: of the round; with the site's seed it decides the order of rows.
        control: all sites' control variate, where the plan keeps them.
    """
    if plan.sigma and plan.unit == "subject":
        return _noisy(learner, site, weights, plan), None
    moved, own = _descended(learner, site, weights, plan, number, control)
    return (_covered(moved, plan) if plan.sigma else moved), own


def _descended(
    learner: Learner,
    site: SiteRows,
    weights: Array,
    plan: LocalPlan,
    number: int,
    control: Array | None,
) -> tuple[Array, Array | None]:
    """See `train`, without noise."""
    dtype = learner.layout.dtype
    begun = np.asarray(weights, dtype=dtype)
    current = begun.copy()
    velocity = np.zeros_like(current)
    steps = 0
    offsets = offsets_of(site.codes, learner.classes, plan.calibrated)
    correction = None
    if plan.controlled:
        own = np.zeros(len(current)) if site.control is None else site.control
        correction = ((0.0 if control is None else control) - own).astype(dtype)
    chance = np.random.default_rng([site.seed, number])
    for _ in range(plan.epochs):
        order = chance.permutation(len(site))
        for start in range(0, len(site), plan.batch):
            at = order[start : start + plan.batch]
            slope = learner.gradient(current, site.rows[at], site.codes[at], len(site), offsets)
            if plan.pull:
                slope = slope + plan.pull * (current - begun)
            if correction is not None:
                slope = slope + correction
            velocity *= plan.momentum
            velocity += slope
            current -= plan.rate * velocity
            steps += 1
    moved = current.astype(np.float64) - begun
    if not plan.controlled:
        return moved, None
    # option II: what the steps say of this site's mean gradient
    own = np.zeros(len(current)) if site.control is None else site.control
    found = own - (0.0 if control is None else control) - moved / (steps * plan.rate)
    site.control = found
    return moved, found - own


def offsets_of(codes: Array, classes: int, calibrated: float) -> Array | None:
    """What is added to each class's score in a site's loss, float64 [k]; None: nothing.

    What hangs on how often a class is at the site is then explained by them, and not learnt. Shares
    are by the rule of succession, one row more of each class: of a class that a site does not have
    it says little, as with the restricted softmax of FedRS (Li and Zhan, KDD 2021), and not
    nothing, so that layers which all classes share do not run away with its score.

    Args:
        codes: of all rows of the site, int64 [n].
        classes: k.
        calibrated: see `LocalPlan.calibrated`.
    """
    if not calibrated:
        return None
    shares = (np.bincount(codes, minlength=classes) + 1) / (len(codes) + classes)
    return np.asarray(calibrated * np.log(shares))


def noisy_sums(plan: LocalPlan, rounds: int) -> int:
    """How many noisy sums over a site's rows so many rounds are, and the count."""
    return rounds * plan.sums + plan.counts


def _covered(moved: Array, plan: LocalPlan) -> Array:
    """The difference under noise that covers the whole site, float64 [p].

    McMahan et al., Learning Differentially Private Recurrent Language Models, ICLR 2018, with the
    noise at the site. A difference that is no number is nought.
    """
    length = float(np.linalg.norm(moved))
    held = moved * min(1.0, plan.clip / max(length, 1e-12)) if np.isfinite(length) else 0.0
    return np.asarray(held + Noise().normal(moved.shape) * plan.spread * plan.clip)


def _noisy(learner: Learner, site: SiteRows, weights: Array, plan: LocalPlan) -> Array:
    """Difference of the weights after steps along noisy sums of clipped gradients, float64 [p].

    Abadi et al., Deep Learning with Differential Privacy, CCS 2016, without sampling: nothing of it
    hangs on how many rows there are, and all rows of a subject are clipped together. Whatever is
    computed from the sums is as private as they are, so the coordinator may be anybody.
    """
    noise, units = Noise(), int(site.owners.max(initial=-1)) + 1
    if site.counted is None:
        counted = units + float(noise.normal((1,))[0]) * plan.sigma
        site.counted = max(counted, plan.sigma, 1.0)
    current = np.asarray(weights, dtype=np.float64).copy()
    velocity = np.zeros_like(current)
    for _ in range(plan.epochs):
        summed = learner.clipped(current, site, plan.clip)
        summed = summed + noise.normal(summed.shape) * plan.sigma * plan.clip
        slope = summed / site.counted + learner.penalty(current, site.counted)
        if plan.pull:
            slope += plan.pull * (current - weights)
        velocity = plan.momentum * velocity + slope
        current -= plan.rate * velocity
    return np.asarray(current - weights)
