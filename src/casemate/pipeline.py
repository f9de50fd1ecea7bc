"""THE SPINE: what `casemate run` does, one line a stage. Read `run` and you have the table of
contents.

Each stage gets its tools and the records of the stages before it, and gives one record. The engine
makes every record durable together with its audit entry; what is finished is never done again.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate.core.errors import ImportRefused, OutOfMemory, StageTimeout, TrainingError
from casemate.core.findings import attempts
from casemate.core.imports import uncollected
from casemate.core.memory import give_back
from casemate.core.run import Run
from casemate.core.types import Assessment, Release, SealedDataset, TrainedModel
from casemate.stages.assess import options
from casemate.stages.data import files
from casemate.supply.context import RunContext
from casemate.supply.earlier import former, outcome, previous, reference
from casemate.supply.evidence import Pictures, sign_evidence
from casemate.supply.inputs import inputs_of
from casemate.supply.payment import BudgetPayment
from casemate.supply.processes import SandboxPool
from casemate.supply.rows import SealedRows

WORDS = "its words: object "
"""How a failed run's error names the object that holds what its code said: whole, so that it is
kept as long as the run.
"""


def run(
    context: RunContext, principal: str, start: str | None = None, key: str | None = None
) -> tuple[str, Release, Assessment]:
    """From the table to a signed or refused model: (run id, release, assessment).

    Args:
        context: what to work with.
        principal: who acts.
        start: first stage to do again even if nothing changed.
        key: idempotency key of the run.
    """
    try:
        return _run(context, principal, start, key)
    except TrainingError as error:  # the catalogue and the log have the plain words
        error.opened()
        raise


def _run(
    context: RunContext, principal: str, start: str | None, key: str | None
) -> tuple[str, Release, Assessment]:
    options.available(context.config)
    where = files.place(context.root, context.config.data.source)
    # whether a database changed is known by asking it only
    answer = files.once(where, context.config.data)
    held = answer if answer is not where else None
    # From here on a kill leaves a run that the same command goes on with, or nothing.
    with context.engine.begin(inputs_of(context, where, answer), principal, start, key) as work:
        context.reporter.begin(work)
        if work.ended:
            return outcome(context, work)
        with SandboxPool(context, work) as pool:
            dataset = _data(context, work, held)
            # A database's answer can be as large as the table, which is sealed by now: training
            # needs the memory.
            del answer, held
            give_back()
            # What only the schema can contradict is said before anything is searched for.
            options.check(context.config, dataset.schema)
            rows = SealedRows(context, dataset)
            model = _train(context, work, principal, dataset, rows, pool)
            pictures = Pictures()
            assessment = _assess(context, work, dataset, rows, model, pool, pictures)
        release = _release(context, work, principal, dataset, model, assessment, pictures)
        # A refused model's evidence is signed as well: that it was refused must be provable.
        sign_evidence(context, work, release)
        work.finish("passed" if release.bundle else "refused")
    return work.id, release, assessment


def _data(context: RunContext, work: Run, held: Any) -> SealedDataset:
    """Read, check, screen, split, seal."""

    def seal() -> SealedDataset:
        with uncollected():
            from casemate.stages.data import stage as data

        return data.seal(data_tools(context, held))

    def report(record: SealedDataset) -> dict[str, bytes]:
        from casemate.stages.data.report import draw

        # Steps know each other by records alone, so the version that was compared with is looked up
        # by its name.
        before = (
            context.engine.find(
                "data", SealedDataset, lambda older: older.version == record.reference
            )
            if record.reference
            else None
        )
        profiles, older = (
            context.objects.get(one.profile) if one else b"[]" for one in (record, before)
        )
        return draw(record, profiles, older, context.config.privacy.min_group)

    record = work.step("data", SealedDataset, seal, pictures=report)
    context.reporter.stage("data", record)
    return record


def data_tools(context: RunContext, held: Any = None) -> Any:
    """What the data stage works with; `held` is a database's answer, where it was asked already."""
    from casemate.stages.data import lessons
    from casemate.stages.data.tools import DataTools

    digest = context.lessons
    return DataTools(
        context.root,
        context.config,
        context.state / "datasets",
        context.objects,
        context.keys,
        context.identifiers,
        context.signer,
        context.engine.clock.now(),
        context.reporter.progress,
        context.engine.newest_step("data", SealedDataset),
        reference(context),
        context.reviews.of(context.config.dataset_name),
        held,
        lessons.from_bytes(digest, context.objects.get(digest)) if digest else None,
        context.usable,
        context.erased,
    )


