"""The catalogue as a whole: no table is left out because nobody had imported what declares it."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

import casemate.wiring  # noqa: F401 - tells core who declares tables
from casemate.core.errors import VerificationError
from casemate.core.store import METADATA, every_table, open_store
from casemate.core.store.move import copy_rows
from casemate.core.store.rowcontent import EMPTY_ROOT
from casemate.core.store.rowdigests import RowDigests

NAMES = """
{code}
print(*sorted(table.name for table in every_table()))
"""


@pytest.fixture
def made(tmp_path):
    """A catalogue as the migrations make it."""
    store = open_store("", tmp_path / "catalog.db")
    store.upgrade()
    yield store
    store.close()


def named(code):
    """Names of every table, as a new process that has run `code` knows them."""
    done = subprocess.run(
        [sys.executable, "-c", NAMES.format(code=code)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def tables_in(store):
    with store.reading() as tx:
        return set(sa.inspect(tx).get_table_names()) - {"alembic_version"}


@pytest.mark.parametrize(
    "noun",
    [
        "store",
        *(
            pytest.param(noun, marks=pytest.mark.slow)
            for noun in ("fsck", "retention", "keys.search", "backup")
        ),
    ],
)
def test_who_works_on_the_whole_catalogue_knows_each_table_that_the_migrations_make(made, noun):
    code = f"import casemate.operations.{noun}\nfrom casemate.core.store import every_table"
    assert named(code) == tables_in(made)


def test_a_copy_of_a_catalogue_with_a_table_that_nothing_declares_is_refused(made, tmp_path):
    target = open_store("", tmp_path / "other.db")
    target.upgrade()
    for store in (made, target):
        with store.transaction() as tx:
            tx.exec_driver_sql("CREATE TABLE undeclared (id INTEGER PRIMARY KEY)")
    assert "undeclared" not in METADATA.tables
    with pytest.raises(VerificationError, match="undeclared"):
        copy_rows(made, target)
    target.close()


class EmptyLog:
    """A log that knows of no row."""

    def row_root(self, _tx):
        return EMPTY_ROOT

    def bind(self, *_):
        raise AssertionError("nothing changes")


def test_a_table_that_is_declared_later_is_looked_at_for_triggers_and_views_at_once(made):
    looks = []
    every_table()  # else the first look declares them
    digests = RowDigests(made.engine, lambda tx: looks.append(tx) or [])
    digests.attach(EmptyLog)
    with made.reading() as tx:
        digests.differences(tx)
        digests.differences(tx)
        assert len(looks) == 1
        late = sa.Table("late", METADATA, sa.Column("id", sa.Integer))
        try:
            digests.differences(tx)
        finally:
            METADATA.remove(late)
    assert len(looks) == 2
