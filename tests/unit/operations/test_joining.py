"""A site takes part: what it does not allow it says, writes down and does not compute; whoever
withdraws between two rounds is in the next one no longer.
"""

import contextlib

import msgspec
import numpy as np
import pytest
from tests.unit.operations import wards
from tests.unit.operations.test_judging import noisy

import casemate
from casemate.controls.federation import cards
from casemate.controls.federation.messages import (
    JOB_TYPE,
    RECORD_TYPE,
    Cannot,
    Given,
    Hello,
    JobRecord,
    Next,
    No,
    Over,
    Ready,
    RoundRecord,
    Told,
    Wait,
    Welcome,
    job_of,
)
from casemate.core.digest import sha256
from casemate.core.errors import BusyError, DataError, RefusedError, VerificationError
from casemate.ml.federated.updates import Layout, unpack
from casemate.operations.contexts import Silent
from casemate.operations.federated import joining, ownrows
from casemate.operations.federated.joining import join
from casemate.operations.federated.judging import CodeNotApproved, SitePolicy
from casemate.stages.data.checks import leakage
from casemate.stages.train.training_code import digest_of


class Script:
    """A line to a coordinator that says one thing after the other, whatever it hears."""

    def __init__(self, *said):
        self.said, self.heard = list(said), []

    def __call__(self, *_, **__):
        return self

    def say(self, message):
        self.heard.append(message)
        found = self.said.pop(0)
        return found(self) if callable(found) else found

    def close(self):
        pass


class Heard(Silent):
    """What somebody who waits hears."""

    def __init__(self):
        self.told = []

    def progress(self, text, done, total):
        self.told.append(text)


@pytest.fixture
def leader():
    return wards.Coordinator()


@pytest.fixture
def ward(home, leader, tmp_path):
    """(a site that has approved a charter, the charter)."""
    (one,), charter = wards.wards(tmp_path, 1, leader)
    yield one, charter
    one.close()


@pytest.fixture
def says(monkeypatch):
    """A function that lets the coordinator say something."""

    def script(*said):
        found = Script(*said)
        monkeypatch.setattr(joining, "Line", found)
        return found

    return script


def welcome(job, leader, site=0):
    return Welcome(site=site, job=cards.signed(job, JOB_TYPE, leader.signer))


def asked(job, number):
    return wards.ask_of(wards.question_of(job, number))


OVER = Over(record=b"", why="that was all")


def test_a_coordinator_that_is_about_to_end_is_not_greeted_all_the_time(ward, says, monkeypatch):
    one, _ = ward
    pauses = []
    monkeypatch.setattr(joining.time, "sleep", pauses.append)
    line = says(OVER, OVER, No(why="that is another charter"))
    with pytest.raises(RefusedError, match="another charter"):
        join(one, "wards", once=False)
    assert [type(message) for message in line.heard] == [Hello] * 3
    assert pauses == [joining.GREET_SECONDS] * 2


def test_how_long_a_coordinator_may_be_away_is_said_by_the_site(ward, monkeypatch):
    one, _ = ward
    file = one.root / "casemate.toml"
    file.write_text(file.read_text().replace("[federate]", "[federate]\npatience = 7.0"))
    given = []

    def line(*words, **_):
        given.extend(words)
        return Script(OVER)

    monkeypatch.setattr(joining, "Line", line)
    with contextlib.closing(casemate.open(one.root)) as project:
        join(project, "wards")
    assert 7.0 in given


def refusal(project):
    newest = wards.entries(project)[-1]
    assert newest.outcome == "denied"
    return newest.detail["code"]


