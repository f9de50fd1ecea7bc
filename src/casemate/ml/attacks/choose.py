"""Which attacks fit a model."""

from casemate.ml.attacks.decision import Decision
from casemate.ml.attacks.gradient import Gradient
from casemate.ml.attacks.interface import Attack, Target
from casemate.ml.attacks.search import Search
from casemate.ml.attacks.thresholds import Thresholds


def fitting_attacks(
    target: Target, restarts: int = 1, decision_rows: int = 0, *, prove: bool = False
) -> list[Attack]:
    """The attacks that can do something against the model, the strongest first.

    Trees whose thresholds can be read have no slope and hide none, and their scores are what their
    leaves say: gradients and labels alone add nothing there, a random search only where categories
    can be chosen as well.

    Args:
        target: model and rows.
        restarts: random starts of the gradient attack and of the search along thresholds.
        decision_rows: rows for the attack that sees labels only.
        prove: let the search along thresholds spend time on proofs.
    """
    thresholds = Thresholds(restarts) if prove else Thresholds(restarts, parts=0)
    if thresholds.applies(target):
        return [thresholds, Search()] if target.choices else [thresholds]
    others: list[Attack] = [Gradient(restarts), Search(), Decision(decision_rows)]
    return [attack for attack in others if attack.applies(target)]
