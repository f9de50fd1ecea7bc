"""Retraining: whether it is due and may be, and doing it."""

from casemate.operations.acting import Noun
from casemate.operations.demands import demand
from casemate.operations.retraining.planning import listing, plan
from casemate.operations.retraining.running import go_on, run

__all__ = ["Retrain", "demand", "go_on", "listing", "plan", "run"]


class Retrain(Noun):
    """Retraining of a project's model, by its verbs."""

    plan = plan
    list = listing
    run = run
    go_on = go_on
    demand = demand
