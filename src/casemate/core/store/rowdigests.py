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
from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa

from casemate.core.errors import BackendError, UnexplainedRow, VerificationError
from casemate.core.store import digesttable
from casemate.core.store.rowcontent import (
    EMPTY_ROOT,
    Group,
    Scope,
    columns_of,
    content_of,
    digest_of,
    root_of,
    rows_in,
    tables,
    tables_of,
    text_of,
)
from casemate.core.store.schema import METADATA, SCOPE

CHECKED = {"rows_checked": True}
"""Execution options of a statement whose rows its author checks, or must see as they are."""
KNOWN_SECONDS = 1.0
"""For how long a row that was checked is taken again if it comes back the same: as long as any
change may take to be seen.
"""
NAMED = 5
"""Rows that a message names."""


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
        self._plain = -KNOWN_SECONDS, 0
        """When nothing strange was found last, and among how many declared tables."""
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
            for table in tables_of(statement):
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
        when, among = self._plain
        # a module that was imported since has declared tables that nobody has looked at
        recent = among == len(METADATA.tables) and time.monotonic() - when < KNOWN_SECONDS
        if state.plain if state is not None else recent:
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
        self._plain = time.monotonic(), len(METADATA.tables)

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
        key = (str(table.name), None if scope is None else text_of(scope))
        if key in state.checked or (str(table.name), None) in state.checked:
            return
        self._locked(tx, table)
        self._require_plain(tx)
        changed = {text_of(own) for name, own in state.changed if name == str(table.name)}
        expected = self._expected(tx, state)
        found, rows = rows_in(tx, table, scope)
        groups = {
            group
            for group in expected
            if group[0] == str(table.name) and key[1] in (None, group[1])
        } | set(found)
        for group in groups:
            if group[1] not in changed and expected.get(group) != digest_of(found.get(group, {})):
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
            or content_of([values[c.name] for c in columns_of(table)]) not in rows
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
                digests = digesttable.stored(tx)
                if root_of(digests) != root:
                    raise UnexplainedRow(
                        "the table row_digest is not what the audit log says: somebody else than"
                        " casemate wrote to the catalogue",
                        hint=_HINT,
                    )
                self._cache = (root, digests)
            state.digests = dict(digests)
        return state.digests

    def _unexplained(
        self, tx: sa.Connection, table: sa.Table, group: Group, found: dict[str, str]
    ) -> UnexplainedRow:
        named = digesttable.differences(tx, group, found)
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return UnexplainedRow(
            f"the catalogue's table {table.name} holds what the audit log does not explain:"
            f" {'; '.join(named[:NAMED])}{more}",
            hint=_HINT,
        )

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
            found, _ = rows_in(tx, table, None)
            for group in sorted(
                {group for group in expected if group[0] == str(table.name)} | set(found)
            ):
                if expected.get(group) != digest_of(found.get(group, {})):
                    named += [
                        (str(table.name), what)
                        for what in digesttable.differences(tx, group, found.get(group, {}))
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
        for name, scope in sorted(state.unsettled, key=repr):
            group = (name, text_of(scope))
            digesttable.write(
                tx, digests, group, rows_in(tx, METADATA.tables[name], scope)[0].get(group, {})
            )
            self._known.pop((name, scope), None)
        state.unsettled.clear()
        if digests == before:
            return None
        root = root_of(digests)
        self._cache = (root, dict(digests))
        return root

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
        tx.execute(digesttable.ROW_DIGESTS.delete())
        for table in tables():
            found, _ = rows_in(tx, table, None)
            for group, rows in found.items():
                digesttable.write(tx, digests, group, rows)
            counts[str(table.name)] = sum(map(len, found.values()))
        self._log.bind(tx, root_of(digests), "catalog:adopted", {"rows": counts})
        return counts


_HINT = (
    "casemate fsck names it; find out who could write to the database, undo it there or restore a"
    " backup: casemate backup restore"
)
