"""THE SPINE: what `casemate run` does, one line a stage. Read `run` and you have the table of
contents.

Each stage gets its tools and the records of the stages before it, and gives one record. The engine
makes every record durable together with its audit entry; what is finished is never done again.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa

from casemate.config import Config
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM, Identifiers
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.privacy.budget import Ledger, Limit, Spending, spend
from casemate.core.digest import sha256_file, sha256_record
from casemate.core.engine import Engine
from casemate.core.errors import (
    CompromisedSigner,
    ConfigError,
    Error,
    ImportRefused,
    StageTimeout,
    TrainingError,
    VerificationError,
)
from casemate.core.files import write_atomic
from casemate.core.memory import give_back
from casemate.core.run import Run
from casemate.core.sandbox.run import Worker
from casemate.core.sandbox.server import ForkServer
from casemate.core.signatures import Signer
from casemate.core.types import Assessment, Finding, Release, SealedDataset, TrainedModel
from casemate.ml.attacks import second
from casemate.ml.frame import GROUP, WEIGHT, features_of, sample_rows
from casemate.ml.learn.accountant import Gaussians
from casemate.stages.assess import options
from casemate.stages.data import expectations, files
from casemate.stages.data import schema as schemas
from casemate.stages.data.review import Reviews
from casemate.stages.data.source import READING
from casemate.stages.release import evidence
from casemate.stages.release.registry import Registry
from casemate.stages.release.waiver import Waivers
from casemate.stages.train.stage import code_digest

WORDS = "its words: object "
"""How a failed run's error names the object that holds what its code said: whole, so that it is
kept as long as the run.
"""
MEMBERS = 20_000
COMPUTING = (
    "casemate",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "optuna",
    "cleanlab",
    "skops",
    "onnx",
    "skl2onnx",
    "onnxruntime",
)


class Reporter(Protocol):
    """Hears how a run goes."""

    def begin(self, run: Run) -> None:
        """The run starts or resumes."""

    def progress(self, text: str, done: int, total: int) -> None:
        """Work goes on inside a stage."""

    def stage(self, name: str, record: Any) -> None:
        """A stage is finished."""


FOUND_AGAIN = 0.95
"""Share of an older version's rows that must be found again before a row that is not among them
counts as new.
"""


@dataclass(frozen=True)
class RunContext:
    """Everything a run works with; `operations.runs.run_context` builds it."""

    root: Path
    state: Path
    config: Config
    engine: Engine
    registry: Registry
    objects: ObjectStore
    keys: KeyProvider
    identifiers: Identifiers
    signer: Signer
    secret: Path
    reporter: Reporter
    waivers: Waivers
    reviews: Reviews
    ledger: Ledger
    hears: Callable[[SealedDataset], bool]
    """Whether whoever acts may hear what training code says, which may quote the rows that
    it saw.
    """

    @property
    def hidden(self) -> list[Path]:
        """What no confined process may be able to read."""
        where = files.place(self.root, self.config.data.source)
        return [
            self.secret,
            self.root,
            *([] if isinstance(where, str) else where if isinstance(where, list) else [where]),
        ]


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
    if context.config.robustness.second_opinion == "art":
        second.installed()  # before anything is searched for
    where = files.place(context.root, context.config.data.source)
    # whether a database changed is known by asking it only
    answer = files.once(where, context.config.data)
    held = answer if answer is not where else None
    # From here on a kill leaves a run that the same command goes on with, or nothing.
    with context.engine.begin(_inputs(context, where, answer), principal, start, key) as work:
        context.reporter.begin(work)
        if work.ended:
            return _earlier(context, work)
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
        _sign_evidence(context, work, release)
        work.finish("passed" if release.bundle else "refused")
    return work.id, release, assessment


def _data(context: RunContext, work: Run, held: Any) -> SealedDataset:
    """Read, check, screen, split, seal."""

    def seal() -> SealedDataset:
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
    from casemate.stages.data import stage as data

    return data.DataTools(
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
        _reference(context),
        context.reviews.of(context.config.dataset_name),
        held,
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

        tools = train.TrainTools(
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
        )
        return train.fit(tools, dataset, rows.training)

    try:
        record = work.step("train", TrainedModel, fit)
    except TrainingError as error:
        # `from None`: a traceback would show the words of the code to whoever may not hear them.
        raise _plain(context, work, error, heard) from None
    except (KeyboardInterrupt, StageTimeout):
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
    from casemate.stages.train import told
    from casemate.stages.train.stage import keep

    found = [finding.message for finding in error.findings]
    said = keep(context.objects, error=f"{error.message}\n{error.hint}".strip(), findings=found)
    text = f"{error.plain} ({WORDS}{said})"
    hint = (
        f"`casemate runs show {work.id}` says more to whoever may read the columns that the"
        " code saw"
    )
    kind = ImportRefused if isinstance(error, ImportRefused) else TrainingError
    plain = kind(text, hint=hint, findings=told.findings(error.findings), plain=text)
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

        before = _previous(context, assess, rows)
        tools = assess.AssessTools(
            context.config,
            context.objects,
            context.state / "tmp",
            context.hidden,
            pool["assess"],
            context.reporter.progress,
            before,
        )
        return assess.measure(
            tools, dataset, model, rows.parts, further_tables(context.root, context.config, dataset)
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
        return release.decide(tools, work.id, version, dataset, model, assessment, waivers)

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


def _reference(context: RunContext) -> SealedDataset | None:
    """The version that statistics are compared with: `[data] reference`, else the first one under
    the pinned schema.
    """
    wanted, name = context.config.data.reference, context.config.dataset_name
    if wanted is not None:
        found = context.engine.find(
            "data", SealedDataset, lambda one: one.name == name and one.version == wanted
        )
        if found is None:
            raise ConfigError(
                f"[data] reference: there is no version {wanted!r} of {name}",
                hint="`casemate data list`",
            )
        return found
    pinned = schemas.load(context.root / context.config.data.schema)
    if pinned is None:
        return None
    law = expectations.law(pinned)
    return context.engine.find(
        "data",
        SealedDataset,
        lambda one: one.name == name and expectations.law(one.schema) == law and bool(one.profile),
    )


def further_tables(root: Path, config: Config, dataset: SealedDataset) -> dict[str, pa.Table]:
    """The tables of `[assess] tables`, read with the data set's schema."""
    from casemate.stages.data.further import read

    return {
        name: read(root / path, config.data, dataset.schema)
        for name, path in config.assess.tables.items()
    }


