"""A site answers a round once, alike however often it is asked, and pays before it computes; a
coordinator that asks for more gets nothing, and it is on record.
"""

import datetime
import itertools
import multiprocessing

import msgspec
import numpy as np
import pytest
from tests.unit.operations import wards
from tests.unit.operations.test_judging import (
    TREES,
    about_leaves,
    about_trees,
    noisy,
    sums_with_noise,
)

import casemate
from casemate.controls.federation.messages import Cannot, Given, Told, Turn, session_of
from casemate.controls.federation.rounds import Kept
from casemate.core.digest import sha256
from casemate.ml.federated.masking import MaskRefused
from casemate.ml.federated.updates import unpack
from casemate.ml.learn.accountant import epsilon
from casemate.operations.federated.answering import Answering
from casemate.operations.federated.recording import export
from casemate.stages.train.turns import Found

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def leader():
    return wards.Coordinator()


@pytest.fixture(scope="module")
def agreed(home, leader, tmp_path_factory):
    """(projects of four sites, their charter)."""
    sites, charter = wards.wards(tmp_path_factory.mktemp("wards"), 4, leader)
    yield sites, charter
    for one in sites:
        one.close()


@pytest.fixture
def job(agreed):
    """A function that makes a job of its own."""
    return lambda **changes: wards.job_of(agreed[1], id=f"{next(NUMBERS):032x}", **changes)


@pytest.fixture
def site(agreed, job):
    """A function that makes the first site answer a new job."""

    def made(compute=None, **changes):
        return wards.answering(agreed[0][0], agreed[1], job(**changes), compute)

    return made


def asked(site: Answering, number=1, **changes):
    return wards.ask_of(wards.question_of(site.told.job, number, **changes))


def refused(given, code, said=""):
    assert isinstance(given, Cannot), given
    assert given.code == code, given
    assert said in given.why, given


def test_a_round_is_answered_with_an_update_that_the_coordinator_can_read(site):
    one = site()
    given = one(asked(one, 3))
    assert isinstance(given, Given)
    assert given.turn == Turn(job=one.told.job.id, round=3, attempt=1, step=0)
    assert len(unpack(given.update, one.told.job.layout, 3)) == 6
    assert given.update.rows == 100


def test_sums_come_as_one_array(site):
    one = site(rule="exact")
    given = one(asked(one, what="moments", size=6, weights=b""))
    (piece,) = given.update.pieces
    assert (piece.name, piece.dtype, piece.shape) == ("sums", "<f8", [6])


def test_a_round_that_was_answered_is_answered_with_the_same_bytes_and_computed_once(site, agreed):
    compute = wards.Counted()
    one = site(compute)
    first = one(asked(one, 1))
    again = one(
        msgspec.structs.replace(
            asked(one, 1), turn=Turn(job=one.told.job.id, round=1, attempt=2, step=0)
        )
    )
    assert msgspec.msgpack.encode(first.update) == msgspec.msgpack.encode(again.update)
    # another process of the same site
    restarted = wards.answering(agreed[0][0], agreed[1], one.told.job, compute)
    assert restarted(asked(one, 1)).update == first.update
    assert len(compute.tasks) == 1


def test_each_answer_is_in_the_log_with_the_digest_of_what_left(site, agreed):
    one = site()
    given = one(asked(one, 1))
    newest = wards.entries(agreed[0][0])[-1]
    assert newest.outcome == "done"
    assert newest.detail["answer"] == sha256(msgspec.msgpack.encode(given.update))
    assert newest.detail["question"] == asked(one, 1).question.digest
    assert newest.detail["job"] == one.told.job.digest


def test_another_question_in_the_name_of_an_answered_round_gets_nothing(site, agreed):
    compute = wards.Counted()
    one = site(compute)
    one(asked(one, 1))
    given = one(asked(one, 1, weights=np.ones(6).tobytes()))
    refused(given, "CM-ROUND-TWICE", "answered already")
    assert wards.entries(agreed[0][0])[-1].outcome == "denied"
    assert wards.entries(agreed[0][0])[-1].detail["code"] == "CM-ROUND-TWICE"
    assert len(compute.tasks) == 1


