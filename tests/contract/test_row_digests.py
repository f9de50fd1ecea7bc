"""Rows that give rights are bound to the log on PostgreSQL as on SQLite."""

import pytest
import sqlalchemy as sa
from tests.attacks import test_rows as attacks

import casemate
from casemate.core.errors import UnexplainedRow
from casemate.operations.fsck import examine


@pytest.fixture
def moved(home, tmp_path, empty_database, cli):
    """A project on PostgreSQL where something happened; (folder, token, runs SQL as the database's
    administrator).
    """
    from casemate.operations import scaffold

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
    project.access.add_user("bea", ["scientist"])
    for table, use, statement in attacks.ATTACKS.values():
        run(f"CREATE TABLE kept AS TABLE {table}", statement.format(false="false"))
        fresh = casemate.open(root)
        with pytest.raises(UnexplainedRow, match=f"table {table} "):
            use(fresh, token)
        assert {one.subject for one in examine(fresh).damage} == {f"table {table}"}
        run(f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM kept", "DROP TABLE kept")
        fresh.database.close()
    assert examine(casemate.open(root)).outcome == "intact"
    project.database.close()


def test_sql_does_not_slip_in_between_the_check_and_the_commit(moved):
    root, _, run = moved
    project = casemate.open(root)
    with project.database.transaction() as tx:
        project.point.directory.add(tx, "bea", ["scientist"])
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            run(
                "SET LOCAL lock_timeout = '200ms'",
                "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'",
            )
    assert examine(project).outcome == "intact"
    project.database.close()


CODE = {
    "a trigger": (
        (
            "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'; RETURN NULL; END $$"
        ),
        "CREATE TRIGGER more AFTER INSERT ON principal EXECUTE FUNCTION more()",
    ),
    "a rule": ("CREATE RULE more AS ON UPDATE TO token DO INSTEAD NOTHING",),
    "a view that knows who asks": (
        "ALTER TABLE principal RENAME TO people",
        (
            "CREATE VIEW principal AS SELECT kind, name, CASE WHEN current_query() LIKE '%%WHERE%%'"
            " THEN '[\"owner\"]'::json ELSE roles END AS roles, models, created, disabled, outside"
            " FROM people"
        ),
    ),
    "row security": (
        "ALTER TABLE principal ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY more ON principal USING (current_query() NOT LIKE '%%disabled IS%%')",
    ),
    "a check": (
        "CREATE FUNCTION more() RETURNS boolean LANGUAGE sql AS $$ SELECT true $$",
        "ALTER TABLE principal ADD CHECK (more())",
    ),
    "a default": ("ALTER TABLE principal ALTER outside SET DEFAULT md5(now()::text)",),
}


@pytest.mark.parametrize("code", CODE)
def test_code_in_a_postgresql_database_makes_casemate_write_nothing_and_see_nothing_else(
    moved, code
):
    root, _, run = moved
    run(*CODE[code])
    project = casemate.open(root)
    with pytest.raises(UnexplainedRow, match="database holds what casemate did not make: "):
        project.access.add_user("bea", ["scientist"])
    assert any("did not make" in one.state for one in examine(project).damage)
    project.database.close()
