"""A coordinator leads a job: it listens, asks rounds until they lead somewhere, and writes the
model and a signed record of how it came about. Killed and started again it goes on.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from casemate.controls.federation import COORDINATOR, cards
from casemate.controls.federation.cards import Charter
from casemate.controls.federation.messages import JOB_TYPE, RECORD_TYPE, Job, Over
from casemate.core.digest import sha256
from casemate.core.errors import BusyError, ConfigError, Error
from casemate.core.files import alone, make_folder, write_atomic
from casemate.core.types import NoiseUnit, Record
from casemate.ml.federated import exact
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.trees import ESTIMATORS, Growth
from casemate.operations.acting import Acting, operation
from casemate.operations.contexts import Silent
from casemate.operations.federated.books import Begun, CatalogueBooks, begun_with
from casemate.operations.federated.conducting import Conductor, Options
from casemate.operations.federated.jobs import entry_of, job_of
from casemate.operations.federated.judging import NETWORK
from casemate.operations.federated.learning import Learning, Learnt
from casemate.operations.federated.listening import address, listening, most_of
from casemate.operations.federated.meeting import POLL_SECONDS, Meeting
from casemate.operations.federated.parties import about, as_coordinator
from casemate.operations.federated.recording import record_of
from casemate.stages.train import federation, global_linear, global_model, global_trees
from casemate.stages.train.training_code import RECORD
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

ACTION = "federation:lead"
FOLDER = "federated"
LINGER_SECONDS = POLL_SECONDS + 10
"""For sites to hear that the job is over."""
FAILED = "the coordinator failed; what it says there is its owner's"
"""What sites hear of a fault that nobody foresaw."""


class Led(Record, frozen=True, kw_only=True):
    """What became of a job."""

    name: str
    """Of the federation."""
    job: str
    """Digest of the job."""
    rule: str
    rounds: int
    """That were asked."""
    sites: list[str]
    """Names of those whose rows are in the model."""
    refused: dict[int, dict[str, str]]
    """By round and site: why its answer was not taken."""
    suspects: dict[str, int]
    """By site, or by group under masks: in how many rounds its answer undid what the others did, or
    was long beside theirs. Evidence, no verdict.
    """
    model: str
    """File, relative to the project's folder."""
    digest: str
    """SHA-256 of the model's file."""
    record: str
    """File with the signed record, relative to the project's folder."""