def test_rounds_do_not_go_back(site):
    one = site()
    one(asked(one, 3))
    refused(one(asked(one, 2)), "CM-ROUND-TWICE", "comes after a later one")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"job": "f" * 32}, "another job"),
        ({"round": 2}, "in another one's turn"),
        ({"step": 1}, "in another one's turn"),
        ({"attempt": 0}, "in another one's turn"),
    ],
)
def test_a_turn_that_is_none_gets_nothing(site, changes, said):
    one = site()
    message = asked(one, 1)
    turn = msgspec.structs.replace(message.turn, **changes)
    refused(one(msgspec.structs.replace(message, turn=turn)), "CM-SITE-POLICY", said)


def test_what_does_not_fit_the_range_of_a_round_is_not_sent_and_not_kept(site, agreed):
    one = site()
    refused(one(asked(one, 1, most=1e-6)), "CM-OUT-OF-RANGE", "the round's range")
    assert agreed[0][0].federation.of(agreed[1].digest, one.told.job.digest) == []


def test_how_large_a_number_is_that_does_not_fit_the_range_is_not_told(site, agreed):
    def counts(task, numbers, size):
        return Found(vector=np.full(size, 4321.0).tobytes(), rows=100)

    one = site(counts)
    given = one(asked(one, 1, most=1e-6))
    refused(given, "CM-OUT-OF-RANGE", "does not fit")
    assert "4321" not in given.why
    assert "4321" in wards.entries(agreed[0][0])[-1].detail["why"]  # here it is known


def test_what_a_job_s_code_says_of_rows_does_not_leave(site):
    def fails(*_):
        raise casemate.core.errors.TrainingError(
            "row 17 is ana, 42", plain="the training code failed"
        )

    one = site(fails)
    given = one(asked(one, 1))
    refused(given, "CM-TRAIN", "the training code failed")
    assert "ana" not in given.why


def test_a_site_that_hears_what_became_of_its_answer_writes_it_down(site, agreed):
    one = site()
    one(asked(one, 1))
    one._keeping.told_of(1, "left out: it lies far from the others")
    (kept,) = agreed[0][0].federation.of(agreed[1].digest, one.told.job.digest)
    assert b"it lies far" in kept.record
    assert wards.entries(agreed[0][0])[-1].outcome == "not taken"


def test_the_site_s_record_of_a_job_is_signed_and_holds_every_answer(site, agreed):
    one = site()
    given = one(asked(one, 1))
    signed = export(agreed[0][0], "wards", one.told.job.digest, as_site=True)
    envelope = msgspec.json.decode(signed)
    record = msgspec.json.decode(msgspec.convert(envelope["payload"], bytes))
    assert record["rounds"][0]["answers"] == {"0": sha256(msgspec.msgpack.encode(given.update))}


# hours and rounds a day


def moved(project, clock):
    """The same project with a clock that says something else."""
    return casemate.operations.project.Project(project.root, project.config, clock, beside=project)


class Clock:
    def __init__(self, moment):
        self.moment = moment

    def now(self):
        return self.moment


def test_outside_of_its_hours_a_site_answers_nothing(home, leader, tmp_path):
    (one,), charter = wards.wards(tmp_path, 1, leader, 'hours = "22:00-06:00"')
    job = wards.job_of(charter)
    late = moved(one, Clock(datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)))
    compute = wards.Counted()
    given = wards.answering(late, charter, job, compute)(wards.ask_of(wards.question_of(job)))
    refused(given, "CM-SITE-POLICY", "from 22:00-06:00")
    assert compute.tasks == []
    night = moved(one, Clock(datetime.datetime(2026, 11, 30, 23, tzinfo=datetime.UTC)))
    given = wards.answering(night, charter, job)(wards.ask_of(wards.question_of(job)))
    assert isinstance(given, Given)
    one.close()


def test_rounds_of_all_jobs_together_are_no_more_than_so_many_a_day(home, leader, tmp_path):
    (one,), charter = wards.wards(tmp_path, 1, leader, "rounds_a_day = 2")
    for number, answered in ((1, True), (2, True), (3, False)):
        job = wards.job_of(charter, id=f"{number:032x}")
        given = wards.answering(one, charter, job)(wards.ask_of(wards.question_of(job)))
        assert isinstance(given, Given) == answered, given
    tomorrow = moved(one, Clock(one.clock.now() + datetime.timedelta(days=1, seconds=1)))
    given = wards.answering(tomorrow, charter, job)(wards.ask_of(wards.question_of(job)))
    assert isinstance(given, Given)
    one.close()


