"""The data stage: read, check against the pinned schema, screen, split, seal."""

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from sklearn import config_context

from casemate.config import Config
from casemate.controls.keys import identifiers, tables
from casemate.core.digest import sha256_record
from casemate.core.errors import DataError
from casemate.core.files import write_atomic
from casemate.core.threads import fitting
from casemate.core.types import (
    Finding,
    RuleChecked,
    Schema,
    SealedDataset,
    Sides,
)
from casemate.ml.frame import features_of
from casemate.stages.data import (
    consented,
    declared,
    derived,
    erased,
    files,
    lessons,
    parts,
    pinning,
    private,
    rest,
    room,
    sides,
    source,
    weights,
)
from casemate.stages.data import schema as schemas
from casemate.stages.data.checks import balance, drift, rules, split, units
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.checks.profile import TableProfile, profile
from casemate.stages.data.division import check_sides, check_splits, divided, places_in_time
from casemate.stages.data.examined import Examined
from casemate.stages.data.identity import identity_of
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion
from casemate.stages.data.screening import (
    as_screened,
    decisions,
    judged,
    left_out,
    look_for_leaks,
    per_detector,
    screen_rows,
    suspicious,
)
from casemate.stages.data.tools import DataTools
from casemate.stages.data.whole import Looked


def examine(tools: DataTools) -> Examined:
    """Read `[data] source`, check and screen it, and decide which rows are held out or left out.

    Raises:
        ConfigError: the source or a named column does not exist, or a rule cannot be read.
        DataError: the table is malformed, breaks its schema, cannot be split, or too many rows are
            under suspicion.
    """
    tools = tools.asked()
    secret, where = tools.config.train.mode == "private", tools.place
    if secret:
        tools = dataclasses.replace(tools, config=private.declared(where, tools.config))
    config, options = tools.config, tools.config.data
    tools.progress("reading", 0, 6)
    room.require(where, options, config.run.memory_gb)
    pinned = schemas.load(tools.root / options.schema)
    known = [] if pinned is None else declared.identifiers(pinned, options)
    table, findings = source.read(where, options, known, looked_at=True)
    table, gone, told = erased.left_out(tools, table, known)
    findings += told
    usable = consented.taken(tools, table)
    table, basis, restricted = usable.table, usable.basis, usable.restricted
    findings += usable.findings
    table, unlabelled = source.labelled(table, options)
    config = msgspec.structs.replace(config, data=derived.declared(options, table.column_names))
    tools = dataclasses.replace(tools, config=config)
    found = pinning.agreed(tools, table, pinned, findings + unlabelled, known)
    schema, looked = found.schema, found.looked
    findings = found.findings + weights.require(table, options)
    table = lessons.appended(table, tools.lessons, schema, config.data)
    if secret:
        apart = _private(tools, table, schema, findings)
        return dataclasses.replace(apart, basis=basis, restricted=restricted, erased=gone)
    if not schema.features:
        raise DataError(
            "no column is left to learn from",
            hint="see [data.columns]: identifiers and text are not features",
        )
    frame, groups = features_of(table, schema), _groups(table, config)
    rows, root = as_screened(table, frame, groups, schema, config), tools.identifiers.candidate()
    check_splits(rows, groups, config)
    # before anything looks for rows that are hard to tell
    how, holdout, neither = lessons.divided(divided, tools, table, rows, root)
    to_check = CheckedTable(
        table, frame, rows.codes, groups, rows.schema, config, tools.now, rows.labels
    )
    leaking, rows = look_for_leaks(tools, to_check, rows)
    suspicion = suspicious(tools, rows, holdout)
    decided = decisions(tools, rows, root)
    excluded = neither | left_out(config, suspicion.rows, decided, holdout)
    check_sides(rows, holdout & ~excluded, ~holdout & ~excluded, config)
    findings += judged(suspicion, decided)
    profiles, checked, kept = _checks(tools, to_check, leaking, holdout, excluded, looked)
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
        places_in_time(rows),
        statistics,
        findings,
        figures,
        profiles,
        kept,
        root,
        basis,
        restricted,
        gone,
        looked,
    )


