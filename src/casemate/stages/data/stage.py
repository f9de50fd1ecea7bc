"""The data stage: read, check against the pinned schema, screen, split, seal."""

import dataclasses
import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from sklearn import config_context
from threadpoolctl import threadpool_limits

from casemate.config import FILE_NAME, Config, DataTable, line_of
from casemate.controls.keys import identifiers, tables
from casemate.controls.keys.identifiers import Identifiers
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.keys.subjects import Root
from casemate.core.digest import sha256_record
from casemate.core.errors import ConfigError, DataError, Error
from casemate.core.files import write_atomic
from casemate.core.findings import leaks
from casemate.core.sandbox.conversation import Progress
from casemate.core.signatures import Signer
from casemate.core.threads import fitting
from casemate.core.types import FORMAT, Finding, Quarantined, Schema, SealedDataset, Sides
from casemate.ml.frame import edges_of, features_of, range_names, range_of, target_of
from casemate.stages.data import derived, expectations, files, private, sides, source, weights
from casemate.stages.data import schema as schemas
from casemate.stages.data.checks import balance, drift, leakage, rules, split, units
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.checks.profile import TableProfile, profile
from casemate.stages.data.review import Review, row_digests
from casemate.stages.data.screen import provenance
from casemate.stages.data.screen.duplicates import Duplicates
from casemate.stages.data.screen.floods import Floods
from casemate.stages.data.screen.influence import influence
from casemate.stages.data.screen.interface import Detector, ScreenedRows, Suspicion
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.data.screen.neighbours import Neighbours
from casemate.stages.data.screen.outliers import Outliers
from casemate.stages.data.screen.spectral import Spectral
from casemate.stages.data.screen.triggers import Triggers

Mask = np.ndarray[Any, np.dtype[np.bool_]]
MOST_PARTS = 64
"""A table in more files than this is written anew as a whole."""
DETECTORS: dict[str, type[Detector]] = {
    "duplicates": Duplicates,
    "floods": Floods,
    "outliers": Outliers,
    "neighbours": Neighbours,
    "label_noise": LabelNoise,
    "triggers": Triggers,
    "spectral": Spectral,
}
"""Switch in `[screen]` -> detector, in the order in which they run."""
SLOWEST = "label_noise"
"""It takes about as long as all others together."""
DETECTORS_AT_ONCE = 2
"""More would wait for the slowest anyway, and each holds a copy of the table."""
WITHOUT_LEAKS = ("neighbours", "label_noise", "triggers")
"""Those that ask whether a row's label fits its features."""


@dataclass(frozen=True)
class DataTools:
    """What the stage works with."""

    root: Path
    config: Config
    datasets: Path
    objects: ObjectStore
    keys: KeyProvider
    identifiers: Identifiers
    signer: Signer
    now: datetime.datetime
    progress: Progress
    previous: SealedDataset | None
    """The newest sealed version, whose files are shared when this one only adds rows."""
    reference: SealedDataset | None = None
    """The version whose statistics this one is compared with."""
    reviews: dict[str, Review] = dataclasses.field(default_factory=dict)
    """What people decided about rows, by row digest."""
    held: pa.Table | None = None
    """What a database answered, where it was asked already."""

    @property
    def place(self) -> files.Place:
        """Where the table is; a database is asked here, if it was not before."""
        options = self.config.data
        return (
            files.once(files.place(self.root, options.source), options)
            if self.held is None
            else self.held
        )


@dataclass(frozen=True)
class Examined:
    """A table that was read, checked and screened, and nothing of it kept yet."""

    table: pa.Table
    schema: Schema
    suspects: list[Quarantined]
    excluded: np.ndarray[Any, np.dtype[np.bool_]]
    """On neither side."""
    holdout: np.ndarray[Any, np.dtype[np.bool_]]
    """Held out, the rows that a person dropped included."""
    sides: Sides
    order: np.ndarray[Any, np.dtype[np.int32]]
    statistics: dict[str, dict[str, float]]
    findings: list[Finding]
    figures: dict[str, float]
    profiles: list[TableProfile]
    rules: list[dict[str, Any]]
    root: Root
    """What the sides hang on; sealing keeps it, if it is new."""


