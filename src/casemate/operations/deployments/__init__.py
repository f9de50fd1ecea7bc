"""What was rendered, brought to where it runs: apply, drift, what runs there."""

from casemate.operations.acting import Noun
from casemate.operations.deployments.clusters import apply, drift, running


class Deployments(Noun):
    """What runs elsewhere."""

    apply = apply
    drift = drift
    running = running