def _previous(context: RunContext, assess: Any, rows: "SealedRows") -> Any:
    """The newest model that passed and is still trusted, verified, to compare with."""
    for model in context.registry.list():
        if model.release.model == context.config.project.name and model.release.bundle:
            try:
                verified = context.registry.verify(model.reference)
            except CompromisedSigner:  # a run is how the project gets trusted models again
                continue
            card = verified.card
            unseen = rows.unseen_by(
                context.engine.record(model.release.lineage.run, "data", SealedDataset)
            )
            return assess.Previous(
                model.reference,
                card.inputs,
                verified.files,
                card.order,
                card.labels == "own",
                unseen,
            )
    return None


def _earlier(context: RunContext, work: Run) -> tuple[str, Release, Assessment]:
    """What the run that is done already ended with."""
    release = context.engine.record(work.id, "release", Release)
    assessment = context.engine.record(work.id, "assess", Assessment)
    if release is None or assessment is None:
        raise VerificationError(
            f"run {work.id} has ended, but its records are gone",
            hint="`casemate fsck` says what is damaged",
        )
    # What was said then is said again, so it must still verify.
    if release.bundle:
        context.registry.verify(f"{release.model}@{release.model_version}")
    return work.id, release, assessment


def _study(context: RunContext, work: Run) -> Path:
    """The search's journal; whoever takes a run over takes it along, so that a process which lost
    its lease cannot write to it.
    """
    study = context.state / "studies" / f"{work.id}.{work.lease.token}"
    for older in sorted(study.parent.glob(f"{work.id}.*")):
        if older != study and not study.exists():
            older.rename(study)
    return study