def examine(tools: DataTools) -> Examined:
    """Read `[data] source`, check and screen it, and decide which rows are held out or left out.

    Raises:
        ConfigError: the source or a named column does not exist, or a rule cannot be read.
        DataError: the table is malformed, breaks its schema, cannot be split, or too many rows are
            under suspicion.
    """
    secret, where = tools.config.train.mode == "private", tools.place
    if secret:
        tools = dataclasses.replace(tools, config=private.declared(where, tools.config))
    config, options = tools.config, tools.config.data
    tools.progress("reading", 0, 6)
    pinned = schemas.load(tools.root / options.schema)
    known = [] if pinned is None else schemas.identifiers(pinned, options)
    table, findings = source.read(where, options, known)
    table, unlabelled = source.labelled(table, options)
    config = msgspec.structs.replace(config, data=derived.declared(options, table.column_names))
    tools = dataclasses.replace(tools, config=config)
    schema, inferred = _schema(tools, table, pinned)
    findings += unlabelled + inferred + weights.require(table, options)
    if secret:
        return _private(tools, table, schema, findings)
    if not schema.features:
        raise DataError(
            "no column is left to learn from",
            hint="see [data.columns]: identifiers and text are not features",
        )
    frame, groups = features_of(table, schema), _groups(table, config)
    rows, root = _rows(table, frame, groups, schema, config), tools.identifiers.candidate()
    _check_splits(rows.codes, groups, config, len(rows.schema.classes))
    # before anything looks for rows that are hard to tell
    how, holdout, neither = _divided(tools, table, rows, root)
    to_check = CheckedTable(table, frame, rows.codes, groups, rows.schema, config, tools.now)
    leaking, rows = _leaking(tools, to_check, rows)
    suspicion = _apart(tools, rows, holdout)
    decided = _decided(tools, rows, root)
    excluded = neither | _excluded(config, suspicion.rows, decided, holdout)
    _check_sides(rows, holdout & ~excluded, ~holdout & ~excluded, config)
    findings += _judged(suspicion, decided)
    profiles, checked, told = _checks(tools, to_check, leaking, holdout, excluded)
    findings += checked.findings
    figures = suspicion.figures | checked.figures
    statistics = _statistics(rows)
    return Examined(
        table,
        schema,
        suspicion.rows,
        excluded,
        holdout,
        how,
        _order(rows),
        statistics,
        findings,
        figures,
        profiles,
        told,
        root,
    )


def seal(tools: DataTools) -> SealedDataset:
    """From `[data] source` to a sealed, versioned data set; raises what `examine` raises."""
    config, options = tools.config, tools.config.data
    where = files.place(tools.root, options.source)
    before = files.stamp(where)
    found = examine(tools)
    table, schema = found.table, found.schema
    tools.progress("sealing", 5, 6)
    parts = {"holdout": found.holdout, "excluded": found.excluded, "order": found.order}
    source_digest = files.digest(where, table)
    if config.train.mode == "private":
        source_digest = private.digest(found.root, source_digest)
    if files.stamp(where) != before:
        raise DataError(
            f"{options.source} was changed while it was read",
            hint="run again when nobody writes it",
        )
    tools.identifiers.keep(found.root)
    identity = {
        "format": FORMAT,
        "source": source_digest,
        "schema": sha256_record(schema),
        "read": sha256_record(options),
        "excluded": int(found.excluded.sum()),
        "screen": sha256_record(found.suspects),
        "split": sha256_record(found.sides),
    }
    version = sha256_record(identity)[:16]
    about = {
        "name": config.dataset_name,
        "version": version,
        "rows": table.num_rows,
        "columns": table.column_names,
        **identity,
    }
    record = SealedDataset(
        name=config.dataset_name,
        version=version,
        source_digest=source_digest,
        rows=table.num_rows,
        schema=schema,
        quarantined=per_detector(found.suspects),
        quarantine=tools.objects.put(msgspec.json.encode(found.suspects)),
        excluded=int(found.excluded.sum()),
        split=tools.objects.put(_arrow(pa.table(parts))),
        holdout=int((found.holdout & ~found.excluded).sum()),
        statistics=found.statistics,
        findings=found.findings,
        figures=found.figures,
        subject=options.subject,
        profile=tools.objects.put(msgspec.json.encode(found.profiles)),
        reference="" if tools.reference is None else tools.reference.version,
        rules=found.rules,
        sides=found.sides,
        dropped=int((found.holdout & found.excluded).sum()),
    )
    older = _extended(tools, table, record)
    if older is not None:
        table = table.slice(older.rows)
    if options.subject:
        columns = schema.identifiers
        table = tools.identifiers.seal(table, options.subject, columns)
    tables.seal(
        table,
        tools.datasets / config.dataset_name / version,
        tools.keys,
        tools.signer,
        identifiers.classes_of(record),
        about,
        extends=None if older is None else _folder(tools, older),
    )
    if schemas.load(tools.root / options.schema) != schema:
        write_atomic(tools.root / options.schema, schemas.dump(schema).encode(), mode=0o644)
    return record