# what noise costs


def test_of_two_rounds_that_are_computed_at_once_no_more_are_answered_than_a_day_has(
    home, leader, tmp_path
):
    (one,), charter = wards.wards(tmp_path, 1, leader, "rounds_a_day = 1")
    other = wards.answering(one, charter, wards.job_of(charter, id="1" * 32))
    given = []

    def meanwhile(*words):
        given.append(other(asked(other)))
        return wards.Counted()(*words)

    first = wards.answering(one, charter, wards.job_of(charter), meanwhile)
    refused(first(asked(first)), "CM-SITE-POLICY")
    assert not isinstance(given[0], Cannot)
    one.close()


def test_no_sum_is_opened_of_a_round_that_this_site_did_not_answer(site):
    one = site(masked=True)
    with pytest.raises(MaskRefused, match="a sum that this site is not in"):
        one._keeping.opened(wards.question_of(one.told.job), [0, 1, 2])


def spent(project):
    return project.ledger.of(project.config.dataset_name, wards.PURPOSE)


def test_a_tree_with_noise_is_one_sum_that_is_paid_before_it_is_computed(home, leader, tmp_path):
    policy = f'models = ["{TREES["estimator"]}"]\nnoise = true'
    (one,), charter = wards.wards(tmp_path, 1, leader, policy)
    job = wards.job_of(charter, **TREES, **sums_with_noise(epsilon=1.0, rounds=4))
    compute, paid = wards.Counted(), []

    def counts(task, numbers, size):
        paid.append(len(spent(one)))
        return msgspec.structs.replace(compute(task, numbers, size), counted=None)

    site = wards.answering(one, charter, job, counts)
    for number in (1, 2):
        about = msgspec.structs.replace(about_leaves(job), round=number)
        for _ in range(2):  # asked again, it is the same answer and costs nothing
            assert site(wards.ask_of(about)).update.rows == 1
    assert paid == [1, 2]
    assert [task.what for task in compute.tasks] == ["leaves"] * 2
    assert [line.events for line in spent(one)] == [site.told.events(counts=False)] * 2
    assert [line.events[0].steps for line in spent(one)] == [1, 1]
    assert sum(line.delta for line in spent(one)) == pytest.approx(job.delta / 2)
    one.close()


def test_the_tree_that_overspends_gets_nothing(home, leader, tmp_path):
    policy = f'models = ["{TREES["estimator"]}"]\nepsilon_round = 5.0'
    (one,), charter = wards.wards(tmp_path, 1, leader, policy)
    job = wards.job_of(charter, **TREES, **sums_with_noise(epsilon=2.0, rounds=4))
    told = wards.answering(one, charter, job).told
    left = epsilon(told.events(counts=False) * 2, one.config.privacy.budget_delta)
    file = one.root / "casemate.toml"
    file.write_text(file.read_text() + f"\n[privacy]\nbudget = {left + 0.01:.6f}\n")
    one.close()
    one = casemate.open(one.root)
    compute = wards.Counted()
    site = wards.answering(one, charter, job, compute)
    questions = [msgspec.structs.replace(about_leaves(job), round=number) for number in (1, 2, 3)]
    given = [site(wards.ask_of(about)) for about in questions]
    refused(given[2], "CM-BUDGET", "privacy budget")
    assert len(compute.tasks) == len(spent(one)) == 2
    one.close()


def test_sums_of_trees_with_noise_may_be_of_other_sites_in_each_round(home, leader, tmp_path):
    policy = f'models = ["{TREES["estimator"]}"]\nepsilon_round = 5.0'
    projects, charter = wards.wards(tmp_path, 4, leader, policy)
    job = wards.job_of(charter, **TREES, **sums_with_noise(), masked=True)
    sites = [wards.answering(one, charter, job) for one in projects]
    signers = {number: one.signer for number, one in enumerate(projects)}
    for number, without in ((1, None), (2, 3), (3, None)):
        about = msgspec.structs.replace(about_leaves(job), round=number, most=2.0**30)
        found = wards.Round(sites, about).whole(signers, without=without)
        assert found.heard == [0, 1, 2, 3][: 4 if without is None else 3]
    # of one round it stays one sum
    second_sum_refused(wards.Round(sites, about, 2), signers)
    for one in projects:
        one.close()


