"""Demands: somebody who may not train says that it is time to."""

from casemate.operations.acting import operation
from casemate.operations.reasons import reason_of
from casemate.wiring import Wiring


@operation("retrain:demand")
def demand(project: Wiring, reason: str) -> None:
    """Make a retraining due: the next `casemate retrain run` trains, within its budgets.

    Raises:
        AccessDenied: policy. RefusedError: no reason is given.
    """
    acting = demand.ask(project)
    words = reason_of(reason)
    with acting.transaction() as tx:
        project.retrainings.demand(tx, acting.uid, words)
        about = f'Project::"{project.config.project.id}"'
        acting.append(tx, "retrain:demanded", about, reason=words)
