"""A catalogue in a PostgreSQL database: several machines may work on one project's runs.

The writers of a database wait for one another behind an advisory lock, so that a transaction means
the same on both back ends. A server that acknowledges commits before they are durable (`fsync =
off`) is refused.
"""

import functools
import importlib.util
import time
from typing import Any

import sqlalchemy as sa

from casemate.core.errors import BackendError, ConfigError
from casemate.core.store.interface import METADATA, Store, Unsettled
from casemate.core.store.rowdigests import CHECKED
from casemate.core.store.schema import every_table

NUMBER = "transaction"
"""Of a connection: what the server calls its transaction."""
LOCK = 0x6361_7365_6D61_7465  # "casemate"
WAIT = "30s"
STRANGE = """
WITH ours AS (
    SELECT oid, relname, relkind, relrowsecurity FROM pg_class
    WHERE relname = ANY(%s) AND pg_table_is_visible(oid)
)
SELECT 'trigger ' || tgname FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'rule ' || rulename || ' of ' || relname FROM pg_rewrite
    JOIN ours ON ours.oid = ev_class
UNION ALL SELECT 'row security of ' || relname FROM ours WHERE relrowsecurity
UNION ALL SELECT 'check ' || conname FROM pg_constraint
    JOIN ours ON ours.oid = conrelid WHERE contype = 'c'
UNION ALL SELECT 'index ' || indexrelid::regclass::text FROM pg_index
    JOIN ours ON ours.oid = indrelid
    WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
UNION ALL SELECT 'default of ' || relname || '.' || attname FROM pg_attrdef
    JOIN ours ON ours.oid = adrelid
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE attgenerated <> ''
        OR (pg_get_expr(adbin, adrelid) LIKE '%%(%%'
            AND pg_get_expr(adbin, adrelid) NOT LIKE 'nextval(%%')
UNION ALL SELECT 'table ' || relname || ', which is none' FROM ours WHERE relkind <> 'r'
LIMIT 20
"""
"""Everything that runs when a row is written or read; casemate makes none of it."""
STALLED = "20s"
SILENT_SECONDS = 10
"""Without a sign of life from the other side after which a connection is over, here and at the
server: what a cut cable or a host without power leaves else stands for hours, and a lock with it.
"""
PROBES = 3
REACHED = {
    "connect_timeout": SILENT_SECONDS,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
    "keepalives_idle": SILENT_SECONDS // 2,
    "keepalives_interval": 2,
    "keepalives_count": PROBES,
}
"""How soon libpq gives a server up; `[store] url` may say otherwise."""
SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": f"'{WAIT}'",
    # a stopped process must not block writers for ever
    "idle_in_transaction_session_timeout": f"'{STALLED}'",
    # nor one whose host is gone
    "tcp_user_timeout": f"'{SILENT_SECONDS}s'",
    "tcp_keepalives_idle": SILENT_SECONDS // 2,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": PROBES,
}
SETTLE_SECONDS = 10.0
"""How long it is asked whether a commit was done whose answer got lost. A judgement: a server that
restarts is back by then, and callers wait.
"""
ASK_SECONDS = 0.25


