"""Coverage floors: a part below its floor fails, floors only rise, a part that moved is noticed."""

import io
import json

import pytest
from tests import floors


def report(covered, of=1000):
    names = [
        start + ("a.py" if start.endswith("/") else ".py")
        for starts in floors.PARTS.values()
        for start in starts
    ]
    summary = {
        "covered_lines": covered,
        "covered_branches": 0,
        "num_statements": of,
        "num_branches": 0,
    }
    return {"files": {f"src/{name}": {"summary": summary} for name in names}}


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "floors.json"
    path.write_text("{}")
    monkeypatch.setattr(floors, "FLOORS", path)

    def run(tier, covered, *words):
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(report(covered))))
        return floors.main([tier, *words]), json.loads(path.read_text())

    return run


def test_a_part_below_its_floor_fails(file, capsys):
    assert file("fast", 800, "--raise")[0] == 0
    assert file("fast", 800)[0] == 0
    assert file("fast", 795)[0] == 0
    assert file("fast", 794)[0] == 1
    assert "verification: 79.4 % is below its floor, 80.0 %" in capsys.readouterr().err


def test_floors_only_rise(file):
    file("fast", 800, "--raise")
    assert file("fast", 700, "--raise")[1]["fast"]["verification"] == 80.0
    assert file("fast", 900, "--raise")[1]["fast"]["verification"] == 90.0


def test_a_tier_without_floors_does_not_pass(file):
    file("fast", 800, "--raise")
    assert file("security", 1000)[0] == 1


def test_a_figure_is_cut_not_rounded():
    assert set(floors.measured(report(99999, 100000)).values()) == {99.9}


def test_a_part_whose_modules_moved_is_an_error_not_a_hundred_percent():
    moved = report(800)
    del moved["files"]["src/casemate/verification.py"]
    with pytest.raises(SystemExit, match="verification: no module"):
        floors.measured(moved)


def test_branches_count_beside_lines():
    half = report(1000)
    for found in half["files"].values():
        found["summary"] |= {"num_branches": 1000}
    assert set(floors.measured(half).values()) == {50.0}