@pytest.mark.slow
def test_a_site_answers_until_the_job_is_over(ward, leader, says):
    one, charter = ward
    job = wards.job_of(charter)
    told = Told(job=job.id, round=1, taken=True, why="")
    left_out = Told(job=job.id, round=2, taken=False, why="it lies far from the others")
    line = says(
        welcome(job, leader), Wait(), asked(job, 1), Wait(), told, asked(job, 2), Wait(), left_out, OVER
    )  # fmt: skip
    found = join(one, "wards")
    kinds = [type(message) for message in line.heard]
    assert kinds == [Hello, Ready, Next, Given, Next, Next, Given, Next, Next]
    assert 100 < line.heard[1].rows < 200
    assert found.rounds == [1, 2]
    assert found.not_taken == {2: "it lies far from the others"}
    assert found.why == "that was all"


NET = b"""import torch
def build(columns): return torch.nn.Sequential(torch.nn.Linear(5, 2))
"""


@pytest.mark.slow
def test_a_network_is_answered_with_noise_that_the_site_has_paid_for(home, leader, tmp_path, says):
    pytest.importorskip("torch")
    more = 'models = ["NetworkClassifier"]\nnoise = true\nepsilon_round = 5.0'
    (one,), charter = wards.wards(tmp_path, 1, leader, more)
    code = {"train.py": NET}
    file = one.root / "casemate.toml"
    file.write_text(file.read_text().replace(digest_of(wards.CODE), digest_of(code)))
    one.close()
    one = casemate.open(one.root)
    job = wards.job_of(
        charter, code=code, estimator="NetworkClassifier", **noisy(epsilon=2.0, rounds=3),
        layout=Layout(names=["0.weight", "0.bias"], shapes=[[2, 5], [2]]),
    )  # fmt: skip
    line = says(welcome(job, leader), Wait(), asked(job, 1), Wait(), OVER)
    join(one, "wards")
    (given,) = [message for message in line.heard if isinstance(message, Given)]
    assert given.update.rows == 1
    assert np.isfinite(unpack(given.update, job.layout, 1)).all()
    (paid,) = one.ledger.of(one.config.dataset_name, wards.PURPOSE)
    assert [(event.steps, event.sigma) for event in paid.events] == [(2, job.plan.sigma)]
    assert [line.outcome for line in wards.entries(one, "budget:spent")] == ["done"]
    one.close()


@pytest.mark.slow  # computes in the sandbox
def test_noise_over_the_whole_site_is_paid_for_once_a_round_and_covers_what_it_sends(
    home, leader, tmp_path, says
):
    more = 'noise = true\nnoise_unit = "site"\nepsilon_round = 5.0'
    (one,), charter = wards.wards(tmp_path, 1, leader, more)
    wanted = noisy(epsilon=2.0, rounds=3, unit="site", epochs=4, batch=16, calibrated=1.0)
    job = wards.job_of(charter, **wanted)
    line = says(welcome(job, leader), Wait(), asked(job, 1), Wait(), asked(job, 2), Wait(), OVER)
    join(one, "wards")
    given = [message for message in line.heard if isinstance(message, Given)]
    assert [each.update.rows for each in given] == [1, 1], line.heard
    sent = np.concatenate([unpack(each.update, job.layout, each.turn.round) for each in given])
    # the site's own part is no longer than 1; noise of this spread is far longer
    assert 0.3 * job.plan.spread < sent.std() < 3 * job.plan.spread
    paid = one.ledger.of(one.config.dataset_name, wards.PURPOSE)
    assert [[(event.steps, event.sigma) for event in each.events] for each in paid] == [
        [(1, job.plan.sigma)]
    ] * 2
    one.close()


