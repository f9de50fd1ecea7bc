"""What was rendered, brought to where it runs: apply, drift, what runs there."""

from casemate.operations.acting import Noun
from casemate.operations.deployments.clusters import apply, drift, running
from casemate.operations.deployments.endpoints import apply_endpoint, drift_endpoint


class Deployments(Noun):
    """What runs elsewhere: on clusters, and endpoints of SageMaker."""

    apply = apply
    drift = drift
    running = running
    apply_endpoint = apply_endpoint
    drift_endpoint = drift_endpoint
