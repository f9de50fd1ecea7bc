"""What no single table can know: which of them go together."""

from casemate.config.access import impossible_access
from casemate.config.audit import impossible_audit
from casemate.config.aws import impossible_aws
from casemate.config.deploy import impossible_deploy
from casemate.config.federate import impossible_federate
from casemate.config.figures import SCAN
from casemate.config.possible.data import impossible_data, impossible_tables
from casemate.config.possible.gates import bad_gate, bad_retraining, bad_scan_gate
from casemate.config.possible.kubernetes import impossible_kubernetes
from casemate.config.possible.private import impossible_private
from casemate.config.possible.training import bad_space, impossible_training
from casemate.config.scan import impossible_scan
from casemate.config.serve import impossible_serve
from casemate.config.sinks import impossible_sinks
from casemate.config.trackers import impossible_trackers
from casemate.config.whole import Config


def impossible(config: Config) -> list[str]:
    """What of the whole file does not go together."""
    problems = []
    for name, gate in config.gates.items():
        problems += bad_scan_gate(gate) if name == SCAN else bad_gate(name, gate, config)
    for parameter, space in config.train.search.items():
        problems += bad_space(parameter, space)
    if any(eps <= 0 for eps in config.assess.eps):
        problems.append("[assess] eps: sizes must be positive")
    problems += impossible_tables(config.assess.tables)
    problems += bad_retraining(config)
    problems += (
        impossible_data(config.data) + impossible_training(config) + impossible_private(config)
    )
    problems += impossible_audit(config.audit) + impossible_access(config.access)
    problems += impossible_sinks(config.sinks) + config.privacy.impossible_terms()
    problems += impossible_deploy(config.deploy) + impossible_federate(config.federate)
    problems += impossible_kubernetes(config.deploy.kubernetes) + impossible_aws(config.deploy.aws)
    problems += impossible_serve(config.serve) + impossible_scan(config.scan)
    return problems + impossible_trackers(config.trackers)
