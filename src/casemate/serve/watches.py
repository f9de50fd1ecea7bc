"""What a gateway sees to while it serves: that its loop turns, what does not work, its counts, the
log's checkpoints, and what is to be forgotten.
"""

import asyncio
import contextlib
import datetime
import time
from pathlib import Path
from typing import Any

from casemate.core.errors import Error, HistoryError
from casemate.core.files import make_folder
from casemate.operations.gateways import incident
from casemate.operations.keys.copies import require_current
from casemate.operations.retention import held_names
from casemate.serve.connections import Connections
from casemate.serve.health import Health
from casemate.serve.heartbeat import Heartbeat
from casemate.serve.metrics import Metrics
from casemate.serve.parts import Parts
from casemate.wiring import Wiring

BEAT_SECONDS = 0.25
"""Between beats; `DEAF_SECONDS` in `workers` is twenty of them."""
RETRY_SECONDS = 1.0
"""Between tries of an entry that says what could not be recorded, while nothing can be."""
PROBE_SECONDS, PROBE_BYTES = 0.5, 64 * 1024
"""How often, and with how much, the disk is tried. A judgement: 64 KiB are more than one record."""
FORGET_SECONDS, FORGET_RETRY_SECONDS = 3600.0, 10.0
"""Between removals of what is too old, whose terms are days, and after one that failed."""
KEY_SECONDS = 5.0
"""Between two looks at what the catalogue's keys are wrapped under: a few rows."""
VOUCH_SECONDS = 5.0
"""Between two looks whether checkpoints are due; one process of the machine does it."""


async def beat(heartbeat: Heartbeat) -> None:
    """Show that the event loop turns."""
    while True:
        heartbeat.beat()
        await asyncio.sleep(BEAT_SECONDS)


async def look(project: Wiring, parts: Parts, connections: Connections) -> None:
    """See what does not work, also while nobody asks; while records cannot be written, try once a
    second to write that they can be again.
    """
    tried, attempt, since = 0.0, None, 0.0
    where = f'Project::"{project.config.project.id}"'

    def told(fault: Exception) -> Any:
        """The entry that says what could not be recorded, and for how long."""
        detail = {
            "fault": fault.code if isinstance(fault, Error) else type(fault).__name__,
            "seconds": round(time.monotonic() - since, 1),
        }
        return parts.audit.append("casemate", "gateway:recovered", where, "done", detail)

    last: Exception | None = None
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        parts.gateway.look()
        connections.gauge()
        failing, now = parts.audit.failing, time.monotonic()
        if failing is None:
            if last is not None and (
                attempt is None or (attempt.done() and attempt.exception() is not None)
            ):
                told(last)  # another record went through before ours
            last, attempt, since = None, None, 0.0
            continue
        last, since = failing, since or now
        if now - tried >= RETRY_SECONDS and (attempt is None or attempt.done()):
            tried, attempt = now, told(failing)


async def probe_disk(path: Path, health: Health) -> None:
    """Notice a disk that is full or broken before a request does."""
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        try:
            await asyncio.to_thread(_write, path)
            health.well("disk")
        except OSError as error:
            health.failed("disk", error.strerror or str(error))


def _write(path: Path) -> None:
    try:
        make_folder(path.parent)
        path.write_bytes(bytes(PROBE_BYTES))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


async def share(parts: Parts, keys: Any) -> None:
    """Leave the counts where the other workers find them."""
    while True:
        await asyncio.sleep(1.0)
        count_login(parts.metrics, keys)
        parts.gateway.gauge()
        with contextlib.suppress(OSError):  # the next turn tells the others the same and more
            await asyncio.to_thread(parts.metrics.share, parts.metrics.snapshot())


async def vouch(project: Wiring) -> None:
    """Copy and cosign the log's checkpoints while predictions are recorded: what nobody outside has
    seen could be rewritten.
    """
    every, told = project.config.audit.every_minutes * 60, ""
    while True:
        await asyncio.sleep(min(every, VOUCH_SECONDS))
        try:
            await asyncio.to_thread(project.publication.keep, every)
            told = ""
        except HistoryError as error:
            if error.message != told:
                # the machine's memory of the log has it in any case
                with contextlib.suppress(Error):
                    await asyncio.to_thread(incident, project, "log", "audit:fork", error.message)
                told = error.message
        except Exception:  # noqa: BLE001, S112 - a witness may be away for a moment; `audit verify` says when it was too long
            continue


def count_login(metrics: Metrics, keys: Any) -> None:
    """How the login at the key server is, where there is one."""
    login = keys.login_state
    if login is not None:
        metrics.counts[("casemate_key_login_faults",)] = login.faults
        metrics.gauges[("casemate_key_login_failing",)] = int(login.failing)


async def keys(project: Wiring, health: Health) -> None:
    """Notice that keys were rotated elsewhere and this host's copy of the key store is an old one:
    it answers on, and neither starts anew nor opens what is wrapped from now on.
    """
    while True:
        try:
            await asyncio.to_thread(require_current, project)
            health.well("keys")
        except Exception as error:  # noqa: BLE001 - whatever it was: nobody can say that the keys are the present ones
            health.failed("keys", error)
        await asyncio.sleep(KEY_SECONDS)


async def forgetting(project: Wiring, health: Health) -> None:
    """Delete records of predictions when their time is over."""
    while True:
        try:
            await asyncio.to_thread(forget, project)
            health.well("retention")
            wait = FORGET_SECONDS
        except Exception as error:  # noqa: BLE001 - the catalogue may be away for a moment; what is too old must go all the same
            health.failed("retention", error)
            wait = FORGET_RETRY_SECONDS
        await asyncio.sleep(wait)


def forget(project: Wiring) -> int:
    """Delete what `[serve] keep_days` and `inputs_days` no longer allow and no hold keeps; returns
    how many groups of predictions changed.
    """
    held = held_names(project)
    now, table = project.clock.now(), project.config.serve
    old, older = (
        now - datetime.timedelta(days=days) for days in (table.inputs_days, table.keep_days)
    )
    if "feedback" not in held:
        project.feedback_kept.forget(older.isoformat())
    # an answer goes with the rows that it was made from
    before = "" if held & {"predictions", "inputs"} else older.isoformat()
    return project.decisions.forget(before, "" if "inputs" in held else old.isoformat())
