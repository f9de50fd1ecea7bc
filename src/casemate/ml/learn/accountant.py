"""What a mechanism costs: epsilon at a delta, by privacy loss distributions, checked with Rényi
accounting.

Events are Gaussian sums over rows that are chosen at random (`rate` below 1: Poisson sampling) a
number of times. Google's dp-accounting composes them: PLD is tight (Koskela, Jälkö, Honkela,
AISTATS 2020), RDP an upper bound by other means (Mironov, CSF 2017), so a figure that PLD put above
it would be an error. Neighbouring tables differ by one row or subject that is added or removed;
exchanging one for another is both, and costs more: see `replacing`.
"""

import functools
import math

from casemate.core.errors import BackendError, ConfigError, Error
from casemate.core.types import Record

GRID = 1e-4
"""What may be added to that: dp-accounting rounds privacy losses up to multiples of it unless told
otherwise.
"""
MOST_STEPS = 10_000_000
"""Of one training. A judgement: the accountants' time grows with them, and a thousand epochs of ten
thousand batches are no more.
"""
SLACK = 1.02
"""By what the tight figure may exceed the loose one, through numbers that are rounded upward,
before the two contradict each other. A judgement: two per cent.
"""


class Gaussians(Record, frozen=True, kw_only=True):
    """A Gaussian mechanism, several times."""

    sigma: float
    """Standard deviation of the noise over the sensitivity."""
    steps: int
    """How often."""
    rate: float = 1.0
    """Probability that a row takes part in a step."""


class AccountantsDisagree(Error):
    """Two ways of accounting contradict each other; nothing may be trained on such a figure."""

    code = "CM-ACCOUNTING"


def epsilon(events: list[Gaussians], delta: float) -> float:
    """Epsilon of all events together at `delta`.

    Raises:
        AccountantsDisagree: PLD gives more than RDP. BackendError: `pip install
            "casemate[private]"` is missing.
    """
    if not events:
        return 0.0
    tight = _compose(events, delta, pld=True)
    bound = _compose(events, delta, pld=False)
    if tight > bound * SLACK + GRID:
        raise AccountantsDisagree(
            f"PLD says epsilon {tight:.4f}, RDP says at most {bound:.4f}",
            hint="report this with the events",
        )
    return min(tight, bound)


def second_opinion(events: list[Gaussians], delta: float) -> float:
    """The same by RDP: an upper bound."""
    return _compose(events, delta, pld=False) if events else 0.0


def replacing(events: list[Gaussians], delta: float) -> float:
    """Epsilon of the same events between tables of which one has another row, or subject, in the
    place of one of the other's.

    Without sampling a sum moves by twice the clip, so it is the figure at half the noise; with
    sampling PLD knows the relation.
    """
    if not events:
        return 0.0
    if all(event.rate >= 1.0 for event in events):
        return epsilon(
            [Gaussians(sigma=event.sigma / 2, steps=event.steps) for event in events], delta
        )
    return _compose(events, delta, pld=True, replace=True)


@functools.lru_cache(maxsize=256)
def sigma_for(target: float, delta: float, steps: int, rate: float = 1.0) -> float:
    """The least noise for `steps` events within epsilon `target`, to half a per cent; never too
    little.

    Raises:
        ConfigError: no noise below a million is enough.
    """
    if steps > MOST_STEPS:
        raise ConfigError(
            f"{steps} noisy steps are too many", hint="fewer epochs, or larger batches"
        )

    def too_little(sigma: float, *, pld: bool) -> bool:
        return _compose([Gaussians(sigma=sigma, steps=steps, rate=rate)], delta, pld=pld) > target

    low, high = 0.1, 0.2
    while too_little(high, pld=False):  # RDP is quick and never below PLD: it brackets
        low, high = high, high * 2
        if high > 1e6:
            raise ConfigError(
                f"epsilon {target:g} cannot be reached in {steps} steps",
                hint="raise [privacy] epsilon",
            )
    for pld in (False, True):
        while high / low > 1.005:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if too_little(middle, pld=pld) else (low, middle)
        low = high / 1.25
    return high


def _compose(events: list[Gaussians], delta: float, *, pld: bool, replace: bool = False) -> float:
    try:
        import dp_accounting as dp
        from dp_accounting.pld import PLDAccountant
        from dp_accounting.rdp import RdpAccountant
    except ImportError as error:
        raise BackendError(
            "the privacy accountant is not installed", hint='pip install "casemate[private]"'
        ) from error

    merged = _merged(events)
    if pld and len(merged) == 1 and merged[0].rate >= 1.0 and not replace:
        return _exact(merged[0].sigma / math.sqrt(merged[0].steps), delta)
    relation = (
        dp.NeighboringRelation.REPLACE_ONE if replace else dp.NeighboringRelation.ADD_OR_REMOVE_ONE
    )
    accountant = PLDAccountant(neighboring_relation=relation) if pld else RdpAccountant()
    for event in merged:
        single = dp.GaussianDpEvent(event.sigma)
        if event.rate >= 1.0:
            (
                accountant.compose(single, event.steps)
                if pld
                else accountant.compose(dp.SelfComposedDpEvent(single, event.steps))
            )
        else:
            accountant.compose(
                dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(event.rate, single), event.steps)
            )
    return float(accountant.get_epsilon(delta))


def _exact(sigma: float, delta: float) -> float:
    """Epsilon of one Gaussian, exactly (Balle and Wang, ICML 2018), rounded up."""
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
    from scipy.optimize import brentq

    loss = GaussianPrivacyLoss(sigma)
    if loss.get_delta_for_epsilon(0.0) <= delta:
        return 0.0
    high = 1.0
    while loss.get_delta_for_epsilon(high) > delta:
        high *= 2
    return (
        float(brentq(lambda value: loss.get_delta_for_epsilon(value) - delta, 0.0, high, xtol=1e-9))
        + 1e-8
    )


def _merged(events: list[Gaussians]) -> list[Gaussians]:
    """Full-batch Gaussians as one: their privacy loss adds up exactly (1 / sigma squared)."""
    whole = sum(event.steps / event.sigma**2 for event in events if event.rate >= 1.0)
    merged = [event for event in events if event.rate < 1.0]
    return [*merged, Gaussians(sigma=1 / math.sqrt(whole), steps=1)] if whole else merged
