"""What the record beside an imported model says of who learnt it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import structs
from tests.conftest import TOML
from tests.unit.controls.test_charters import CHARTER, OWNERS, signed
from tests.unit.controls.test_comparing import HEAD, of
from tests.unit.controls.test_statements import LEAK, SAID
from tests.unit.controls.test_statements import signed as stated

from casemate.config import Config, parse
from casemate.controls.federation import cards
from casemate.controls.federation.messages import RECORD_TYPE, JobRecord
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.stages.release.card import learnt_by
from casemate.stages.train.together import owners_of

MODEL = b"a model"
RECORD = structs.replace(HEAD, model=sha256(MODEL))


@dataclass
class Tools:
    """What of the stage's tools is asked for here."""

    root: Path
    config: Config = field(
        default_factory=lambda: parse(TOML, ["train.model=federated/wards.skops"])
    )
    approved: list[bytes] = field(default_factory=lambda: [signed(CHARTER)])

    def charters(self) -> list[bytes]:
        return self.approved


def written(tmp_path: Path, record: JobRecord, by: str = "centre") -> bytes:
    content = cards.signed(record, RECORD_TYPE, OWNERS[by][0])
    (tmp_path / "federated").mkdir()
    (tmp_path / "federated" / "wards.record.json").write_bytes(content)
    return content


def owners(tools: Tools):
    return owners_of(tools, {"imported.skops": MODEL, "own/steps.py": b""})


def test_a_record_of_its_coordinator_says_who_learnt_a_model_in_how_many_rounds(tmp_path):
    content = written(tmp_path, RECORD)
    found = owners(Tools(tmp_path))
    assert found.record == sha256(content)
    assert (found.charter, found.job, found.rounds) == (CHARTER.digest, HEAD.job, 2)
    assert found.sites == [card.fingerprint for card in CHARTER.sites]
    assert found.coordinator == CHARTER.coordinator.fingerprint


@pytest.mark.parametrize(
    ("epsilon", "delta", "said"),
    [(2.0, 1e-6, (2.0, 1e-6)), (0.0, 1e-5, (0, 0)), (None, None, (0, 0))],
)
def test_what_noise_covers_is_told_of_a_model_and_nothing_where_there_was_none(
    tmp_path, epsilon, delta, said
):
    written(tmp_path, structs.replace(RECORD, epsilon=epsilon, delta=delta))
    found = owners(Tools(tmp_path))
    assert (found.epsilon, found.delta) == said
    promised = "epsilon 2 at delta 1e-06" in learnt_by(found)
    assert promised == (epsilon == 2.0)


@pytest.mark.parametrize(
    ("unit", "whom"),
    [
        ("subject", "cost each row, or all rows of a subject where its site names subjects,"),
        ("site", "cost all its rows taken together, whosever they are,"),
    ],
)
def test_a_model_says_whether_noise_covers_a_subject_or_a_whole_site(tmp_path, unit, whom):
    written(tmp_path, structs.replace(RECORD, epsilon=2.0, delta=1e-6, unit=unit))
    assert f"{whom} epsilon 2 at delta" in learnt_by(owners(Tools(tmp_path)))


def test_a_model_without_a_record_is_nobodys_together(tmp_path):
    assert owners(Tools(tmp_path)) is None
    assert owners_of(Tools(tmp_path, config=parse(TOML)), {"train.py": b""}) is None


@pytest.mark.parametrize(
    ("record", "by", "approved", "said"),
    [
        (structs.replace(RECORD, model=sha256(b"another")), "centre", True, "of another file"),
        (structs.replace(RECORD, model=""), "centre", True, "of another file"),
        (RECORD, "north", True, "signature"),
        (structs.replace(of(0), model=sha256(MODEL)), "north", True, "a site's own"),
        (RECORD, "centre", False, "does not count here"),
        (structs.replace(RECORD, sites=[]), "centre", True, "does not say which sites"),
        (structs.replace(RECORD, sites=[*RECORD.sites, "ab" * 32]), "centre", True, "which sites"),
    ],
)
def test_a_record_that_is_not_of_this_model_and_its_coordinator_stops_the_run(
    tmp_path, record, by, approved, said
):
    written(tmp_path, record, by)
    tools = Tools(tmp_path) if approved else Tools(tmp_path, approved=[])
    with pytest.raises(VerificationError, match=said):
        owners(tools)


def laid_down(tmp_path: Path, **files: bytes) -> None:
    folder = tmp_path / "federated" / "wards.statements"
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_bytes(content)


OURS = structs.replace(SAID, job=HEAD.job, model=sha256(MODEL))


def test_what_sites_signed_lies_beside_the_model_and_who_said_nothing_is_named(tmp_path):
    written(tmp_path, RECORD)
    assert [one.statement for one in owners(Tools(tmp_path)).stated] == ["", "", ""]
    content = stated(structs.replace(OURS, site=1), "south")
    laid_down(tmp_path, any=content)
    (tmp_path / "federated" / "wards.statements" / "older.json").mkdir()  # a folder says nothing
    north, south, east = owners(Tools(tmp_path)).stated
    assert (north.site, south.site, east.site) == ("north", "south", "east")
    assert (north.statement, south.statement, east.statement) == ("", sha256(content), "")
    assert south.leaks == {"membership_auc": LEAK}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"one": stated(structs.replace(OURS, model="00" * 32))},
            "one.json .* another job or file",
        ),
        ({"one": stated(structs.replace(OURS, job="00" * 32))}, "another job or file"),
        ({"one": stated(OURS), "two": stated(OURS)}, "two.json .* there twice"),
        ({"one": stated(OURS, "centre")}, "no statement"),
        ({"one": b"x" * 70_000}, "larger than 64 KiB"),
    ],
)
def test_a_statement_that_is_none_of_this_model_stops_the_run(tmp_path, files, said):
    written(tmp_path, RECORD)
    laid_down(tmp_path, **files)
    with pytest.raises(VerificationError, match=said):
        owners(Tools(tmp_path))


def test_a_site_that_took_no_part_has_nothing_to_say_of_the_model(tmp_path):
    written(tmp_path, structs.replace(RECORD, sites=RECORD.sites[1:]))
    laid_down(tmp_path, one=stated(OURS))
    with pytest.raises(VerificationError, match="did not take part"):
        owners(Tools(tmp_path))