def test_under_noise_a_site_need_not_declare_again_what_the_charter_says_of_its_columns(
    home, leader, tmp_path
):
    table = wards.rows(0).append_column("own", [range(200)])
    (one,), charter = wards.wards(
        tmp_path, 1, leader, "\n[data.columns.own]\nuse = false", table=table
    )
    declared = ownrows.read(one, charter, noisy=True)
    file = one.root / "casemate.toml"
    file.write_text(
        file.read_text().replace(wards.DECLARED, "[data.columns]\nb = { min = -4, max = 4 }\n")
        .replace("[data.columns.own]\nuse = false", "")
    )  # fmt: skip
    one.close()
    one = casemate.open(one.root)
    assert ownrows.read(one, charter, noisy=True).digest == declared.digest
    strange = charter.columns.columns[0]
    narrow = msgspec.structs.replace(strange, min=-1.0, max=1.0)
    columns = [narrow, *charter.columns.columns[1:]]
    asked = msgspec.structs.replace(charter.columns, columns=columns)
    asked = msgspec.structs.replace(charter, columns=asked)
    with pytest.raises(DataError, match="a") as caught:
        ownrows.read(one, asked, noisy=True)
    # whoever never said that is told who did, and what helps
    assert "nothing of a, c, y, so under noise what the charter says holds" in caught.value.hint
    one.close()
    file.write_text(
        file.read_text().replace("[data.columns]\n", "[data.columns]\na = { min = -9, max = 9 }\n")
    )
    one = casemate.open(one.root)
    assert ownrows.read(one, asked, noisy=True).table.equals(
        ownrows.read(one, charter, noisy=True).table
    )
    one.close()
    # one end alone: the other is the charter's
    low = msgspec.structs.replace(strange, min=-1.0, max=4.0)
    asked = msgspec.structs.replace(charter.columns, columns=[low, *charter.columns.columns[1:]])
    file.write_text(file.read_text().replace("a = { min = -9, max = 9 }", "a = { min = -9 }"))
    one = casemate.open(one.root)
    ownrows.read(one, msgspec.structs.replace(charter, columns=asked), noisy=True)
    one.close()


def test_rows_are_read_for_others_without_a_look_for_what_only_this_owner_would_hear_of(
    ward, monkeypatch
):
    one, charter = ward
    heard = Heard()
    with_leaks = ownrows.read(one, charter, noisy=False, reporter=heard).table
    assert heard.told and not [text for text in heard.told if "screening" in text]

    def looks(*_):
        raise AssertionError("looked for leaks")

    monkeypatch.setattr(leakage, "check", looks)
    assert ownrows.read(one, charter, noisy=False).table == with_leaks


def test_code_that_nobody_approved_is_laid_down_to_be_read_and_nothing_is_computed(
    ward, leader, says
):
    one, charter = ward
    code = {**wards.CODE, "more/evil.py": b"import os\n"}
    job = wards.job_of(charter, code=code)
    line = says(welcome(job, leader), Wait())
    with pytest.raises(CodeNotApproved, match=job.code_digest) as caught:
        join(one, "wards")
    assert "read federated/wards/code" in caught.value.hint
    folder = one.root / "federated" / "wards" / "code"
    assert (folder / "more" / "evil.py").read_bytes() == b"import os\n"
    (_, said) = line.heard
    assert (said.code, said.round) == ("CM-SITE-CODE", 0)
    assert refusal(one) == "CM-SITE-CODE"


def test_other_code_than_the_refused_one_replaces_it(ward, leader, says):
    one, charter = ward
    for code in ({"train.py": b"1", "old.py": b""}, {"train.py": b"2"}):
        says(welcome(wards.job_of(charter, code=code), leader), Wait())
        with pytest.raises(CodeNotApproved):
            join(one, "wards")
    files = [path.name for path in (one.root / "federated" / "wards" / "code").iterdir()]
    assert files == ["train.py"]


def test_a_job_of_another_charter_gets_nothing_and_is_on_record(ward, leader, says):
    one, charter = ward
    job = msgspec.structs.replace(wards.job_of(charter), charter="0" * 64)
    line = says(welcome(job, leader), Wait())
    with pytest.raises(SitePolicy, match="another charter"):
        join(one, "wards")
    assert isinstance(line.heard[-1], Cannot)
    assert refusal(one) == "CM-SITE-POLICY"


@pytest.mark.parametrize("site", [0, 1])
def test_a_job_that_somebody_else_signed_or_for_another_site_is_on_record(ward, leader, says, site):
    one, charter = ward
    signer = leader if site else wards.Coordinator("stranger")
    line = says(welcome(wards.job_of(charter), signer, site))
    with pytest.raises(VerificationError):
        join(one, "wards")
    assert [type(message) for message in line.heard] == [Hello]
    assert refusal(one) in ("CM-SIGNER", "CM-VERIFY")