def _private(
    tools: DataTools, table: pa.Table, schema: Schema, findings: list[Finding]
) -> Examined:
    """The same for private training: nothing that the other rows look like decides about a row; see
    `private`.
    """
    config, subject = tools.config, tools.config.data.subject
    rows = _rows(table, features_of(table, schema), _groups(table, config), schema, config)
    root = tools.identifiers.candidate()
    holdout = private.held_out(
        root, rows, None if subject is None else table[subject], config.train.test_share
    )
    excluded = np.zeros_like(holdout)
    decided = _decided(tools, rows, root)
    private.require_untouched(decided, holdout)
    excluded[[row for row, decision in decided.items() if decision == "dropped"]] = True
    by = [subject] if subject else [*(column.name for column in schema.features), *schema.targets]
    how = Sides(
        rule="hash", share=config.train.test_share, by=by, key=sides.fingerprint(sides.key_of(root))
    )
    to_check = CheckedTable(
        table, rows.frame, rows.codes, rows.groups, rows.schema, config, tools.now
    )
    leaking, rows = _leaking(tools, to_check, rows)
    try:
        _check_splits(rows.codes, rows.groups, config, len(rows.schema.classes))
        suspicion = _screen(tools, rows)
    except DataError as error:  # too few rows of a class to look for odd ones among them
        suspicion = Suspicion(
            findings=[
                Finding(
                    id="data.not-screened",
                    severity="medium",
                    confidence="high",
                    message=error.message,
                )
            ]
        )
    profiles, checked, told = _checks(tools, to_check, leaking, holdout, excluded)
    found = private.informing(findings + _judged(suspicion, decided) + checked.findings)
    figures = suspicion.figures | checked.figures
    return Examined(
        table=table,
        schema=schema,
        suspects=suspicion.rows,
        excluded=excluded,
        holdout=holdout,
        sides=how,
        order=_order(rows),
        statistics=_statistics(rows),
        findings=found,
        figures=figures,
        profiles=profiles,
        rules=told,
        root=root,
    )


def _folder(tools: DataTools, dataset: SealedDataset) -> Path:
    return tools.datasets / dataset.name / dataset.version


def _extended(tools: DataTools, table: pa.Table, record: SealedDataset) -> SealedDataset | None:
    """The newest sealed version, if `table` is its rows and then new ones."""
    older = tools.previous
    if (
        older is None
        or (older.name, older.schema, older.subject) != (record.name, record.schema, record.subject)
        or older.rows >= record.rows
    ):
        return None
    folder = _folder(tools, older)
    if len(list(folder.glob("*.parquet"))) >= MOST_PARTS:
        return None
    try:
        rows = tools.identifiers.open(tables.read(folder, tools.keys, tools.signer.verifier))
    except Error:
        return None  # a version that cannot be read is nothing to build on
    same = rows.select(table.column_names).equals(table.slice(0, rows.num_rows))
    return older if same else None


