"""A site is killed between any two steps of a round that costs epsilon, and started again: the
round is paid once, answered with the same bytes, and no more of it is on record.
"""

import json
import shutil

import msgspec
import pytest
from tests.faults.dying import dying
from tests.unit.operations import wards
from tests.unit.operations.test_judging import noisy

import casemate
from casemate.controls.federation import cards
from casemate.controls.federation.messages import JOB_TYPE, Job, RoundRecord
from casemate.core.digest import sha256

pytestmark = pytest.mark.slow
ANSWERS = """
import casemate, hashlib, json, msgspec
from pathlib import Path
from casemate.controls.federation.cards import charter_in, opened
from casemate.controls.federation.messages import JOB_TYPE, Job
from tests.unit.operations import wards

project = casemate.open(root)
charter = charter_in((Path(root).parent / "charter.json").read_bytes())
job = opened((Path(root).parent / "job.json").read_bytes(), JOB_TYPE, charter.coordinator, Job)
site = wards.answering(project, charter, job)
counts(project)
publish = project.log.publish
project.log.publish = lambda: (step(), publish(), step())
compute = site._compute
site._compute = lambda *given: (step(), compute(*given), step())[1]
sent = []
for number in (1, 2):
    given = site(wards.ask_of(wards.question_of(job, number)))
    step()  # it has left
    sent.append(hashlib.sha256(msgspec.msgpack.encode(given.update)).hexdigest())
print(json.dumps([steps, sent]))
"""


@pytest.fixture(scope="module")
def agreed(home, tmp_path_factory):
    """The folder of a site, its charter and a job with noise."""
    folder = tmp_path_factory.mktemp("killed")
    leader = wards.Coordinator()
    (site,), charter = wards.wards(folder, 1, leader, "epsilon_round = 5.0")
    job = wards.job_of(charter, **noisy(epsilon=2.0, rounds=3))
    (folder / "charter.json").write_bytes(leader.signed(charter))
    (folder / "job.json").write_bytes(cards.signed(job, JOB_TYPE, leader.signer))
    site.close()
    return folder


def answered(folder, last=0):
    return dying(ANSWERS, folder / "ward-0", last)


def test_a_site_may_die_between_any_two_steps_of_its_rounds(agreed, tmp_path, scale):
    shutil.copytree(agreed, tmp_path / "whole")
    whole = answered(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    steps, _ = json.loads(whole.stdout)
    job = msgspec.json.decode(
        msgspec.convert(msgspec.json.decode((agreed / "job.json").read_bytes())["payload"], bytes),
        type=Job,
    )
    killed = 0
    for last in range(1, steps + 1, max(1, steps // scale(6, steps))):
        folder = tmp_path / str(last)
        shutil.copytree(agreed, folder)
        killed += answered(folder, last).returncode == -9
        kept_before = records(folder, job)
        again = answered(folder)
        assert again.returncode == 0, again.stderr
        sent = json.loads(again.stdout)[1]
        kept = records(folder, job)
        assert [one.number for one in kept] == [1, 2]
        assert [one.answers[0] for one in kept] == sent
        # what was on record before the kill may have left: it is what leaves again
        assert [one.answers for one in kept[: len(kept_before)]] == [
            one.answers for one in kept_before
        ]
        project = casemate.open(folder / "ward-0")
        assert [line.what for line in project.ledger.of()] == [
            "round 1 of wards",
            "round 2 of wards",
        ]
        project.log.check()
        project.close()
        shutil.rmtree(folder)
    assert killed >= 5


def records(folder, job):
    """Of the rounds that are kept, in order; each names an object that is there."""
    project = casemate.open(folder / "ward-0")
    kept = project.federation.of(job.charter, job.digest)
    for one in kept:
        assert sha256(project.objects.get(one.content)) == one.content
    project.close()
    return [msgspec.json.decode(one.record, type=RoundRecord) for one in kept]
