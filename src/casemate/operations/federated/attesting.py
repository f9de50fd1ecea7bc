"""A site says what a model that it helped to learn tells of its rows: measured here, by the attacks
of every assessment, on the rows that it gave against those that it held out. Figures leave, signed,
and a person sees them before.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from casemate.controls.federation import COORDINATOR, cards
from casemate.controls.federation.cards import Charter
from casemate.controls.federation.comparing import record_in
from casemate.controls.federation.messages import MOST, JobRecord
from casemate.controls.federation.statements import STATEMENT_TYPE, Statement
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, TrainingError, VerificationError
from casemate.core.files import shared_lock
from casemate.core.sandbox.run import Worker
from casemate.core.types import Assessment, Leak, Record, TrainedModel
from casemate.operations.acting import operation
from casemate.operations.federated import ownrows
from casemate.operations.federated.agreeing import refusal_of
from casemate.operations.federated.judging import SitePolicy
from casemate.operations.federated.keeping import found_in, paid_for
from casemate.operations.federated.ownrows import OwnRows
from casemate.operations.federated.parties import about, as_site
from casemate.stages.train.training_code import IMPORTED, RECORD
from casemate.stages.train.turns import Found
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

ATTEST = "federation:attest"
TOGETHER = "have it sent again with its record, as casemate federate lead wrote both"


class Attested(Record, frozen=True, kw_only=True):
    """What a site says of a model."""

    statement: Statement
    signed: bytes
    """The same as a DSSE envelope, JSON: what the coordinator gets."""


@operation("federation:answer")
def attest(
    project: Wiring, name: str, model: Path | str, *, reporter: "Reporter | None" = None
) -> Attested:
    """Measure what a model tells of the rows that this site gave, and sign the figures for the
    coordinator.

    Args:
        project: of a site.
        name: of a federation whose charter was approved here.
        model: the file that came of a job, with the coordinator's record beside it.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy. ConfigError: no such charter, this project is none of its sites, or
            gave no answer in that job. VerificationError: record or file are not the coordinator's.
            RefusedError: `[federate]` does not allow it, another file of the job was attested, or
            the rows are others than those that were learnt from. TrainingError: the file is no such
            model, or nothing could be measured.
    """
    acting = attest.ask(project, context={"charter": name})
    charter, site = as_site(project, name)
    problem = refusal_of(project, charter)
    if problem is not None:
        raise problem
    model = Path(model)
    content, record = _read(model, charter)
    given = _given(project, charter, record, site)
    _require_only(project, record)
    with shared_lock(project.state / "lock", lambda: None):
        rows = ownrows.read(project, charter, noisy=False, reporter=reporter)
        if rows.digest != given.of:
            raise RefusedError(
                "the rows here, or the sides that they are on, are not those of the job's last"
                " round: what is measured now would not be about what was learnt from",
                hint=(
                    "attest with the table and the [data] and [train] of then; or have the"
                    " coordinator lead a new job, and attest when it has ended"
                ),
            )
        least = project.config.privacy.min_group
        if rows.holdout.num_rows < least:
            raise SitePolicy(
                f"fewer than {least} rows are held out here, and no figure is told of so few",
                hint="[train] test_share, before the next job",
            )
        leaks = _measured(project, charter, {IMPORTED[model.suffix]: content}, rows, reporter)
    statement = Statement(
        charter=charter.digest,
        job=record.job,
        site=site,
        model=record.model,
        leaks=leaks,
        time=project.clock.now().isoformat(timespec="seconds"),
    )
    signed = cards.signed(statement, STATEMENT_TYPE, project.signer)
    acting.record(
        ATTEST, about(name), charter=charter.digest, job=record.job,
        model=record.model, statement=sha256(signed),
        figures={figure: leak.figure.value for figure, leak in leaks.items()},
    )  # fmt: skip
    return Attested(statement=statement, signed=signed)


def _read(model: Path, charter: Charter) -> tuple[bytes, JobRecord]:
    """(the model's file, the coordinator's record of the job that it came of)."""
    beside = model.with_suffix(RECORD)
    for path in (model, beside):
        if not path.is_file():
            raise ConfigError(f"there is no file {path}", hint=TOGETHER)
    if model.suffix not in IMPORTED:
        raise ConfigError(f"{model} is no .skops or .onnx file", hint=TOGETHER)
    with model.open("rb") as file, beside.open("rb") as told:
        content, record = file.read(MOST + 1), record_in(told.read(cards.MOST + 1), charter)
    if record.site != COORDINATOR or record.model != sha256(content):
        raise VerificationError(
            f"{beside} is no coordinator's record, or of another file than {model.name}",
            hint=TOGETHER,
        )
    return content, record


def _given(project: Wiring, charter: Charter, record: JobRecord, site: int) -> Found:
    """What this site computed in the last round that it answered.

    Raises:
        ConfigError: it answered none. SitePolicy: figures would tell what noise covers.
    """
    kept = project.federation.of(charter.digest, record.job, site)
    if not kept:
        raise ConfigError(
            f"this project gave no answer in job {record.job[:12]}, so the model was not learnt"
            " from its rows",
            hint=f"casemate federate rounds {charter.name}",
        )
    last = max(kept, key=lambda one: one.number)
    found = found_in(project, last)
    paid = paid_for(record.job)
    noisy = any(one.id.startswith(paid) for one in project.ledger.of())
    if noisy or project.config.federate.noise:
        raise SitePolicy(
            "noise covers whose rows are here, and exact figures of them would tell it",
            hint=(
                "what such a model tells is bounded by the job's epsilon; the coordinator takes the"
                " gates on membership away, or waives them"
            ),
        )
    return found


def _require_only(project: Wiring, record: JobRecord) -> None:
    """Nothing; SitePolicy: another file was attested as what came of the job. A site cannot know
    that a file did, and figures of many that were made up would close in on single rows.
    """
    for entry in project.log.plain_entries():
        told = entry.detail
        if entry.action == ATTEST and told["job"] == record.job and told["model"] != record.model:
            raise SitePolicy(
                f"another file was attested here as what came of job {record.job[:12]}",
                hint="one model comes of a job: attest no second one that its coordinator sends",
            )


def _measured(
    project: Wiring,
    charter: Charter,
    given: dict[str, bytes],
    rows: OwnRows,
    reporter: "Reporter | None",
) -> dict[str, Leak]:
    """What the attacks say; the file is read in one sandbox and attacked in another."""
    from casemate.operations.runs import run_context
    from casemate.stages.assess import elsewhere
    from casemate.stages.assess import stage as assessing
    from casemate.stages.train.stage import convert
    from casemate.supply.processes import SandboxPool

    context = run_context(project, reporter)
    scratch, threads = project.state / "tmp", project.config.train.threads
    with Worker(SandboxPool.JOBS["convert"], 1) as worker:
        outcome, said = convert(
            worker, given, charter.columns, project.config, scratch, context.hidden
        )
    model = TrainedModel(
        estimator=said.estimator,
        files={name: project.objects.put(one) for name, one in outcome.files.items()},
        params={},
        cv=[],
        metric="",
        code_digest="",
        findings=[],
        isolation=outcome.isolation,
        order=said.order,
    )
    with Worker(SandboxPool.JOBS["assess"], threads) as worker:
        found: Assessment = assessing.measure(
            context.assess_tools(worker, only=elsewhere.PARTS),
            charter.columns,
            model,
            assessing.Parts(rows.holdout, rows.table, rows.holdout.slice(0, 0)),
            {},
        )
    leaks = elsewhere.leaks(found)
    if not leaks:
        raise TrainingError(
            f"nothing could be measured: {'; '.join(found.inconclusive)[:500]}",
            hint="rows must be on both sides, 20 of each at least: [train] test_share",
        )
    return leaks