def seal(tools: DataTools) -> SealedDataset:
    """From `[data] source` to a sealed, versioned data set; raises what `examine` raises."""
    config, options, tools = tools.config, tools.config.data, tools.asked()
    before = files.stamp(tools.place)
    found = examine(tools)
    table, schema = found.table, found.schema
    tools.progress("sealing", 5, 6)
    sides_of = {"holdout": found.holdout, "excluded": found.excluded, "order": found.order}
    source_digest = files.digest(tools.place, table)
    if config.train.mode == "private":
        source_digest = private.digest(found.root, source_digest)
    # Digest and table must be of the same bytes: a writer in between would leave them apart.
    tools.require_unchanged(before)
    whole, others = rest.of(tools, found, before)
    tools.identifiers.keep(found.root)
    identity = identity_of(tools, found, source_digest, rest=others is not None)
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
        split=tools.objects.put(lessons.to_bytes(pa.table(sides_of))),
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
        basis=found.basis,
        restricted=found.restricted,
        taught=lessons.taught(tools.lessons, table, schema, found.holdout),
        whole=whole,
    )
    if options.subject and others is None:
        tools.identifiers.note(record.name, version, table[options.subject], found.root)
    older = parts.extended(tools, table, record)
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
        extends=None if older is None else parts.folder_of(tools, older),
        rest=others,
    )
    if others is not None:
        record = rest.counted(tools, record)
    # Last: a schema is pinned by a table that was sealed, never by one that failed.
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
    rows = as_screened(table, features_of(table, schema), _groups(table, config), schema, config)
    root = tools.identifiers.candidate()
    holdout = private.held_out(
        root, rows, None if subject is None else table[subject], config.train.test_share
    )
    excluded = np.zeros_like(holdout)
    decided = decisions(tools, rows, root)
    private.require_untouched(decided, holdout)
    excluded[[row for row, decision in decided.items() if decision == "dropped"]] = True
    by = [subject] if subject else [*(column.name for column in schema.features), *schema.targets]
    how = Sides(
        rule="hash", share=config.train.test_share, by=by, key=sides.fingerprint(sides.key_of(root))
    )
    to_check = CheckedTable(
        table, rows.frame, rows.codes, rows.groups, rows.schema, config, tools.now
    )
    leaking, rows = look_for_leaks(tools, to_check, rows)
    try:
        check_splits(rows, rows.groups, config)
        suspicion = screen_rows(tools, rows)
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
    found = private.informing(findings + judged(suspicion, decided) + checked.findings)
    figures = suspicion.figures | checked.figures
    return Examined(
        table=table,
        schema=schema,
        suspects=suspicion.rows,
        excluded=excluded,
        holdout=holdout,
        sides=how,
        order=places_in_time(rows),
        statistics=_statistics(rows),
        findings=found,
        figures=figures,
        profiles=profiles,
        rules=told,
        root=root,
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


def _checks(
    tools: DataTools,
    checked: CheckedTable,
    leaking: Answer,
    holdout: Any,
    excluded: Any,
    looked: Looked | None = None,
) -> tuple[list[TableProfile], Any, list[RuleChecked]]:
    """(profiles of the columns, all answers together, what each rule found)."""
    tools.progress("checking the table", 4, 6)
    with config_context(skip_parameter_validation=True), fitting(checked.frame.size):
        return _answers(tools, checked, leaking, holdout, excluded, looked)


def _answers(
    tools: DataTools,
    checked: CheckedTable,
    leaking: Answer,
    holdout: Any,
    excluded: Any,
    looked: Looked | None,
) -> tuple[list[TableProfile], Any, list[RuleChecked]]:
    asked = rules.Asked(checked.config.data.rules) if looked is None else looked.rules
    # of a sample all rows were asked already, but for those of feedback
    asked.add(checked.table if looked is None else checked.table.slice(looked.drawn))
    answer, told = asked.answer()
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