def test_a_coordinator_that_is_allowed_no_longer_is_not_even_called(ward, says):
    one, _ = ward
    file = one.root / "casemate.toml"
    file.write_text(file.read_text().replace('coordinators = ["', 'coordinators = ["0" ]\n#'))
    text = file.read_text().replace('["0" ]', '["' + "0" * 64 + '"]')
    file.write_text(text)
    line = says()
    with pytest.raises(RefusedError):
        join(casemate.open(one.root), "wards")
    assert line.heard == []
    assert refusal(one) == "CM-REFUSED"


def test_a_coordinator_that_says_no_is_not_asked_again(ward, says):
    line = says(No(why="that is another charter"))
    with pytest.raises(RefusedError, match="that is another charter"):
        join(ward[0], "wards")
    assert len(line.heard) == 1


def test_a_second_process_of_a_site_does_not_take_part_too(ward, leader, says):
    one, _ = ward

    def meanwhile(_):
        with pytest.raises(BusyError, match="takes part in wards already"):
            join(one, "wards")
        return OVER

    says(meanwhile)
    assert join(one, "wards").why == "that was all"


def test_a_class_that_the_charter_does_not_know_is_named_beside_those_that_it_knows():
    own = msgspec.structs.replace(wards.COLUMNS, classes=[*wards.COLUMNS.classes, "maybe"])
    with pytest.raises(DataError, match="which names '0', '1': 'maybe'"):
        ownrows.require_columns(wards.COLUMNS, own)


def test_a_table_without_the_charter_s_columns_takes_no_part(ward, leader, says):
    one, charter = ward
    file = one.root / "casemate.toml"
    file.write_text(file.read_text().replace("[data.columns]\n", "[data.columns]\n").replace(
        "a = { min = -4, max = 4 }", "a = { min = -4, max = 4, use = false }"
    ))  # fmt: skip
    line = says(welcome(wards.job_of(charter), leader), Wait())
    with pytest.raises(DataError, match=r"a \(number\)"):
        join(casemate.open(one.root), "wards")
    assert line.heard[-1].why == "the site cannot compute it"


def test_a_column_that_is_left_aside_here_is_named_with_what_takes_it_up(home, leader, tmp_path):
    (one,), charter = wards.wards(tmp_path, 1, leader)
    file = one.root / "casemate.toml"
    file.write_text(
        file.read_text().replace("a = { min = -4,", "a = { use = false, min = -4,")
    )  # fmt: skip
    one.close()
    one = casemate.open(one.root)
    with pytest.raises(DataError, match=r"a \(number\)") as caught:
        ownrows.read(one, charter, noisy=False)
    assert "of a say use = true" in caught.value.hint
    one.close()


def test_a_site_hears_of_rows_that_the_charter_s_limits_and_values_do_not_hold(
    home, leader, tmp_path
):
    (one,), charter = wards.wards(tmp_path, 1, leader)
    assert not beyond(one, charter)
    first, second, third, target = charter.columns.columns
    narrow = [
        msgspec.structs.replace(first, min=-1.0, max=1.0),
        second,
        msgspec.structs.replace(third, categories=["x"]),
        target,
    ]
    asked = msgspec.structs.replace(charter.columns, columns=narrow)
    numbers, values = beyond(one, msgspec.structs.replace(charter, columns=asked))
    rows = ownrows.read(one, charter, noisy=False).table
    outside = np.abs(rows["a"].to_numpy()) > 1
    assert numbers.endswith(f"nearest: a in {outside.sum()} rows")
    assert values.endswith(f"its own: c in {rows['c'].to_pylist().count('y')} rows")
    one.close()


def beyond(site, charter):
    heard = Heard()
    ownrows.read(site, charter, noisy=False, reporter=heard)
    return [text for text in heard.told if "charter" in text]