@pytest.fixture
def paying(home, leader, tmp_path):
    """(a site with a budget for two rounds and a little more, its charter, a job of three)."""
    (one,), charter = wards.wards(tmp_path, 1, leader, "epsilon_round = 5.0")
    job = wards.job_of(charter, **noisy(epsilon=2.0, rounds=3))
    told = wards.answering(one, charter, job).told
    both = [*told.events(counts=True), *told.events(counts=False)]
    each = epsilon(both, one.config.privacy.budget_delta)
    file = one.root / "casemate.toml"
    file.write_text(file.read_text() + f"\n[privacy]\nbudget = {each + 0.01:.6f}\n")
    one.close()
    one = casemate.open(one.root)
    yield one, charter, job
    one.close()


def test_a_round_with_noise_is_paid_before_it_is_computed(paying):
    one, charter, job = paying
    seen = []

    def compute(task, numbers, size):
        seen.append([line.what for line in spent(one)])
        return wards.Counted()(task, numbers, size)

    site = wards.answering(one, charter, job, compute)
    given = site(wards.ask_of(wards.question_of(job)))
    assert seen == [["round 1 of wards"]]
    assert given.update.rows == 1  # how many there are is covered by noise
    (line,) = spent(one)
    assert [event.steps for event in line.events] == [2]  # one of them counts the subjects


def test_subjects_are_counted_once_for_all_rounds(paying):
    one, charter, job = paying
    compute = wards.Counted()
    wards.answering(one, charter, job, compute)(wards.ask_of(wards.question_of(job, 1)))
    wards.answering(one, charter, job, compute)(wards.ask_of(wards.question_of(job, 2)))
    assert [task.counted for task in compute.tasks] == [None, 100.5]
    assert [line.events[0].steps for line in spent(one)] == [2, 1]


def test_the_round_that_overspends_gets_nothing_and_is_on_record(paying):
    one, charter, job = paying
    compute = wards.Counted()
    site = wards.answering(one, charter, job, compute)
    given = [site(wards.ask_of(wards.question_of(job, number))) for number in (1, 2, 3)]
    refused(given[2], "CM-BUDGET", "privacy budget")
    assert one.config.dataset_name not in given[2].why
    assert len(compute.tasks) == len(spent(one)) == 2
    denied = wards.entries(one, "budget:spent")[-1]
    assert denied.outcome == "denied"


def test_a_round_that_failed_after_it_was_paid_is_not_paid_twice(paying):
    one, charter, job = paying

    def fails(*_):
        raise casemate.core.errors.TrainingError("no", plain="no")

    refused(
        wards.answering(one, charter, job, fails)(wards.ask_of(wards.question_of(job))), "CM-TRAIN"
    )
    assert len(spent(one)) == 1
    assert isinstance(
        wards.answering(one, charter, job)(wards.ask_of(wards.question_of(job))), Given
    )
    assert len(spent(one)) == 1


@pytest.mark.parametrize("beyond", [1e9, np.nan])
def test_noise_that_does_not_fit_is_drawn_once_however_often_it_is_asked_for(paying, beyond):
    one, charter, job = paying
    drawn = iter([beyond, 0.5])  # what was drawn anew would fit

    def compute(task, numbers, size):
        return Found(vector=np.full(size, next(drawn)).tobytes(), rows=100, counted=100.5)

    first = wards.answering(one, charter, job, compute)
    for site in (first, first, wards.answering(one, charter, job, compute)):
        given = site(wards.ask_of(wards.question_of(job)))
        refused(given, "CM-OUT-OF-RANGE", "does not fit")
    assert len(spent(one)) == 1
    (kept,) = one.federation.of(charter.digest, job.digest)
    assert msgspec.json.decode(kept.record)["answers"] == {}  # nothing has left


def _one_round(root, content, job, number, barrier, answers):
    from casemate.controls.federation.cards import charter_in

    project = casemate.open(root)
    charter = charter_in(content)
    site = wards.answering(project, charter, job)
    message = wards.ask_of(wards.question_of(job, number))
    barrier.wait()
    given = site(message)
    answers.put((type(given).__name__, getattr(given, "code", "")))
    project.close()


