"""The rows that a site answers from: read and divided as a run of this project would, nobody's
among them who was erased, restricted, or not asked; its hold-out stays unseen.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from msgspec import structs

from casemate.config import ColumnTable, DataTable
from casemate.config.table import is_pattern
from casemate.controls.federation.cards import Charter
from casemate.core.digest import sha256
from casemate.core.errors import DataError
from casemate.core.text import listed
from casemate.core.types import Schema
from casemate.ml.frame import features_of, row_hashes, target_of, with_groups
from casemate.operations.federated.judging import SitePolicy
from casemate.stages.assess.names import SCREENS
from casemate.stages.data.schema import breaches
from casemate.stages.train.member import Task
from casemate.stages.train.turns import Found, Numbers, Turns
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

MOST_NAMED = 5


@dataclass(frozen=True)
class OwnRows:
    """What is computed on, and who was allowed for it."""

    table: pa.Table
    """The charter's columns, and whose each row is where the project says so."""
    holdout: pa.Table
    """The same of the rows that are held out, and answered from by nobody."""
    allowed: str
    """Of `allowed`: with another one the rows are read again."""
    digest: str
    """Says of two readings that they are of the same rows on the same sides."""


def allowed(project: Wiring, purpose: str) -> str:
    """What says whose rows may be taken now: it changes with each erasure, restriction, objection
    and consent.
    """
    from casemate.operations.rights.restricted import usable

    view = _view(project, purpose)
    found, erased = usable(view), view.erased()
    covered = "" if found.covered is None else found.covered.digest
    gone = "" if erased is None else erased.digest
    return f"{found.digest} {covered} {gone}"


def _view(project: Wiring, purpose: str, noisy: Schema | None = None) -> Wiring:
    """The same project as it reads its table for others: with their purpose, unscreened, and, where
    noise is to cover who is in it, by declarations alone: its own, and the charter's in `noisy`.
    """
    config = project.config
    changed = structs.replace(
        config,
        data=config.data if noisy is None else _declared(config.data, noisy),
        project=structs.replace(config.project, purpose=purpose),
        screen=structs.replace(config.screen, **dict.fromkeys(SCREENS, False)),
        train=structs.replace(
            config.train, mode="plain" if noisy is None else "private", model=None
        ),
    )
    return Wiring(project.root, changed, project.clock, beside=project)


def _declared(options: DataTable, charter: Schema) -> DataTable:
    """The options, with what a charter says of columns of which they say no limits, values or
    classes: that, too, was said before anybody looked at a row. Other columns are no features.
    """
    exact = {name: one for name, one in options.columns.items() if not is_pattern(name)}
    for column in charter.features:
        own = options.column(column.name)
        if column.made_of or own.categories or None not in (own.min, own.max):
            continue
        said: dict[str, Any] = (
            {"categories": column.categories}
            if column.type == "category"
            else {
                "min": column.min if own.min is None else own.min,
                "max": column.max if own.max is None else own.max,
            }
        )
        exact[column.name] = structs.replace(own, type=own.type or column.type, **said)
    for target in charter.targets:
        own = options.column(target)
        exact[target] = structs.replace(own, categories=own.categories or charter.classes)
    patterns = {name: one for name, one in options.columns.items() if is_pattern(name)}
    columns = exact | patterns
    columns.setdefault("*", ColumnTable(use=False))  # the last one: the first that matches counts
    return structs.replace(options, columns=columns)


def _of_charter(project: Wiring, view: Wiring, charter: Charter) -> str:
    """For whoever looks for limits that this project never declared: whose they are."""
    own, held = project.config.data, view.config.data
    names = [*(column.name for column in charter.columns.features), *charter.columns.targets]
    theirs = [name for name in names if own.column(name) != held.column(name)]
    if not theirs:
        return ""
    return (
        f"; [data.columns] says nothing of {listed(theirs, MOST_NAMED)}, so under noise"
        " what the charter says holds here: declare there what this site can have, which may be"
        " wider"
    )