def test_too_few_rows_are_not_answered_from_and_not_counted_out(ward, leader, says):
    one, charter = ward
    file = one.root / "casemate.toml"
    file.write_text(file.read_text().replace("least_rows = 20", "least_rows = 5000"))
    line = says(welcome(wards.job_of(charter), leader), Wait())
    with pytest.raises(SitePolicy, match="fewer than 5000"):
        join(casemate.open(one.root), "wards")
    assert isinstance(line.heard[-1], Cannot)


@pytest.mark.slow
def test_a_coordinator_that_was_started_again_is_told_once_more(ward, leader, says):
    one, charter = ward
    job = wards.job_of(charter)
    line = says(
        welcome(job, leader), Wait(), asked(job, 1), No(why="say hello first"),
        No(why="say hello first"), welcome(job, leader), Wait(), asked(job, 1), Wait(), OVER,
    )  # fmt: skip
    found = join(one, "wards")
    given = [message for message in line.heard if isinstance(message, Given)]
    assert given[0] == given[1]
    assert found.rounds == [1]
    ready = [message for message in line.heard if isinstance(message, Ready)]
    assert ready[0] == ready[1]


@pytest.mark.slow
def test_a_coordinator_that_has_begun_another_job_is_answered_nothing_of_it_by_who_judged_the_first(
    ward, leader, says
):
    one, charter = ward
    job, other = wards.job_of(charter), wards.job_of(charter, id="f" * 32)
    line = says(
        welcome(job, leader), Wait(), asked(job, 1), welcome(other, leader), asked(other, 1), OVER
    )
    found = join(one, "wards")
    assert found.why == "the coordinator has begun another job"
    assert {job_of(message) for message in line.heard[1:]} == {job.id}


@pytest.mark.slow
def test_a_coordinator_whose_record_says_another_answer_is_found_out(ward, leader, says):
    one, charter = ward
    job = wards.job_of(charter)

    def over(line):
        given = next(message for message in line.heard if isinstance(message, Given))
        rounds = [
            RoundRecord(number=number, what="train", question="", answers={0: answer})
            for number, answer in (
                (1, sha256(msgspec.msgpack.encode(given.update))), (2, "0" * 64),
            )
        ]  # fmt: skip
        record = JobRecord(
            charter=charter.digest, job=job.digest, party=leader.card.fingerprint, rounds=rounds
        )
        return Over(record=cards.signed(record, RECORD_TYPE, leader.signer), why="")

    says(welcome(job, leader), Wait(), asked(job, 1), Wait(), asked(job, 2), Wait(), over)
    assert join(one, "wards").differs == [2]
    assert wards.entries(one, "federation:over")[-1].outcome == "differs"


SUBJECTS = """
[privacy.basis.research]
legal = "consent"
"""


@pytest.mark.slow
def test_whoever_withdraws_between_two_rounds_is_in_the_next_one_no_longer(
    home, leader, tmp_path, says
):
    people = [f"p{number}" for number in range(200)]
    table = wards.rows(0).add_column(0, "person", [people])
    (one,), charter = wards.wards(tmp_path, 1, leader, SUBJECTS, table=table, subject="person")
    head = "subject,purpose,time,status,text,source\n"
    lines = [f"{person},research,2026-01-01T00:00:00Z,given,v1,form\n" for person in people]
    (tmp_path / "consents.csv").write_text(head + "".join(lines))
    one.privacy.consent.add(tmp_path / "consents.csv")
    job = wards.job_of(charter)

    def withdrawn(_):
        for person in people[:150]:
            one.privacy.consent.withdraw(person)
        return asked(job, 2)

    line = says(welcome(job, leader), Wait(), asked(job, 1), Wait(), withdrawn, Wait(), OVER)
    with contextlib.suppress(RefusedError):
        join(one, "wards")
    given = [message.update.rows for message in line.heard if isinstance(message, Given)]
    assert given[0] > 100
    assert given[1] <= 50