@pytest.mark.slow
def test_of_two_processes_that_want_the_last_epsilon_one_gets_it(paying, leader):
    one, charter, job = paying
    wards.answering(one, charter, job)(wards.ask_of(wards.question_of(job, 1)))
    # two further jobs, of which each costs what is left
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    others = [wards.job_of(charter, id=f"{n:032x}", **noisy(epsilon=2.0, rounds=3)) for n in (7, 8)]
    text = (one.root / "casemate.toml").read_text()
    told = wards.answering(one, charter, others[0]).told
    two = [*told.events(counts=True), *told.events(counts=True)]
    left = epsilon(two, one.config.privacy.budget_delta) + 0.001
    (one.root / "casemate.toml").write_text(
        text.partition("\n[privacy]")[0] + f"\n[privacy]\nbudget = {left:.6f}\n"
    )
    processes = [
        context.Process(
            target=_one_round,
            args=(one.root, leader.signed(charter), other, 1, barrier, answers),
        )
        for other in others
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    found = sorted(answers.get(timeout=5) for _ in processes)
    assert found == [("Cannot", "CM-BUDGET"), ("Given", "")]
    assert len(spent(one)) == 2


# under masks


@pytest.fixture
def masked(agreed, job):
    """(the four sites that have taken a new masked job, their signers)."""

    def made(**changes):
        projects, charter = agreed
        told = job(masked=True, **changes)
        sites = [wards.answering(one, charter, told) for one in projects]
        return sites, {number: one.signer for number, one in enumerate(projects)}

    return made


def question(sites, number=1, **changes):
    return wards.question_of(sites[0].told.job, number, **changes)


def test_the_sum_under_masks_is_that_of_the_weighted_answers(masked, agreed):
    sites, signers = masked()
    found = wards.Round(sites, question(sites)).whole(signers)
    vectors = {
        one.site: np.frombuffer(one._keeping.earlier(question(sites)).found.vector) for one in sites
    }
    shares = {number: (100 + number) / 1000 for number in vectors}
    moved = sum(shares[number] * vectors[number] for number in vectors)
    assert found.total[:-1] == pytest.approx(moved, abs=1e-9)
    assert found.total[-1] == pytest.approx(sum(shares.values()))


def test_a_site_whose_answers_go_under_masks_sends_none_without(masked):
    sites, _ = masked()
    refused(sites[0](wards.ask_of(question(sites))), "CM-SITE-POLICY", "has masks")


def test_the_sum_of_few_is_refused_before_anything_is_computed(masked, agreed):
    sites, signers = masked()
    few = wards.Round(sites[:2], question(sites))
    for given in few.begin(signers).values():
        refused(given, "CM-MASK-REFUSED", "names 2 sites of a sum; 3 to")
    whole = wards.Round(sites, question(sites), attempt=2)
    introductions = [one.introduction(signers[one.site]) for one in sites]
    for given in whole.ask(introductions, threshold=2).values():
        refused(given, "CM-MASK-REFUSED", "content with a sum of 2")
    assert all(one._compute.tasks == [] for one in sites)
    assert wards.entries(agreed[0][0])[-1].outcome == "denied"


def test_a_site_that_stands_for_itself_twice_is_no_second_site(masked):
    sites, signers = masked()
    one = wards.Round(sites, question(sites))
    introductions = [each.introduction(signers[each.site]) for each in sites[:3]]
    for given in one.ask([*introductions, introductions[2]]).values():
        refused(given, "CM-MASK-REFUSED", "there twice")


def test_a_key_that_no_site_of_the_charter_signed_is_refused(masked):
    sites, signers = masked()
    stranger = wards.Coordinator("stranger").signer
    introductions = [one.introduction(signers[one.site] if one.site else stranger) for one in sites]
    for given in wards.Round(sites, question(sites)).ask(introductions).values():
        refused(given, "CM-MASK-REFUSED", "none of the charter")


def test_an_introduction_of_another_job_is_refused(masked):
    sites, signers = masked()
    others, _ = masked()
    introductions = [one.introduction(signers[one.site]) for one in sites[:3]]
    introductions.append(others[3].introduction(signers[3]))
    for given in wards.Round(sites, question(sites)).ask(introductions).values():
        refused(given, "CM-MASK-REFUSED", "of another job")


def test_a_site_is_not_replaced_by_a_key_of_its_own_earlier_process(masked, agreed):
    sites, signers = masked()
    older = wards.answering(agreed[0][0], agreed[1], sites[0].told.job).introduction(signers[0])
    introductions = [older, *(one.introduction(signers[one.site]) for one in sites[1:])]
    given = wards.Round(sites, question(sites)).ask(introductions)
    refused(given[0], "CM-MASK-REFUSED", "another key as this site's")


def test_sites_that_were_asked_different_questions_do_not_mask_for_one_another(masked):
    sites, signers = masked()
    one = wards.Round(sites, question(sites))
    other = wards.Round(sites[3:], question(sites, weights=np.ones(6).tobytes()))
    other.terms = msgspec.structs.replace(other.terms, threshold=one.terms.threshold)
    introductions = [each.introduction(signers[each.site]) for each in sites]
    given = wards.Round(sites[:3], question(sites)).ask(
        introductions, threshold=one.terms.threshold
    )
    given |= other.ask(introductions)
    roster = wards.Roster(turn=one.turn(1), adverts=[each.advert for each in given.values()])
    for each in sites:
        refused(each(roster), "CM-VERIFY", "did not sign that")


def test_what_cannot_be_opened_is_said_with_the_number_of_whoever_sealed_it(masked):
    sites, signers = masked()
    one = wards.Round(sites, question(sites))
    roster = [given.advert for given in one.begin(signers).values()]
    turn = one.turn(1)
    given = [each(wards.Roster(turn=turn, adverts=roster)) for each in sites[1:]]
    sites[0](wards.Roster(turn=turn, adverts=roster))
    sealed = [told for each in given for told in each.sealed if told.receiver == 0]
    sealed[1] = msgspec.structs.replace(sealed[1], shares=sealed[1].shares[::-1])
    answer = sites[0](wards.Hand(turn=one.turn(2), sealed=sealed))
    refused(answer, "CM-MASK-REFUSED", "what site 2 sealed for site 0 cannot be opened")
    assert answer.sealer == 2


def test_terms_of_another_question_are_refused(masked):
    sites, signers = masked()
    one = wards.Round(sites, question(sites))
    introductions = [each.introduction(signers[each.site]) for each in sites]
    for changes in ({"size": 6}, {"most": 1.0}, {"round": 2}, {"session": "wards"}):
        for given in one.ask(introductions, **changes).values():
            refused(given, "CM-MASK-REFUSED", "not those of its question")


def test_another_attempt_masks_the_same_answer_anew(masked):
    sites, signers = masked()
    first = wards.Round(sites, question(sites), attempt=1)
    masks = first.masked([one.advert for one in first.begin(signers).values()])
    again = wards.Round(sites, question(sites), attempt=2).whole(signers)
    once_more = wards.Round(sites, question(sites), attempt=3).whole(signers)
    assert again.total == pytest.approx(once_more.total, abs=1e-9)
    assert all(len(one._compute.tasks) == 1 for one in sites)
    assert masks[0].masked.content != masks[1].masked.content


def test_a_masked_round_that_goes_back_is_refused_before_anything_is_said(masked):
    sites, signers = masked()
    wards.Round(sites, question(sites, 3)).whole(signers)
    for given in wards.Round(sites, question(sites, 2)).begin(signers).values():
        refused(given, "CM-ROUND-TWICE", "comes after a later one")


def test_masks_are_used_once(masked):
    sites, signers = masked()
    one = wards.Round(sites, question(sites))
    one.begin(signers)
    for given in one.begin(signers).values():
        refused(given, "CM-MASK-REFUSED", "masks that were used")


def second_sum_refused(after, signers):
    """No site helps to open a sum without site 3 that it helped to open with it."""
    adverts = [one.advert for one in after.begin(signers).values()]
    for number, given in after.masked(adverts).items():
        if number != 3:
            after.gatherer.add(given.masked)
    for given in after.agreed(after.gatherer.heard()).values():
        refused(given, "CM-MASK-REFUSED", "helped to open one of [0, 1, 2, 3] before")


def test_two_sums_of_one_round_with_and_without_a_site_are_not_opened(masked, agreed):
    sites, signers = masked()
    wards.Round(sites, question(sites), attempt=1).whole(signers)
    second = wards.Round(sites, question(sites), attempt=2)
    second_sum_refused(second, signers)
    # nor by a site that was started again in between
    restarted = [wards.answering(p, agreed[1], sites[0].told.job) for p in agreed[0]]
    third = wards.Round(restarted, question(sites), attempt=3)
    adverts = [one.advert for one in third.begin(signers).values()]
    third.masked(adverts)
    for given in third.agreed([0, 1, 2]).values():
        refused(given, "CM-MASK-REFUSED", "helped to open one of [0, 1, 2, 3] before")


def test_exact_sums_are_of_the_same_sites_in_every_round(masked):
    sites, signers = masked(rule="exact")
    size = sites[0].told.sizes["sums"]
    first = question(sites, what="sums", size=size, full=0.0)
    wards.Round(sites, first).whole(signers)
    second = question(sites, 2, what="sums", size=size, full=0.0, weights=np.ones(6).tobytes())
    one = wards.Round(sites, second)
    second_sum_refused(one, signers)


def test_a_range_that_the_rows_of_a_site_need_not_fit_gets_nothing_whatever_they_are(
    home, leader, tmp_path
):
    policy = f'models = ["{TREES["estimator"]}"]'
    projects, charter = wards.wards(tmp_path, 3, leader, policy)
    job = wards.job_of(charter, **TREES, masked=True)
    sites = [wards.answering(one, charter, job) for one in projects]
    signers = {number: one.signer for number, one in enumerate(projects)}
    # they have 100 to 102 rows, and answer small numbers
    for attempt, (most, kind) in enumerate(((100.0, Cannot), (103.0, Given)), 1):
        about = msgspec.structs.replace(about_trees(job), most=most)
        one = wards.Round(sites, about, attempt)
        given = one.masked([each.advert for each in one.begin(signers).values()])
        assert {type(each) for each in given.values()} == {kind}, given
    for one in projects:
        one.close()


def test_under_masks_an_answer_that_does_not_fit_is_one_and_no_other_question_gets_it(
    masked, agreed
):
    sites, signers = masked()

    def huge(task, numbers, size):
        return Found(vector=np.full(size, 1e9).tobytes(), rows=100)

    sites[0] = wards.answering(agreed[0][0], agreed[1], sites[0].told.job, huge)
    for attempt in (1, 2):
        one = wards.Round(sites, question(sites), attempt)
        given = one.masked([each.advert for each in one.begin(signers).values()])
        refused(given[0], "CM-OUT-OF-RANGE", "does not fit")
    (kept,) = agreed[0][0].federation.of(agreed[1].digest, sites[0].told.job.digest)
    assert msgspec.json.decode(kept.record)["answers"] == {}
    other = question(sites, weights=np.ones(6).tobytes())
    refused(wards.Round(sites, other, 3).begin(signers)[0], "CM-ROUND-TWICE", "something else")


def test_sums_of_another_kind_are_of_the_same_sites_too(masked):
    sites, signers = masked(rule="exact")
    first = question(sites, what="moments", size=6, weights=b"", full=0.0)
    wards.Round(sites, first).whole(signers)
    size = sites[0].told.sizes["sums"]
    one = wards.Round(sites, question(sites, 2, what="sums", size=size, full=0.0))
    second_sum_refused(one, signers)


def test_a_site_that_started_again_goes_on_with_the_next_attempt(masked, agreed):
    sites, signers = masked()
    first = wards.Round(sites, question(sites))
    first.masked([one.advert for one in first.begin(signers).values()])
    compute = wards.Counted()
    sites[0] = wards.answering(agreed[0][0], agreed[1], sites[0].told.job, compute)
    lost = sites[0](wards.Heard(turn=first.turn(3), heard=[0, 1, 2, 3]))
    refused(lost, "CM-MASK-REFUSED", "did not begin here")
    wards.Round(sites, question(sites), attempt=2).whole(signers)
    assert compute.tasks == []


def test_the_site_s_record_says_whose_sum_was_opened(masked, agreed):
    sites, signers = masked()
    wards.Round(sites, question(sites)).whole(signers, without=3)
    kept: list[Kept] = agreed[0][0].federation.of(agreed[1].digest, sites[0].told.job.digest)
    assert b'"heard":[0,1,2]' in kept[0].record


def test_what_is_told_of_a_round_has_a_form(site):
    assert Told(job=site().told.job.id, round=1, taken=True, why="").round == 1
    assert session_of(asked(site()).question, 1) != session_of(asked(site()).question, 2)
