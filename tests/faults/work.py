"""What is interrupted: a whole run, and the same bookkeeping without the long computations."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

import casemate
from casemate.config import TrainTable
from casemate.controls.audit.witness import Witness
from casemate.controls.keys import tables
from casemate.core.errors import VerificationError
from casemate.core.steps import STAGES
from casemate.core.types import Finding

Ack = Callable[[str], object]


def warm() -> None:
    """Import what a trial would otherwise import every time."""
    import onnxruntime  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import skops.io  # noqa: F401

    import casemate.stages.train.search  # noqa: F401


class Acks:
    """A `supply.context.Reporter` that acknowledges finished stages."""

    def __init__(self, ack: Ack) -> None:
        self.ack = ack

    def begin(self, run) -> None:
        pass

    def progress(self, text: str, done: int, total: int) -> None:
        pass

    def stage(self, name: str, _record) -> None:
        self.ack(f"stage {name}")


def whole(root: Path, ack: Ack) -> None:
    """`casemate run`."""
    result = casemate.open(root).run(reporter=Acks(ack))
    ack(f"done {result.id} {result.verdict.outcome}")


def bookkeeping(root: Path, ack: Ack) -> None:
    """Four durable steps with objects, a sealed table, evidence, log entries and notices: what a
    run does around its computations.
    """
    project = casemate.open(root)
    with project.engine.begin(dict.fromkeys(STAGES, "bookkeeping"), "tester") as run:
        if not run.ended:
            for stage in STAGES:
                run.step(
                    stage,
                    Finding,
                    lambda stage=stage: _work(project, stage),
                    commit=lambda tx, record: _effect(tx, project, record),
                )
                ack(f"stage {stage}")
            run.finish("passed")
    ack(f"done {run.id} passed")
    ack(f"entry {project.log.record('tester', 'test:after', 'r', 'done')}")
    faults = [fault for _, fault in project.outbox.send() if fault]
    if faults:
        raise faults[0]


def restore(root: Path, ack: Ack) -> None:
    """`casemate backup restore` on a machine without the project and its keys."""
    from casemate.controls.keys.sealedfile import Opener
    from casemate.operations import backup

    os.environ["HOME"] = str(root / ".casemate" / "home")
    backup.restore(
        root / "b", root / ".casemate" / "again", Opener(identities=[(root / "key").read_text()])
    )
    ack("done")


def collect(root: Path, ack: Ack) -> None:
    """`casemate gc --apply`."""
    from casemate.operations import retention

    project = casemate.open(root)
    ack(f"done {len(retention.collect(project, apply=True).runs)}")


def _work(project, stage: str) -> Finding:
    digest = project.objects.put(stage.encode() * 1000)
    if stage == "data":
        folder = project.state / "datasets" / "t" / "v1"
        if not (folder / "manifest.dsse.json").exists():
            table = pa.table({"a": list(range(100))})
            tables.seal(
                table,
                folder,
                project.provider,
                project.keystore.signer,
                {"a": "general"},
                {"name": "t", "version": "v1", "rows": 100},
            )
    return Finding(id=f"test.{stage}", severity="low", confidence="low", message=digest)


def _effect(tx, project, record: Finding) -> None:
    """An effect in the store that must happen exactly once."""
    project.outbox.enqueue(tx, "run:passed", f"effect/{record.id}", {"record": record.id})
    tx.exec_driver_sql("UPDATE access_seen SET last = ? WHERE principal = 'Counter'", (_next(tx),))


def search(root: Path, ack: Ack) -> None:
    """A search of three trials, from where its journal ends."""
    from casemate.stages.train import study
    from casemate.stages.train.candidates import Models
    from casemate.stages.train.search import _study

    folder = root / ".casemate" / "studies" / "search"
    folder.mkdir(parents=True, exist_ok=True)
    study.clean(folder)
    options = TrainTable(entry="train.py:build", trials=3, search={"c": {"low": 0.0, "high": 1.0}})
    for number, (params, scores) in enumerate(
        _study(
            Models({"": None}), options.search, options, folder, lambda given, _stop: [given["c"]]
        )
    ):
        ack(f"trial {number} {params['c']} {scores}")


def _next(tx) -> str:
    return str(
        int(tx.exec_driver_sql("SELECT last FROM access_seen WHERE principal = 'Counter'").scalar())
        + 1
    )


def prepare_counter(root: Path) -> None:
    """The row that every step adds one to: of a table that gives no rights, so nothing explains it
    to the log.
    """
    project = casemate.open(root)
    with project.database.transaction() as tx:
        tx.exec_driver_sql(
            "INSERT INTO access_seen (principal, network, first, last) VALUES ('Counter', '', '',"
            " '0')"
        )
    project.database.close()


def count_of(root: Path) -> int:
    """How often the effect happened."""
    project = casemate.open(root)
    with contextlib.closing(project.database), project.database.reading() as tx:
        return int(
            tx.exec_driver_sql("SELECT last FROM access_seen WHERE principal = 'Counter'").scalar()
        )


def witness(root: Path, ack: Ack) -> None:
    """A witness that is asked to cosign the log's checkpoints one after another, from where its
    memory ends.
    """
    known = Witness.open(root / ".casemate" / "witness")
    start = known.latest("casemate/test").size
    for path in sorted(
        path for path in (root / "requests").iterdir() if int(path.name[:4]) >= start
    ):
        answer = known.add_checkpoint(path.read_bytes())
        if answer.status != 200:
            raise VerificationError(f"{path.name}: {answer.status} {answer.body}")
        ack(f"cosigned {path.name.rpartition('-')[2]}")


class Receiver:
    """Acknowledges what it gets, outside of where faults happen; refuses every tenth line."""

    takes = frozenset({"lines"})

    def __init__(self, ack: Ack) -> None:
        self.ack = ack

    def send(self, batch):
        from casemate.watch.sinks.interface import Refusal, Sent

        for item in batch:
            self.ack(f"got {item.id}")
        refused = [Refusal(id=item.id, reason="tenth") for item in batch if item.id.endswith("0")]
        return Sent(accepted=len(batch) - len(refused), refused=refused)


SPOOLED = 120
"""Lines of `spool`, in three batches."""


def spool(root: Path, ack: Ack) -> None:
    """Lines into a spool of small segments and out of it, as a look of the watcher does; whoever
    brings them remembers what was taken.
    """
    from casemate.core.clock import SystemClock
    from casemate.watch.logs.line import LogLine
    from casemate.watch.sinks.delivery import Manner, Route, send_all
    from casemate.watch.sinks.spool import EVERYTHING, Spool

    remembered = root / "remembered"
    done = int(remembered.read_text()) if remembered.exists() else 0
    for start in range(done, SPOOLED, 40):
        spool = Spool(root / ".casemate" / "spool", 2**16, ["one"])
        time = "2026-11-29T08:00:00.000Z"
        spool.append(
            [
                LogLine(
                    time=time, level="info", message="m", id=f"{at:04d}", dataset="casemate.audit"
                )
                for at in range(start, start + 40)
            ]
        )
        remembered.write_text(str(start + 40))
        ack(f"appended {start + 40}")
        routes = [Route("one", Receiver(ack), EVERYTHING)]
        for one in send_all(spool, routes, Manner(SystemClock(), now=True)):
            if one.error:
                ack(f"! {one.error}")
                return
    spool = Spool(root / ".casemate" / "spool", 2**16, ["one"])
    send_all(spool, [Route("one", Receiver(ack), EVERYTHING)], Manner(SystemClock(), now=True))
    ack(f"left {spool.end().line - spool.cursor('one').line}")
