"""Rows that give rights are bound to the audit log: one that casemate did not write is refused when
it is used.

Tables declared with `info=explained(...)` hold roles, tokens, sessions, policies, spendings,
releases and the like. For each group of their rows (a *scope*) the table `row_digest` keeps the
SHA-256 of every row and of the whole group; the SHA-256 over all groups, the *row root*, stands in
every entry of the audit log, sealed with it. So nobody who can write to the database, but has no
keys, adds a row, changes one, brings an old one back or takes one away unnoticed:

- a statement that reads such a table checks it first, in the same transaction and so in the same
  state;
- one that changes it checks the group first, and the transaction's next audit entry (or one of its
  own) takes the new root;
- both refuse a database with code of its own (triggers, rules, views and the like in place of
  tables), which could make casemate itself write, or see, what somebody else wants.

The log itself is kept from being rolled back by its published checkpoints, copies and witnesses.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.errors import BackendError, UnexplainedRow, VerificationError
from casemate.core.store.schema import APART, METADATA, SCOPE

ROW_DIGESTS = sa.Table(
    "row_digest",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("rows", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
)
CHECKED = {"rows_checked": True}
"""Execution options of a statement whose rows its author checks, or must see as they are."""
KNOWN_SECONDS = 1.0
"""For how long a row that was checked is taken again if it comes back the same: as long as any
change may take to be seen.
"""
NAMED = 5
"""Rows that a message names."""
Scope = tuple[Any, ...]
Group = tuple[str, str]
"""(table, scope as JSON)."""
EMPTY_ROOT = sha256(b"")


class RootLog(Protocol):
    """What of the audit log is needed here."""

    def row_root(self, tx: sa.Connection) -> str | None:
        """The row root that the newest entry states; None for a log of an older casemate."""

    def bind(self, tx: sa.Connection, root: str, action: str, detail: dict[str, Any]) -> None:
        """Append an entry that states `root`."""


class _State:
    """What one transaction has checked and changed."""

    def __init__(self, transaction: Any) -> None:
        self.transaction = transaction
        self.digests: dict[Group, str] | None = None
        self.checked: set[tuple[str, str | None]] = set()
        self.changed: set[tuple[str, Scope]] = set()
        self.unsettled: set[tuple[str, Scope]] = set()
        self.plain = False


def tables() -> list[sa.Table]:
    """Every table whose rows must be explained."""
    return [table for table in METADATA.sorted_tables if SCOPE in table.info]


def root_of(digests: dict[Group, str]) -> str:
    """SHA-256 over all groups."""
    return sha256(
        b"".join(
            msgspec.json.encode([*group, digest]) + b"\n"
            for group, digest in sorted(digests.items())
        )
    )


class RowDigests:
    """Checks and records the rows of one catalogue, once a log is attached."""

    def __init__(self, engine: sa.Engine, strange: Callable[[sa.Connection], list[str]]) -> None:
        """Bind nothing yet.

        Args:
            engine: of the catalogue.
            strange: names what in the database would change or hide rows by itself
                (`Store.strange`).
        """
        self._engine = engine
        self._strange = strange
        self._plain = -KNOWN_SECONDS
        """When nothing strange was found last."""
        self._attached: Callable[[], RootLog] | None = None
        self._cache: tuple[str, dict[Group, str]] = (EMPTY_ROOT, {})
        self._known: dict[tuple[str, Scope], tuple[float, set[bytes]]] = {}

    def attach(self, log: Callable[[], RootLog]) -> None:
        """Check and record from now on, against this log."""
        self._attached = log
        sa.event.listen(self._engine, "before_execute", self._before)

    @property
    def _log(self) -> RootLog:
        if self._attached is None:
            raise BackendError(
                "no audit log is attached to this catalogue", hint="report this as a defect"
            )
        return self._attached()

    def _before(
        self, tx: sa.Connection, statement: Any, multiparams: Any, params: Any, options: Any
    ) -> None:
        # The statement's author checks its rows himself, by `require` or `require_row`.
        if options.get("rows_checked"):
            return
        if isinstance(statement, (sa.Insert, sa.Update, sa.Delete)):
            table: Any = statement.table
            if SCOPE not in table.info:
                return
            self._locked(tx, table)
            self._require_plain(tx, self._state(tx))
            for scope in self._touched(tx, statement, multiparams or ([params] if params else [])):
                self.require(tx, table, scope)
                state = self._state(tx)
                state.changed.add((str(table.name), scope))
                state.unsettled.add((str(table.name), scope))
        elif isinstance(statement, sa.sql.expression.SelectBase):
            # Whoever reads in any other way has every table checked as a whole: slower, and nothing
            # is forgotten.
            for table in _tables_of(statement):
                self.require(tx, table)

    def _touched(
        self, tx: sa.Connection, statement: Any, many: list[dict[str, Any]]
    ) -> list[Scope]:
        """The groups that a change is about to touch."""
        table = statement.table
        columns = table.info[SCOPE]
        if not columns:
            return [()]
        if isinstance(statement, sa.Insert):
            inline = statement.compile(dialect=tx.dialect).params
            return list(
                dict.fromkeys(
                    tuple({**inline, **row}[name] for name in columns) for row in many or [{}]
                )
            )
        query = sa.select(*(table.c[name] for name in columns)).distinct()
        if statement.whereclause is not None:
            query = query.where(statement.whereclause)
        return [tuple(row) for row in tx.execute(query, execution_options=CHECKED)]

    def _locked(self, tx: sa.Connection, table: sa.Table) -> None:
        """Keep others than casemate from writing to a table between the check and the commit;
        SQLite has one writer anyway.
        """
        if tx.dialect.name == "postgresql" and not tx.get_execution_options().get("read_only"):
            tx.exec_driver_sql(f'LOCK TABLE "{table.name}" IN SHARE ROW EXCLUSIVE MODE')

    def _require_plain(self, tx: sa.Connection, state: _State | None = None) -> None:
        """Refuse a database that does more than keep rows: a trigger would change what casemate
        changes, a view tell each query something else.

        Args:
            tx: a transaction.
            state: of one that changes rows and has locked their table: what it takes over stays, so
                it looks for itself, once.

        Raises:
            UnexplainedRow: with what there is.
        """
        if state.plain if state is not None else time.monotonic() - self._plain < KNOWN_SECONDS:
            return
        found = self._strange(tx)
        if found:
            raise UnexplainedRow(
                "the catalogue's database holds what casemate did not make:"
                f" {', '.join(found[:NAMED])}",
                hint=_HINT,
            )
        if state is not None:
            state.plain = True
        self._plain = time.monotonic()

    def _state(self, tx: sa.Connection) -> _State:
        if not tx.in_transaction():
            tx.begin()  # as SQLAlchemy does before the first statement
        state: _State | None = tx.info.get("rows")
        if state is None or state.transaction is not tx.get_transaction():
            state = tx.info["rows"] = _State(tx.get_transaction())
        return state

    def require(self, tx: sa.Connection, table: sa.Table, scope: Scope | None = None) -> None:
        """Check the rows of a table, or of one of its groups, unless this transaction has done so
        or has changed them itself.

        Raises:
            UnexplainedRow: something was added, changed or taken away behind casemate's back.
        """
        if self._attached is None:
            return
        state = self._state(tx)
        key = (str(table.name), None if scope is None else _text(scope))
        if key in state.checked or (str(table.name), None) in state.checked:
            return
        self._locked(tx, table)
        self._require_plain(tx)
        changed = {_text(own) for name, own in state.changed if name == str(table.name)}
        expected = self._expected(tx, state)
        found, rows = self._found(tx, table, scope)
        groups = {
            group
            for group in expected
            if group[0] == str(table.name) and key[1] in (None, group[1])
        } | set(found)
        for group in groups:
            if group[1] not in changed and expected.get(group) != _digest(found.get(group, {})):
                raise self._unexplained(tx, table, group, found.get(group, {}))
        if scope is not None and not changed:
            self._known[str(table.name), scope] = (time.monotonic(), rows)
        state.checked.add(key)

    def require_row(self, tx: sa.Connection, table: sa.Table, row: sa.Row[Any] | None) -> None:
        """The same for one whole row of a statement that was sent as `CHECKED`; a row that was
        checked a moment ago costs nothing more.
        """
        if self._attached is None or row is None:
            return
        values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
        scope = tuple(values[name] for name in table.info[SCOPE])
        checked, rows = self._known.get((str(table.name), scope), (0.0, set[bytes]()))
        if (
            time.monotonic() - checked >= KNOWN_SECONDS
            or _content([values[c.name] for c in _columns(table)]) not in rows
        ):
            self.require(tx, table, scope)

    def _expected(self, tx: sa.Connection, state: _State) -> dict[Group, str]:
        """The digests of all groups, as the log's newest entry says."""
        if state.digests is None:
            root = self._log.row_root(tx)
            if root is None:
                raise VerificationError(
                    "the audit log does not say yet which rows of the catalogue are casemate's",
                    hint="casemate store upgrade",
                )
            known, digests = self._cache
            # The table of digests lies in the same catalogue and could be rewritten with the rows:
            # the log's entry says what its root is.
            if known != root:
                digests = self._stored(tx)
                if root_of(digests) != root:
                    raise UnexplainedRow(
                        "the table row_digest is not what the audit log says: somebody else than"
                        " casemate wrote to the catalogue",
                        hint=_HINT,
                    )
                self._cache = (root, digests)
            state.digests = dict(digests)
        return state.digests

    def _stored(self, tx: sa.Connection) -> dict[Group, str]:
        query = sa.select(ROW_DIGESTS.c.name, ROW_DIGESTS.c.scope, ROW_DIGESTS.c.digest)
        return {(row.name, row.scope): row.digest for row in tx.execute(query)}

    def _found(
        self, tx: sa.Connection, table: sa.Table, scope: Scope | None
    ) -> tuple[dict[Group, dict[str, str]], set[bytes]]:
        """(SHA-256 of each row by its key, by group; the rows themselves)."""
        names, parts = [column.name for column in _columns(table)], table.info[SCOPE]
        read = [_reader(column) for column in _columns(table)]
        keys = [names.index(column.name) for column in table.primary_key.columns]
        groups = [names.index(name) for name in parts]
        text, values = self._query(tx, table, scope), None if scope is None else tuple(scope)
        found: dict[Group, dict[str, str]] = {}
        rows = set()
        for raw in tx.exec_driver_sql(text, values or None):
            row = [
                value if one is None else one(value) for one, value in zip(read, raw, strict=True)
            ]
            content = _content(row)
            rows.add(content)
            group = (str(table.name), _text(row[at] for at in groups))
            found.setdefault(group, {})[_text(row[at] for at in keys)] = sha256(content)
        return found, rows

    def _query(self, tx: sa.Connection, table: sa.Table, scope: Scope | None) -> str:
        """SQL for the driver itself: to compile nine queries anew in every process would take
        longer than to run them.
        """
        quote, mark = (
            tx.dialect.identifier_preparer.quote,
            ("?" if tx.dialect.paramstyle == "qmark" else "%s"),
        )
        columns = ", ".join(quote(column.name) for column in _columns(table))
        where = (
            " AND ".join(f"{quote(name)} = {mark}" for name in table.info[SCOPE]) if scope else ""
        )
        return f"SELECT {columns} FROM {quote(table.name)}" + (f" WHERE {where}" if where else "")  # noqa: S608 - names of our own tables

    def _unexplained(
        self, tx: sa.Connection, table: sa.Table, group: Group, found: dict[str, str]
    ) -> UnexplainedRow:
        named = self._differences(tx, group, found)
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return UnexplainedRow(
            f"the catalogue's table {table.name} holds what the audit log does not explain:"
            f" {'; '.join(named[:NAMED])}{more}",
            hint=_HINT,
        )

    def _differences(self, tx: sa.Connection, group: Group, found: dict[str, str]) -> list[str]:
        query = sa.select(ROW_DIGESTS.c.rows).where(
            ROW_DIGESTS.c.name == group[0], ROW_DIGESTS.c.scope == group[1]
        )
        stored = tx.execute(query).scalar()
        try:
            before = {} if stored is None else msgspec.json.decode(stored, type=dict[str, str])
        except msgspec.MsgspecError:
            before = {}
        named = [f"{key} was added" for key in sorted(found.keys() - before.keys())]
        named += [f"{key} is gone" for key in sorted(before.keys() - found.keys())]
        named += [
            f"{key} was changed"
            for key in sorted(found.keys() & before.keys())
            if found[key] != before[key]
        ]
        return named or [f"the digests of {group[1]} were changed"]

    def differences(self, tx: sa.Connection) -> list[tuple[str, str]]:
        """(table, what is not explained) for everything in the catalogue, as it is.

        Raises:
            VerificationError: `row_digest` itself is not what the log says, or the log says nothing
                yet.
        """
        self._require_plain(tx)
        expected = self._expected(tx, self._state(tx))
        named = []
        for table in tables():
            found, _ = self._found(tx, table, None)
            for group in sorted(
                {group for group in expected if group[0] == str(table.name)} | set(found)
            ):
                if expected.get(group) != _digest(found.get(group, {})):
                    named += [
                        (str(table.name), what)
                        for what in self._differences(tx, group, found.get(group, {}))
                    ]
        return named

    def count(self, tx: sa.Connection) -> int:
        """How many rows there are to check."""
        counted = (sa.select(sa.func.count()).select_from(table) for table in tables())
        return sum(
            int(tx.execute(query, execution_options=CHECKED).scalar_one()) for query in counted
        )

    def settle(self, tx: sa.Connection) -> str | None:
        """Take over what this transaction has changed; the new root, or None when the old one still
        holds.
        """
        state: _State | None = tx.info.get("rows")
        if state is None or not state.unsettled or state.transaction is not tx.get_transaction():
            return None
        digests = self._expected(tx, state)
        before = dict(digests)
        declared = {str(table.name): table for table in tables()}
        for name, scope in sorted(state.unsettled, key=repr):
            group = (name, _text(scope))
            self._write(
                tx, digests, group, self._found(tx, declared[name], scope)[0].get(group, {})
            )
            self._known.pop((name, scope), None)
        state.unsettled.clear()
        if digests == before:
            return None
        root = root_of(digests)
        self._cache = (root, dict(digests))
        return root

    def _write(
        self, tx: sa.Connection, digests: dict[Group, str], group: Group, rows: dict[str, str]
    ) -> None:
        new = _digest(rows)
        if digests.get(group) == new:
            return
        tx.execute(
            ROW_DIGESTS.delete().where(
                ROW_DIGESTS.c.name == group[0], ROW_DIGESTS.c.scope == group[1]
            )
        )
        digests.pop(group, None)
        if new is not None:
            tx.execute(
                ROW_DIGESTS.insert().values(
                    name=group[0], scope=group[1], rows=_blob(rows), digest=new
                )
            )
            digests[group] = new

    def finish(self, tx: sa.Connection) -> None:
        """Before a commit: an entry of its own for what no other entry of this transaction has
        taken over.
        """
        root = self.settle(tx)
        if root is not None:
            self._log.bind(tx, root, "catalog:changed", {})

    def adopt(self, tx: sa.Connection) -> dict[str, int]:
        """Take over the rows of a catalogue that an older casemate wrote, and say so in the log;
        returns how many per table.

        Nothing happens where the log knows its rows already: then they are checked, never taken
        over anew.
        """
        if self._log.row_root(tx) is not None:
            return {}
        self._require_plain(tx, self._state(tx))
        digests: dict[Group, str] = {}
        counts = {}
        tx.execute(ROW_DIGESTS.delete())
        for table in tables():
            found, _ = self._found(tx, table, None)
            for group, rows in found.items():
                self._write(tx, digests, group, rows)
            counts[str(table.name)] = sum(map(len, found.values()))
        self._log.bind(tx, root_of(digests), "catalog:adopted", {"rows": counts})
        return counts


