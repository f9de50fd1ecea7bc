"""Whoever erases a person, or restores a project in which they are erased again, is killed between
any two steps: the same words again finish it, and it is never half.
"""

import functools
import shutil

import pytest
from tests.faults.dying import dying
from tests.unit.controls.test_subjects import Ward, readable
from tests.unit.operations.test_predictions_of_people import told

import casemate

pytestmark = pytest.mark.slow
PERSONS = [f"person-{n:03d}" for n in range(12)]
ERASES = f"""
import casemate

project = casemate.open(root)
counts(project)
done = project.privacy.erase({PERSONS[0]!r}, aliases=[{PERSONS[1]!r}])
assert done.request.request.state == "fulfilled", done.waiting
print(steps)
"""
AGAIN = """
import casemate
from casemate.operations.rights import again

project = casemate.open(root)
counts(project)
again.catch_up(project)
print(steps)
"""


@pytest.fixture(scope="module")
def sealed(home, tmp_path_factory):
    """(a sealed ward, its key store)."""
    ward = Ward(tmp_path_factory.mktemp("killed") / "ward", PERSONS)
    with ward.seal() as project:
        told(project, 1, PERSONS[0])
        told(project, 2, PERSONS[1], PERSONS[5])
        told(project, 3, PERSONS[5])
        keys = project.keystore.folder
    shutil.copytree(keys, ward.root.parent / "keys")
    return ward.root, keys


def copied(sealed, folder):
    root, keys = sealed
    shutil.copytree(root, folder)
    shutil.rmtree(keys)
    shutil.copytree(root.parent / "keys", keys)
    return folder


def state(root):
    """(keys that are destroyed, people in the register's two places, state of requests); with the
    keys everything goes that was told of them, and nothing of others.
    """
    with casemate.open(root) as project:
        project.log.check()
        assert project.decisions.check() == 3
        root_, subjects = project.identifiers.root(), project.log.subjects
        with project.database.reading() as tx:
            gone = [subjects.state(tx, root_.pseudonym(one)) for one in PERSONS]
        register = len(project.erasures.rows()), len(project.erasures.beside())
        asked = [one.state for one, _ in project.privacy.requests.list("all")]
        left = [project.told.count([root_.pseudonym(PERSONS[n])]) for n in (0, 1, 5)]
        assert left == [0, 0, 1] or gone[0] == "live"
    return gone, register, asked


ERASED = ["shredded"] * 2 + ["live"] * 10
erases, again = functools.partial(dying, ERASES), functools.partial(dying, AGAIN)


def test_an_erasure_may_die_between_any_two_steps(sealed, tmp_path, scale):
    whole = erases(copied(sealed, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout)
    assert state(tmp_path / "whole") == (ERASED, (2, 2), ["fulfilled"])
    killed = 0
    for last in range(1, steps + 1, max(1, steps // scale(2, steps))):
        root = copied(sealed, tmp_path / str(last))
        killed += erases(root, last).returncode == -9
        gone, _, asked = state(root)
        assert gone in (ERASED, ["live"] * 12), "both identifiers or none"
        assert "fulfilled" not in asked or gone == ERASED
        done = erases(root)
        assert done.returncode == 0, done.stderr
        assert state(root) == (ERASED, (2, 2), ["fulfilled"]), last
        shutil.rmtree(root)
    assert killed > 1


def test_erasing_again_may_die_between_any_two_steps(sealed, tmp_path, scale):
    keys = sealed[1]
    assert erases(copied(sealed, tmp_path / "whole")).returncode == 0
    register = (keys / "erasures.json").read_bytes()

    def put_back(folder):
        copied(sealed, folder)
        (keys / "erasures.json").write_bytes(register)
        return folder

    whole = again(put_back(tmp_path / "old"))
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout)
    assert state(tmp_path / "old") == (ERASED, (2, 2), [])
    for last in range(1, steps + 1, max(1, steps // scale(1, steps))):
        again(put_back(tmp_path / str(last)), last)
        assert state(tmp_path / str(last))[0] in (ERASED, ["live"] * 12)
        assert again(tmp_path / str(last)).returncode == 0
        assert state(tmp_path / str(last)) == (ERASED, (2, 2), []), last
    assert not readable(tmp_path / "old", PERSONS[0])