@operation(ACTION)
def lead(
    project: Wiring,
    name: str,
    *,
    listen: str = "",
    rule: str = "fedavg",
    rounds: int = 10,
    combine: str = "mean",
    liars: int | None = None,
    mixed: bool = False,
    bucket: int = 1,
    remembers: bool = False,
    epochs: int = 1,
    batch: int = 32,
    rate: float = 0.1,
    momentum: float = 0.0,
    calibrate: float = 0.0,
    masked: bool = True,
    groups: int = 1,
    epsilon: float | None = None,
    unit: NoiseUnit = "subject",
    wait: float = 600.0,
    fresh: bool = False,
    reporter: "Reporter | None" = None,
) -> Led:
    """Have the sites of a federation learn a model together, without any row of theirs.

    The entry of `[train]` says which model. What comes of it is a file that `[train] model`
    imports, so that it is measured, judged, signed and served like any other. A job that was killed
    goes on where it was.

    Args:
        project: the coordinator's.
        name: of a federation whose charter it founded.
        listen: `HOST:PORT`, or `unix:SOCKET` for something that carries sites' connections there;
            default: where the charter says.
        rule: `fedavg`, `fedprox`, `scaffold`, `fedavgm`, `fedadam` or `exact`.
        rounds: how often sites are asked; of the exact rule as often as it takes.
        combine: how one update is made of the sites'; see `simulate`.
        liars: sites that this reckons with; default: none.
        mixed: what is combined are means of neighbouring updates.
        bucket: sites, drawn anew each round, whose mean is looked at together; 1: each alone.
        remembers: leave out sites, at most as many as may lie, whose updates over all rounds so far
            undo what the others do.
        epochs: passes over a site's rows in a round.
        batch: rows a step.
        rate: learning rate of a site.
        momentum: of a site.
        calibrate: so many times the logarithm of its share in a site's rows is added to the score
            of each class in the site's loss, for sites that have classes in unlike shares.
        masked: updates are summed under masks, and only sums are seen here.
        groups: of sites that are summed apart, so that `combine` has something to look at.
        epsilon: of each site in all rounds together, at `[privacy] delta`; None: no noise.
        unit: whom noise covers, a `subject` (a row, where there are no subjects) or a whole `site`.
        wait: seconds that sites are waited for, to come and to answer each step.
        fresh: leave a job that has not ended, and begin a new one.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy. ConfigError: no such charter, the options do not fit together, or a
            job with others has not ended. TrainingError: the code failed, or returns what sites
            cannot train. TooFewSites: they did not come, or did not answer. NotReached: the sums
            lead to no optimum. BackendError: nobody can listen there.
    """
    acting = lead.ask(project, federation=name[:80])
    charter = as_coordinator(project, name)
    if not 0.1 <= wait <= 7 * 24 * 3600:
        raise ConfigError(f"--wait {wait:g}: seconds, from .1 to a week", hint="such as 600")
    plan = LocalPlan(
        epochs=epochs,
        batch=batch,
        rate=rate,
        momentum=momentum,
        calibrated=calibrate,
        unit=unit,
    )
    design = federation.designed(
        plan,
        sites=len(charter.sites),
        rounds=rounds,
        rule=rule,
        combine=combine,
        liars=liars,
        mixed=mixed,
        bucket=bucket,
        remembers=remembers,
        attack="",
        share=1.0,
        seed=project.config.train.seed,
        masked=masked,
        groups=groups,
        epsilon=epsilon,
        privacy=project.config.privacy,
    )
    options = Options(
        liars=design.liars, mixed=mixed, bucket=bucket, remembers=remembers, wait=wait
    )
    where = address(charter, listen)
    folder = make_folder(project.state / FOLDER)
    with _only(folder / f"{name}.leading.lock", name):
        entry = entry_of(project, charter)
        room = global_model.Room(project.config, project.state / "tmp", _hidden(project))
        said, start = global_model.described(entry, room)
        wanted = job_of(project, charter, design, epsilon, entry, said)
        file = folder / f"{name}.led"
        begun = begun_with(project, file, charter, wanted, options, fresh=fresh)
        leading = _Leading(acting, charter, begun, file, reporter or Silent())
        return leading.run(where, entry, room, start)