def read(
    project: Wiring, charter: Charter, *, noisy: bool, reporter: "Reporter | None" = None
) -> OwnRows:
    """The rows.

    Args:
        project: whose.
        charter: which columns, and what for.
        noisy: whether noise is to cover whose rows they are.
        reporter: hears how it goes.

    Raises:
        SitePolicy: they are fewer than `[federate] least_rows` or `[privacy] min_group`.
        DataError: the table does not have the charter's columns, or as in a run.
        ConfigError: as in a run.
    """
    from casemate import pipeline
    from casemate.operations.runs import run_context
    from casemate.stages.data.stage import examine

    before = allowed(project, charter.purpose)
    view = _view(project, charter.purpose, charter.columns if noisy else None)
    tools = pipeline.data_tools(run_context(view, reporter))
    tools = replace(tools, config=view.config, leaks=False)
    try:
        found = examine(tools)
    except DataError as error:
        error.hint += _of_charter(project, view, charter)
        raise
    # else each process of a project that never ran would hold out other rows
    tools.identifiers.keep(found.root)
    require_columns(charter.columns, found.schema)
    learnt, held = ~found.holdout & ~found.excluded, found.holdout & ~found.excluded
    least = max(project.config.federate.least_rows, project.config.privacy.min_group)
    if int(learnt.sum()) < least:
        raise SitePolicy(
            f"fewer than {least} rows may be answered from here",
            hint="[federate] least_rows and [privacy] min_group say how few may be summed",
        )
    subject = project.config.data.subject
    names = [*(column.name for column in charter.columns.features), *charter.columns.targets]
    chosen = found.table.select(names)
    if subject is not None:
        chosen = with_groups(chosen, found.table[subject])
    table, holdout = (chosen.filter(side).combine_chunks() for side in (learnt, held))
    for line in _beyond(charter.columns, table):
        tools.progress(line, 0, 0)
    return OwnRows(table, holdout, before, _digest(charter.columns, table, holdout))


def _beyond(asked: Schema, table: pa.Table) -> list[str]:
    """What of the rows the charter's limits and values do not hold, for this site's owner alone: a
    few are slips, many are another unit or coding.
    """
    numbers: list[str] = []
    values: list[str] = []
    for one in asked.features:
        found = breaches(table[one.name], one, asked)
        count = sum(len(breach.rows) for breach in found if breach.limit != "nullable")
        if count:
            told = values if one.type == "category" else numbers
            told.append(f"{one.name} in {count} rows")
    lines = [
        ("beyond the charter's limits, and taken as the nearest", numbers),
        ("values that the charter does not name, and taken as none of its own", values),
    ]
    return [f"{what}: {', '.join(rows)}" for what, rows in lines if rows]


def _digest(columns: Schema, *sides: pa.Table) -> str:
    return sha256(
        b"".join(
            sha256(
                row_hashes(features_of(one, columns), target_of(one, columns)).tobytes()
            ).encode()
            for one in sides
        )
    )


def require_columns(asked: Schema, own: Schema) -> None:
    """Nothing.

    Args:
        asked: the charter's.
        own: this project's.

    Raises:
        DataError: a feature of the charter is none here, or of another type, or the targets differ.
    """
    types = {column.name: column.type for column in own.features}
    lost = [
        f"{column.name} ({column.type})"
        for column in asked.features
        if types.get(column.name) != column.type
    ]
    if lost:
        wanted = {(column.name, column.type) for column in asked.features}
        unused = [
            column.name
            for column in own.columns
            if not column.use and (column.name, column.type) in wanted
        ]
        raise DataError(
            f"features of the charter are none of this table: {listed(lost, MOST_NAMED)}",
            hint="[data.columns] says which columns are features, and of which type"
            + (f"; of {', '.join(unused[:MOST_NAMED])} say use = true" if unused else ""),
        )
    if asked.targets != own.targets or asked.regression != own.regression:
        raise DataError(
            f"the charter is about {', '.join(asked.targets)}, and this table about"
            f" {', '.join(own.targets)}",
            hint="[data] target and task",
        )
    strange = sorted({*own.classes} - {*asked.classes})
    if strange:
        raise DataError(
            f"{len(strange)} classes of this table are none of the charter's, which names"
            f" {_named(asked.classes)}: {_named(strange)}",
            hint="a charter that names them all, or a table that is coded alike",
        )


def _named(classes: list[str]) -> str:
    return listed([*map(repr, classes)], MOST_NAMED)


class Rows:
    """This site's rows: read again when somebody was erased or restricted, or consents no more."""

    def __init__(
        self, project: Wiring, charter: Charter, turns: Turns, reporter: "Reporter", *, noisy: bool
    ) -> None:
        self.project, self.charter, self.turns = project, charter, turns
        self.reporter, self.noisy = reporter, noisy
        self._allowed: str | None = None
        self._count, self._digest = 0, ""

    def current(self) -> int:
        """How many there are, as of now."""
        if self._allowed != allowed(self.project, self.charter.purpose):
            found = read(self.project, self.charter, noisy=self.noisy, reporter=self.reporter)
            self.turns.hold(found.table.replace_schema_metadata(None))
            self._allowed, self._digest = found.allowed, found.digest
            self._count = found.table.num_rows
        return self._count

    def __call__(self, task: Task, numbers: Numbers, size: int) -> Found:
        """The answer to a question, from the rows that may be used now."""
        self.current()
        return structs.replace(self.turns(task, numbers, size), of=self._digest)
