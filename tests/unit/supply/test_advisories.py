"""Which versions an advisory is about, and which snapshots say anything."""

import datetime
import json
import zipfile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from tests.unit.supply.planted import advisory, signed_snapshot, snapshot

from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.signatures import Signer
from casemate.supply.scanners import packages
from casemate.supply.scanners.advisories import (
    measured,
    require_young,
    sign,
    signature_of,
    verified,
)
from casemate.supply.scanners.dependencies import Dependencies
from casemate.supply.scanners.interface import Place, looked
from casemate.supply.scanners.osv import Advisory, Undecidable

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def concerns(version, events=None, **more):
    made = msgspec.convert(advisory("X-1", "Some_Package", events, **more), Advisory)
    return made.concerns("some-package", Version(version))


@pytest.mark.parametrize(
    ("version", "events", "expected"),
    [
        ("1.0", [{"introduced": "0"}], True),
        ("0.dev0", [{"introduced": "0"}], True),
        ("1.0", [{"introduced": "1.0"}, {"fixed": "1.1"}], True),
        ("1.1", [{"introduced": "1.0"}, {"fixed": "1.1"}], False),
        ("1.1rc1", [{"introduced": "1.0"}, {"fixed": "1.1"}], True),
        ("1.1.post1", [{"introduced": "1.0"}, {"fixed": "1.1"}], False),
        ("1.1", [{"introduced": "1.0"}, {"last_affected": "1.1"}], True),
        ("1.1.1", [{"introduced": "1.0"}, {"last_affected": "1.1"}], False),
        # events in any order, and a fault that came back
        ("2.5", [{"fixed": "1.1"}, {"introduced": "2.0"}, {"introduced": "0"}], True),
        ("1.5", [{"fixed": "1.1"}, {"introduced": "2.0"}, {"introduced": "0"}], False),
        ("3.0", [{"introduced": "0"}, {"limit": "2.0"}], False),
        ("1.0", [{"introduced": "0"}, {"limit": "2.0"}], True),
        ("9.0", [{"introduced": "0"}, {"limit": "*"}], True),
        # what builders add is no other version of the text
        ("1.1+cpu", [{"introduced": "1.0"}, {"last_affected": "1.1"}], True),
        ("1!1.0", [{"introduced": "0"}, {"fixed": "2.0"}], False),
        ("1.0", [{"fixed": "1.0"}, {"introduced": "1.0"}], True),
        ("1.0", [], False),
    ],
)
def test_ranges_are_evaluated_as_the_format_says(version, events, expected):
    assert concerns(version, events) is expected


def test_a_listed_version_is_meant_however_it_is_written():
    assert concerns("1.0", versions=["1.0.0", "not a version"])
    assert not concerns("1.0.1", versions=["1.0.0"])
    assert concerns("1.0", [{"introduced": "2"}], versions=["1.0"])


def test_an_advisory_that_says_nothing_of_versions_is_about_every_one():
    assert concerns("1.0")


def test_an_advisory_that_cannot_be_compared_is_no_answer():
    with pytest.raises(Undecidable, match="is no version"):
        concerns("1.0", [{"introduced": "2013-02b"}])


def test_another_package_and_another_ecosystem_are_not_meant():
    raw = advisory("X-1", "other", [{"introduced": "0"}])
    assert not msgspec.convert(raw, Advisory).concerns("some-package", Version("1"))
    raw["affected"][0]["package"] = {"ecosystem": "npm", "name": "some-package"}
    assert not msgspec.convert(raw, Advisory).concerns("some-package", Version("1"))


VERSIONS = [Version(f"{major}.{minor}") for major in range(4) for minor in range(4)]


@given(st.lists(st.tuples(st.sampled_from(VERSIONS), st.booleans()), unique_by=lambda one: one[0]))
def test_ranges_agree_with_walking_through_all_versions(events):
    said = [{"introduced" if begins else "fixed": str(version)} for version, begins in events]
    at = dict(events)
    vulnerable = False
    for version in VERSIONS:
        vulnerable = at.get(version, vulnerable)
        assert concerns(str(version), said) is vulnerable


def place(tmp_path, **files):
    root = tmp_path / "tree"
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    names = tuple(sorted(name.replace("__", ".") for name in files))
    return Place(root, names, {}, tmp_path)


