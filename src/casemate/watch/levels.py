"""What a watcher knows, as gauges for whoever scrapes: read from its file, which it may be writing
just now.
"""

from pathlib import Path

from casemate.core.errors import BackendError
from casemate.core.types import Record
from casemate.watch.telemetry import Telemetry

FOLDER, FILE, PLACE = "telemetry", "series.db", "gauges"
"""Where a watcher keeps its file, in a project's state folder, and the gauges in it."""
TOLD = {
    "casemate_disk_free_bytes": "Bytes that are free where the project lies.",
    "casemate_disk_bytes": "Bytes of the disk that the project lies on.",
    "casemate_key_age_seconds": "Age of the newest version of a key.",
    "casemate_certificate_left_seconds": "Seconds until a certificate ends.",
    "casemate_epsilon_spent": "Epsilon that was spent of a privacy budget.",
    "casemate_epsilon_left": "Epsilon that is left of a privacy budget.",
    "casemate_outbox_messages": "Messages that wait, or could not be delivered.",
    "casemate_sink_waiting": "Lines that wait for a sink.",
    "casemate_sink_refused": "Lines that a sink has refused or put aside, ever.",
    "casemate_sink_dropped": "Lines that were dropped before a sink took them, ever.",
    "casemate_model_age_seconds": "Seconds since a live model was trained.",
    "casemate_run_age_seconds": "Seconds since the last run ended.",
    "casemate_quality_estimated": "A figure of the last window's answers, estimated.",
    "casemate_quality_estimated_low": "The lower end of its interval.",
    "casemate_quality_estimated_high": "The upper end of its interval.",
    "casemate_quality_realised": "A figure of answers whose outcome is known.",
    "casemate_alarm": "Alarms that stand: 1 while they do.",
    "casemate_watch_look_timestamp_seconds": "When the watcher last looked, since 1970.",
}
"""Series that are told, with their help."""


class Gauge(Record, frozen=True, kw_only=True):
    """One series as it stands."""

    name: str
    labels: dict[str, str]
    value: float


class Gauges(Record, frozen=True, kw_only=True):
    """All of them, as the last look left them."""

    gauges: list[Gauge]


def read(state: Path) -> list[Gauge]:
    """The gauges of the watcher of this machine; none where nobody watches, or it writes just now.

    Args:
        state: the project's state folder.
    """
    path = state / FOLDER / FILE
    if not path.exists():
        return []
    try:
        with Telemetry(path) as telemetry:
            found = telemetry.kept(PLACE, Gauges)
    except BackendError:
        return []  # the alarm for that is the age of the last look
    return [] if found is None else found.gauges