class PostgresStore(Store):
    """A catalogue in the schema that the connection's user finds first (`search_path`)."""

    repair = (
        "see that the server runs and its pg_hba.conf lets this user in; restore a damaged database"
        " with casemate backup restore"
    )

    def __init__(self, url: str, password: str | None = None) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise ConfigError(
                "[store] url is not a database URL", hint="postgresql://USER@HOST:PORT/DATABASE"
            ) from error
        if parsed.get_backend_name() not in {"postgresql", "postgres"}:
            raise ConfigError(
                f"[store] url: no back end for {parsed.drivername!r}",
                hint="postgresql://USER@HOST:PORT/DATABASE, or none for SQLite",
            )
        if parsed.password:
            raise ConfigError(
                "[store] url holds a password",
                hint='take it out and set password = "env:NAME" or "file:PATH"; or use ~/.pgpass',
            )
        if importlib.util.find_spec("psycopg") is None:
            raise BackendError(
                "the PostgreSQL driver is not installed", hint='pip install "casemate[postgres]"'
            )
        self.name = f"the catalogue {parsed.render_as_string()}"
        parsed = parsed.set(drivername="postgresql+psycopg", password=password)
        self.engine = sa.create_engine(
            parsed,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={n: value for n, value in REACHED.items() if n not in parsed.query},
        )
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

    def check(self) -> None:
        """See `Store.check`; also refuses a server that would lose what it acknowledged."""
        with self.reading() as tx:
            unsafe = [
                name
                for name in ("fsync", "full_page_writes")
                if tx.exec_driver_sql(f"SHOW {name}").scalar() != "on"
            ]
        if unsafe:
            raise BackendError(
                f"{self.name}: the server runs with {unsafe[0]} = off and may lose acknowledged"
                " work",
                hint=f"set {unsafe[0]} = on",
            )
        super().check()

    def _number(self, tx: sa.Connection) -> str | None:
        number: str = tx.info[NUMBER]
        return number

    def _settled(self, number: str, error: sa.exc.DBAPIError) -> bool:
        """Ask the server, once it can be reached, what became of a transaction."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return self._was_done(number)
            except BackendError as fault:
                if time.monotonic() > end:
                    raise Unsettled(
                        f"{self.name} could not be written, or was: {error.orig}; {fault.message}",
                        functools.partial(self._was_done, number),
                    ) from error
            time.sleep(ASK_SECONDS)

    def _was_done(self, number: str) -> bool:
        # Whoever holds the writers' lock knows that no transaction before is still going on.
        try:
            with self.engine.begin() as tx:
                state = tx.exec_driver_sql("SELECT pg_xact_status(%s::xid8)", (number,)).scalar()
        except sa.exc.DBAPIError as error:
            raise self._fault(error) from error
        return bool(state == "committed")

    def strange(self, tx: sa.Connection) -> list[str]:
        """See `Store.strange`."""
        return [str(row[0]) for row in tx.exec_driver_sql(STRANGE, ([*METADATA.tables],))]

    def damage(self) -> list[str]:
        """See `Store.damage`; reads every row, and B-trees through `amcheck` where the database has
        it.
        """
        with self.reading() as tx:
            for table in sa.inspect(tx).get_table_names():
                tx.execute(
                    sa.select(
                        sa.func.count(sa.cast(sa.literal_column("t.*"), sa.Text))
                    ).select_from(sa.table(table).alias("t"))
                ).scalar()
            if tx.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").scalar():
                tx.exec_driver_sql(
                    "SELECT bt_index_check(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid ="
                    " i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND"
                    " c.relnamespace = current_schema()::regnamespace"
                ).all()
        return []

    def behind(self) -> list[str]:
        """See `Store.behind`."""
        with self.reading() as tx:
            return [
                f"{column} would be numbered {following} again, rows go up to {highest}"
                for column, sequence, highest in _numbered(tx)
                if (following := _following(tx, sequence)) <= highest
            ]

    def renumber(self, tx: sa.Connection) -> None:
        """See `Store.renumber`; a sequence never goes back, and it does not roll back with `tx`."""
        for _, sequence, highest in _numbered(tx):
            if _following(tx, sequence) <= highest:
                tx.execute(sa.select(sa.func.setval(sequence, highest)))


def _numbered(tx: sa.Connection) -> list[tuple[str, str, int]]:
    """(column, its sequence, the highest number in use) of every column that the database
    numbers.
    """
    found = []
    for table in every_table():
        column = table.autoincrement_column
        if column is None or not sa.inspect(tx).has_table(table.name):
            continue
        owned = sa.func.pg_get_serial_sequence(table.name, column.name)
        if (sequence := tx.execute(sa.select(owned)).scalar()) is not None:
            highest = tx.execute(
                sa.select(sa.func.coalesce(sa.func.max(column), 0)), execution_options=CHECKED
            ).scalar_one()
            found.append((f"{table.name}.{column.name}", str(sequence), int(highest)))
    return found


def _following(tx: sa.Connection, sequence: str) -> int:
    # `sequence` is a quoted name of the database's own
    return int(
        tx.exec_driver_sql(f"SELECT last_value + is_called::int FROM {sequence}").scalar_one()  # noqa: S608
    )


def _configure(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET {name} = {value}" for name, value in SESSION.items()))
    connection.commit()


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    else:
        connection.info[NUMBER] = connection.exec_driver_sql(
            f"SELECT pg_advisory_xact_lock({LOCK} # hashtextextended(current_schema(), 0)),"
            " pg_current_xact_id()::text"
        ).one()[1]
