"""What every catalogue promises, on SQLite and on PostgreSQL alike."""

import multiprocessing
import shutil

import msgspec
import pytest
import sqlalchemy as sa
from tests.conftest import write_csv

import casemate
from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.controls.audit.bodies import KEYS
from casemate.controls.audit.entries import HEAD
from casemate.controls.audit.entry import leaf_entry
from casemate.controls.audit.merkle import Frontier, leaf_hash
from casemate.core.errors import BackendError, ConfigError
from casemate.core.outbox import Message
from casemate.core.steps import STAGES
from casemate.core.store import METADATA, open_store
from casemate.core.store.interface import REVISION
from casemate.core.store.move import copy_rows
from casemate.core.store.prepared import Prepared
from casemate.core.store.sqlite import driver
from casemate.operations import scaffold

MESSAGE = Message(key="k", event="e", created="c", content={}).to_json()


def add(store, name, kind="User"):
    with store.transaction() as tx:
        tx.execute(PRINCIPALS.insert().values(kind=kind, name=name, roles=["a"], models=[]))


def names(store):
    with store.reading() as tx:
        return sorted(tx.execute(sa.select(PRINCIPALS.c.name)).scalars())


def test_an_upgraded_catalogue_has_the_newest_revision_and_upgrading_again_changes_nothing(store):
    add(store, "ana")
    store.upgrade()
    store.check()
    assert store.revision() == REVISION
    assert names(store) == ["ana"]
    assert store.damage() == []


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(store):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    import casemate.operations.project  # noqa: F401 - declares every table

    with store.reading() as tx:
        assert compare_metadata(MigrationContext.configure(tx), METADATA) == []


def test_a_catalogue_without_tables_is_refused(store_url):
    store = open_store(*store_url)
    with pytest.raises(BackendError, match="revision none"):
        store.check()
    store.close()


def test_a_transaction_is_all_or_nothing(store):
    with pytest.raises(RuntimeError), store.transaction() as tx:
        tx.execute(PRINCIPALS.insert().values(kind="User", name="ana", roles=[], models=[]))
        raise RuntimeError
    assert names(store) == []


def test_a_reader_sees_one_state_while_others_write(store):
    add(store, "ana")
    with store.reading() as tx:
        before = tx.execute(sa.select(sa.func.count()).select_from(PRINCIPALS)).scalar()
        add(store, "bea")
        assert (
            tx.execute(sa.select(sa.func.count()).select_from(PRINCIPALS)).scalar() == before == 1
        )
    assert names(store) == ["ana", "bea"]


def test_prepared_statements_are_part_of_the_transaction_and_see_one_state(store):
    insert, query = (
        Prepared(KEYS.insert()),
        Prepared(sa.select(KEYS.c.id, KEYS.c.wrapped).order_by(KEYS.c.id)),
    )
    with pytest.raises(RuntimeError), store.transaction() as tx:
        insert(tx, [{"id": 900, "wrapped": b"\x00\xff"}])
        raise RuntimeError
    with store.transaction() as tx:
        insert(tx, [{"id": 901, "wrapped": b"\x00\xff"}])
        insert(tx, [{"id": number, "wrapped": b"more"} for number in (902, 903)])
        tx.execute(KEYS.update().where(KEYS.c.id == 903).values(wrapped=b"changed"))
    with store.reading() as tx:
        before = query.rows(tx)
        with store.transaction() as other:
            insert(other, [{"id": 904, "wrapped": b""}])
        assert [tuple(row) for row in query.rows(tx)] == [tuple(row) for row in before]
    assert [(key, bytes(wrapped)) for key, wrapped in before][-3:] == [
        (901, b"\x00\xff"),
        (902, b"more"),
        (903, b"changed"),
    ]


def test_a_prepared_statement_fails_as_any_other_does(store):
    insert = Prepared(KEYS.insert())
    with pytest.raises(sa.exc.IntegrityError) as refused, store.transaction() as tx:
        insert(tx, [{"id": 905, "wrapped": b"secret"}, {"id": 905, "wrapped": b"secret"}])
    assert "secret" not in str(refused.value)
    with pytest.raises(BackendError), store.transaction() as tx:
        Prepared(sa.text("SELECT * FROM nowhere")).rows(tx)


