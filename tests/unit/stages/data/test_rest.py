"""Of a table that is sampled the rest may be learnt from too: no row that is held out or left out,
no copy of one, and nobody who may not be used.
"""

import dataclasses
import shutil
from collections import Counter

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import casemate
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.controls.privacy.consents import Usable
from casemate.controls.privacy.erasures import Erased, digest_of
from casemate.core.errors import DataError
from casemate.ml.frame import GROUP, features_of, target_of
from casemate.operations import scaffold
from casemate.operations.runs import run_context
from casemate.pipeline import data_tools
from casemate.stages.data import rest, sides, stage, whole
from casemate.stages.data import schema as schemas
from casemate.stages.data.files import content, evenly
from casemate.stages.data.review import Review, row_digests
from casemate.supply import rows as supplied
from casemate.supply.rows import SealedRows

pytestmark = pytest.mark.slow
ROWS, MOST, PEOPLE = 5_000, 1_500, 900
FEATURES = ["a", "ward", "w"]
NAMES = [*FEATURES, "y"]


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", 1 << 12)
        patch.setattr(evenly, "PIECE", 1 << 14)
        patch.setattr(evenly, "LONGEST", 1 << 16)
        yield


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Rows of people, many of them with the same features as others."""
    draw = np.random.default_rng(0)
    a = draw.integers(0, 700, ROWS) / 7
    return pd.DataFrame(
        {
            "who": [f"p{one}" for one in draw.integers(0, PEOPLE, ROWS)],
            "a": a.round(3),
            "ward": draw.choice(["north", "south", ""], ROWS),
            "y": np.where(a + 9 * draw.standard_normal(ROWS) > 50, "ill", "well"),
            "w": draw.integers(1, 4, ROWS).astype(float),
        }
    )


@pytest.fixture(scope="module")
def tools(home, tmp_path_factory, frame):
    root = tmp_path_factory.mktemp("rest")
    frame.to_csv(root / "t.csv", index=False)
    scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
    return data_tools(run_context(casemate.open(root)))


@pytest.fixture(scope="module")
def sealed(tools, frame):
    """Seal the table with some options; the record and the rest."""

    def seal(subject="who", weight=None, rows="all", pinned=None, **others):
        (tools.root / "schema.toml").unlink(missing_ok=True)
        if pinned is not None:
            (tools.root / "schema.toml").write_text(schemas.dump(pinned))
        frame.to_csv(tools.root / "t.csv", index=False)
        data = {"sample": MOST, "subject": subject, "weight": weight}
        config = msgspec.structs.replace(
            tools.config,
            data=msgspec.structs.replace(tools.config.data, **data),
            train=msgspec.structs.replace(tools.config.train, rows=rows),
        )
        own = dataclasses.replace(tools, config=config, previous=None, **others)
        record = stage.seal(own)
        folder = tools.datasets / record.name / record.version
        pieces = list(tables.scan(folder, tools.keys, tools.signer.verifier, kind=tables.REST))
        return record, pa.Table.from_batches(pieces) if pieces else None, folder

    return seal


@pytest.fixture(scope="module")
def of_people(sealed):
    """The same of people, once."""
    return sealed()


@pytest.fixture(scope="module")
def of_rows(sealed):
    """The same where rows stand for themselves, once."""
    return sealed(None)


def drawn_of(tools, record, folder):
    """(the drawn rows with names of people, held out or left out)."""
    table = tables.read(folder, tools.keys, tools.signer.verifier)
    split = pa.ipc.open_stream(tools.objects.get(record.split)).read_all()
    out = split["holdout"].to_numpy() | split["excluded"].to_numpy()
    return tools.identifiers.open(table), out


def as_rows(table, names=NAMES):
    return Counter(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_all_rows_of_people_on_the_side_of_training_are_learnt_from_once_and_no_others(
    tools, of_people, frame
):
    record, others, folder = of_people
    drawn, out = drawn_of(tools, record, folder)
    root = tools.identifiers.root()
    place = sides.places(sides.key_of(root), frame, pa.chunked_array([frame["who"].to_list()]))
    out_people = set(drawn["who"].filter(pa.array(out)).to_pylist())
    out_features = set(as_rows(drawn.filter(pa.array(out)), FEATURES))
    theirs = frame[(place >= record.sides.share) & ~frame["who"].isin(out_people)]
    expected = Counter(
        (a, ward or None, w, y)
        for a, ward, w, y in zip(*(theirs[name] for name in NAMES), strict=True)
        if (a, ward or None, w) not in out_features
    )
    mine = drawn["who"].to_pylist()
    training = pa.array([who not in out_people for who in mine])
    known = as_rows(drawn.filter(training))
    kept = Counter({row: n for row, n in known.items() if row[:3] not in out_features})
    assert as_rows(others) == expected - kept
    assert others.num_rows == record.rest == record.whole.rest > 500
    assert others.column_names == [*NAMES, PSEUDONYM]


@pytest.mark.parametrize("subject", ["who", None])
def test_no_row_that_is_held_out_or_like_one_is_learnt_from(tools, of_people, of_rows, subject):
    record, others, folder = of_people if subject else of_rows
    drawn, out = drawn_of(tools, record, folder)
    features = [column.name for column in record.schema.features]
    held = set(as_rows(drawn.filter(pa.array(out)), features))
    assert not held & set(as_rows(others, features))
    if subject is None:
        place = sides.alone(
            sides.key_of(tools.identifiers.root()),
            features_of(others, record.schema)[record.sides.by],
        )
        assert place.min() >= record.sides.share
        assert PSEUDONYM not in others.column_names
    else:
        gone = {
            bytes.fromhex(tools.identifiers.root().pseudonym(one))
            for one in drawn["who"].filter(pa.array(out)).to_pylist()
        }
        assert not gone & set(others[PSEUDONYM].to_pylist())


def test_erased_and_restricted_people_are_not_learnt_from(tools, sealed, of_people, frame):
    record, others, folder = of_people
    root = tools.identifiers.root()
    drawn, _ = drawn_of(tools, record, folder)
    here = Counter(others[PSEUDONYM].to_pylist())
    undrawn = sorted(
        one
        for one in set(frame["who"]) - set(drawn["who"].to_pylist())
        if bytes.fromhex(root.pseudonym(one)) in here
    )
    gone, limited = (root.pseudonym(one) for one in undrawn[:2])
    key, versions = b"k" * 32, {record.version}
    for one, who in (
        (gone, {"erased": Erased(key, frozenset({digest_of(key, gone)}))}),
        (limited, {"usable": Usable(restricted=frozenset({limited}))}),
    ):
        newer, left, _ = sealed(pinned=record.schema, **who)
        assert newer.version not in versions
        versions.add(newer.version)
        assert newer.rest == record.rest - here[bytes.fromhex(one)] < record.rest
        assert bytes.fromhex(one) not in left[PSEUDONYM].to_pylist()


def test_nobody_of_whom_a_row_was_taken_out_is_learnt_from(tools, sealed, of_people):
    record, others, folder = of_people
    drawn, _ = drawn_of(tools, record, folder)
    schema, root = record.schema, tools.identifiers.root()
    here = set(others[PSEUDONYM].to_pylist())
    whose = [bytes.fromhex(root.pseudonym(one)) for one in drawn["who"].to_pylist()]
    at = next(at for at, one in enumerate(whose) if one in here)
    frame, codes = features_of(drawn, schema), target_of(drawn, schema)
    (digest,) = row_digests(frame, codes, root.pseudonyms, np.array([at]))
    review = Review("dropped", "me", "2026-01-01", "no patient")
    newer, left, _ = sealed(reviews={digest: review})
    assert newer.excluded == record.excluded + 1
    assert whose[at] not in left[PSEUDONYM].to_pylist()


def test_a_row_that_somebody_took_out_of_another_sample_is_not_learnt_from(tools, sealed, of_rows):
    record, others, _ = of_rows
    frame, codes = features_of(others, record.schema), target_of(others, record.schema)
    (digest,) = row_digests(frame, codes, tools.identifiers.root().pseudonyms, np.array([0]))
    review = Review("dropped", "me", "2026-01-01", "no patient")
    newer, left, _ = sealed(None, reviews={digest: review})
    assert newer.excluded == record.excluded
    assert newer.version != record.version
    (row,) = as_rows(others.slice(0, 1))
    expected = as_rows(others)
    del expected[row]
    assert as_rows(left) == expected


def test_the_index_of_people_knows_whose_rows_are_learnt_from(tools, of_people):
    record, others, folder = of_people
    index = tools.identifiers.rows
    counts = Counter(tables.column(folder, tools.keys, tools.signer.verifier, PSEUDONYM))
    assert sum(counts.values()) == record.rows + record.rest
    alone = next(iter(set(others[PSEUDONYM].to_pylist())))
    held = {(one.dataset, one.version): one.rows for one in index.of(alone.hex())}
    assert held[record.name, record.version] == counts[alone]
    assert index.broken() == []


def test_weights_are_handed_on_and_a_sample_alone_seals_nothing_beside_it(tools, sealed, frame):
    record, others, _ = sealed(None, weight="w")
    assert set(others["w"].to_pylist()) == {1.0, 2.0, 3.0}
    plain, nothing, folder = sealed(None, rows="sample")
    assert (plain.rest, plain.whole.rest, nothing) == (0, None, None)
    assert [path.name for path in folder.glob("*.parquet")] == [tables.PART]
    assert plain.version != record.version
    assert "data.unscreened" in {one.id for one in record.findings}
    assert "data.unscreened" not in {one.id for one in plain.findings}


def test_the_record_and_the_rows_are_the_same_each_time(tools, sealed, of_people):
    once, others, folder = of_people
    shutil.rmtree(folder)
    log = casemate.open(tools.root).log
    begun = sum(1 for _ in log.entries())
    again, same, _ = sealed()
    assert (once, others) == (again, same)
    uses = [(one.action, one.resource) for one in list(log.entries())[begun:]]
    # not once more for each piece
    assert uses.count(("key:unwrap", 'Key::"subjects"')) <= 4


def test_a_source_that_changes_while_the_rest_is_read_is_refused(tools, sealed, monkeypatch):
    before = set(tools.datasets.glob("*/*"))
    of = rest.Rest.of

    def writes(self, piece):
        with (tools.root / "t.csv").open("a") as file:
            file.write("p1,1.0,north,ill,1\n")
        return of(self, piece)

    monkeypatch.setattr(rest.Rest, "of", writes)
    with pytest.raises(DataError, match="was changed while it was read"):
        sealed(weight="w")
    assert set(tools.datasets.glob("*/*")) == before


def test_drawn_rows_that_are_not_found_again_are_refused(tools, sealed, monkeypatch):
    pieces = whole._Seen.pieces

    def rounded(self, *given):
        for piece in pieces(self, *given):
            at = piece.column_names.index("a")
            yield piece.set_column(at, "a", pa.compute.round(piece["a"], 1))

    monkeypatch.setattr(whole._Seen, "pieces", rounded)
    with pytest.raises(DataError, match="drawn rows were not found again"):
        sealed(weight="w")


@pytest.mark.parametrize("subject", ["who", None])
def test_attacks_on_membership_ask_about_rows_beside_the_sample_as_about_drawn_ones(
    tools, of_people, of_rows, subject, monkeypatch
):
    record, others, folder = of_people if subject else of_rows
    monkeypatch.setattr(supplied, "MEMBERS", 60)
    rows = SealedRows(run_context(casemate.open(tools.root)), record)
    members = rows.members
    assert members.num_rows == 60
    assert members.schema.equals(rows.training.schema)
    assert members.slice(0, 30).to_pylist() == [
        row for row in rows.training.to_pylist() if row in members.slice(0, 30).to_pylist()
    ]
    assert {*as_rows(members.slice(30))} <= {*as_rows(others)}
    assert len({*as_rows(members.slice(30))}) > 20
    if subject:
        # the same number is the same person, whether a row was drawn or not
        whose = tables.read(folder, tools.keys, tools.signer.verifier)[PSEUDONYM].to_pylist()
        beside = others[PSEUDONYM].to_pylist()
        known = dict(zip(rows._table[GROUP].to_pylist(), whose, strict=True))
        found = rows._beside(np.arange(others.num_rows))[GROUP].to_pylist()
        assert [known.get(one) for one in found] == [
            one if one in set(whose) else None for one in beside
        ]
        assert len({*found}) == len({*beside})


def test_a_model_of_an_older_version_has_seen_the_rest_of_that(tools, of_rows):
    record, others, _ = of_rows
    context = run_context(casemate.open(tools.root))
    rows = SealedRows(context, record)
    handed = pa.Table.from_batches(list(rows.rest.pieces()))
    assert handed.num_rows == rows.rest.rows == others.num_rows
    columns = [column.name for column in record.schema.features]
    looks = set(as_rows(others, columns))
    met = rows._met(rows, False, columns)
    cells = rows._read.select(columns).to_pydict().values()
    assert met.tolist() == [row in looks for row in zip(*cells, strict=True)]
    assert met.any() and not met.all()
