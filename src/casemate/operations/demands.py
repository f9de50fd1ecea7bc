"""Demands: somebody who may not train says that it is time to."""

from casemate.core.errors import RefusedError
from casemate.operations.acting import operation
from casemate.wiring import Wiring

MOST_REASON = 500
"""Characters: a reason is a sentence, and every reader of the log gets it."""


@operation("retrain:demand")
def demand(project: Wiring, reason: str) -> None:
    """Make a retraining due: the next `casemate retrain run` trains, within its budgets.

    Raises:
        AccessDenied: policy. RefusedError: no reason is given.
    """
    acting = demand.ask(project)
    words = reason.strip()
    if not words or len(words) > MOST_REASON:
        raise RefusedError(
            f"a reason of 1 to {MOST_REASON} characters is needed", hint="--reason '...'"
        )
    with acting.transaction() as tx:
        project.retrainings.demand(tx, acting.uid, words)
        about = f'Project::"{project.config.project.id}"'
        acting.append(tx, "retrain:demanded", about, reason=words)
