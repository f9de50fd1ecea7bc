"""Statements of the hot path: compiled once for a dialect and run by the driver itself, for a tenth
of what SQLAlchemy takes for one.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


class Prepared:
    """One statement, whose values are numbers, texts and bytes only, for what the driver takes as
    they are.
    """

    def __init__(self, statement: sa.sql.ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}

    def rows(self, tx: sa.Connection) -> list[Any]:
        """What a query without values finds."""
        return list(self._run(tx, None).fetchall())

    def __call__(self, tx: sa.Connection, values: Sequence[dict[str, Any]]) -> None:
        """Run a change for each of `values`."""
        self._run(tx, values).close()

    def _run(self, tx: sa.Connection, values: Sequence[dict[str, Any]] | None) -> Any:
        text, order = self._text(tx.dialect)
        driver: Any = tx.dialect.dbapi
        if not tx.in_transaction():
            # as SQLAlchemy does before the first statement: a reader sees one consistent state
            tx.begin()
        try:
            cursor = tx.connection.cursor()
            if values is None:
                cursor.execute(text)
            elif len(values) == 1:
                cursor.execute(text, _arranged(values[0], order))
            else:
                cursor.executemany(text, [_arranged(one, order) for one in values])
        except driver.Error as error:  # whoever opened the transaction knows SQLAlchemy's errors
            raise sa.exc.DBAPIError.instance(
                text, None, error, driver.Error, hide_parameters=True, dialect=tx.dialect
            ) from error
        return cursor

    def _text(self, dialect: sa.Dialect) -> tuple[str, list[str] | None]:
        """(SQL, names of the values in the order of its marks; None where marks have names)."""
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=dialect)
            found = self._compiled[dialect.name] = (str(compiled), compiled.positiontup)
        return found


def _arranged(values: dict[str, Any], order: list[str] | None) -> Any:
    return values if order is None else [values[name] for name in order]