def _count(url, path, times):
    store = open_store(url, path)
    for _ in range(times):
        with store.transaction() as tx:
            size = tx.execute(sa.select(HEAD.c.size)).scalar_one()
            tx.execute(HEAD.update().values(size=size + 1))
    store.close()


def test_writers_of_several_processes_wait_for_one_another(store, store_url):
    with store.transaction() as tx:
        tx.execute(HEAD.insert().values(id=1, size=0, roots=b""))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(*store_url, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with store.reading() as tx:
        assert tx.execute(sa.select(HEAD.c.size)).scalar_one() == 200


def test_a_catalogue_is_copied_whole_and_the_old_one_is_fenced(store, tmp_path):
    add(store, "ana")
    with store.transaction() as tx:
        tx.execute(HEAD.insert().values(id=1, size=7, roots=b"\0\xff" * 16))
    target = open_store("", tmp_path / "other.db")
    target.upgrade()
    assert copy_rows(store, target, fence=True)["principal"] == 1
    assert names(target) == ["ana"]
    with target.reading() as tx:
        assert tx.execute(sa.select(HEAD.c.size, HEAD.c.roots)).one() == (7, b"\0\xff" * 16)
    with pytest.raises(BackendError, match="moved to another database"):
        store.check()
    with pytest.raises(BackendError, match="holds data already"):
        copy_rows(store, target)
    target.close()


def test_a_store_that_is_away_is_a_back_end_fault(tmp_path):
    pytest.importorskip("psycopg", reason='no PostgreSQL driver: pip install "casemate[postgres]"')
    with pytest.raises(BackendError, match="cannot be read"):
        open_store("postgresql://nobody@127.0.0.1:1/none", tmp_path).check()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://a@b/c", "no back end"),
        ("postgresql://u:secret@h/d", "holds a password"),
        ("::", "not a database URL"),
    ],
)
def test_a_store_url_that_casemate_does_not_take_is_a_configuration_error(tmp_path, url, told):
    with pytest.raises(ConfigError, match=told) as caught:
        open_store(url, tmp_path)
    assert "secret" not in caught.value.diagnostics()


def test_a_password_in_a_url_reaches_neither_the_screen_nor_the_log(clinic, cli):
    answer = cli("store", "migrate", "postgresql://u:hunter22@127.0.0.1:1/d", "--config", clinic)
    assert answer.code == 2
    assert "hunter22" not in answer.out + answer.err
    assert "hunter22" not in str(list(casemate.open(clinic).log.entries()))


def _before_rows(index, salt, body):
    """(index, salt, body, leaf) of an entry as it was before entries stated the rows that give
    rights.
    """
    entry = msgspec.json.decode(body)
    del entry["rows"]
    body = msgspec.json.encode(entry, order="deterministic")
    return index, salt, body, leaf_hash(leaf_entry(salt, body))