class Pictures:
    """What the assessment drew: evidence of its own, and shown by the card; drawn once a run."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] | None = None

    def __call__(self, record: Assessment) -> dict[str, bytes]:
        """File name -> image."""
        if self._files is None and importlib.util.find_spec("matplotlib") is None:
            self._files = {}  # without casemate[plots] the card has its tables alone
        if self._files is None:
            from casemate.stages.assess.plots import draw

            self._files = draw(record)
        return self._files


class BudgetPayment:
    """Pays for a run's private training from its data set's budget, once however often the run is
    resumed.
    """

    def __init__(
        self, context: RunContext, work: Run, dataset: SealedDataset, principal: str
    ) -> None:
        self.context, self.work, self.dataset, self.principal = context, work, dataset, principal

    def pay(self, epsilon: float, delta: float) -> None:
        """See `train.stage.BudgetPayment`."""
        context, table = self.context, self.context.config.privacy
        wanted = Spending(
            id=f"{self.work.id}/train",
            dataset=self.dataset.name,
            version=self.dataset.version,
            purpose=context.config.project.purpose,
            epsilon=epsilon,
            delta=delta,
            events=[],
            run=self.work.id,
            principal=self.principal,
            what="private training",
            time="",
        )
        spend(context.engine, context.ledger, wanted, Limit(table.budget, table.budget_delta))

    def settle(self, epsilon: float, events: list[Gaussians]) -> None:
        """See `train.stage.BudgetPayment`."""
        with self.context.engine.store.transaction() as tx:
            self.context.ledger.settle(tx, f"{self.work.id}/train", epsilon, events)


class SandboxPool:
    """The processes that will be confined, warmed up while others work.

    What runs user code comes from a server of its own. Converting and assessing share one: they
    import the same packages, and each is a fork of a process that no job has touched.
    """

    JOBS = {
        "rehearse": "casemate.stages.train.fit:main",
        "reread": "casemate.stages.train.convert:main",
        "train": "casemate.stages.train.fit:main",
        "convert": "casemate.stages.train.convert:main",
        "assess": "casemate.stages.assess.worker:main",
    }

    def __init__(self, context: RunContext, work: Run) -> None:
        trains = not work.has("train")
        fits, rehearses = (
            trains and context.config.train.model is None,
            trains and context.config.train.mode == "private",
        )
        todo = {
            "rehearse": rehearses,
            "reread": rehearses,
            "train": fits,
            "convert": trains,
            "assess": not work.has("assess"),
        }
        teams = [
            [job for job in team if todo[job]]
            for team in (("rehearse", "train"), ("reread", "convert", "assess"))
        ]
        self._teams = [team for team in teams if team]
        self._threads = context.config.train.threads
        self._servers: dict[str, ForkServer] = {}
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        for team in self._teams[:1]:
            self._start(team)
        return self

    def __getitem__(self, job: str) -> Worker:
        """Whoever does the job; all that follow start to warm up."""
        for team in self._teams:
            self._start(team)
        self._workers[job] = Worker(self.JOBS[job], server=self._servers[job])
        return self._workers[job]

    def tried(self, job: str) -> list[Finding]:
        """What the job's process tried so far, in words that everybody may read."""
        from casemate.stages.train import told

        return told.findings(self._workers[job].findings) if job in self._workers else []

    def _start(self, team: list[str]) -> None:
        if team[0] not in self._servers:
            self._servers |= dict.fromkeys(
                team, ForkServer([self.JOBS[job] for job in team], self._threads)
            )

    def __exit__(self, *_: object) -> None:
        for server in set(self._servers.values()):
            server.close()


