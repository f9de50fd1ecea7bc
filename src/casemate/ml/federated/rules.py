"""What becomes of the sites' combined difference, and what each rule asks sites to do differently.

FedAvg (McMahan et al., AISTATS 2017) adds it. FedProx (Li et al., MLSys 2020) adds it too; its
sites are pulled back. SCAFFOLD (Karimireddy et al., ICML 2020) keeps control variates. FedAdam
(Reddi et al., Adaptive Federated Optimization, ICLR 2021) takes it for a gradient. FedAvgM (Hsu, Qi
and Brown, Measuring the Effects of Non-Identical Data Distribution, 2019) keeps on going where the
rounds before went.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from casemate.ml.federated.local import LocalPlan

Array = np.ndarray[Any, Any]


SCAFFOLD = "scaffold"


class Rule(Protocol):
    """A way to go on from the sites' differences."""

    control: Array | None
    """What sites are sent beside the weights; None: nothing."""

    def plan(self, plan: LocalPlan) -> LocalPlan:
        """What sites do."""

    def step(self, weights: Array, moved: Array) -> Array:
        """New weights [p] from old ones and the sites' combined difference [p]."""


class FedAvg:
    """The sites' mean is the new model."""

    control: Array | None = None

    def plan(self, plan: LocalPlan) -> LocalPlan:
        """See `Rule.plan`."""
        return plan

    def step(self, weights: Array, moved: Array) -> Array:
        """See `Rule.step`."""
        return weights + moved


class FedProx(FedAvg):
    """The same; sites whose rows differ are pulled back to where they began.

    Args:
        pull: mu; .01 is the least of those that its paper tries.
    """

    def __init__(self, pull: float = 0.01) -> None:
        self.pull = pull

    def plan(self, plan: LocalPlan) -> LocalPlan:
        """See `Rule.plan`."""
        return msgspec.structs.replace(plan, pull=self.pull)


class Scaffold(FedAvg):
    """Control variates take off what is peculiar to a site's gradient.

    They are defined for plain steps, so momentum is off whatever was asked for.
    """

    def plan(self, plan: LocalPlan) -> LocalPlan:
        """See `Rule.plan`."""
        return msgspec.structs.replace(plan, controlled=True, momentum=0.0)

    def heard(self, moved: Array, share: float) -> None:
        """Take the mean difference of the sites' controls [p]; `share` of all sites took part."""
        self.control = moved * share + (0.0 if self.control is None else self.control)


class FedAvgM(FedAvg):
    """The sites' mean, and a share of the step before.

    Args:
        momentum: that share. A judgement: after ten rounds of MNIST a half is ahead of the .9 that
            its paper has in long jobs.
    """

    def __init__(self, momentum: float = 0.5) -> None:
        self.momentum = momentum
        self._velocity: Array | None = None

    def step(self, weights: Array, moved: Array) -> Array:
        """See `Rule.step`."""
        before = 0.0 if self._velocity is None else self.momentum * self._velocity
        self._velocity = before + moved
        return np.asarray(weights + self._velocity)


class FedAdam(FedAvg):
    """Adam at the coordinator; sites' difference is its gradient.

    Args:
        rate: of the coordinator.
        first: decay of the mean.
        second: decay of the mean square.
        adaptivity: added to its root; 1e-3 as in the paper's experiments.
    """

    def __init__(
        self,
        rate: float = 0.03,
        first: float = 0.9,
        second: float = 0.99,
        adaptivity: float = 1e-3,
    ) -> None:
        self.rate, self.first, self.second, self.adaptivity = rate, first, second, adaptivity
        self._mean: Array | None = None
        self._square: Array | None = None

    def step(self, weights: Array, moved: Array) -> Array:
        """See `Rule.step`."""
        if self._mean is None or self._square is None:
            self._mean = np.zeros_like(moved)
            self._square = np.full_like(moved, self.adaptivity**2)
        self._mean = self.first * self._mean + (1 - self.first) * moved
        self._square = self.second * self._square + (1 - self.second) * moved**2
        return np.asarray(
            weights + self.rate * self._mean / (np.sqrt(self._square) + self.adaptivity)
        )


RULES: dict[str, Callable[[], Rule]] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    SCAFFOLD: Scaffold,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
}
"""Every rule by its name on the command line."""
COVERED = "fedavg, fedprox, fedavgm or fedadam"
"""Those whose differences noise can cover: all but SCAFFOLD, whose controls are not clipped."""
