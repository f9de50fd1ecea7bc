"""Federated learning: what sites would learn together."""

from casemate.operations.acting import Noun
from casemate.operations.federated.simulating import simulate


class Federated(Noun):
    """What several owners would learn together without sharing rows."""

    simulate = simulate