class SealedRows:
    """The sealed table, read back and verified once, cut into what each stage may see."""

    def __init__(self, context: RunContext, dataset: SealedDataset) -> None:
        self.context = context
        self.dataset = dataset

    @property
    def _subject(self) -> str | None:
        return PSEUDONYM if self.dataset.subject else self.context.config.data.subject

    @property
    def _weight(self) -> str | None:
        """The column of weights; an older version may have been sealed without it."""
        weight = self.context.config.data.weight
        return (
            weight if any(column.name == weight for column in self.dataset.schema.columns) else None
        )

    @cached_property
    def _read(self) -> pa.Table:
        """Features, targets, weight and subject."""
        schema, subject, weight = self.dataset.schema, self._subject, self._weight
        names = [
            *(column.name for column in schema.features),
            *schema.targets,
            *([weight] if weight else []),
        ]
        folder = self.context.state / "datasets" / self.dataset.name / self.dataset.version
        wanted = names if subject is None or subject in names else [*names, subject]
        return tables.read(folder, self.context.keys, self.context.signer.verifier, wanted)

    @cached_property
    def _table(self) -> pa.Table:
        schema, subject, table = self.dataset.schema, self._subject, self._read
        chosen = table.select([*(column.name for column in schema.features), *schema.targets])
        if self._weight:
            chosen = chosen.append_column(WEIGHT, table[self._weight])
        if subject is None:
            return chosen
        return chosen.append_column(
            GROUP, table[subject].combine_chunks().dictionary_encode().indices
        )

    def _identities(self, by_subject: bool, columns: list[str]) -> np.ndarray[Any, Any]:
        from casemate.stages.data import sides

        subject = self._subject if by_subject else None
        frame = features_of(self._read, self.dataset.schema)
        return sides.identities(
            frame if subject else frame[columns], self._read[subject] if subject else None
        )

    @cached_property
    def _split(self) -> dict[str, np.ndarray[Any, Any]]:
        split = pa.ipc.open_stream(self.context.objects.get(self.dataset.split)).read_all()
        return {name: split[name].to_numpy() for name in split.column_names}

    @property
    def _members(self) -> np.ndarray[Any, Any]:
        """Numbers of the training rows."""
        return np.flatnonzero(~self._split["holdout"] & ~self._split["excluded"])

    @property
    def training(self) -> pa.Table:
        """What the training code sees; in order of time where the split is."""
        rows = self._members
        if self.context.config.train.split == "ordered":
            rows = rows[np.argsort(self._split["order"][rows])]
        return self._table.take(pa.array(rows))

    @property
    def holdout(self) -> pa.Table:
        """What the training code never sees, and figures stand on."""
        return self._table.filter(pa.array(self._split["holdout"] & ~self._split["excluded"]))

    @property
    def members(self) -> pa.Table:
        """A sample of the training rows, for the membership test and feature spreads."""
        rows = self._members
        return self._table.take(
            pa.array(rows[sample_rows(len(rows), MEMBERS, self.context.config.train.seed)])
        )

    @property
    def parts(self) -> Any:
        """What the assessment sees."""
        from casemate.stages.assess.stage import Parts

        dropped = self._table.filter(pa.array(self._split["holdout"] & self._split["excluded"]))
        return Parts(self.holdout, self.members, dropped)

    def unseen_by(self, before: SealedDataset | None) -> np.ndarray[Any, Any] | None:
        """Of the rows of `holdout`, which ones a model trained on `before` never saw, bool [h];
        None: every one.

        Of the same version that is known from how it was divided. Otherwise the rows of that
        version are looked at: when they are no longer here none counts as unseen. Where rows stand
        for themselves, one that was rounded, converted or filled in is another row to look at, and
        may be on the other side; so if some of the older rows are not found again, only rows that
        were held out before count as unseen, and no row that merely looks new.
        """
        from casemate.stages.data import sides

        kept = self._split["holdout"] & ~self._split["excluded"]
        if before is None:
            return np.zeros(int(kept.sum()), dtype=bool)
        older = SealedRows(self.context, before)
        both = self._subject is not None and older._subject is not None
        same = self.dataset.sides is not None and sides.nested(self.dataset.sides, before.sides)
        if same and (both or before.version == self.dataset.version):
            return None
        try:
            how = self.dataset.sides
            columns = (
                how.by
                if how is not None and how.by and not self._subject
                else [column.name for column in self.dataset.schema.features]
            )
            known, now = older._identities(both, columns), self._identities(both, columns)
        except (Error, OSError, KeyError):
            return np.zeros(int(kept.sum()), dtype=bool)
        trained = np.isin(np.arange(len(known)), older._members)
        unseen = ~np.isin(now[kept], known[trained])
        if both or np.mean(np.isin(known, now)) >= FOUND_AGAIN:
            return unseen
        return unseen & np.isin(now[kept], known[~trained])


