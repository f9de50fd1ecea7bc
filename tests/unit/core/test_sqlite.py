"""One driver of SQLite, and what happens where only a library with the WAL-reset fault is there."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.core.errors import BackendError
from casemate.core.store import sqlite

SOURCE = Path(sqlite.__file__).parents[3]
ROW = "INSERT INTO principal (kind, name, roles, models) VALUES ('T', ?, ?, '[]')"
FILLING = "x" * 3000


@pytest.fixture
def faulty(monkeypatch):
    """A machine without a sound SQLite: Python's own library, whatever it is, counts as an affected
    one.
    """
    monkeypatch.setattr(sqlite, "driver", sqlite3)
    monkeypatch.setattr(sqlite, "affected", lambda _version: True)


def fill(store, count, name="row"):
    for number in range(count):
        with store.transaction() as tx:
            tx.exec_driver_sql(ROW, (f"{name}-{number}", FILLING))


def pragma(store, name):
    with store.reading() as tx:
        return tx.exec_driver_sql(f"PRAGMA {name}").scalar()


def made(path):
    store = sqlite.SqliteStore(path)
    store.upgrade()
    return store


RISKY = ["3.7.0", "3.40.1", "3.44.5", "3.45.0", "3.50.6", "3.51.0", "3.51.2", "3.52.0"]
SOUND = ["3.44.6", "3.50.7", "3.51.3", "3.53.0", "3.54.1", "4.0.0"]


def test_versions_with_the_wal_reset_fault_are_known():
    for version in [*RISKY, *SOUND]:
        assert sqlite.affected(tuple(map(int, version.split(".")))) is (version in RISKY), version


def test_a_sound_library_is_taken_before_python_s_own(tmp_path):
    pytest.importorskip("pysqlite3", reason="no SQLite of its own: pip install pysqlite3")
    assert not sqlite.affected(sqlite.driver.sqlite_version_info)
    store = made(tmp_path / "c.db")
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2
    assert store.library()[1] is False
    with store.reading() as tx:
        assert (
            tx.exec_driver_sql("SELECT sqlite_version()").scalar() == sqlite.driver.sqlite_version
        )
    store.close()


def test_no_other_module_imports_a_driver_of_sqlite():
    """Two libraries with one file open in a process drop each other's locks."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    importing = [
        path.name
        for path, text in texts.items()
        if re.search(
            r"^\s*(import|from) (py)?sqlite3|import_module\(.(py)?sqlite3", text, re.MULTILINE
        )
    ]
    assert importing == ["sqlite.py"]


def test_an_affected_library_makes_new_catalogues_without_a_write_ahead_log(faulty, tmp_path):
    store = made(tmp_path / "c.db")
    assert pragma(store, "journal_mode") == "delete"
    assert pragma(store, "synchronous") == 3  # EXTRA: the folder is synced when the journal goes
    fill(store, 3)
    assert store.library()[1] is True
    assert not list(tmp_path.glob("*-wal"))
    store.close()


def test_an_affected_library_leaves_checkpoints_of_an_existing_log_to_one_that_holds_the_write_lock(
    tmp_path, request
):
    made(tmp_path / "c.db").close()
    request.getfixturevalue("faulty")
    store = sqlite.SqliteStore(tmp_path / "c.db")
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "wal_autocheckpoint") == 0
    fill(store, 20)
    before = store.path.read_bytes()
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint=0")
        other.execute("BEGIN IMMEDIATE")
        store._checkpoint()
        assert store.path.read_bytes() == before  # somebody else may commit: not now
        other.execute("ROLLBACK")
    store._checkpoint()
    assert store.path.read_bytes() != before
    store.close()


def test_a_guarded_log_does_not_grow_for_ever(tmp_path, request):
    made(tmp_path / "c.db").close()
    request.getfixturevalue("faulty")
    store = sqlite.SqliteStore(tmp_path / "c.db")
    fill(store, 2 * sqlite.CHECKPOINT_COMMITS)
    size = (tmp_path / "c.db-wal").stat().st_size
    fill(store, 2 * sqlite.CHECKPOINT_COMMITS, "more")
    assert (tmp_path / "c.db-wal").stat().st_size < 1.5 * size
    store.close()


