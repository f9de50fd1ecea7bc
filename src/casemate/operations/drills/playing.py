"""`casemate drill`: attacks are played on a copy of the project; the report is signed, and the log
names it.
"""

import contextlib
import datetime
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from casemate import __version__
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, ConfigError, VerificationError
from casemate.core.files import clear_scratch, scratch_folder, shared_lock, whole_folder
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.drills import alone, catalogue, report
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.player import Line
from casemate.operations.drills.twin import HOME, PROJECT, WORK, Twin, prepare
from casemate.stages.release import drill as records
from casemate.stages.release.drill import Drill, Played
from casemate.wiring import Wiring

FOLDER = "drills"
UNASKED = "keys.passphrase"
"""An option that changes nothing of what is played."""
MOST_LINE = 2**20
"""Bytes of a line that the player says."""
Progress = Callable[[str, int, int], None]


class Drilled(Record, frozen=True, kw_only=True):
    """A drill, and where its report is."""

    drill: Drill
    folder: str
    """With the report and its signature."""
    played_now: bool
    """Whether it was played now, and not before."""


class Listed(Record, frozen=True, kw_only=True):
    """An attack of the catalogue."""

    attack: str
    title: str
    technique: str
    weakness: str
    detects: str
    contains: str
    within: float
    left_out: str
    """Why `[drill] leave_out` takes it out; empty: it does not."""


@operation("run:start")
def drill(
    project: Wiring,
    only: Sequence[str] = (),
    *,
    if_due: bool = False,
    progress: Progress = lambda *_: None,
) -> Drilled:
    """Play attacks on a copy of the project. The project itself is only read: its report and two
    entries of the log are all that is new in it.

    Args:
        project: whose copy.
        only: names of attacks; none: all.
        if_due: give the newest report of all attacks while it is younger than `[drill] every_days`.
        progress: hears (what is played, how many were, of how many).

    Raises:
        AccessDenied: policy does not permit runs. ConfigError: there is no such attack, `-s` sets
            something, or the project serves what others made. DataError, BackendError: its table
            cannot be read.
    """
    said = sorted(set(project.overridden) - {UNASKED})
    if said:
        raise ConfigError(
            f"-s sets {', '.join(said)}: a drill is of what casemate.toml says",
            hint="leave -s out, or change casemate.toml",
        )
    left_out = project.config.drill.leave_out
    catalogue.named(list(left_out))
    wanted = [one for one in catalogue.named(only) if only or one.id not in left_out]
    acting = drill.ask(project, unrecorded=True)
    project.require_own()
    if if_due and (former := _young(project)) is not None:
        return former
    began, now = time.monotonic(), project.clock.now()
    tmp = project.state / "tmp"
    with (
        shared_lock(project.state / "lock", lambda: clear_scratch(tmp)),
        scratch_folder(tmp) as folder,
    ):
        twin = prepare(project, folder, project.config.drill.rows)
        found = _played(folder, wanted, twin, project.config.drill.minutes * 60, progress)
    made = Drill(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        project=project.config.project.id,
        time=now.isoformat(),
        casemate=__version__,
        seconds=round(time.monotonic() - began, 3),
        whole=not only,
        rows=twin.rows,
        differences=twin.differences,
        left_out=left_out,
        played=found,
    )
    where = project.state / FOLDER / made.id
    digest = _kept(project, made, where)
    verdicts = {one.attack: one.verdict for one in made.played}
    about = f'Project::"{project.config.project.id}"'
    outcome = "failed" if made.broken else "done"
    detail = {"drill": made.id, "sha256": digest, "verdicts": verdicts, "whole": made.whole}
    acting.record(records.PLAYED, about, outcome, **detail)
    return Drilled(drill=made, folder=str(where), played_now=True)


@reading("run:read")
def listing(project: Wiring) -> list[Listed]:
    """Every attack of the catalogue; AccessDenied: policy."""
    left_out = project.config.drill.leave_out
    return [
        Listed(
            attack=one.id,
            title=one.title,
            technique=one.technique,
            weakness=one.weakness,
            detects=one.detects,
            contains=one.contains,
            within=one.within,
            left_out=left_out.get(one.id, ""),
        )
        for one in catalogue.ATTACKS.values()
    ]


def _kept(project: Wiring, made: Drill, where: Path) -> str:
    """Write the report and its signature; the digest of that."""
    files = {
        records.REPORT: made.to_json(),
        records.PAGE: report.written(made, project.signer.verifier.fingerprint),
    }
    said = {
        "project": made.project,
        "drill": made.id,
        "whole": made.whole,
        "broken": [one.attack for one in made.broken],
    }
    digests = {name: sha256(content) for name, content in files.items()}
    files[records.SIGNATURE] = project.signer.sign_statement(digests, records.PREDICATE, said)
    with whole_folder(where) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content)
    return sha256(files[records.SIGNATURE])


def _young(project: Wiring) -> Drilled | None:
    """The newest report of all attacks that is signed and young enough; None: there is none."""
    oldest = project.clock.now() - datetime.timedelta(days=project.config.drill.every_days)
    for folder in sorted((project.state / FOLDER).glob("*"), reverse=True):
        with contextlib.suppress(VerificationError, msgspec.MsgspecError, OSError):
            records.verify(folder, project.signer.verifier)
            made = msgspec.json.decode((folder / records.REPORT).read_bytes(), type=Drill)
            time_ = datetime.datetime.fromisoformat(made.time)
            is_ours = made.project == project.config.project.id and made.id == folder.name
            if is_ours and made.whole and oldest <= time_ <= project.clock.now():
                return Drilled(drill=made, folder=str(folder), played_now=False)
    return None


def _played(
    folder: Path, wanted: list[Attack], twin: Twin, seconds: float, progress: Progress
) -> list[Played]:
    """What became of each attack; of those that the player did not come to, why."""
    found: dict[str, Played] = {}
    why = "the player ended before it"
    with (folder / "errors").open("w+b") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", alone.__name__, str(folder), *(one.id for one in wanted)],
            cwd=folder / PROJECT,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            for line in _lines(process, time.monotonic() + seconds):
                if line.begins:
                    progress(line.begins, len(found), len(wanted))
                if line.note:
                    twin.differences.append(clean(line.note, 300))
                if line.played is not None:
                    found[line.played.attack] = line.played
        except TimeoutError:
            why = f"[drill] minutes were over after {seconds / 60:g}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0)
        told = clean(errors.read()[-400:].decode(errors="replace").strip(), 400)
    if len(found) < len(wanted) and told:
        why += f": {told}"
    return [found.get(one.id) or one.told("not-played", said=why) for one in wanted]


def _lines(process: "subprocess.Popen[bytes]", end: float) -> Iterator[Line]:
    """What the player says, line by line.

    Raises:
        TimeoutError: it still plays when its time is over.
    """
    pipe = process.stdout
    if pipe is None:
        raise BackendError("the player of the drill has no output", hint="try again")
    rest = b""
    with pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError
            content = os.read(pipe.fileno(), 65536)
            if not content:
                return
            *lines, rest = (rest + content).split(b"\n")
            if len(rest) > MOST_LINE:
                return
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):  # of a library that prints
                    yield msgspec.json.decode(line, type=Line)


def _environment(folder: Path) -> dict[str, str]:
    """What the player gets of ours: no secret, no proxy, no home."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder / HOME),
        "TMPDIR": str(folder / WORK),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }


class Drills(Noun):
    """Drills of a project, by their verbs."""

    play = drill
    list = listing