def test_a_catalogue_of_casemate_0_1_is_refused_and_then_upgraded_with_its_bodies_sealed(
    tiny_project, cli
):
    """What revision 0001 wrote, made by its own migration and the bodies as 0.1 kept them."""
    project = casemate.open(tiny_project)
    with project.database.reading() as tx:
        opened = [_before_rows(*entry[:3]) for entry in project.log._opened(tx, 0, 100)]
        principals = [
            tuple(row)
            for row in tx.exec_driver_sql("SELECT kind, name, roles, models FROM principal")
        ]
    frontier = Frontier()
    for *_, leaf in opened:
        frontier.append(leaf)
    head = (1, frontier.size, b"".join(frontier.roots))
    project.database.close()
    shutil.rmtree(project.log.folder)  # derived from the catalogue
    path = tiny_project / ".casemate" / "catalog.db"
    for file in path.parent.glob("catalog.db*"):
        file.unlink()
    from casemate.core.store.migrations import migrate

    old = open_store("", path)
    with old.transaction() as tx:
        migrate(tx, to="0001")
        tx.exec_driver_sql("DROP TABLE alembic_version")
        tx.exec_driver_sql("PRAGMA user_version = 1")
        for index, salt, body, leaf in opened:
            tx.exec_driver_sql(
                'INSERT INTO audit_entry ("index", salt, body, leaf) VALUES (?, ?, ?, ?)',
                (index, salt, body, leaf),
            )
        tx.exec_driver_sql("INSERT INTO audit_head VALUES (?, ?, ?)", head)
        for row in principals:
            tx.exec_driver_sql(
                "INSERT INTO principal (kind, name, roles, models) VALUES (?, ?, ?, ?)", row
            )
        tx.exec_driver_sql("INSERT INTO run VALUES ('r1', 'i', 'u', 'passed', 's', 'e', NULL)")
        tx.exec_driver_sql("INSERT INTO step VALUES ('r1', 'data', x'7b7d', 'd', 'f', 1.0, 'i')")
    old.close()
    refused = cli("runs", "--config", tiny_project)
    assert refused.code == 5
    assert "casemate store upgrade" in refused.err
    assert cli("store", "upgrade", "--config", tiny_project).code == 0
    assert cli("audit", "verify", "--config", tiny_project).code == 0
    upgraded = casemate.open(tiny_project)
    entries = list(upgraded.log.entries())
    assert entries[0].action == "project:create"
    (adopted,) = [entry for entry in entries if entry.action == "catalog:adopted"]
    assert adopted.detail["rows"]["principal"] == len(principals)
    assert {entry.rows for entry in entries[: adopted.index]} == {""}
    assert upgraded.engine.runs()[0].id == "r1"
    upgraded.database.close()
    with driver.connect(path) as database:
        assert not [
            row
            for row in database.execute("SELECT sealed FROM audit_entry")
            if b"project:create" in row[0]
        ]
    database.close()


def test_a_project_moves_to_postgresql_and_back_and_goes_on_working(
    tmp_path, tiny, empty_database, cli
):
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    before = [entry.action for entry in casemate.open(root).log.entries()]
    moved = cli("store", "migrate", empty_database, "--config", root)
    assert moved.code == 0, moved.err
    assert not (root / ".casemate" / "catalog.db").exists()
    assert cli("store", "show", "--config", root).out.startswith("the catalogue postgresql://")
    result = casemate.open(root).run(fresh=True)
    assert result.verdict.outcome in {"passed", "refused"}
    assert cli("audit", "verify", "--config", root).code == 0
    assert cli("fsck", "--config", root).code == 0
    back = cli("store", "migrate", "sqlite", "--config", root)
    assert back.code == 0, back.err
    project = casemate.open(root)
    assert [entry.action for entry in project.log.entries()][: len(before)] == before
    assert project.engine.runs()[0].id == result.id
    assert cli("audit", "verify", "--config", root).code == 0
    again = cli("store", "migrate", empty_database, "--config", root)
    assert again.code == 5
    assert "holds a catalogue already" in again.err


def waiting(project):
    """Messages, a run that a crash interrupted, and a token, as they wait in a catalogue that is
    moved.
    """
    with project.database.transaction() as tx:
        for number in range(3):
            project.outbox.enqueue(tx, "run:passed", f"waiting-{number}", {"number": number})
    with (
        pytest.raises(KeyboardInterrupt),
        project.engine.begin(dict.fromkeys(STAGES, "interrupted"), "tester", key="waiting"),
    ):
        raise KeyboardInterrupt


def written(project):
    """A write into every table whose rows the database numbers, and the ordinary ways into the
    others.
    """
    with project.database.transaction() as tx:
        project.outbox.enqueue(tx, "run:passed", f"after-{project.database.name}", {})
        for table in METADATA.sorted_tables:
            if table.autoincrement_column is not None:
                row = dict(
                    tx.execute(sa.select(table).order_by(table.autoincrement_column.desc()))
                    .mappings()
                    .first()
                )
                row = {
                    column.name: _other(column, row[column.name])
                    for column in table.columns
                    if column is not table.autoincrement_column
                }
                before = tx.execute(sa.select(sa.func.max(table.autoincrement_column))).scalar()
                tx.execute(table.insert().values(**row))
                assert (
                    tx.execute(sa.select(sa.func.max(table.autoincrement_column))).scalar()
                    == before + 1
                ), table.name
                tx.execute(table.delete().where(table.autoincrement_column == before + 1))
    project.log.record("tester", "test:after", "r", "done")
    project.point.anomalies.probing('User::"ana"', f"asks in {project.database.name}")
    assert project.outbox.send() != []


