"""A database server as the source of a table: asked in a transaction that can write nothing, its
password by reference.
"""

import decimal

import pytest
import sqlalchemy as sa

from casemate import pipeline
from casemate.config import ColumnTable, DataTable
from casemate.core.errors import BackendError, ConfigError, DataError
from casemate.operations import runs, scaffold
from casemate.stages.data import files, source
from casemate.stages.data.files import databases
from casemate.supply.inputs import inputs_of

ROWS = 60
SECRET = "swordfish"


@pytest.fixture
def visits(empty_database):
    """The URL of a database with one table."""
    import psycopg

    url = sa.make_url(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "CREATE TABLE visits (code text, age int, paid numeric(10, 2), at timestamptz, seen"
            " date, well bool, big bigint, tags int[], y text)"
        )
        connection.execute("CREATE SEQUENCE numbers")
        for row in range(ROWS):
            connection.execute(
                "INSERT INTO visits VALUES (%s, %s, %s, now(), '2024-01-02', %s, %s, '{1}', %s)",
                (
                    f"00{row}",
                    row if row % 7 else None,
                    decimal.Decimal(row) / 4,
                    row % 3 == 0,
                    2**60 + row,
                    "pq"[row % 2],
                ),
            )
    return url._replace(password=None).render_as_string()


def options(
    visits,
    monkeypatch,
    query="SELECT code, age, paid, at, seen, well, big, y FROM visits ORDER BY code",
    **more,
):
    monkeypatch.setenv("VISITS", SECRET)  # this server trusts whoever comes over its socket
    codes = {"big": ColumnTable(type="category"), "code": ColumnTable(type="category")}
    return DataTable(
        **{
            "source": visits,
            "target": "y",
            "query": query,
            "password": "env:VISITS",
            "columns": codes,
            **more,
        }
    )


def test_an_answer_is_read_to_the_last_digit(visits, monkeypatch):
    asked = options(visits, monkeypatch)
    table, _ = source.read(asked.source, asked)
    assert table["code"].to_pylist() == sorted(f"00{row}" for row in range(ROWS))
    assert table.num_rows == ROWS
    assert table["big"].to_pylist()[:2] == [str(2**60), str(2**60 + 1)]
    assert table["age"].to_pylist()[0] is None
    assert table["paid"].to_pylist()[1] == 0.25
    assert files.digest(asked.source, table) == files.digest(
        asked.source, source.read(asked.source, asked)[0]
    )


def test_a_query_writes_nothing_and_wrong_ones_are_named(visits, monkeypatch):
    for query, said in (
        ("DELETE FROM visits RETURNING *", "read-only|DECLARE|syntax"),
        ("SELECT nextval('numbers') AS number, y FROM visits", "read-only transaction"),
        ("SELECT nothing FROM visits", "does not exist"),
        ("SELECT 1; DROP TABLE visits", "syntax|multiple commands|cannot insert"),
    ):
        asked = options(visits, monkeypatch, query)
        with pytest.raises(ConfigError, match=said):
            source.read(asked.source, asked)
    asked = options(visits, monkeypatch, "SELECT tags, y FROM visits")
    with pytest.raises(DataError, match="'tags' holds lists"):
        source.read(asked.source, asked)
    asked = options(visits, monkeypatch)
    assert source.read(asked.source, asked)[0].num_rows == ROWS


def test_a_password_in_the_address_a_missing_query_and_a_server_that_is_away_are_refused(
    visits, monkeypatch
):
    asked = options(visits, monkeypatch)
    with pytest.raises(ConfigError, match="holds a password") as caught:
        source.read(f"postgresql://me:{SECRET}@127.0.0.1/x", asked)
    assert SECRET not in caught.value.diagnostics()
    with pytest.raises(ConfigError, match="without .data. query"):
        source.read(asked.source, options(visits, monkeypatch, None))
    with pytest.raises(BackendError, match="does not answer"):
        source.read("postgresql://me@127.0.0.1:1/x", asked)
    with pytest.raises(ConfigError, match="no reader for mysql"):
        source.read("mysql://me@127.0.0.1/x", asked)
    with pytest.raises(DataError, match="max_bytes"):
        source.read(asked.source, options(visits, monkeypatch, max_bytes=1000))


def test_a_project_is_made_of_a_query_and_says_it(visits, monkeypatch, tmp_path):
    asked = options(visits, monkeypatch)
    plan = scaffold.from_table(
        tmp_path / "p", asked.source, "y", reading={"query": asked.query, "password": "env:VISITS"}
    )
    project = scaffold.create(tmp_path / "p", plan)
    assert project.config.data.query == asked.query
    assert project.config.data.source == asked.source
    assert project.config.data.password == "env:VISITS"
    monkeypatch.delenv("VISITS")
    with pytest.raises(ConfigError, match="'env:VISITS' is empty"):
        source.read(asked.source, project.config.data)


def test_init_and_a_run_ask_once_each_and_what_changed_there_is_seen(visits, monkeypatch, tmp_path):
    import psycopg

    asked, times = (
        options(
            visits, monkeypatch, "SELECT well, age, paid, y FROM visits ORDER BY code", columns={}
        ),
        [],
    )
    ask = databases.read_server
    monkeypatch.setattr(
        databases, "read_server", lambda *given: times.append(given[0]) or ask(*given)
    )
    plan = scaffold.from_table(
        tmp_path / "p", asked.source, "y", reading={"query": asked.query, "password": "env:VISITS"}
    )
    assert len(times) == 1
    project = scaffold.create(tmp_path / "p", plan)

    def version():
        times.clear()
        context = runs.run_context(project)
        where = files.place(context.root, context.config.data.source)
        answer = files.once(where, context.config.data)
        inputs = inputs_of(context, where, answer)
        with context.engine.begin(inputs, project.point.identify().principal.uid) as work:
            sealed = pipeline._data(context, work, answer)
            work.finish("failed")
        assert len(times) == 1
        return inputs["data"], sealed.version

    first = version()
    assert version()[0] == first[0]
    with psycopg.connect(visits, password=SECRET) as connection:
        connection.execute("UPDATE visits SET paid = 77 WHERE code = '001'")
    second = version()
    assert second[0] != first[0] and second[1] != first[1]