def _train(
    context: RunContext,
    work: Run,
    principal: str,
    dataset: SealedDataset,
    rows: "SealedRows",
    pool: "SandboxPool",
) -> TrainedModel:
    """Search and refit in the sandbox, on training rows only; a second sandbox makes of its model
    file what is measured and served.
    """
    study, heard = _study(context, work), context.hears(dataset)

    def progress(text: str, done: int, total: int) -> None:
        context.reporter.progress(*(text, done, total) if heard else ("training", 0, 0))

    def fit() -> TrainedModel:
        from casemate.stages.train import stage as train
        from casemate.stages.train.tools import TrainTools

        tools = TrainTools(
            context.root,
            context.config,
            context.objects,
            context.state / "tmp",
            study,
            context.hidden,
            pool["train"] if context.config.train.model is None else None,
            pool["convert"],
            progress,
            BudgetPayment(context, work, dataset, principal),
            (pool["rehearse"], pool["reread"]) if context.config.train.mode == "private" else None,
            former(context),
            context.charters,
            rows.rest,
        )
        return train.fit(tools, dataset, rows.training)

    try:
        record = work.step("train", TrainedModel, fit)
    except TrainingError as error:
        # `from None`: a traceback would show the words of the code to whoever may not hear them.
        raise _plain(context, work, error, heard) from None
    except (KeyboardInterrupt, StageTimeout, OutOfMemory):
        if work.lease.lost is not None:
            # What the code tried before it was stopped is evidence, however the run ended.
            work.lease.lost.findings += pool.tried("train")
        raise
    context.reporter.stage("train", record)
    return record


def _plain(context: RunContext, work: Run, error: TrainingError, heard: bool) -> TrainingError:
    """The same fault in words that everybody may read; what the code said is sealed as an object
    that the message names.
    """
    from casemate.stages.train.stage import keep

    found = [finding.message for finding in error.findings]
    said = keep(context.objects, error=f"{error.message}\n{error.hint}".strip(), findings=found)
    text = f"{error.plain} ({WORDS}{said})"
    hint = (
        f"`casemate runs show {work.id}` says more to whoever may read the columns that the"
        " code saw"
    )
    kind = ImportRefused if isinstance(error, ImportRefused) else TrainingError
    plain = kind(text, hint=hint, findings=attempts(error.findings), plain=text)
    plain.words = (error.message, error.hint) if heard else None
    return plain


def _assess(
    context: RunContext,
    work: Run,
    dataset: SealedDataset,
    rows: "SealedRows",
    model: TrainedModel,
    pool: "SandboxPool",
    pictures: "Pictures",
) -> Assessment:
    """Measure on rows that training never saw, in a third sandbox without user code."""

    def measure() -> Assessment:
        from casemate.stages.assess import stage as assess

        tools = context.assess_tools(pool["assess"], previous(context, assess, rows))
        return assess.measure(
            tools, dataset.schema, model, rows.parts, further_tables(context, dataset)
        )

    record = work.step("assess", Assessment, measure, pictures=pictures)
    context.reporter.stage("assess", record)
    return record


def _release(
    context: RunContext,
    work: Run,
    principal: str,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    pictures: "Pictures",
) -> Release:
    """Judge, sign what passed, register."""

    def decide() -> Release:
        from casemate.stages.release import stage as release

        shown = {
            name.removesuffix(".png"): content
            for name, content in pictures(assessment).items()
            if name.endswith(".png")
        }
        tools = release.ReleaseTools(
            context.config, context.objects, context.signer, context.reporter.progress, shown
        )
        version = context.registry.next_version(context.config.project.name)
        waivers = context.waivers.in_force(context.config.project.name, without=principal)
        scan = context.required_scan()
        return release.decide(tools, work.id, version, dataset, model, assessment, waivers, scan)

    def register(tx: Any, record: Release) -> None:
        context.registry.register(tx, record, context.engine.clock.now().isoformat())

    def cards(record: Release) -> dict[str, bytes]:
        return {
            name: context.objects.get(record.files[name])
            for name in ("model-card.md", "model-card.html")
        }

    record = work.step("release", Release, decide, pictures=cards, commit=register)
    context.reporter.stage("release", record)
    return record


def further_tables(context: RunContext, dataset: SealedDataset) -> dict[str, pa.Table]:
    """The tables of `[assess] tables`, read with the data set's schema: rows of people who may be
    used, and never those of people who were erased.
    """
    from casemate.stages.data.consented import allowed
    from casemate.stages.data.erased import others
    from casemate.stages.data.further import read

    config = context.config

    def taken(table: pa.Table, name: str) -> pa.Table:
        root = context.identifiers.candidate()
        if context.erased is not None:
            table = others(table, config, context.erased, root, dataset.schema.identifiers)[0]
        return allowed(table, config, context.usable, root, name).table

    return {
        name: read(files.beside(context.root, path), config.data, dataset.schema, taken)
        for name, path in config.assess.tables.items()
    }


def _study(context: RunContext, work: Run) -> Path:
    """The search's journal; whoever takes a run over takes it along, so that a process which lost
    its lease cannot write to it.
    """
    study = context.state / "studies" / f"{work.id}.{work.lease.token}"
    for older in sorted(study.parent.glob(f"{work.id}.*")):
        if older != study and not study.exists():
            older.rename(study)
    return study