_HINT = (
    "casemate fsck names it; find out who could write to the database, undo it there or restore a"
    " backup: casemate backup restore"
)


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name not in table.info[APART]]


def _reader(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    """What makes of a driver's value the one that SQLAlchemy gives."""
    if isinstance(column.type, sa.JSON):
        return lambda value: (
            msgspec.json.decode(value) if isinstance(value, (str, bytes)) else value
        )
    if isinstance(column.type, sa.Boolean):
        return lambda value: None if value is None else bool(value)
    return (
        (lambda value: None if value is None else float(value))
        if isinstance(column.type, sa.Float)
        else None
    )


def _text(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _content(values: list[Any]) -> bytes:
    """A row, the same from every database."""
    return msgspec.json.encode(values, order="deterministic")


def _blob(rows: dict[str, str]) -> bytes:
    return msgspec.json.encode(rows, order="deterministic")


def _digest(rows: dict[str, str]) -> str | None:
    return sha256(_blob(rows)) if rows else None


def _tables_of(statement: Any) -> list[sa.Table]:
    """The tables of a query, nested ones included, that must be explained."""
    parts = dict.fromkeys(
        part for part in sa.sql.visitors.iterate(statement) if isinstance(part, sa.Table)
    )
    return [table for table in parts if SCOPE in table.info]