def answer(tmp_path, entries, *, now=NOW, days=7, signer=None, **files):
    signer = signer or Signer.generate()
    path = signed_snapshot(tmp_path / "feed", entries, signer)
    return looked(Dependencies(path, signer.verifier, now, days), place(tmp_path, **files))


LEAKY = advisory(
    "GHSA-1",
    "Leaky",
    [{"introduced": "0"}, {"fixed": "2.0"}],
    aliases=["CVE-2026-1"],
    database_specific={"severity": "MODERATE", "cwe_ids": ["CWE-79"]},
)


def test_one_fault_under_several_names_is_one_finding(tmp_path):
    other = advisory("PYSEC-1", "leaky", versions=["1.0"], aliases=["CVE-2026-1"])
    found = answer(tmp_path, [LEAKY, other], requirements__txt="leaky == 1.0\n")
    (hit,) = found.hits
    assert (hit.severity, hit.package, hit.fixed) == ("medium", "leaky", ["2.0"])
    assert hit.references == ["CVE-2026-1", "GHSA-1", "PYSEC-1", "CWE-79"]


def test_what_mends_a_package_of_the_same_name_elsewhere_mends_nothing_here(tmp_path):
    elsewhere = {
        "package": {"ecosystem": "npm", "name": "leaky"},
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.5.0"}]}],
    }
    both = {**LEAKY, "affected": [*LEAKY["affected"], elsewhere]}
    (hit,) = answer(tmp_path, [both], requirements__txt="leaky==1.0\n").hits
    assert (hit.fixed, hit.mend) == (["2.0"], "leaky 2.0 or later")


def test_what_is_withdrawn_is_not_told_and_what_nobody_graded_is_high(tmp_path):
    gone = {**LEAKY, "withdrawn": "2026-11-01T00:00:00Z"}
    ungraded = advisory("PYSEC-2", "leaky", [{"introduced": "0"}])
    found = answer(tmp_path, [gone, ungraded], requirements__txt="leaky==1.0\n")
    assert [(hit.references[0], hit.severity) for hit in found.hits] == [("PYSEC-2", "high")]


REQUIREMENTS = """\
# a comment
leaky[extra]==1.0 ; python_version >= "3" \\
    --hash=sha256:aa
leaky==0.9 ; sys_platform == "win32"
free>=1 # any
-r other.txt
-e .
git+https://example.org/x.git
leaky==1.*
"""


def test_markers_extras_continuations_and_what_names_no_version(tmp_path):
    found = answer(tmp_path, [LEAKY], requirements__txt=REQUIREMENTS, other__txt="")
    told = {(hit.rule, hit.version, hit.line) for hit in found.hits}
    assert told == {
        ("dependency.vulnerable", "1.0", 2),
        ("dependency.unpinned", "", 5),
        ("dependency.unpinned", "", 9),
    }
    assert set(found.unseen) == {"requirements.txt:8"}
    assert found.notes == ["requirements.txt:6: -r other.txt is looked at where it lies"]


@pytest.mark.parametrize(
    "line", ["-r deps.lst", "-rdeps.lst", "--requirement=./deps.lst", "-c deps.lst"]
)
def test_a_file_that_requirements_name_is_looked_at_whatever_its_name(line, tmp_path):
    files = {
        "requirements__txt": line,
        "deps__lst": "-r more.in\n",
        "more__in": "leaky==1.0\n-r deps.lst",
    }
    found = answer(tmp_path, [LEAKY], **files)
    assert [(hit.rule, hit.path) for hit in found.hits] == [("dependency.vulnerable", "more.in")]
    assert found.unseen == {}


@pytest.mark.parametrize("line", ["-r gone.txt", "-r ../x.txt", "-c https://example.org/c.txt"])
def test_a_file_that_requirements_name_and_that_is_not_there_is_named(line, tmp_path):
    found = answer(tmp_path, [LEAKY], requirements__txt=line)
    assert set(found.unseen) == {"requirements.txt:1"}


def test_lock_files_are_read(tmp_path):
    rows = '[[package]]\nname = "leaky"\nversion = "1.0"\n'
    own = '[[package]]\nname = "me"\nversion = "0"\nsource = { editable = "." }\n'
    bare = '[[package]]\nname = "bare"\n'
    found = answer(tmp_path, [LEAKY], uv__lock=rows + own, poetry__lock=bare, pdm__lock="[[")
    assert [hit.package for hit in found.hits] == ["leaky"]
    assert set(found.unseen) == {"poetry.lock: bare", "pdm.lock"}