def _inputs(context: RunContext, where: Any, answer: Any) -> dict[str, str]:
    """Per stage, the digest of what decides its result: with the same ones a run is resumed and
    finished stages are reused.

    Args:
        context: the project's.
        where: the table's place.
        answer: what a database there said.
    """
    config = context.config
    stamp = [row[2:] for row in files.stamp(where)]
    if isinstance(where, str):
        stamp = [files.digest(where, files.columns(answer, config.data, (), []))]
    split = [config.train.test_share, config.train.seed, config.train.folds, config.train.split]
    deciding: dict[str, list[Any]] = {
        "data": [
            _software(),
            READING,
            config.project,
            config.data,
            config.screen,
            split,
            stamp,
            _edited_schema(context),
            context.signer.verifier.compromises,
            {
                row: review.decision
                for row, review in context.reviews.of(config.dataset_name).items()
            },
            *(["private"] if config.train.mode == "private" else []),  # another schema, other sides
        ],
        "train": [
            config.train,
            config.sandbox,
            code_digest(context.root, config),
            config.robustness if config.train.mode == "adversarial" else None,
            config.privacy if config.train.mode == "private" else None,
            "converted in a sandbox of its own",  # models from before are made again
        ],
        "assess": [
            config.assess,
            config.serve.guard,
            config.robustness,
            config.privacy.min_group,
            config.train.seed,
            sorted(gate.eps for gate in config.gates.values() if gate.eps),
            [_stamp(context.root / path) for path in config.assess.tables.values()],
        ],
        "release": [
            config.gates,
            config.release.stage,
            context.signer.verifier.fingerprint,
            context.waivers.in_force(config.project.name),
        ],
    }
    return {stage: sha256_record(values) for stage, values in deciding.items()}


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []


def _software() -> list[str]:
    """What computes: another version may compute something else."""
    return [f"{name} {metadata.version(name)}" for name in COMPUTING]


def _edited_schema(context: RunContext) -> Any:
    """The pinned schema, if it is no longer the one that the newest sealed data set was checked
    against.
    """
    record = context.engine.newest_step("data", SealedDataset)
    pinned = schemas.load(context.root / context.config.data.schema)
    if record is None or pinned == record.schema:
        return None
    return pinned or "removed"


def _sign_evidence(context: RunContext, work: Run, release: Release) -> None:
    """Sign the digests of every evidence file of the run."""
    subjects = {
        path.relative_to(work.folder).as_posix(): sha256_file(path)
        for path in sorted(work.folder.rglob("*"))
        if path.is_file() and path.name != evidence.EVIDENCE
    }
    predicate = {
        "run": work.id,
        "project": context.config.project.id,
        "model": f"{release.model}@{release.model_version}",
        "outcome": release.verdict.outcome,
    }
    write_atomic(
        work.folder / evidence.EVIDENCE,
        context.signer.sign_statement(subjects, evidence.PREDICATE, predicate),
    )
