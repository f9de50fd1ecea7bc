"""What is new for the log store is taken at every look; that it cannot be is an alarm."""

from casemate.core.errors import BackendError, BusyError
from casemate.operations.logs.ingest import ingest, is_there, store_of
from casemate.operations.watching.alarms import Cause
from casemate.wiring import Wiring

UNWRITTEN = "logs-unwritten"
MISSING = Cause(
    name=UNWRITTEN,
    labels={},
    severity="page",
    text="no line reaches a sink: they come out of the log store, which is not installed",
    hint="pip install 'casemate[logs]'",
)


def take(project: Wiring) -> list[Cause]:
    """Take what is new, for the log store and the sinks; what is wrong with that. Nothing is taken
    where the extra is not installed.
    """
    if not is_there():
        return [MISSING] if project.config.sinks else []
    store = store_of(project)
    try:
        with store.writing(waits=False):
            ingest(project, store)
    except BusyError:
        return []  # whoever writes takes what is new
    except (BackendError, OSError) as error:
        text = error.message if isinstance(error, BackendError) else str(error.strerror)
        hint = getattr(error, "hint", "") or "see that the disk has room"
        text = f"lines cannot be added to the log store: {text}"
        return [Cause(name=UNWRITTEN, labels={}, severity="page", text=text, hint=hint)]
    return []
