"""Direct identifiers under their subjects' keys: readable, joinable by pseudonym, and gone once the
key is shredded.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import write_csv

import casemate
from casemate import pipeline
from casemate.controls.access.identity.sessionfile import SessionFile
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM, Identifiers
from casemate.controls.keys.subjects import SUBJECTS, Root, SubjectKeys
from casemate.core.errors import BackendError, DataError, RefusedError, VerificationError
from casemate.core.home import keystore_folder
from casemate.core.store import open_store
from casemate.core.store.move import copy_rows
from casemate.core.types import Assessment, SealedDataset
from casemate.operations import runs, scaffold
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation
from casemate.operations.keys.needle import needle_of
from casemate.stages.data.diff import compare
from casemate.supply.inputs import inputs_of


@pytest.fixture
def identifiers(log, log_keys):
    return Identifiers(log.store, SubjectKeys(log_keys.provider, log.clock), log_keys.provider)


PEOPLE = pa.table(
    {"id": ["p1", "p2", "p1", "p3"], "phone": ["1", None, "3", "4"], "x": [1.0, 2.0, 3.0, 4.0]}
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    people=st.lists(
        st.tuples(st.text(max_size=20), st.none() | st.text(max_size=30)), min_size=1, max_size=12
    )
)
def test_identifiers_come_back_as_they_were(identifiers, people):
    table = pa.table(
        {
            "id": pa.array([p for p, _ in people], pa.string()),
            "phone": pa.array([v for _, v in people], pa.string()),
        }
    )
    sealed = identifiers.seal(table, "id", ["id", "phone"])
    assert identifiers.open(sealed).drop_columns([PSEUDONYM]).equals(table)


def test_nothing_of_an_identifier_is_left_in_the_sealed_table_and_equal_people_have_equal_pseudonyms(
    identifiers,
):
    sealed = identifiers.seal(PEOPLE, "id", ["id", "phone"])
    assert sealed["id"].to_pylist()[0] != sealed["id"].to_pylist()[2]
    tokens = sealed[PSEUDONYM].to_pylist()
    assert tokens[0] == tokens[2] and len(set(tokens)) == 3
    again = identifiers.seal(PEOPLE, "id", ["id"])
    assert again[PSEUDONYM].to_pylist() == tokens
    assert sealed["x"].equals(PEOPLE["x"])


def test_a_shredded_subject_reads_as_null_everywhere_and_is_never_sealed_again(identifiers):
    early, late = (
        identifiers.seal(PEOPLE, "id", ["id", "phone"]),
        identifiers.seal(PEOPLE, "id", ["id"]),
    )
    with identifiers.store.transaction() as tx:
        identifiers.subjects.shred(tx, "p1")
    assert identifiers.open(early)["id"].to_pylist() == [None, "p2", None, "p3"]
    assert identifiers.open(early)["phone"].to_pylist() == [None, None, None, "4"]
    assert identifiers.open(late)["id"].to_pylist() == [None, "p2", None, "p3"]
    assert identifiers.open(identifiers.seal(PEOPLE, "id", ["id"]))["id"].to_pylist() == [
        None,
        "p2",
        None,
        "p3",
    ]
    with identifiers.store.transaction() as tx, pytest.raises(RefusedError):
        identifiers.subjects.shred(tx, "p1")


def test_a_root_is_kept_when_something_depends_on_it_and_only_the_first_one(
    identifiers, monkeypatch
):
    monkeypatch.setattr(Root, "drawn", lambda: Root(os.urandom(64), kept=False))
    first, second = identifiers.candidate(), identifiers.candidate()
    with identifiers.store.reading() as tx:
        assert identifiers.subjects.wrapped_root(tx) is None
    identifiers.keep(first)
    identifiers.keep(first)
    with pytest.raises(RefusedError, match="another run"):
        identifiers.keep(second)
    assert identifiers.candidate() == identifiers.root() == first


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"subject": "x" * 64}, VerificationError),
        ({"wrapped": None}, BackendError),
        ({"wrapped": bytes(60)}, VerificationError),
    ],
)
def test_a_key_that_is_gone_without_having_been_shredded_is_damage_and_not_an_erasure(
    identifiers, change, fault
):
    sealed = identifiers.seal(PEOPLE, "id", ["id"])
    somebody = sealed[PSEUDONYM][1].as_py().hex()
    with identifiers.store.transaction() as tx:
        tx.execute(SUBJECTS.update().where(SUBJECTS.c.subject == somebody).values(**change))
    with pytest.raises(fault):
        identifiers.open(sealed)


def test_a_cell_that_was_changed_or_moved_is_refused(identifiers):
    sealed = identifiers.seal(PEOPLE, "id", ["id", "phone"])
    cells, field = sealed["phone"].to_pylist(), sealed.schema.field("phone")
    swapped = [cells[3], cells[1], cells[2], cells[0]]
    for wrong in (
        swapped,
        [bytes([cells[0][0] ^ 1]) + cells[0][1:], *cells[1:]],
        [b"x", *cells[1:]],
        sealed["id"].to_pylist(),
    ):
        with pytest.raises(VerificationError, match="changed or moved"):
            identifiers.open(sealed.set_column(1, field, pa.array(wrong, pa.binary())))


def test_tables_that_cannot_be_sealed_are_refused(identifiers):
    with pytest.raises(DataError, match="casemate_subject"):
        identifiers.seal(PEOPLE.append_column(PSEUDONYM, PEOPLE["x"]), "id", ["id"])
    for values in (pa.array([1], pa.timestamp("s")), pa.array([42.0]), pa.array([42])):
        with pytest.raises(DataError, match="cannot be sealed per subject"):
            identifiers.seal(pa.table({"id": ["a"], "other": values}), "id", ["id", "other"])


@pytest.fixture
def ward(tmp_path):
    """A finished project with persons, two rows each."""
    generator = np.random.default_rng(2)
    values = generator.standard_normal(200)
    persons = [f"person-{n // 2}" for n in range(200)]
    phones = [f"+49 {n // 2:04d}" for n in range(200)]
    labels = np.repeat((values[::2] > 0).astype(int), 2)
    table = pa.table({"person": persons, "phone": phones, "a": values + labels * 3, "y": labels})
    root = tmp_path / "ward"
    root.mkdir()
    scaffold.create(
        root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y", "person")
    )
    toml = tomlkit.parse((root / "casemate.toml").read_text())
    toml["assess"] = {"bootstrap": 20, "attack_rows": 10, "attack_steps": 1, "eps": [0.1]}
    toml["screen"] = {"label_noise": False}
    toml["gates"] = {"accuracy": {"min": 0.5}}
    toml["data"]["columns"] = {"phone": {"class": "identifier", "type": "text"}}
    (root / "casemate.toml").write_text(tomlkit.dumps(toml))
    casemate.open(root).run()
    return root


def test_a_run_seals_identifiers_per_subject_and_erasure_reaches_every_version(
    ward, cli, monkeypatch, tmp_path
):
    project = casemate.open(ward)
    dataset = next(iter(project.datasets.values()))
    table = dataset.to_arrow()
    assert table.column_names == ["person", "phone", "a", "y"]
    assert table["person"][0].as_py() == "person-0"
    assessment = project.engine.newest_step("assess", Assessment)
    assert assessment.subjects == assessment.rows / 2, "figures know that rows repeat subjects"
    assert dataset.to_arrow(["phone"])["phone"][3].as_py() == "+49 0001"
    assert dataset.to_arrow(["a"]).column_names == ["a"]
    tokens = dataset.to_arrow(["a", PSEUDONYM])[PSEUDONYM].to_pylist()
    assert tokens[0] == tokens[1] != tokens[2]
    monkeypatch.setenv("WHO", "person-0")
    answer = cli("keys", "shred", "env:WHO", "--config", ward)
    assert answer.code == 0, answer.err
    assert "person-0" not in answer.out
    assert cli("keys", "shred", "env:WHO", "--config", ward).code == 1
    assert dataset.to_arrow()["person"].to_pylist()[:3] == [None, None, "person-1"]
    rotation.rotate(project, ["subjects", "identifier"], compromised=True)
    rotation.destroy(project, "subjects", 1)
    assert dataset.to_arrow()["phone"].to_pylist()[:3] == [None, None, "+49 0001"]
    assert examine(casemate.open(ward)).outcome == "intact"
    raw = b"".join(path.read_bytes() for path in (ward / ".casemate").rglob("*") if path.is_file())
    assert b"person-0" not in raw


def test_a_backup_of_the_data_holds_no_subjects_key(ward, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "correct horse battery")
    monkeypatch.setenv("WHO", "person-0")
    words = ("--passphrase", "env:SECRET")
    assert (
        cli(
            "backup",
            "recipients",
            "add",
            "me",
            "--passphrase",
            "env:SECRET",
            "--keys",
            "--config",
            ward,
        ).code
        == 0
    )
    assert cli("backup", "create", tmp_path / "b", "--with-keys", "--config", ward).code == 0
    assert (tmp_path / "b.subjects").exists()
    assert cli("backup", "verify", tmp_path / "b", *words).code == 0
    assert cli("keys", "shred", "env:WHO", "--config", ward).code == 0
    assert cli("backup", "create", tmp_path / "newer", "--with-keys", "--config", ward).code == 0
    # what erasure asks for: only the newest subjects' keys are kept
    (tmp_path / "b.subjects").unlink()

    restored = cli("backup", "restore", tmp_path / "b", tmp_path / "again", *words)
    assert restored.code == 0, restored.err
    assert "without the subjects' keys" in restored.out
    project = casemate.open(tmp_path / "again")
    with casemate.open(ward).database.reading() as tx:
        wrapped = (
            tx.execute(sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.wrapped.is_not(None)))
            .scalars()
            .all()
        )
    assert len(wrapped) == 100
    raw = b"".join(
        path.read_bytes() for path in (tmp_path / "again" / ".casemate").iterdir() if path.is_file()
    )
    assert not [key for key in wrapped if key in raw]
    dataset = next(iter(project.datasets.values()))
    assert dataset.to_arrow(["a"]).num_rows == 200
    with pytest.raises(BackendError, match="subjects' keys are not here"):
        dataset.to_arrow()
    back = cli(
        "backup", "subjects", tmp_path / "newer.subjects", *words, "--config", tmp_path / "again"
    )
    assert back.code == 0, back.err
    assert dataset.to_arrow()["person"].to_pylist()[:3] == [None, None, "person-1"]
    (tmp_path / "again" / "t.csv").write_bytes((ward / "t.csv").read_bytes())
    result = casemate.open(tmp_path / "again").run()
    assert result.verdict.outcome == "passed", result.verdict.reasons


def test_an_old_copy_of_the_keys_does_not_bring_a_shredded_subject_back(
    ward, cli, monkeypatch, tmp_path
):
    monkeypatch.setenv("SECRET", "correct horse battery")
    monkeypatch.setenv("WHO", "person-0")
    assert (
        cli(
            "backup",
            "recipients",
            "add",
            "me",
            "--passphrase",
            "env:SECRET",
            "--keys",
            "--config",
            ward,
        ).code
        == 0
    )
    assert cli("backup", "create", tmp_path / "b", "--with-keys", "--config", ward).code == 0
    assert cli("keys", "shred", "env:WHO", "--config", ward).code == 0
    assert (
        cli(
            "backup",
            "subjects",
            tmp_path / "b.subjects",
            "--passphrase",
            "env:SECRET",
            "--config",
            ward,
        ).code
        == 0
    )
    project = casemate.open(ward)
    assert next(iter(project.datasets.values())).to_arrow()["person"].to_pylist()[:3] == [
        None,
        None,
        "person-1",
    ]
    content = (tmp_path / "b.subjects").read_bytes()
    (tmp_path / "b.subjects").write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    assert (
        cli(
            "backup",
            "subjects",
            tmp_path / "b.subjects",
            "--passphrase",
            "env:SECRET",
            "--config",
            ward,
        ).code
        == 4
    )


def test_sealed_identifiers_are_binary_to_other_tools(ward):
    (part,) = (ward / ".casemate" / "datasets").rglob("*.parquet")
    with pytest.raises(OSError, match="encrypted|decrypt"):
        pq.read_table(part)


def test_a_data_set_is_read_in_pieces_and_two_versions_are_compared_without_a_value(ward, cli):
    project = casemate.open(ward)
    (first,) = list(project.datasets)
    dataset = project.datasets[first]
    assert pa.Table.from_batches(dataset.batches(["phone", "a"])).equals(
        dataset.to_arrow(["phone", "a"])
    )
    assert pa.Table.from_batches(dataset.batches()).equals(dataset.to_arrow())
    lines = (ward / "t.csv").read_text().splitlines()
    lines[5] = lines[5].replace(lines[5].split(",")[2], "0.125")
    (ward / "t.csv").write_text("\n".join([*lines, lines[9]]) + "\n")
    project.run()
    answer = cli("data", "diff", first, "--config", ward)
    assert answer.code == 0, answer.err
    assert "rows: 200 before, 201 after; 2 added, 1 removed" in answer.out
    assert "0.125" not in answer.out and "person-" not in answer.out
    assert cli("data", "diff", "nothing@1", "--config", ward).code == 2
    same = dataset.diff(dataset)
    assert (same.added_rows, same.removed_rows, same.moved, same.added_columns) == (0, 0, [], [])


def test_columns_that_came_went_or_changed_their_type_are_named():
    old = pa.table({"a": [1.0, 2.0], "b": ["x", None], "c": ["1", "2"]})
    new = pa.table({"a": [1.0, 3.0], "c": [1, 2], "d": [True, False]})
    found = compare(old, new)
    assert (found.added_columns, found.removed_columns, found.retyped_columns) == (
        ["d"],
        ["b"],
        ["c"],
    )
    assert (found.added_rows, found.removed_rows) == (1, 1)
    assert [(moved.column, moved.mean) for moved in found.moved] == [("a", (1.5, 2.0))]


def test_subjects_keys_that_are_away_are_not_made_useless(ward, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "correct horse battery")
    assert (
        cli(
            "backup",
            "recipients",
            "add",
            "me",
            "--passphrase",
            "env:SECRET",
            "--keys",
            "--config",
            ward,
        ).code
        == 0
    )
    assert cli("backup", "create", tmp_path / "b", "--with-keys", "--config", ward).code == 0
    (tmp_path / "b.subjects").rename(tmp_path / "kept")
    assert (
        cli(
            "backup", "restore", tmp_path / "b", tmp_path / "again", "--passphrase", "env:SECRET"
        ).code
        == 0
    )
    words = ("--config", tmp_path / "again")
    assert cli("keys", "rotate", "subjects", *words).code == 0
    for refused in (
        ("destroy", "subjects", "1"),
        ("migrate", "vault", "--address", "http://127.0.0.1:9"),
    ):
        answer = cli("keys", *refused, *words)
        assert answer.code == 1, answer.err
        assert "could never be brought back" in answer.err
    assert (
        cli("backup", "subjects", tmp_path / "kept", "--passphrase", "env:SECRET", *words).code == 0
    )
    dataset = next(iter(casemate.open(tmp_path / "again").datasets.values()))
    assert dataset.to_arrow()["person"][0].as_py() == "person-0"


def test_a_catalogue_that_was_moved_away_keeps_no_subjects_key(ward, tmp_path, cli, monkeypatch):
    store = open_store("", tmp_path / "other.db")
    store.upgrade()
    project = casemate.open(ward)
    copy_rows(project.database, store, fence=True)
    for somewhere, count in ((store, 101), (project.database, 0)):
        with somewhere.reading() as tx:
            assert (
                len(
                    tx.execute(
                        sa.select(SUBJECTS.c.wrapped).where(SUBJECTS.c.wrapped.is_not(None))
                    ).all()
                )
                == count
            )
    store.close()


WARD = """[project]
name = "ward"
id = "{id}"
[data]
source = "t.csv"
target = "y"
{subject}
[data.columns]
{columns}
[train]
entry = "train.py:build"
folds = 2
[screen]
label_noise = false
spectral = false
triggers = false
influence = false
[assess]
bootstrap = 20
attack_rows = 10
attack_steps = 1
eps = [0.1]
shadows = 0
importance = false
[robustness]
decision_rows = 0
[gates]
accuracy = {{ min = 0.1 }}
"""


class Ward:
    """A project of persons with two rows each, whose casemate.toml can be changed between runs;
    only the data stage runs.
    """

    kept = {}
    """Wards as they were made and as they were first sealed, in folders of this process."""

    def __init__(self, root, persons, **further):
        self.root, self.content, self.touched = root, (tuple(persons), repr(further)), False
        if not self._take("made"):
            root.mkdir()
            write_csv(root / "t.csv", self._table(persons, further))
            scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
            self._keep("made")

    @staticmethod
    def _table(persons, further):
        generator = np.random.default_rng(2)
        labels = np.repeat(np.arange(len(persons)) % 2, 2)
        values = generator.standard_normal(2 * len(persons)) + labels * 3
        return pa.table(
            {
                "person": np.repeat(persons, 2),
                "a": values,
                **{name: np.repeat(v, 2) for name, v in further.items()},
                "y": labels,
            }
        )

    @property
    def id(self):
        return tomlkit.parse((self.root / "casemate.toml").read_text())["project"]["id"]

    def _keep(self, state):
        """Keep the project and its key store for the next ward with the same people."""
        kept = self.kept[self.content, state] = tempfile.TemporaryDirectory()
        shutil.copytree(self.root, Path(kept.name) / "root")
        shutil.copytree(keystore_folder(self.id), Path(kept.name) / "keys")

    def _take(self, state):
        """Whether there was one to copy: it has another place, the same name, the same keys, and
        nobody is logged in.
        """
        kept = self.kept.get((self.content, state))
        if kept is None:
            return False
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(Path(kept.name) / "root", self.root)
        keys = keystore_folder(self.id)
        shutil.rmtree(keys, ignore_errors=True)
        shutil.copytree(Path(kept.name) / "keys", keys)
        SessionFile(self.id).path.unlink(missing_ok=True)
        return True

    def say(self, subject="person", columns=""):
        self.touched = True
        (self.root / "casemate.toml").write_text(
            WARD.format(
                id=self.id, subject=f"subject = {subject!r}" if subject else "", columns=columns
            )
        )
        return casemate.open(self.root)

    def seal(self, subject="person", columns=""):
        """A run that ends behind its data stage."""
        project = self.say(subject, columns)
        context = runs.run_context(project)
        inputs = inputs_of(context, self.root / context.config.data.source, None)
        with context.engine.begin(inputs, project.point.identify().principal.uid) as work:
            pipeline._data(context, work, None)
            work.finish("failed")
        return casemate.open(self.root)

    def sealed(self, subject="person", columns=""):
        """What the first `seal` of a ward gives that nobody has touched: made once, then copied."""
        assert not self.touched
        if not self._take((subject, columns)):
            self.seal(subject, columns).close()
            self._keep((subject, columns))
        self.touched = True
        return casemate.open(self.root)

    def shred(self, cli, who, *words):
        path = self.root.parent / "who"
        path.write_text(who)
        return cli("keys", "shred", f"file:{path}", *words, "--config", self.root)

    def persons(self, reference=None):
        project = casemate.open(self.root)
        datasets = list(project.datasets.values())
        return (
            [set(one.to_arrow(["person"])["person"].to_pylist()) for one in datasets]
            if reference is None
            else project.datasets[reference]
        )


def everything(root):
    """Every byte that is kept under a project and its key store, decrypted with all keys that are
    left.
    """
    project = casemate.open(root)
    yield from (path.read_bytes() for path in (root / ".casemate").rglob("*") if path.is_file())
    yield from (path.read_bytes() for path in project.keystore.folder.rglob("*") if path.is_file())
    yield from (project.objects.get(digest) for digest in project.objects.digests())
    for manifest in (root / ".casemate" / "datasets").glob("*/*/manifest.dsse.json"):
        table = project.identifiers.open(
            tables.read(manifest.parent, project.provider, project.signer.verifier)
        )
        yield "\n".join(
            str(value) for column in table.columns for value in column.to_pylist()
        ).encode()
    yield from (msgspec.json.encode(entry) for entry in project.log.entries())


def readable(root, who):
    pattern = re.compile(rb"(?<![0-9A-Za-z_])" + re.escape(who.encode()) + rb"(?![0-9A-Za-z_])")
    return any(pattern.search(content) for content in everything(root))


LEADING = [f"{n:06d}" for n in range(40)]
LONG = [str(1582218195625938100 + n) for n in range(40)]


@pytest.mark.parametrize(
    ("persons", "who", "neighbour"),
    [(LEADING, "000012", "12"), (LONG, LONG[3], str(float(LONG[3])))],
)
def test_people_whose_identifiers_look_like_numbers_are_told_apart_and_erased_one_by_one(
    tmp_path, cli, persons, who, neighbour
):
    ward = Ward(tmp_path / "ward", persons)
    ward.sealed()
    assert ward.persons() == [set(persons)]
    wrong = ward.shred(cli, neighbour)
    assert wrong.code == 2 and "nothing was destroyed" in wrong.err, wrong.err
    assert readable(ward.root, who)
    done = ward.shred(cli, who)
    assert done.code == 0, (done.out, done.err)
    assert "looked through: 1 versions" in done.out
    assert ward.persons() == [set(persons) - {who} | {None}]
    assert not readable(ward.root, who)


@pytest.mark.slow
@pytest.mark.secured
def test_a_subject_that_is_named_later_seals_anew_and_erasure_reaches_the_versions_before(
    tmp_path, cli
):
    people = [f"patient-{n}" for n in range(1100)]  # too many for a list of categories
    ward = Ward(tmp_path / "ward", people)
    ward.seal(subject=None, columns='person = { class = "general" }')
    unknown = ward.shred(cli, "patient-7")
    assert unknown.code == 2 and "no column is sealed per person" in unknown.err
    ward.say()
    early = ward.shred(cli, "patient-7")
    assert early.code == 2 and "casemate run" in early.err
    project = ward.seal()
    newest = project.engine.newest_step("data", SealedDataset)
    assert newest.schema.column("person").column_class == "identifier"
    assert "data.schema-changed" in {finding.id for finding in newest.findings}
    look = ward.shred(cli, "patient-7", "--look")
    assert look.code == 1 and "nothing was destroyed" in look.out
    assert readable(ward.root, "patient-7")
    done = ward.shred(cli, "patient-7")
    assert done.code == 0, (done.out, done.err)
    assert "taken out of" in done.out
    assert ward.persons() == [set(people) - {"patient-7"} | {None}] * 2
    assert not readable(ward.root, "patient-7")
    assert readable(ward.root, "patient-71")
    assert examine(casemate.open(ward.root)).outcome == "intact"


def test_what_erasure_cannot_reach_is_named_and_nobody_says_erased(tmp_path, cli):
    ward = Ward(tmp_path / "ward", [f"patient-{n}" for n in range(40)])
    # forty categories: evidence lists them
    ward.sealed(subject=None, columns='person = { class = "general" }')
    ward.seal()
    done = ward.shred(cli, "patient-7")
    assert done.code == 1
    assert (
        "NOT ERASED" in done.out
        and "categories of 'person'" in done.out
        and ".casemate/runs/" in done.out
    )
    assert "patient-7" not in done.out + done.err
    assert ward.persons() == [{f"patient-{n}" for n in range(40) if n != 7} | {None}] * 2


def test_an_identifier_in_other_peoples_rows_and_in_other_columns_is_found(tmp_path, cli):
    people = [f"patient-{n}" for n in range(40)]
    mothers, notes = (
        people[1:] + people[:1],
        ["seen with patient-7 at home" if n == 3 else f"note {n}" for n in range(40)],
    )
    ward = Ward(tmp_path / "ward", people, mother=mothers, note=notes)
    ward.seal(columns='mother = { class = "identifier" }\nnote = { type = "text" }')
    done = ward.shred(cli, "patient-7")
    assert done.code == 1
    assert "column 'note'" in done.out and "STILL READABLE" in done.out
    table = next(iter(casemate.open(ward.root).datasets.values())).to_arrow()
    assert "patient-7" not in {*table["person"].to_pylist(), *table["mother"].to_pylist()}
    assert "patient-9" in table["mother"].to_pylist()


def test_a_short_identifier_is_found_as_a_whole_cell_and_what_was_not_looked_through_is_named(
    tmp_path, cli
):
    people = [f"P{n:02d}x" for n in range(40)]
    ward = Ward(
        tmp_path / "ward",
        people,
        friend=people[1:] + people[:1],
        note=[f"{people[0]}, {who}" for who in people],
    )
    ward.seal(columns='friend = { type = "text" }\nnote = { type = "text" }')
    done = ward.shred(cli, "P07x")
    assert done.code == 1 and "NOT ERASED" in done.out
    assert "column 'friend'" in done.out and "column 'note'" not in done.out
    other = Ward(tmp_path / "other", people)
    other.seal()
    done = other.shred(cli, "P08x")
    assert done.code == 0 and "nothing readable is left in the tables" in done.out
    assert (
        "beyond casemate's reach: objects, evidence, catalogue and log: not looked through"
        in done.out
    )


def test_other_tables_that_are_read_are_named_like_the_source(tmp_path, cli):
    ward = Ward(tmp_path / "ward", [f"patient-{n}" for n in range(40)])
    ward.sealed()
    path = ward.root / "casemate.toml"
    path.write_text(
        path.read_text().replace("[assess]\n", '[assess]\ntables = { later = "later.csv" }\n')
    )
    done = ward.shred(cli, "patient-7")
    assert done.code == 0
    assert (
        "beyond casemate's reach: t.csv" in done.out
        and "beyond casemate's reach: later.csv" in done.out
    )


def test_identifiers_are_found_in_pages_and_in_arrays_of_text():
    needle = needle_of("Ann & 77")
    for form in (
        b"Ann & 77",
        b"<td>Ann &amp; 77</td>",
        np.array(["x", "Ann & 77"]).tobytes(),
        "Ann & 77".encode("utf-16-le"),
    ):
        assert needle.search(form)
    for other in ("Ann & 771", "XAnn & 77"):
        assert not any(
            needle.search(form)
            for form in (other.encode(), np.array([other]).tobytes(), other.encode("utf-16-le"))
        )


def test_versions_whose_identifiers_were_read_as_numbers_are_refused_by_name_until_their_cells_may_be_emptied(
    tmp_path, cli
):
    ward = Ward(tmp_path / "ward", LEADING)
    project = ward.seal()
    record = project.engine.newest_step("data", SealedDataset)
    folder = project.state / "datasets" / record.name / "0123456789abcdef"
    table = next(iter(project.datasets.values())).to_arrow()
    numbers = table.set_column(0, "person", table["person"].cast(pa.float64()))
    classes = dict.fromkeys(numbers.column_names, "general")
    about = {"name": record.name, "version": folder.name}
    tables.seal(numbers, folder, project.provider, project.signer, classes, about)
    refused = ward.shred(cli, "000012")
    assert (
        refused.code == 1
        and "@0123456789abcdef" in refused.err
        and "nothing was destroyed" in refused.err
    )
    assert readable(ward.root, "000012")
    assert ward.shred(cli, "000012", "--blank").code == 0
    left = tables.read(folder, project.provider, project.signer.verifier)["person"].to_pylist()
    assert left.count(None) == 2 and 12.0 not in left and 13.0 in left


def test_an_unknown_person_is_an_error_that_says_how_identifiers_are_written_and_names_nobody(
    tmp_path, cli
):
    ward = Ward(tmp_path / "ward", [f"P{n:05d}x" for n in range(40)])
    ward.sealed()
    for who, words in (
        ("nobody", "written like A99999A"),
        ("p00007X", "differs in leading zeros, case or white space"),
    ):
        answer = ward.shred(cli, who)
        assert answer.code == 2 and words in answer.err
        assert not re.search(r"P\d", answer.out + answer.err)
    assert ward.persons() == [{f"P{n:05d}x" for n in range(40)}]
