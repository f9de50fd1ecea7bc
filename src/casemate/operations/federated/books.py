"""What a coordinator has on disk: the job that goes on, and the rounds that were gathered. A round
is one transaction with its entry in the log; the job is a file until it has ended.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from casemate.controls.federation import cards
from casemate.controls.federation.cards import Charter
from casemate.controls.federation.messages import JOB_TYPE, Job, Question, RoundRecord
from casemate.controls.federation.rounds import Kept
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.files import write_atomic
from casemate.core.types import Record
from casemate.ml.federated.combining import full_of
from casemate.ml.federated.local import LocalPlan
from casemate.operations.acting import Acting
from casemate.operations.federated.conducting import Gathered, Options
from casemate.operations.federated.parties import about, versions
from casemate.operations.federated.recording import round_of
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

ROUND = "federation:round"
SHOWN = 40
"""Characters of an option's value that a message quotes."""


class Begun(Record, frozen=True, kw_only=True):
    """A job that has not ended: enough to go on with it."""

    job: bytes
    """Signed."""
    options: Options
    started: int = 0
    """How often it was led before."""
    full: float = 0.0
    """See `messages.Question.full`; 0: not said yet."""
    opened: dict[int, list[list[int]]] = {}
    """By round: sites whose sums may have been opened."""


def begun_with(
    project: Wiring, file: Path, charter: Charter, wanted: Job, options: Options, *, fresh: bool
) -> Begun:
    """The job that goes on, or a new one; it is on disk before anybody hears of it.

    Raises:
        ConfigError: another one has not ended.
    """
    if file.exists() and not fresh:
        try:
            known = msgspec.msgpack.decode(file.read_bytes(), type=Begun)
            job = cards.opened(known.job, JOB_TYPE, charter.coordinator, Job)
        except (msgspec.MsgspecError, VerificationError) as error:
            raise VerificationError(
                f"{file} is not the job that this project signed",
                hint="--fresh begins a new one",
            ) from error
        same = structs.replace(job, id="", versions={}, begun="")
        mine = structs.replace(known.options, wait=options.wait)
        other = [*_other(same, wanted), *_other(mine, options)]
        if other:
            raise ConfigError(
                f"a job of {charter.name} has not ended, and it has another charter, code or"
                f" options; it began {job.begun} with {', '.join(other)}",
                hint="lead it with those that it began with, or --fresh to begin a new one",
            )
        found = structs.replace(known, options=options, started=known.started + 1)
    else:
        now = project.clock.now().isoformat(timespec="seconds")
        job = structs.replace(wanted, id=secrets.token_hex(16), versions=versions(), begun=now)
        found = Begun(job=cards.signed(job, JOB_TYPE, project.signer), options=options)
    write_atomic(file, msgspec.msgpack.encode(found))
    return found


def _other(known: Record, wanted: Record) -> list[str]:
    """What one has otherwise than the other, in words; long values by their name alone."""
    found = []
    for name in type(known).__struct_fields__:
        value, now = getattr(known, name), getattr(wanted, name)
        if isinstance(value, LocalPlan):
            found += _other(value, now)
        elif value != now:
            simple = isinstance(value, str | int | float) and len(str(value)) < SHOWN
            found.append(
                f"{name} {value} instead of {now}" if simple else f"another {name.split('_')[0]}"
            )
    return list(dict.fromkeys(found))


class CatalogueBooks:
    """Rounds of one job in catalogue, object store and log."""

    def __init__(
        self,
        acting: Acting,
        charter: Charter,
        job: Job,
        begun: Begun,
        file: Path,
        reporter: "Reporter",
    ) -> None:
        self.acting, self.project = acting, acting.project
        self.charter, self.job = charter, job
        self.begun, self._file, self._reporter = begun, file, reporter
        self.gathered: dict[int, tuple[Gathered, RoundRecord]] = {}
        """By round: what came of it, as far as it was asked for since this process began."""

    def earlier(self, question: Question) -> tuple[Gathered, RoundRecord] | None:
        """See `conducting.Books`."""
        with self.project.database.reading() as tx:
            kept = self.project.federation.earlier(
                tx, self.charter.digest, self.job.digest, question.round, question.digest
            )
        if kept is None:
            return None
        try:
            gathered = msgspec.msgpack.decode(self.project.objects.get(kept.content), type=Gathered)
        except msgspec.MsgspecError as error:
            raise VerificationError(
                "a round that was gathered cannot be read",
                hint="casemate fsck shows what is damaged; restore it from a backup",
            ) from error
        record = round_of(kept)
        self.gathered[question.round] = gathered, record
        return gathered, record

    def keep(self, question: Question, gathered: Gathered, record: RoundRecord) -> None:
        """See `conducting.Books`."""
        content = self.project.objects.put(msgspec.msgpack.encode(gathered))
        kept = Kept(
            charter=self.charter.digest,
            job=self.job.digest,
            number=question.round,
            question=question.digest,
            content=content,
            record=msgspec.json.encode(record),
            time=record.time,
        )
        with self.acting.transaction() as tx:
            self.project.federation.earlier(tx, kept.charter, kept.job, kept.number, kept.question)
            self.project.federation.keep(tx, kept)
            self.acting.append(
                tx, ROUND, about(self.charter.name), charter=kept.charter,
                job=kept.job, round=kept.number, what=question.what, question=kept.question,
                answers=[record.answers[site] for site in sorted(record.answers)],
                heard=gathered.heard, refused=sorted(record.refused), combined=record.combined,
                suspects=[one.site for one in gathered.evidence if one.suspect],
            )  # fmt: skip
        self.gathered[question.round] = gathered, record

    def opened(self, number: int) -> list[list[int]]:
        """See `conducting.Books`."""
        return self.begun.opened.get(number, [])

    def opening(self, number: int, groups: list[list[int]]) -> None:
        """See `conducting.Books`."""
        known = self.opened(number)
        more = [group for group in groups if group not in known]
        self._write(structs.replace(self.begun, opened={number: [*known, *more]}))

    def full(self, rows: Callable[[], list[int]]) -> float:
        """How many rows weigh 1 under masks: said once, for the whole job."""
        if not self.begun.full:
            self._write(structs.replace(self.begun, full=full_of(rows())))
        return self.begun.full

    def noted(self, text: str) -> None:
        """See `conducting.Books`."""
        self._reporter.progress(text, 0, 0)

    def _write(self, begun: Begun) -> None:
        write_atomic(self._file, msgspec.msgpack.encode(begun))
        self.begun = begun
