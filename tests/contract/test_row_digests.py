"""Rows that give rights are bound to the log on PostgreSQL as on SQLite."""

import pytest
import sqlalchemy as sa
from tests.attacks import test_rows as attacks

import casemate
from casemate.core.errors import UnexplainedRow
from casemate.fsck import examine


@pytest.fixture
def moved(home, tmp_path, empty_database, cli):
    """A project on PostgreSQL where something happened; (folder, token, runs SQL as the database's administrator)."""
    from casemate import scaffold

    root = tmp_path / "project"
    scaffold.create(root, scaffold.clinical())
    token = attacks.arrange(casemate.open(root))
    assert cli("store", "migrate", empty_database, "--config", root).code == 0
    engine = sa.create_engine(sa.make_url(empty_database).set(drivername="postgresql+psycopg"))

    def run(*statements):
        with engine.begin() as tx:
            return [tx.exec_driver_sql(statement) for statement in statements]

    yield root, token, run
    engine.dispose()


def test_the_administrator_of_a_postgresql_server_gives_nobody_a_right(moved):
    root, token, run = moved
    project = casemate.open(root)
    assert examine(project).outcome == "intact"
    project.access.admin.add_user("bea", ["scientist"])
    for table, use, statement in attacks.ATTACKS.values():
        run(f"CREATE TABLE kept AS TABLE {table}", statement.format(false="false"))
        fresh = casemate.open(root)
        with pytest.raises(UnexplainedRow, match=f"table {table} "):
            use(fresh, token)
        assert {one.subject for one in examine(fresh).damage} == {f"table {table}"}
        run(f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM kept", "DROP TABLE kept")
        fresh.store.close()
    assert examine(casemate.open(root)).outcome == "intact"
    project.store.close()


def test_sql_does_not_slip_in_between_the_check_and_the_commit(moved):
    root, _, run = moved
    project = casemate.open(root)
    with project.store.transaction() as tx:
        project.access.directory.add(tx, "bea", ["scientist"])
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            run("SET LOCAL lock_timeout = '200ms'", "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'")
    assert examine(project).outcome == "intact"
    project.store.close()