@pytest.mark.parametrize("text", ['package = "leaky"', 'package = ["leaky"]', "packages = [1]"])
def test_a_lock_file_without_a_list_of_packages_is_named_and_others_are_looked_at(text, tmp_path):
    found = answer(tmp_path, [LEAKY], uv__lock=text, requirements__txt="leaky==1.0\n")
    assert found.unseen == {"uv.lock": "it cannot be read: it has no list of packages"}
    assert [hit.package for hit in found.hits] == ["leaky"]


def test_what_is_installed_is_looked_at(tmp_path):
    everything = advisory("GHSA-2", "PyTest", [{"introduced": "0"}])
    assert [hit.package for hit in answer(tmp_path, [everything]).hits] == ["pytest"]


def test_a_version_that_cannot_be_compared_is_named(tmp_path):
    odd = advisory("GHSA-3", "leaky", [{"introduced": "2013-02b"}])
    found = answer(tmp_path, [odd], requirements__txt="leaky==1.0\nodd===legacy-1\n")
    assert set(found.unseen) == {"leaky 1.0", "requirements.txt: odd"}


def test_without_a_snapshot_nothing_is_known(tmp_path):
    scanner = Dependencies(tmp_path / "absent.zip", Signer.generate().verifier, NOW, 7)
    assert "nothing is known" in looked(scanner, place(tmp_path)).unseen[""]


def test_an_old_snapshot_says_nothing_and_one_to_come_neither(tmp_path):
    assert "older than 7 days" in answer(tmp_path, [LEAKY], now=NOW + 8 * DAY).unseen[""]
    assert "which is to come" in answer(tmp_path, [LEAKY], now=NOW - 8 * DAY).unseen[""]


def test_a_snapshot_of_another_signer_or_without_one_says_nothing(tmp_path):
    path = signed_snapshot(tmp_path / "feed", [LEAKY], Signer.generate())
    with pytest.raises(VerificationError):
        verified(path, Signer.generate().verifier)
    signature_of(path).unlink()
    with pytest.raises(VerificationError, match="is not signed"):
        verified(path, Signer.generate().verifier)


def test_a_changed_or_cut_snapshot_says_nothing(tmp_path):
    signer = Signer.generate()
    path = signed_snapshot(tmp_path / "feed", [LEAKY], signer)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(VerificationError, match="not what was signed"):
        verified(path, signer.verifier)
    with pytest.raises(ConfigError, match="no snapshot"):
        measured(path)


def test_what_is_signed_is_counted(tmp_path):
    signer = Signer.generate()
    path = snapshot(tmp_path / "feed", [LEAKY, {**LEAKY, "id": "GHSA-9"}])
    said = sign(path, signer)
    assert (said.count, said.taken) == (2, "2026-11-20T00:00:00Z")
    assert verified(path, signer.verifier) == said
    require_young(said, NOW, 7)
    with pytest.raises(RefusedError):
        require_young(said, NOW + 9 * DAY, 7)


@pytest.mark.parametrize("text", ["{", "[]", '{"id": 1}', '{"id": "X", "modified": "yesterday"}'])
def test_a_snapshot_with_an_entry_that_cannot_be_read_is_refused(text, tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps(LEAKY))
        archive.writestr("b.json", text)
    with pytest.raises(ConfigError, match="no snapshot"):
        measured(path)


def test_a_snapshot_of_another_ecosystem_is_refused(tmp_path):
    foreign = json.loads(json.dumps(LEAKY))
    foreign["affected"][0]["package"]["ecosystem"] = "npm"
    with pytest.raises(ConfigError, match="no advisory about a package of PyPI"):
        measured(snapshot(tmp_path / "feed", [foreign]))


def test_a_snapshot_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    from casemate.supply.scanners import advisories

    monkeypatch.setattr(advisories, "MOST_ENTRY", 10)
    with pytest.raises(ConfigError, match="too large"):
        measured(snapshot(tmp_path / "feed", [LEAKY]))


def test_names_of_files_that_are_lock_files():
    assert all(packages.TEXTS.search(name) for name in ("requirements.txt", "requirements-dev.txt"))
    assert packages.TOMLS.match("pylock.toml") and not packages.TOMLS.match("poetry.toml")