def _schema(
    tools: DataTools, table: pa.Table, pinned: Schema | None
) -> tuple[Schema, list[Finding]]:
    tools.progress("checking the schema", 1, 6)
    options = tools.config.data
    if tools.config.train.mode == "private":
        schema, findings = private.schema(table.column_names, options, pinned)
    else:
        schema, findings = (
            schemas.infer(table, options)
            if pinned is None
            else schemas.apply(pinned, table, options)
        )
        _require_followed(tools.root, schema, options)
        schema, beyond = expectations.widened(schema, table)
        findings += beyond
    # a new one against the limits that [data.columns] declares
    schemas.check(table, schema, options)
    return schema, findings


def _require_followed(root: Path, schema: Schema, options: DataTable) -> None:
    """ConfigError, with the line, when casemate.toml says something of a column that would be
    ignored.
    """
    vain = schemas.contradictions(schema, options)
    if vain:
        key, what = vain[0]
        more = f" (and {len(vain) - 1} more)" if len(vain) > 1 else ""
        hint = "remove it, or say what the column is: type, class, target"
        raise ConfigError(
            f"{line_of(root / FILE_NAME, key)}[data.columns] says {what}{more}", hint=hint
        )


def _groups(table: pa.Table, config: Config) -> np.ndarray[Any, Any] | None:
    if config.data.subject is None:
        return None
    subject = table[config.data.subject]
    if subject.null_count:
        raise DataError(
            f"the subject {config.data.subject!r} is missing in {subject.null_count} rows",
            hint="every row needs one",
        )
    return np.asarray(
        subject.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    )


def _rows(table: pa.Table, frame: Any, groups: Any, schema: Schema, config: Config) -> ScreenedRows:
    """The table as detectors see it: quantities are cut into ranges, which stand for the classes
    that most detectors ask about.
    """
    options, target = config.data, target_of(table, schema)
    codes, quantities = target, None
    if schema.regression:
        edges = edges_of(target[:, 0])
        codes, quantities = range_of(edges, target[:, 0]), target
        schema = msgspec.structs.replace(schema, classes=range_names(edges))
    origin = (
        None
        if options.provenance is None
        else np.asarray(table[options.provenance].cast(pa.string()).to_pylist(), dtype=str)
    )
    time = None if options.time is None else split.time_of(table, options.time)
    return ScreenedRows(frame, codes, groups, schema, config.train.seed, origin, time, quantities)


def _leaking(
    tools: DataTools, checked: CheckedTable, rows: ScreenedRows
) -> tuple[Answer, ScreenedRows]:
    """(what was found of leaks, the rows with their names): before anything asks whether labels fit
    the features.
    """
    tools.progress("looking for features that know the answer", 2, 6)
    with config_context(skip_parameter_validation=True), fitting(checked.frame.size):
        answer = leakage.check(checked)
    names = leaks(answer.findings, list(rows.frame.columns))
    return answer, dataclasses.replace(rows, leaks=tuple(names))


def _apart(tools: DataTools, rows: ScreenedRows, holdout: Mask) -> Suspicion:
    """What is suspicious, and where training rows are left out for it: told from training rows
    alone.

    A screen that has seen the labels of the hold-out leaves just those training rows out that
    disagree with them.
    """
    whole, screen = _screen(tools, rows), tools.config.screen
    if screen.quarantine != "exclude" and not screen.exclude:
        return whole
    places = np.flatnonzero(~holdout)
    own = _screen(tools, rows.only(places)).rows
    kept = [suspect for suspect in whole.rows if holdout[suspect.row]]
    found = [
        *kept,
        *(msgspec.structs.replace(suspect, row=int(places[suspect.row])) for suspect in own),
    ]
    return dataclasses.replace(whole, rows=sorted(found, key=lambda suspect: suspect.row))


def _screen(tools: DataTools, rows: ScreenedRows) -> Suspicion:
    with config_context(skip_parameter_validation=True), fitting(rows.frame.size):
        return _screened(tools, rows)


