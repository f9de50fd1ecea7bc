"""Controls: every check can fail, and is seen to; a sound project passes all of them; results are
in the log.
"""

import os
import shutil

import pytest
from tests.unit.operations.breakings import BREAKINGS, Copy
from tests.unit.operations.sound import PASSPHRASE, build, edit, opened
from tests.unit.operations.test_operations import PASSWORD

from casemate.operations.controls.checks import CHECKS
from casemate.operations.controls.facts import Facts
from casemate.stages.release import mlbom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sound(home, tmp_path_factory):
    """The folder with the sound project, its key store, copies and backups."""
    folder = tmp_path_factory.mktemp("sound")
    before = os.environ["HOME"]
    with pytest.MonkeyPatch.context() as patch:
        (folder / "home").mkdir()
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv(PASSPHRASE, PASSWORD)
        build(folder / "ward")
    assert os.environ["HOME"] == before
    return folder


@pytest.fixture
def copy(sound, tmp_path, monkeypatch):
    """A copy to break."""
    folder = tmp_path / "broken"
    shutil.copytree(sound, folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv(PASSPHRASE, PASSWORD)
    mlbom.environment.cache_clear()
    yield Copy(folder / "ward", monkeypatch)
    mlbom.environment.cache_clear()


def strict(document):
    """What the sound project leaves out, so that people can be played in it without a login."""
    document.setdefault("access", {}).update(local=False, mfa="required")


LATER = ("access.login", "access.factors")


def test_every_check_has_somebody_who_makes_it_fail():
    assert set(BREAKINGS) == set(CHECKS)


def test_a_sound_project_passes_every_check(copy):
    facts = Facts(opened(copy.root))
    found = {name: check(facts) for name, check in CHECKS.items()}
    odd = {name: fact.said for name, fact in found.items() if fact.outcome != "passed"}
    assert set(odd) == set(LATER), odd
    edit(copy.root, strict)
    facts = Facts(opened(copy.root))
    assert {CHECKS[name](facts).outcome for name in LATER} == {"passed"}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_fails_once_its_control_is_broken(name, copy):
    spoil, words = BREAKINGS[name]
    fact = CHECKS[name](Facts(spoil(copy)))
    assert fact.outcome == "failed", fact
    assert words in fact.said