def _other(column, value):
    return f"other-{value}" if column.unique else value


def test_a_moved_catalogue_takes_a_write_in_every_table_and_goes_on_with_what_waited(
    tmp_path, tiny, empty_database, cli
):
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    with (root / "casemate.toml").open("a") as file:
        file.write('\n[notices.desk]\nkind = "folder"\nto = "told"\n')
    project = casemate.open(root)
    waiting(project)
    project.database.close()
    for there in (empty_database, "sqlite"):
        moved = cli("store", "migrate", there, "--config", root)
        assert moved.code == 0, moved.err
        project = casemate.open(root)
        assert project.database.behind() == []
        written(project)
        assert {message["state"] for message in project.outbox.messages()} == {"sent"}
        assert {run.state for run in project.engine.runs()} >= {"interrupted"}
        project.database.close()
        assert cli("fsck", "--config", root).code == 0
    assert len([path for path in (root / "told").iterdir() if b"waiting" in path.read_bytes()]) == 3


def test_numbers_that_would_be_given_out_again_are_found_and_mended(
    tmp_path, tiny, empty_database, cli
):
    """What a catalogue looks like that an older casemate has moved."""
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    assert cli("store", "migrate", empty_database, "--config", root).code == 0
    project = casemate.open(root)
    row = {
        "key": "k",
        "target": "t",
        "event": "e",
        "payload": b"{}",
        "created": "c",
        "state": "dead",
        "attempts": 0,
        "due": "d",
    }
    with project.database.transaction() as tx:
        tx.execute(METADATA.tables["outbox"].insert().values(id=7, **{**row, "payload": MESSAGE}))
    answer = cli("fsck", "--config", root)
    assert (answer.code, "outbox.id" in answer.out, "casemate fsck --repair" in answer.out) == (
        4,
        True,
        True,
    )
    assert cli("fsck", "--repair", "--config", root).code == 0
    assert cli("fsck", "--config", root).code == 0
    with project.database.transaction() as tx:
        tx.execute(METADATA.tables["outbox"].insert().values(**{**row, "key": "other"}))
    assert project.database.behind() == []
    project.database.close()


def interrupt(monkeypatch, name):
    def ended(*_args, **_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"casemate.operations.store.{name}", ended)


@pytest.mark.parametrize("at", ["_point_to", "set_aside"])
def test_a_move_that_was_interrupted_is_named_and_finished(
    tmp_path, tiny, empty_database, cli, monkeypatch, at
):
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    with monkeypatch.context() as patch:
        interrupt(patch, at)
        with pytest.raises(KeyboardInterrupt):
            casemate.open(root).store.move(empty_database, None)
    found = cli("fsck", "--config", root)
    assert found.code == 4
    if at == "_point_to":
        assert "store migrate" in found.out
        assert "backup restore" not in found.out
        assert cli("run", "--config", root).code == 5
        assert cli("store", "migrate", "sqlite", "--config", root).code == 5
        finished = cli("store", "migrate", empty_database, "--config", root)
        assert finished.code == 0, finished.err
    else:
        assert "left by an interrupted" in found.out
        assert cli("fsck", "--repair", "--config", root).code == 0
    assert cli("fsck", "--config", root).code == 0
    assert not (root / ".casemate" / "catalog.db").exists()
    assert cli("audit", "verify", "--config", root).code == 0
    back = cli("store", "migrate", "sqlite", "--config", root)
    assert back.code == 0, back.err


def test_a_move_back_that_was_interrupted_is_finished_by_the_same_command(
    tmp_path, tiny, empty_database, cli, monkeypatch
):
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    assert cli("store", "migrate", empty_database, "--config", root).code == 0
    with monkeypatch.context() as patch:
        interrupt(patch, "_point_to")
        with pytest.raises(KeyboardInterrupt):
            casemate.open(root).store.move("", None)
    assert "store migrate" in cli("fsck", "--config", root).out
    finished = cli("store", "migrate", "sqlite", "--config", root)
    assert finished.code == 0, finished.err
    assert cli("fsck", "--config", root).code == 0
