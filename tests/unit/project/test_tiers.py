"""The fast tier takes nothing costly, runs no pipeline, and plain `pytest` finds every test."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests import tiers

from casemate import pipeline

ROOT = Path(__file__).parents[3]
LISTED = """
import casemate
import pytest

@pytest.fixture(scope="module")
def built(home):
    return home

@pytest.fixture(scope="module")
def plain():
    return 1

@pytest.fixture
def ran(tmp_path):
    return casemate.open(tmp_path).run()

def test_takes_a_finished_project(finished): pass
def test_takes_what_ran(ran): pass
def test_runs(tmp_path): casemate.open(tmp_path).run(fresh=True)
def test_runs_by_command(cli): cli("run", "--fresh")
def test_takes_what_stands_on_one(clinic): pass
def test_takes_a_project_of_its_module(built): pass
@pytest.mark.slow
def test_says_so(): pass
def test_takes_nothing(tmp_path, plain): print(plain)
"""


ALL_SLOW = """
import pytest

pytestmark = pytest.mark.slow
print("it was imported")

def test_anything(): pass
"""


def collected(*words):
    command = [
        str(Path(sys.executable).parent / "pytest"),
        "-q",
        "--collect-only",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        *words,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_a_test_takes_decides_whether_it_is_fast(tmp_path):
    (tmp_path / "test_listed.py").write_text(LISTED)
    (tmp_path / "test_all_slow.py").write_text(ALL_SLOW)
    words = ["-s", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(tmp_path)]
    found = collected("-m", "not slow", *words)
    listed = {line.rpartition("::")[2] for line in found.splitlines() if "::" in line}
    assert listed == {"test_takes_nothing"}
    assert "1/8 tests collected (7 deselected)" in found
    assert "imported" not in found, "a module that is slow as a whole costs its imports"


def test_no_fast_test_lies_where_programs_are_started(request):
    fast = [item for item in request.session.items if item.get_closest_marker("slow") is None]
    assert not [
        item.nodeid
        for item in fast
        if item.path.relative_to(ROOT / "tests").parts[0] in tiers.PROGRAMS
    ]


def test_a_fast_test_that_runs_the_pipeline_fails():
    with tiers.no_run(), pytest.raises(pytest.fail.Exception, match="mark it slow"):
        pipeline.run(None, "nobody")


def test_unit_tests_lie_in_the_rooms_of_the_product():
    rooms = {
        path.parent.relative_to(ROOT / "tests/unit") for path in ROOT.glob("tests/unit/**/*.py")
    }
    known = {Path(), Path("project")}  # fixtures; what is true of the repository as a whole
    assert {
        str(room) for room in rooms - known if not (ROOT / "src/casemate" / room).is_dir()
    } == set()


def test_no_two_files_of_tests_have_one_name_so_that_a_part_of_the_suite_tells_what_the_whole_does():
    names = Counter(path.name for path in Path(tiers.__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
