"""A host with a copy of the key store, beside a catalogue that others share: keys that are rotated
elsewhere are missed aloud.
"""

import shutil
from pathlib import Path

import pytest

import casemate
from casemate.cli import main
from casemate.core.errors import BackendError
from casemate.operations import scaffold
from casemate.operations.keys.copies import require_current
from casemate.serve.health import SERIOUS, Health
from casemate.serve.metrics import Metrics


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """(the project's folder, a function that goes to a host, one that copies the keys to `gate`)."""
    root, homes = tmp_path / "clinic", {name: tmp_path / name for name in ("desk", "gate")}

    def go(name: str) -> None:
        monkeypatch.setenv("HOME", str(homes[name]))

    def copy() -> None:
        shutil.copytree(homes["desk"], homes["gate"], dirs_exist_ok=True)

    homes["desk"].mkdir()
    go("desk")
    scaffold.create(root, scaffold.clinical())
    casemate.open(root).close()
    copy()
    return root, go, copy


def test_a_host_hears_that_keys_were_rotated_elsewhere_and_that_its_copy_is_whole_again(apart):
    root, go, copy = apart
    go("gate")
    gate = casemate.open(root)
    require_current(gate)
    go("desk")
    desk = casemate.open(root)
    assert set(desk.keys.rotate([]).keys.values()) == {2}
    require_current(desk)
    with pytest.raises(BackendError) as caught:
        require_current(gate)
    assert "'audit' is at version 2, and here 1 is the last" in caught.value.message
    assert str(gate.keystore.folder) in caught.value.hint
    assert gate.keystore.folder != desk.keystore.folder
    copy()
    require_current(gate)
    gate.close()
    desk.close()


def test_nothing_is_recorded_under_keys_that_others_may_have(apart):
    root, go, copy = apart
    go("gate")
    gate = casemate.open(root)
    gate.log.record("tester", "before", "x", "done")
    go("desk")
    casemate.open(root).keys.rotate([], compromised=True)
    with pytest.raises(BackendError, match="'audit' version 2 is not in the key store"):
        gate.log.record("tester", "after", "x", "done")
    copy()
    gate.log.record("tester", "after", "x", "done")


def test_a_host_that_starts_with_an_old_copy_says_which_version_it_has_and_which_it_lacks(
    apart, capsys
):
    root, go, copy = apart
    casemate.open(root).keys.rotate([])
    go("gate")
    assert main(["doctor", "--config", str(root)]) != 0
    told = capsys.readouterr()
    assert "'audit' version 2 is not in the key store, which ends with version 1" in (
        told.out + told.err
    )
    assert "copy" in told.out + told.err
    copy()
    main(["doctor", "--config", str(root)])
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "key versions" in one]
    assert "ok" in line


def test_a_gateway_that_misses_a_key_says_so_and_answers_on(capsys):
    metrics = Metrics()
    health = Health(metrics)
    health.failed("keys", BackendError("behind the catalogue", hint="copy"))
    assert "keys" not in SERIOUS and health.ready
    assert metrics.gauges["casemate_fault", "keys"] == 1
    assert "casemate serve: keys: CM-BACKEND: behind the catalogue" in capsys.readouterr().err