def _screened(tools: DataTools, rows: ScreenedRows) -> Suspicion:
    total = Suspicion()
    switches = [switch for switch in DETECTORS if getattr(tools.config.screen, switch)]
    names = ", ".join(switch.replace("_", " ") for switch in switches)
    tools.progress(f"screening for {names}", 2, 6)
    for found in _at_once(tools.config, rows, switches):
        total.rows += found.rows
        total.findings += found.findings
        total.figures |= found.figures
    total.findings += provenance.findings(rows, total.rows, tools.config.screen)
    if switches:
        total.figures["suspicious_share"] = len({suspect.row for suspect in total.rows}) / len(
            rows.codes
        )
    if tools.config.screen.influence and total.rows:
        tools.progress("measuring the influence of suspicious rows", 3, 6)
        gain = influence(rows, total.rows)
        if gain is not None:
            total.figures["influence"] = gain
    return total


def _at_once(config: Config, rows: ScreenedRows, switches: list[str]) -> list[Suspicion]:
    """What each detector found, in their order; the slowest begins, and the others go on beside it.

    Their numeric libraries have one thread each: two fits that share the processors with threads of
    their own would wait for each other.
    """

    def look(switch: str) -> Suspicion:
        seen = rows.honest if switch in WITHOUT_LEAKS else rows
        with config_context(skip_parameter_validation=True), threadpool_limits(1):
            return _found(DETECTORS[switch](), seen, config)

    rows.coded, rows.honest.coded  # noqa: B018 - made once, not by every thread
    first = sorted(switches, key=lambda switch: switch != SLOWEST)
    with threadpool_limits(1), ThreadPoolExecutor(DETECTORS_AT_ONCE) as pool:
        found = dict(zip(first, pool.map(look, first), strict=True))
    return [found[switch] for switch in switches]


def _decided(tools: DataTools, rows: ScreenedRows, root: Root) -> dict[int, str]:
    """Row -> what people decided, for every row that anybody decided about."""
    if not tools.reviews:
        return {}
    every = np.arange(len(rows.codes))
    digests = row_digests(rows.frame, rows.target, root.pseudonyms, every)
    return {
        row: tools.reviews[digest].decision
        for row, digest in enumerate(digests)
        if digest in tools.reviews
    }


def _found(detector: Detector, rows: ScreenedRows, config: Config) -> Suspicion:
    if rows.frame.shape[1]:
        return detector(rows, config.screen)
    text = (
        f"{detector.id} is inconclusive: every feature may know the answer, and nothing is left to"
        " judge labels by"
    )
    return Suspicion(
        findings=[
            Finding(id="data.label-screen", severity="medium", confidence="high", message=text)
        ]
    )


def _judged(suspicion: Suspicion, decided: dict[int, str]) -> list[Finding]:
    """The screen's findings; what a person has looked at row by row no longer blocks."""
    open_detectors = {suspect.reason for suspect in suspicion.rows if suspect.row not in decided}
    looked_at = {f"data.{suspect.reason}" for suspect in suspicion.rows} - {
        f"data.{reason}" for reason in open_detectors
    }
    return [
        (
            msgspec.structs.replace(
                finding, severity="low", message=finding.message + " (every row of it was reviewed)"
            )
            if finding.id in looked_at
            else finding
        )
        for finding in suspicion.findings
    ]


def _checks(
    tools: DataTools, checked: CheckedTable, leaking: Answer, holdout: Any, excluded: Any
) -> tuple[list[TableProfile], Any, list[dict[str, Any]]]:
    """(profiles of the columns, all answers together, what each rule found)."""
    tools.progress("checking the table", 4, 6)
    with config_context(skip_parameter_validation=True), fitting(checked.frame.size):
        return _answers(tools, checked, leaking, holdout, excluded)


