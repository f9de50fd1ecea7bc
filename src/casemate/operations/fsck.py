"""`casemate fsck`: catalogue, evidence, objects, tables, models, log and outbox checked against one
another.

What can be derived from intact sources (tiles, checkpoint, evidence files) is rebuilt on request;
everything else is named, with where to get it back. Nothing is deleted.
"""

import contextlib
import os
from collections.abc import Callable

from casemate.core.errors import (
    BackendError,
    UnexplainedRow,
)
from casemate.operations.acting import operation
from casemate.operations.damage import Report
from casemate.operations.examination import Examination
from casemate.wiring import Wiring


@operation("project:check", also=("project:repair",))
def examine(
    project: Wiring, *, repair: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Check everything that the project keeps.

    Args:
        project: opened with or without `check`.
        repair: rebuild what can be derived.
        progress: hears what is looked at.

    Raises:
        AccessDenied: policy. A catalogue that cannot say who may look is examined all the same;
            nothing of it is shown.
        BackendError: the project's folder cannot be written, which opening its catalogue needs:
            nothing is known of its state.
    """
    if not os.access(project.state, os.W_OK):
        raise BackendError(
            f"{project.state} is read-only here, so nothing in it could be examined",
            hint=(
                "mount it writable, run as its owner, or examine a copy; `casemate verify` needs no"
                " more than reading"
            ),
        )
    principal = "casemate"
    with contextlib.suppress(BackendError, UnexplainedRow):
        principal = examine.ask(
            project, also="project:repair" if repair else None, unrecorded=True
        ).uid
    report = Examination(project, repair, progress).report()
    if repaired := [damage.subject for damage in report.damage if damage.repaired]:
        project.log.record(
            principal,
            "project:repaired",
            f'Project::"{project.config.project.id}"',
            "done",
            what=repaired[:20],
        )
    return report