@contextlib.contextmanager
def _only(lock: Path, name: str) -> Iterator[None]:
    """One process of this project leads a federation at a time."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(lock, name))
        except BusyError as error:
            raise BusyError(
                f"another process of this project leads {name} already",
                hint="one is enough: let it end, or stop it, and lead again",
            ) from error
        yield


def _hidden(project: Wiring) -> list[Path]:
    from casemate.operations.runs import run_context

    return run_context(project).hidden


class _Leading:
    """One job, from the first site to the signed record."""

    def __init__(
        self, acting: Acting, charter: Charter, begun: Begun, file: Path, reporter: "Reporter"
    ) -> None:
        self.acting, self.project, self.charter = acting, acting.project, charter
        self.begun, self.file, self.reporter = begun, file, reporter
        self.job = cards.opened(begun.job, JOB_TYPE, charter.coordinator, Job)
        self.books = CatalogueBooks(acting, charter, self.job, begun, file, reporter)
        self.meeting = Meeting(charter, self.job, begun.job)
        self.conductor = Conductor(
            self.meeting, begun.options, self.books, self._now, begun.started
        )

    def _now(self) -> str:
        return self.project.clock.now().isoformat(timespec="microseconds")

    def run(
        self,
        where: tuple[str, int] | Path,
        entry: global_model.Entry,
        room: global_model.Room,
        start: np.ndarray,
    ) -> Led:
        """What became of it."""
        job, meeting = self.job, self.meeting
        learning = Learning(
            job,
            len(self.charter.columns.classes),
            len(self.charter.sites),
            start,
            self.conductor.ask,
            lambda: self.books.full(self._rows),
            self.reporter.progress,
        )
        self.acting.record(
            ACTION, about(self.charter.name), "begun", charter=self.charter.digest, job=job.digest,
            rule=job.rule, combine=job.combine, masked=job.masked, code=job.code_digest,
            started=self.begun.started,
        )  # fmt: skip
        keystore = self.project.keystore
        # linear models send a square of their weights, SCAFFOLD the weights twice
        most = most_of(max((job.limits.width + 2) ** 2 * 4, 2 * job.layout.size, self._sums))
        with listening(meeting, keystore.authority, keystore.folder, where, most):
            at = where if isinstance(where, Path) else f"{where[0]}:{where[1]}"
            self.reporter.progress(f"waiting for sites at {at}", 0, job.rounds)
            try:
                learnt = learning.learn()
                found, record = self._written(learnt, entry, room)
            except Exception as error:
                # else the same command goes on, once whatever it was is mended
                if isinstance(error, exact.NotReached):
                    self.file.unlink(missing_ok=True)
                why = error.message if isinstance(error, Error) else FAILED
                meeting.dismiss(Over(record=b"", why=why), LINGER_SECONDS)
                raise
            meeting.dismiss(Over(record=record, why=""), LINGER_SECONDS)
        return found

    @property
    def _sums(self) -> int:
        """Numbers of the largest answer about boosted trees."""
        if self.job.estimator not in ESTIMATORS or self.job.epsilon:  # of leaves there are few
            return 0
        classes = len(self.charter.columns.classes)
        return Growth.of(self.job.settings).require_size(self.job.limits, classes)

    def _rows(self) -> list[int]:
        """What the sites that are there say they have."""
        return [self.meeting.rows_of(site) for site in self.conductor.there()]

    def _written(
        self, learnt: Learnt, entry: global_model.Entry, room: global_model.Room
    ) -> tuple[Led, bytes]:
        """(what is said of the job, its signed record), once model and record are on disk."""
        name, job = self.charter.name, self.job
        folder = make_folder(self.project.root / FOLDER, 0o755)
        if learnt.forest is not None:
            content = global_trees.skops_file(learnt.forest, self.charter.columns)
            suffix = ".skops"
        elif job.estimator == NETWORK:
            content, suffix = global_model.graph(entry, room, learnt.weights), ".onnx"
        else:
            assert learnt.scale is not None  # noqa: S101 - linear models have one
            content = global_linear.skops_file(
                learnt.weights, learnt.scale, job.limits, self.charter.columns, job.settings
            )
            suffix = ".skops"
        digest = sha256(content)
        kept = self.project.federation.of(self.charter.digest, job.digest, COORDINATOR)
        told = record_of(self.charter, self.charter.coordinator, kept, digest)
        told = structs.replace(told, epsilon=job.epsilon, delta=job.delta, unit=job.plan.unit)
        record = cards.signed(told, RECORD_TYPE, self.project.signer)
        model, beside = folder / f"{name}{suffix}", folder / f"{name}{RECORD}"
        # the record last: one that is of another file stops a run
        write_atomic(model, content, 0o644)
        write_atomic(beside, record, 0o644)
        for other in {".skops", ".onnx"} - {suffix}:  # of a job before, without its record now
            (folder / f"{name}{other}").unlink(missing_ok=True)
        self.acting.record(
            ACTION, about(self.charter.name), "done", charter=self.charter.digest, job=job.digest,
            rounds=len(kept), sites=learnt.sites, model=digest,
        )  # fmt: skip
        self.file.unlink(missing_ok=True)
        return self._led(learnt, digest, model, beside), record

    def _led(self, learnt: Learnt, digest: str, model: Path, record: Path) -> Led:
        rounds = dict(sorted(self.books.gathered.items()))
        suspects: dict[str, int] = {}
        for gathered, _ in rounds.values():
            for one in gathered.evidence:
                if one.suspect:
                    name = (
                        f"group {one.site + 1}"
                        if self.job.masked
                        else self.meeting.name_of(one.site)
                    )
                    suspects[name] = suspects.get(name, 0) + 1
        refused = {
            number: {self.meeting.name_of(site): why for site, why in told.refused.items()}
            for number, (_, told) in rounds.items()
            if told.refused
        }
        return Led(
            name=self.charter.name,
            job=self.job.digest,
            rule=self.job.rule,
            rounds=len(rounds),
            sites=[self.meeting.name_of(site) for site in learnt.sites],
            refused=refused,
            suspects=suspects,
            model=str(model.relative_to(self.project.root)),
            digest=digest,
            record=str(record.relative_to(self.project.root)),
        )