def _answers(
    tools: DataTools, checked: CheckedTable, leaking: Answer, holdout: Any, excluded: Any
) -> tuple[list[TableProfile], Any, list[dict[str, Any]]]:
    answer, told = rules.check(checked.table, checked.config.data.rules)
    before = None
    if tools.reference is not None and tools.reference.profile:
        before = msgspec.json.decode(
            tools.objects.get(tools.reference.profile), type=list[TableProfile]
        )
    profiles = profile(checked.table, checked.schema, before, checked.groups)
    answers = [
        units.check(checked),
        balance.check(checked),
        leaking,
        split.check(checked, holdout, excluded),
    ]
    if before is not None and tools.reference is not None:
        answers.append(drift.check(before, profiles, tools.reference.version)[0])
    for other in answers:
        answer.findings += other.findings
        answer.figures |= other.figures
    return profiles, answer, told


def _excluded(
    config: Config, suspects: list[Quarantined], decided: dict[int, str], holdout: Mask
) -> Mask:
    """Rows to leave out: of what the screen found training rows only, of what a person dropped
    every row.

    What a screen dislikes are the rows that models get wrong; a hold-out without those measures
    something else.
    """
    # What a person released is no longer under suspicion; what nobody decided about is.
    suspicious = {suspect.row for suspect in suspects if decided.get(suspect.row) != "released"}
    total = len(holdout)
    share = len(suspicious) / total
    if share > config.screen.cap:
        raise DataError(
            f"{len(suspicious)} of {total} rows ({share:.1%}) are under suspicion, the cap is"
            f" {config.screen.cap:.1%} ({per_detector(suspects)})",
            hint="look at the source of these rows; if they are right, raise [screen] cap",
        )
    left_out = suspicious if config.screen.quarantine == "exclude" else set()
    left_out |= {
        suspect.row
        for suspect in suspects
        if suspect.reason in config.screen.exclude and decided.get(suspect.row) != "released"
    }
    mask = np.zeros(total, dtype=bool)
    mask[sorted(left_out)] = True
    # The hold-out keeps what the screen dislikes, or it would measure an easier table than the
    # world is.
    mask &= ~holdout
    mask[sorted(row for row, decision in decided.items() if decision == "dropped")] = True
    return mask


def _check_splits(
    codes: np.ndarray[Any, Any], groups: np.ndarray[Any, Any] | None, config: Config, classes: int
) -> None:
    """Every class must reach the hold-out and every fold: by rows, or by subjects where rows are
    grouped.
    """
    unit = "rows" if groups is None else "subjects"
    # a fold needs no row of every range
    parts = (
        [codes == code for code in range(classes)]
        if config.data.task == "classification"
        else [codes >= 0]
    )
    counts = [int(part.sum()) if groups is None else len(np.unique(groups[part])) for part in parts]
    rarest, folds, share = min(counts), config.train.folds, config.train.test_share
    if int(rarest * (1 - share)) < folds or int(rarest * share + 0.5) < 1:
        what, more = ("rarest class", " of that class") if len(parts) > 1 else ("table", "")
        raise DataError(
            f"the {what} has {rarest} {unit}, too few for {folds} folds and a hold-out of"
            f" {share:.0%}",
            hint=f"lower [train] folds, or collect more{more}"
            + ("" if groups is None else "; check [data] subject"),
        )


def _check_sides(rows: ScreenedRows, holdout: Mask, training: Mask, config: Config) -> None:
    """After rows were left out, both sides still have what is needed of every class."""
    kinds = range(len(rows.schema.classes)) if rows.quantities is None else [None]
    for kind in kinds:
        here = np.ones(len(rows.codes), dtype=bool) if kind is None else rows.codes == kind
        sides_ = [here & side for side in (holdout, training)]
        left, kept = [
            int(side.sum()) if rows.groups is None else len(np.unique(rows.groups[side]))
            for side in sides_
        ]
        if left < 1 or kept < config.train.folds:
            what = "the table" if kind is None else f"class {rows.schema.classes[kind]!r}"
            unit = "rows" if rows.groups is None else "subjects"
            raise DataError(
                f"{what} has {left} {unit} in the hold-out and {kept} to train on, too few for"
                f" {config.train.folds} folds",
                hint=(
                    "collect more of that class, lower [train] folds, or look at what [screen] and"
                    " decisions leave out"
                ),
            )


