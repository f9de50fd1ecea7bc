"""Federated learning: what sites would learn, and what owners agree on, ask and answer."""

from casemate.operations.acting import Noun
from casemate.operations.federated.agreeing import (
    approve,
    card,
    charters,
    code,
    found,
    leave,
)
from casemate.operations.federated.attesting import attest
from casemate.operations.federated.joining import join
from casemate.operations.federated.leading import lead
from casemate.operations.federated.recording import export, rounds
from casemate.operations.federated.simulating import simulate


class Federated(Noun):
    """What several owners learn together without sharing rows."""

    simulate = simulate
    card = card
    found = found
    approve = approve
    leave = leave
    lead = lead
    join = join
    attest = attest
    code = code
    charters = charters
    rounds = rounds
    export = export
