"""What is installed is read in one way, whoever asks: the run, the bill, or a scan."""

import sys

import pytest

from casemate.core import installed
from casemate.core.digest import sha256_record
from casemate.stages.release import mlbom
from casemate.supply.scanners import packages
from casemate.supply.scanners.interface import Place


@pytest.fixture
def two_of_one(tmp_path, monkeypatch):
    """A package, an older one of its name that it hides, and a folder that says nothing."""
    for folder, name, version in (("own", "Some_Name", "2.0"), ("system", "some-name", "1.0")):
        place = tmp_path / folder / f"some_name-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    (tmp_path / "own" / "left-3.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own"), str(tmp_path / "system")])
    return tmp_path


@pytest.fixture(params=["importlib.metadata", "importlib_metadata"])
def finder(request, monkeypatch):
    """Who finds what is installed. Once anybody imports `importlib_metadata`, as dask does, it
    takes the place of Python's own for the whole process.
    """
    module = pytest.importorskip(request.param)
    others = [one for one in sys.meta_path if not hasattr(one, "find_distributions")]
    monkeypatch.setattr(sys, "meta_path", [*others, module.MetadataPathFinder()])


@pytest.mark.usefixtures("finder", "two_of_one")
def test_of_two_with_one_name_the_version_is_that_of_the_one_that_is_imported():
    assert installed.versions(installed.distributions()) == {"Some_Name": "2.0"}
    assert len(list(installed.distributions())) == 3


@pytest.mark.usefixtures("finder")
def test_a_scan_knows_the_same_environment_as_a_run_and_looks_at_what_is_hidden(two_of_one):
    found = packages.packages(
        Place(root=two_of_one, files=(), unseen={}, work=two_of_one, tools=None, seconds=1)
    )
    assert sha256_record(found.environment) == sha256_record(mlbom.environment.__wrapped__())
    assert {str(one.version) for one in found.found} == {"1.0", "2.0"}
    assert [*found.unseen] == ["installed: ?"]