def _divided(
    tools: DataTools, table: pa.Table, rows: ScreenedRows, root: Root
) -> tuple[Sides, Mask, Mask]:
    """(how it was divided, hold-out rows, rows on neither side)."""
    config, share = tools.config, tools.config.train.test_share
    if config.train.split == "ordered":
        return Sides(rule="ordered", share=share), *_newest(rows, config)
    subject = config.data.subject
    key = sides.key_of(root)
    before = (
        tools.previous.sides
        if tools.previous is not None and tools.previous.name == config.dataset_name
        else None
    )
    by = [subject] if subject else _hashed(rows, before)
    how = Sides(rule="hash", share=share, by=by, key=sides.fingerprint(key))
    place = sides.places(
        key, rows.frame if subject else rows.frame[by], table[subject] if subject else None
    )
    codes, names = (
        (rows.codes, rows.schema.classes)
        if rows.quantities is None
        else (np.zeros_like(rows.codes), [sides.WHOLE])
    )
    same = before is not None and msgspec.structs.replace(before, thresholds={}, draws=1) == how
    pinned = before.thresholds if before is not None and same else {}
    held, own = sides.divide(
        sides.units_of(place, codes, rows.groups),
        names,
        sides.Need(share, config.train.folds),
        pinned,
    )
    draws = 1 if before is None else before.draws if same else before.draws + 1
    return (
        msgspec.structs.replace(how, thresholds=own, draws=draws),
        held,
        np.zeros(len(held), dtype=bool),
    )


def _hashed(rows: ScreenedRows, before: Sides | None) -> list[str]:
    """The features that a row's place is reckoned from: those of the first version, so that a
    further one draws no other hold-out.
    """
    features = [column.name for column in rows.schema.features]
    if before is not None and before.rule == "hash" and set(before.by) <= set(features):
        return before.by
    return sorted(features)


def _newest(rows: ScreenedRows, config: Config) -> tuple[Mask, Mask]:
    """(the newest rows, those of them on neither side because the same people are among the older
    rows too).
    """
    late = np.zeros(len(rows.codes), dtype=bool)
    late[
        np.argsort(_order(rows), kind="stable")[
            -max(1, round(len(late) * config.train.test_share)) :
        ]
    ] = True
    neither = (
        late & np.isin(rows.groups, rows.groups[~late])
        if rows.groups is not None
        else np.zeros_like(late)
    )
    late &= ~neither
    missing = [
        name
        for code, name in enumerate(rows.schema.classes)
        if not np.any(rows.codes[late] == code)
    ]
    if missing and rows.quantities is None:
        raise DataError(
            f"the newest {config.train.test_share:.0%} of the rows have no row of class"
            f" {missing[0]!r}",
            hint="raise [train] test_share",
        )
    return late, neither


def _order(rows: ScreenedRows) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Each row's place in time; equal times keep the table's order."""
    place = np.arange(len(rows.codes), dtype=np.int32)
    if rows.time is not None:
        place[np.argsort(rows.time, kind="stable")] = place.copy()
    return place


def _statistics(rows: ScreenedRows) -> dict[str, dict[str, float]]:
    """Of general columns: a median is somebody's value."""
    found = {}
    for name in [
        name for name in rows.numbers if rows.schema.column(name).column_class == "general"
    ]:
        values = rows.frame[name].to_numpy(dtype=np.float64)
        missing = np.isnan(values)
        if missing.all():
            continue
        present = values[~missing] if missing.any() else values
        found[name] = {
            "mean": float(present.mean()),
            "std": float(present.std()),
            "median": float(np.median(present)),
            "missing": float(missing.mean()),
        }
    return found


def per_detector(suspects: list[Quarantined]) -> dict[str, int]:
    """Rows under suspicion per detector, by its name: a record that was read back says it in the
    same order.
    """
    counts: dict[str, int] = {}
    for suspect in suspects:
        counts[suspect.reason] = counts.get(suspect.reason, 0) + 1
    return dict(sorted(counts.items()))


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