def test_an_upgrade_under_a_sound_library_takes_a_catalogue_over_to_wal_but_never_under_others(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "affected", lambda _version: True)
        made(tmp_path / "c.db").close()
    monkeypatch.setattr(sqlite, "affected", lambda _version: False)
    store = sqlite.SqliteStore(tmp_path / "c.db")
    assert pragma(store, "journal_mode") == "delete"
    assert pragma(store, "synchronous") == 3
    with contextlib.closing(sqlite.driver.connect(store.path, isolation_level=None)) as other:
        other.execute("PRAGMA schema_version").fetchall()
        other.execute("BEGIN")
        other.execute("SELECT * FROM principal").fetchall()
        store.engine.dispose()
        impatient = sqlite.SqliteStore(store.path)
        impatient.engine = sa.create_engine(
            f"sqlite:///{store.path}", module=sqlite.driver, connect_args={"timeout": 0.1}
        )
        sa.event.listen(impatient.engine, "connect", sqlite._configure)
        sa.event.listen(impatient.engine, "begin", sqlite._begin)
        with pytest.raises(BackendError):
            impatient.upgrade()
        impatient.close()
        other.execute("ROLLBACK")
    store.upgrade()
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2
    store.close()


WRITER = """
import random, sqlite3, sys
sys.path.insert(0, {source!r})
from pathlib import Path
from casemate.core.store import sqlite
if {guarded}:
    sqlite.driver, sqlite.affected = sqlite3, lambda _version: True
    sqlite.CHECKPOINT_COMMITS = 7
store, draw = sqlite.SqliteStore(Path({path!r})), random.Random({seed})
for number in range({count}):
    with store.transaction() as tx:
        tx.exec_driver_sql({row!r}, ("{seed}-%d" % number, "x" * draw.choice([10, 3000, 9000])))
    print("{seed}-%d" % number, flush=True)
    if not {guarded} and draw.random() < 0.3:
        with store.engine.connect() as connection:
            mode = draw.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
            try:
                connection.connection.execute("PRAGMA wal_checkpoint(%s)" % mode).fetchall()
            except sqlite.driver.OperationalError:
                pass  # busy
    if draw.random() < 0.02:
        store.engine.dispose()
"""


@pytest.mark.parametrize("kind", ["sound", "guarded", "journal"])
def test_writers_that_checkpoint_against_each_other_lose_nothing(
    tmp_path, monkeypatch, scale, kind
):
    """Every row that was acknowledged is there, in table and index, and the pages hold together."""
    path, guarded = tmp_path / "c.db", kind != "sound"
    with monkeypatch.context() as patch:
        if kind == "journal":
            patch.setattr(sqlite, "affected", lambda _version: True)
        made(path).close()
    words = {
        "source": str(SOURCE),
        "path": str(path),
        "row": ROW,
        "guarded": guarded,
        "count": scale(120, 20_000),
    }
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.format(seed=seed, **words)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2, 3)
    ]
    rows = [row for writer in writers for row in writer.communicate(timeout=3600)[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(rows) == 3 * words["count"]
    store = sqlite.SqliteStore(path)
    assert store.damage() == []
    with store.reading() as tx:
        assert sorted(tx.execute(sa.select(PRINCIPALS.c.name)).scalars()) == sorted(rows)
        assert tx.exec_driver_sql(
            "SELECT count(*) FROM principal INDEXED BY sqlite_autoindex_principal_1"
        ).scalar() == len(rows)
    assert pragma(store, "journal_mode") == ("delete" if kind == "journal" else "wal")
    store.close()


def test_doctor_names_library_and_journal_mode(tiny_project, cli):
    answer = cli("doctor", "--config", tiny_project)
    assert f"SQLite {sqlite.driver.sqlite_version}" in answer.out
    assert "journal mode wal" in answer.out
