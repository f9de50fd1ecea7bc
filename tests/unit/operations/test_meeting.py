"""Sites and a coordinator in one process, and sites that lie: each lie is a few lines."""

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from tests.unit.operations.owners import (
    OWNERS,
    Gone,
    Notes,
    Site,
    charter,
    columns,
    meeting_of,
    table,
)

from casemate.controls.federation.cards import Charter
from casemate.controls.federation.messages import (
    Ask,
    Cannot,
    Given,
    Hello,
    Next,
    No,
    Over,
    Question,
    Turn,
    Wait,
    Welcome,
)
from casemate.ml.federated import drawn, masking
from casemate.ml.federated.combining import full_of
from casemate.ml.federated.growing import grow
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.trees import CLASSIFIER, REGRESSOR, Growth
from casemate.ml.federated.trees import Site as Grower
from casemate.ml.federated.updates import Layout, Piece
from casemate.operations.federated.conducting import Conductor, Gathered, Options
from casemate.operations.federated.learning import Learning, Learnt
from casemate.operations.federated.meeting import Meeting, TooFewSites

pytestmark = pytest.mark.slow
Array = np.ndarray[Any, Any]


def learn(
    meeting: Meeting,
    notes: Notes | None = None,
    options: Options | None = None,
    started: int = 0,
) -> Learnt:
    """All rounds of the meeting's job."""
    conductor = Conductor(
        meeting, options or Options(wait=4.0), notes or Notes(), lambda: "now", started
    )
    classes = len(meeting.charter.columns.classes)
    start = np.zeros(meeting.job.layout.size)
    learning = Learning(
        meeting.job,
        classes,
        len(meeting.charter.sites),
        start,
        conductor.ask,
        lambda: full_of([meeting.rows_of(site) for site in conductor.there()]),
        lambda *_: None,
    )
    try:
        return learning.learn()
    finally:
        meeting.dismiss(Over(record=b"", why=""), 1.0)


def sites_of(meeting: Meeting, rows: Array, values: Array, **lies: dict[str, Any]) -> list[Site]:
    """One of each place of the charter, with every so-manieth row; `lies` by number, such as `s1`."""
    count = len(meeting.charter.sites)
    found = []
    for number in range(count):
        more = lies.get(f"s{number}", {})
        site = Site(meeting, number, rows[number::count], values[number::count], **more)
        found.append(site)
        site.start()
    return found


def pooled(rows: Array, codes: Array) -> tuple[Array, Array]:
    """(coefficients, intercept) of standardised rows, by scikit-learn."""
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    fitted = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(scaled, codes)
    return fitted.coef_[0], fitted.intercept_


@pytest.mark.parametrize("masked", [False, True])
def test_the_sums_of_sites_lead_to_the_pooled_fit(masked: bool) -> None:
    rows, codes, _ = table(300)
    rows = np.clip(rows, -4, 4)
    meeting = meeting_of(charter(3), masked=masked)
    sites_of(meeting, rows, codes)
    learnt = learn(meeting)
    coefficients, intercept = pooled(rows, codes)
    assert np.abs(learnt.weights - np.append(coefficients, intercept)).max() < 1e-6
    assert learnt.sites == [0, 1, 2]


def test_least_squares_over_sites_are_the_pooled_ones() -> None:
    rows, _, values = table(300)
    rows = np.clip(rows, -4, 4)
    meeting = meeting_of(charter(3, schema=columns(3)), masked=True)
    sites_of(meeting, rows, values)
    learnt = learn(meeting)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    fitted = Ridge(alpha=1.0).fit(scaled, values)
    assert np.abs(learnt.weights - np.append(fitted.coef_, fitted.intercept_)).max() < 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_under_masks_all_sums_are_asked_of_the_sites_of_the_first(masked: bool) -> None:
    job = meeting_of(charter(3, schema=columns(3)), masked=masked).job
    asked: list[tuple[str, list[int] | None]] = []

    def ask(question: Question, only: list[int] | None) -> Gathered:
        asked.append((question.what, only))
        return Gathered(heard=[0, 2], vector=np.ones(question.size).tobytes())

    Learning(job, 0, 3, np.zeros(0), ask, lambda: 1.0, lambda *_: None).learn()
    assert asked == [("moments", None), ("gram", [0, 2] if masked else None)]


GROWTH = Growth(trees=3, depth=2, rate=0.5, l2=1.0, bins=16, least=20)


def trees_of(agreed: Charter, **changes: Any) -> Meeting:
    """Of a job that grows some, by sums."""
    kind = CLASSIFIER if agreed.columns.classes else REGRESSOR
    given = {
        "estimator": kind, "settings": GROWTH.settings, "rounds": GROWTH.rounds,
        "layout": Layout(names=[], shapes=[], dtype="<f8"),
    }  # fmt: skip
    return meeting_of(agreed, **(given | changes))


def grown(meeting: Meeting, rows: Array, target: Array) -> Array:
    """The trees of all rows together."""
    frame, limits = pd.DataFrame(rows, columns=["x0", "x1", "x2"]), meeting.job.limits
    many = len(meeting.charter.columns.classes)
    return grow(GROWTH, limits, many, Grower(frame, target, limits, many, GROWTH)).flat()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("quantity", [False, True])
def test_the_sums_of_sites_grow_the_trees_of_the_pooled_rows(masked: bool, quantity: bool) -> None:
    rows, codes, values = table(300)
    target, schema = (values, columns(3)) if quantity else (codes, None)
    meeting, notes = trees_of(charter(3, schema=schema), masked=masked), Notes()
    sites_of(meeting, rows, target)
    learnt = learn(meeting, notes)
    assert np.abs(learnt.weights - grown(meeting, rows, target)).max() < 1e-9
    assert learnt.forest is not None
    assert learnt.sites == [0, 1, 2]
    asked = [question.what for question, _, _ in notes.kept.values()]
    assert asked == ["counts"] + ["splits"] * GROWTH.trees * GROWTH.depth


def with_noise(agreed: Charter, **changes: Any) -> Meeting:
    """Of a job that grows trees with noise that is hardly any."""
    plan, rounds = LocalPlan(sigma=1e-3), drawn.rounds_of(GROWTH)
    return trees_of(agreed, **({"epsilon": 1e4, "plan": plan, "rounds": rounds} | changes))


@pytest.mark.parametrize("masked", [False, True])
def test_trees_with_noise_take_a_question_each_and_no_count_of_rows(masked: bool) -> None:
    rows, codes, _ = table(600)
    meeting, notes = with_noise(charter(3), masked=masked), Notes()
    sites_of(meeting, rows, codes)
    learnt, limits = learn(meeting, notes), meeting.job.limits
    assert learnt.forest is not None
    assert learnt.sites == [0, 1, 2]
    asked = [question for question, _, _ in notes.kept.values()]
    assert [one.what for one in asked] == ["leaves"] * (1 + GROWTH.trees)
    assert asked[0].size == 2  # all rows
    pooled = Grower(pd.DataFrame(rows, columns=["x0", "x1", "x2"]), codes, limits, 2, GROWTH)
    whole = drawn.grow(
        GROWTH, limits, 2, 1e-3, 0, lambda asked: (drawn.sums_by_leaf(pooled, asked, 1.0), 3)
    )
    assert np.abs(learnt.weights - whole.flat()).max() < 0.1


def test_a_site_that_is_lost_ends_no_trees_with_noise_even_under_masks() -> None:
    rows, codes, _ = table(800)
    meeting, notes = with_noise(charter(5, least=4), masked=True), Notes()
    sites = sites_of(meeting, rows, codes)
    answer = sites[2].answer

    def fails(asked: Any) -> Given:
        if asked.turn.round == 3:
            raise Gone
        return answer(asked)

    sites[2].answer = fails  # type: ignore[method-assign]
    learnt = learn(meeting, notes, Options(wait=1.0))
    heard = [gathered.heard for _, gathered, _ in notes.kept.values()]
    assert heard == [[0, 1, 2, 3, 4]] * 2 + [[0, 1, 3, 4]] * 2
    assert learnt.sites == [0, 1, 2, 3, 4]
    assert learnt.forest is not None


def test_a_site_whose_columns_count_other_rows_is_named_and_left_out_from_the_beginning() -> None:
    rows, codes, _ = table(300)
    meeting, notes = trees_of(charter(3, least=2), rounds=2 * GROWTH.rounds), Notes()

    def later(given: Given) -> Given:
        def one_more(vector: Array) -> bytes:
            return np.append(vector[:-1], vector[-1] + 1).tobytes()

        changed = lie(lambda np, one: _as(one, content=one_more(np.frombuffer(one.content))))
        return changed(given) if given.turn.round == 3 else given

    sites_of(meeting, rows, codes, s1={"lie": later})
    learnt = learn(meeting, notes)
    kept = np.concatenate([rows[0::3], rows[2::3]]), np.concatenate([codes[0::3], codes[2::3]])
    assert learnt.sites == [0, 2]
    assert np.abs(learnt.weights - grown(meeting, *kept)).max() < 1e-9
    assert "columns count other rows" in notes.kept[3][2].refused[1]


@pytest.mark.parametrize("quantity", [False, True])
def test_a_site_whose_target_is_that_of_no_rows_is_named_and_left_out(quantity: bool) -> None:
    rows, codes, values = table(300)
    target, schema = (values, columns(3)) if quantity else (codes, None)
    meeting, notes = trees_of(charter(3, least=2, schema=schema)), Notes()

    def otherwise(vector: Array) -> bytes:
        changed = vector.copy()
        changed[2] = -1.0 if quantity else vector[2] + 1
        return changed.tobytes()

    wrong = lie(lambda np, one: _as(one, content=otherwise(np.frombuffer(one.content))))
    first = {"lie": lambda given: wrong(given) if given.turn.round == 1 else given}
    sites_of(meeting, rows, target, s1=first)
    learn(meeting, notes)
    assert "those of no rows" in notes.kept[1][2].refused[1]
    assert notes.kept[1][1].heard == [0, 2]


@pytest.mark.parametrize("rule", ["fedavg", "fedprox", "scaffold", "fedavgm", "fedadam"])
def test_every_rule_learns_over_sites(rule: str) -> None:
    rows, codes, _ = table(300)
    plan = LocalPlan(rate=0.5, controlled=rule == "scaffold")
    meeting = meeting_of(charter(3), rule=rule, rounds=15, plan=plan)
    sites_of(meeting, rows, codes)
    learnt = learn(meeting)
    assert learnt.scale is not None
    scores = (rows - learnt.scale.means) / np.array(learnt.scale.deviations) @ learnt.weights[:3]
    coefficients, intercept = pooled(rows, codes)
    best = (rows - rows.mean(axis=0)) / rows.std(axis=0) @ coefficients + intercept
    right, most = (np.mean((found > 0) == codes) for found in (scores + learnt.weights[3], best))
    assert right > most - 0.03


def test_a_masked_mean_is_the_plain_one() -> None:
    rows, codes, _ = table(300)
    found = []
    for masked in (False, True):
        meeting = meeting_of(charter(3), rule="fedavg", rounds=3, masked=masked)
        sites_of(meeting, rows, codes)
        found.append(learn(meeting).weights)
    assert np.linalg.norm(found[0] - found[1]) < 1e-6 * np.linalg.norm(found[0])


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_site_that_vanishes_at_any_masked_step_holds_nobody_up_for_ever(step: int) -> None:
    rows, codes, _ = table(400)
    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=2, masked=True)
    notes = Notes()
    sites_of(meeting, rows, codes, s2={"silent": step})
    learnt = learn(meeting, notes, Options(wait=1.0))
    assert np.isfinite(learnt.weights).all()
    trained = [kept for _, kept, _ in notes.kept.values()][-1]
    assert trained.heard == [0, 1, 3, 4]


def lie(function: Callable[[Any, Piece], Piece]) -> Callable[[Given], Given]:
    """What is given, with its first piece changed."""

    def found(given: Given) -> Given:
        assert given.update is not None
        piece = function(np, given.update.pieces[0])
        pieces = [piece, *given.update.pieces[1:]]
        update = msgspec.structs.replace(given.update, pieces=pieces)
        return msgspec.structs.replace(given, update=update)

    return found


def _as(piece: Piece, **changes: Any) -> Piece:
    return msgspec.structs.replace(piece, **changes)


LIES = {
    "nan": lie(lambda np, one: _as(one, content=np.full(len(one.content) // 8, np.nan).tobytes())),
    "infinite": lie(
        lambda np, one: _as(one, content=np.full(len(one.content) // 8, np.inf).tobytes())
    ),
    "huge": lie(lambda np, one: _as(one, content=np.full(len(one.content) // 8, 1e30).tobytes())),
    "shape": lie(lambda np, one: _as(one, shape=[*one.shape, 1])),
    "short": lie(lambda np, one: _as(one, content=one.content[:-8])),
    "half": lie(lambda np, one: _as(one, dtype="<f2")),
    "single": lie(lambda np, one: _as(one, dtype="<f4")),
    "objects": lie(lambda np, one: _as(one, dtype="|O")),
    "name": lie(lambda np, one: _as(one, name="other")),
    "round": lambda given: msgspec.structs.replace(
        given, update=msgspec.structs.replace(given.update, round=7)
    ),
    "rowless": lambda given: msgspec.structs.replace(
        given, update=msgspec.structs.replace(given.update, rows=-5)
    ),
    "nothing": lambda given: msgspec.structs.replace(given, update=None),
}


@pytest.mark.parametrize("kind", [*LIES])
def test_an_update_that_is_none_is_refused_and_its_site_told_and_recorded(kind: str) -> None:
    rows, codes, _ = table(300)
    meeting, notes = meeting_of(charter(3, least=2), rule="fedavg", rounds=2), Notes()
    sites = sites_of(meeting, rows, codes, s1={"lie": LIES[kind]})
    learnt = learn(meeting, notes)
    for site in sites:
        site.join(5)
    assert np.isfinite(learnt.weights).all()
    for _, kept, record in notes.kept.values():
        assert kept.heard == [0, 2]
        assert set(record.answers) == {0, 2}
        assert set(record.refused) == {1}
    assert len(sites[1].refusals) == 3
    assert [one.taken for one in sites[1].told] == [False] * 3
    assert all(one.taken for one in sites[0].told)


def test_a_site_whose_sums_are_refused_is_left_out_of_an_exact_fit_from_its_beginning() -> None:
    rows, codes, _ = table(300)
    rows = np.clip(rows, -4, 4)
    meeting = meeting_of(charter(3, least=2))

    def later(given: Given) -> Given:
        return LIES["nan"](given) if given.turn.round == 3 else given

    sites_of(meeting, rows, codes, s1={"lie": later})
    learnt = learn(meeting)
    kept = np.concatenate([rows[0::3], rows[2::3]]), np.concatenate([codes[0::3], codes[2::3]])
    coefficients, intercept = pooled(*kept)
    assert learnt.sites == [0, 2]
    assert np.abs(learnt.weights - np.append(coefficients, intercept)).max() < 1e-6


def test_a_site_that_says_it_has_a_billion_rows_weighs_no_more_than_ten_median_ones() -> None:
    rows, codes, _ = table(300)
    meeting, notes = meeting_of(charter(5), rule="fedavg", rounds=1), Notes()
    sites_of(meeting, rows, codes, s1={"claimed": 10**9})
    learn(meeting, notes)
    _, kept, _ = notes.kept[2]
    assert max(one.share for one in kept.evidence) == pytest.approx(10 / 14)


def test_where_noise_covers_how_many_rows_there_are_a_site_that_says_it_has_many_weighs_1() -> None:
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3), rule="fedavg", epsilon=1.0, plan=LocalPlan(sigma=2.0))
    Site(meeting, 0, rows, codes, claimed=10**9).introduce()
    assert meeting.rows_of(0) == 1


def test_a_site_that_undoes_what_others_do_is_suspect_and_left_out_by_krum() -> None:
    rows, codes, _ = table(600)

    def against(given: Given) -> Given:
        if given.update is None or given.turn.round == 1:
            return given
        return lie(lambda np, one: _as(one, content=(-5 * np.frombuffer(one.content)).tobytes()))(
            given
        )

    meeting = meeting_of(charter(6), rule="fedavg", rounds=1, combine="multi-krum")
    notes = Notes()
    sites = sites_of(meeting, rows, codes, s4={"lie": against})
    learn(meeting, notes, Options(wait=4.0, liars=1))
    sites[4].join(5)
    _, kept, record = notes.kept[2]
    assert [one.site for one in kept.evidence if one.suspect] == [4]
    assert "left out by multi-krum" in record.refused[4]
    assert 4 in record.answers
    assert not sites[4].told[-1].taken


def test_a_site_that_undid_what_others_do_is_left_out_also_by_who_goes_on_after_a_kill() -> None:
    rows, codes, _ = table(600)

    def against(given: Given) -> Given:
        if given.update is None or given.turn.round not in (2, 3):
            return given
        return lie(lambda np, one: _as(one, content=(-np.frombuffer(one.content)).tobytes()))(given)

    agreed, notes, options = charter(6), Notes(), Options(wait=4.0, liars=1, remembers=True)
    for started in range(2):
        meeting = meeting_of(agreed, rule="fedavg", rounds=3)
        sites_of(meeting, rows, codes, s4={"lie": against})
        learn(meeting, notes, options, started)
        told = {number: record.refused for number, (_, _, record) in notes.kept.items()}
        # in round 4 it is honest, and has not made up for the two before
        assert [[*told[number]] for number in (2, 3, 4)] == [[4], [4], [4]]
        assert "undid what they do" in told[4][4]
        del notes.kept[4]


def test_an_answer_counts_once_and_in_its_turn_alone() -> None:
    rows, codes, _ = table(90)
    meeting, notes = meeting_of(charter(3), rule="fedavg", rounds=3), Notes()
    sites = sites_of(meeting, rows, codes)
    learn(meeting, notes)
    for site in sites:
        site.join(5)
    last = sites[1]._given
    assert last is not None
    # the same bytes again, from whoever they came and from another
    for number in (1, 2):
        assert isinstance(meeting.hear(number, last), Over)
    assert len(notes.kept) == 4


def test_a_reply_that_was_lost_is_given_again_and_nothing_counts_twice() -> None:
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3), rule="fedavg", rounds=1)
    site = Site(meeting, 0, rows, codes)
    site.introduce()
    turn = Turn(job=meeting.job.id, round=1, attempt=1, step=0)
    question = Question(job=meeting.job.id, round=1, what="moments", size=9, most=1e9)
    counted: list[int] = []

    def check(number: int, given: Given) -> str:
        counted.append(number)
        return "taken"

    asking = threading.Thread(
        target=meeting.collect, args=({0: Ask(turn=turn, question=question)}, check, 5.0)
    )
    asking.start()
    asked = site.say(Next(job=meeting.job.id))
    assert isinstance(asked, Ask)
    assert site.say(Next(job=meeting.job.id)) == asked
    given = site.answer(asked)
    for other in ({"round": 2}, {"attempt": 2}, {"step": 1}):
        elsewhere = msgspec.structs.replace(turn, **other)
        assert isinstance(site.say(msgspec.structs.replace(given, turn=elsewhere)), No)
    assert counted == []
    assert [site.say(given), site.say(given)] == [Wait(), Wait()]
    changed = msgspec.structs.replace(given, control=b"12345678")
    assert isinstance(site.say(changed), No)
    asking.join()
    assert counted == [0]


def test_what_is_asked_next_is_the_reply_to_an_answer_and_is_asked_again_where_that_is_lost() -> (
    None
):
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3), poll=5.0)
    site = Site(meeting, 0, rows, codes)
    site.introduce()
    question = Question(job=meeting.job.id, round=1, what="moments", size=9, most=1e9)
    first, second = (
        Ask(turn=Turn(job=meeting.job.id, round=1, attempt=n, step=0), question=question)
        for n in (1, 2)
    )

    def both() -> None:
        for message in (first, second):
            meeting.collect({0: message}, lambda *_: "taken", 5.0)

    asking = threading.Thread(target=both)
    asking.start()
    given = site.answer(site.say(Next(job=meeting.job.id)))
    assert site.say(given) == second
    assert site.say(given) == Wait()
    assert site.say(Next(job=meeting.job.id)) == second
    meeting.dismiss(Over(record=b"", why="that was all"), 0.0)
    assert isinstance(site.say(site.answer(second)), Over)
    asking.join()


def test_an_answer_in_another_round_attempt_or_step_is_not_taken() -> None:
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3))
    site = Site(meeting, 0, rows, codes)
    site.introduce()
    for turn in (
        Turn(job=meeting.job.id, round=1, attempt=1, step=0),
        Turn(job="1" * 32, round=1, attempt=1, step=0),
    ):
        assert isinstance(site.say(Given(turn=turn)), No)
    assert isinstance(
        site.say(Cannot(job=meeting.job.id, round=3, code="CM-SITE-POLICY", why="no")), No
    )


def test_nobody_comes_in_anothers_name() -> None:
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3))
    site = Site(meeting, 0, rows, codes)
    # the transport says that it is site 0; it brings what site 1 signed, or names itself site 1
    assert isinstance(site.introduce(signer=OWNERS[1].signer), No)
    assert isinstance(site.introduce(number=1), No)
    assert meeting.present() == []
    assert site.introduce() == Wait()
    assert meeting.present() == [0]


def test_whoever_approved_another_charter_is_not_let_in() -> None:
    meeting = meeting_of(charter(3))
    assert isinstance(meeting.hear(0, Hello(charter="0" * 64, versions={})), No)


@pytest.mark.parametrize("field", ["advert", "masked", "agreement", "revealed", "sealed"])
def test_a_masked_answer_in_anothers_name_counts_as_silence(field: str) -> None:
    rows, codes, _ = table(400)

    def other(given: Given) -> Given:
        value = getattr(given, field)
        if not value:
            return given
        changed = (
            [msgspec.structs.replace(one, sender=0) for one in value]
            if field == "sealed"
            else msgspec.structs.replace(value, site=0)
        )
        return msgspec.structs.replace(given, **{field: changed})

    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=1, masked=True)
    notes = Notes()
    sites = sites_of(meeting, rows, codes, s3={"lie": other})
    learn(meeting, notes, Options(wait=2.0))
    assert len(sites[3].refusals) == 2
    assert all({0, 1, 2, 4} <= set(kept.heard) for _, kept, _ in notes.kept.values())


def garbage(given: Given, *receivers: int) -> Given:
    """What a site seals for these others is nothing that they can open."""
    sealed = [
        msgspec.structs.replace(one, half=one.half[::-1]) if one.receiver in receivers else one
        for one in given.sealed
    ]
    return msgspec.structs.replace(given, sealed=sealed)


def test_a_site_that_seals_garbage_is_named_left_out_and_told_and_the_round_goes_on() -> None:
    rows, codes, _ = table(400)
    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=1, masked=True)
    notes = Notes()
    sites = sites_of(meeting, rows, codes, s3={"lie": lambda given: garbage(given, 0, 1, 2, 4)})
    learn(meeting, notes, Options(wait=2.0))
    for _, kept, record in notes.kept.values():
        assert kept.heard == [0, 1, 2, 4]
        assert record.refused == {3: "4 of 4 other sites cannot open what it sealed for them"}
    assert {one.round for one in sites[3].told if not one.taken} == {1, 2}


def test_one_site_that_complains_puts_nobody_out_and_is_itself_not_in_the_round() -> None:
    rows, codes, _ = table(400)
    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=1, masked=True)
    notes = Notes()
    sites_of(meeting, rows, codes, s3={"lie": lambda given: garbage(given, 0)})
    learn(meeting, notes, Options(wait=2.0))
    for _, kept, record in notes.kept.values():
        assert kept.heard == [1, 2, 3, 4]
        assert [*record.refused] == [0]
    assert any("what site 3 sealed for site 0 cannot be opened" in note for note in notes.notes)


@pytest.mark.parametrize("key", [bytes(32), b"short"])
def test_a_key_that_others_could_not_seal_for_counts_as_silence_of_its_site(key: bytes) -> None:
    rows, codes, _ = table(400)

    def low(given: Given) -> Given:
        if given.advert is None:
            return given
        signed = masking.advertised(
            sites[3]._member.terms,
            3,
            given.advert.public,
            given.advert.box[:1184] + key,  # type: ignore[union-attr]
        )
        advert = msgspec.structs.replace(
            given.advert, box=given.advert.box[:1184] + key, signature=sites[3].key.sign(signed)
        )
        return msgspec.structs.replace(given, advert=advert)

    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=1, masked=True)
    notes, sites = Notes(), sites_of(meeting, rows, codes, s3={"lie": low})
    learn(meeting, notes, Options(wait=2.0))
    assert [kept.heard for _, kept, _ in notes.kept.values()] == [[0, 1, 2, 4]] * 2
    assert all("key" in why for why in sites[3].refusals)


@pytest.mark.parametrize("field", ["advert", "agreement"])
def test_what_a_site_did_not_sign_counts_as_its_silence_and_stops_nobody_else(field: str) -> None:
    rows, codes, _ = table(400)

    def unsigned(given: Given) -> Given:
        value = getattr(given, field)
        changed = value and msgspec.structs.replace(value, signature=bytes(64))
        return msgspec.structs.replace(given, **{field: changed})

    meeting = meeting_of(charter(5, least=4), rule="fedavg", rounds=1, masked=True)
    notes, sites = Notes(), sites_of(meeting, rows, codes, s3={"lie": unsigned})
    learn(meeting, notes, Options(wait=2.0))
    # whoever fell silent after its update was masked is in the sum
    heard = [0, 1, 2, 4] if field == "advert" else [0, 1, 2, 3, 4]
    assert [kept.heard for _, kept, _ in notes.kept.values()] == [heard] * 2
    assert sites[3].refusals == ["site 3 did not sign that"] * 2


def test_a_sum_that_may_have_been_opened_is_asked_for_again_of_the_same_sites() -> None:
    rows, codes, _ = table(500)
    meeting, notes = meeting_of(charter(5, least=3), rule="fedavg", rounds=1, masked=True), Notes()
    # the coordinator was killed after it had asked to open this, and before it wrote it down
    notes.summed = {2: [[0, 1, 3, 4]]}
    sites_of(meeting, rows, codes)
    learn(meeting, notes, started=1)
    assert [kept.heard for _, kept, _ in notes.kept.values()] == [[0, 1, 2, 3, 4], [0, 1, 3, 4]]
    assert notes.kept[2][2].refused == {2: "its group came to nothing"}


def test_no_masked_sum_of_fewer_than_the_charter_wants_is_opened() -> None:
    rows, codes, _ = table(500)
    meeting, notes = meeting_of(charter(5, least=5), rule="fedavg", rounds=1, masked=True), Notes()
    sites_of(meeting, rows, codes, s2={"silent": 2})
    with pytest.raises(TooFewSites):
        learn(meeting, notes, Options(wait=1.0))
    assert notes.summed == {}


def test_a_site_that_sends_another_weight_under_masks_is_noticed() -> None:
    rows, codes, _ = table(400)
    meeting = meeting_of(charter(4), rule="fedavg", rounds=1, masked=True)
    sites = sites_of(meeting, rows, codes)
    whole = sites[2].answer

    def heavier(asked: Any) -> Given:
        given = whole(asked)
        if isinstance(asked, Ask) and asked.question.what == "train":
            sites[2]._vector = 100 * sites[2]._vector
        return given

    sites[2].answer = heavier  # type: ignore[method-assign]
    with pytest.raises(TooFewSites, match="other weights"):
        learn(meeting)


def test_groups_of_masked_sites_are_looked_at_by_a_robust_way() -> None:
    rows, codes, _ = table(600)
    meeting = meeting_of(
        charter(6), rule="fedavg", rounds=2, masked=True, groups=2, combine="median"
    )
    notes = Notes()
    sites_of(meeting, rows, codes)
    learn(meeting, notes)
    assert [len(kept.evidence) for _, kept, _ in notes.kept.values()] == [0, 2, 2]


def test_too_few_sites_end_it_with_the_reason_of_those_that_said_no() -> None:
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(3))
    for number in range(3):
        site = Site(meeting, number, rows, codes)
        if number != 1:  # which refuses the job as soon as it sees it
            site.introduce()
        if number:
            site.say(Cannot(job=meeting.job.id, round=0, code="CM-SITE-POLICY", why="no\x1b[2J"))
    began = time.monotonic()
    with pytest.raises(TooFewSites, match="ward-b: CM-SITE-POLICY: no") as caught:
        learn(meeting, options=Options(wait=60.0))
    assert "\x1b" not in caught.value.message
    assert "mend it where it is said" in caught.value.hint
    assert "not there: ward-c" not in caught.value.message  # it came, and refused
    assert time.monotonic() - began < 30


def test_sites_that_did_not_come_are_to_be_started_and_named_while_they_are_waited_for() -> None:
    rows, codes, _ = table(90)
    meeting, heard = meeting_of(charter(3)), []
    Site(meeting, 1, rows, codes).introduce()
    with pytest.raises(TooFewSites, match="1 of 3 sites are there") as caught:
        meeting.await_sites(2, 0.01, heard=heard.append)
    assert "not there: ward-a, ward-c" in caught.value.message
    assert "casemate federate join at the sites" in caught.value.hint
    assert heard == ["waiting for ward-a, ward-c"]


def test_a_site_that_missed_a_deadline_is_not_waited_for_until_it_is_heard_of() -> None:
    rows, codes, _ = table(300)
    meeting, notes = meeting_of(charter(3, least=2), rule="fedavg", rounds=3), Notes()
    sites_of(meeting, rows, codes, s1={"silent": 0})
    learn(meeting, notes, Options(wait=1.0))
    assert [[*record.refused] for _, _, record in notes.kept.values()] == [[1], [], [], []]


def test_a_site_that_a_new_coordinator_does_not_know_yet_is_greeted_again() -> None:
    rows, codes, _ = table(90)
    before, meeting = meeting_of(charter(3)), meeting_of(charter(3))
    site = Site(before, 0, rows, codes)
    site.introduce()
    site.meeting = meeting
    turn = Turn(job=meeting.job.id, round=1, attempt=1, step=0)
    for message in (Next(job=meeting.job.id), Given(turn=turn)):
        assert isinstance(site.say(message), Welcome)
    site.introduce()
    assert site.say(Next(job=meeting.job.id)) == Wait()


def test_sums_do_not_hang_on_who_answers_first() -> None:
    rows, codes, _ = table(300)
    found = []
    for order in ((0, 1, 2), (2, 1, 0)):
        meeting, notes = meeting_of(charter(3), rule="fedavg", rounds=1), Notes()

        def late(given: Given, order: tuple[int, ...] = order) -> Given:
            time.sleep(0.1 * order[given.update.rows % 3])  # type: ignore[union-attr]
            return given

        sites = [
            Site(meeting, n, rows[n::3], codes[n::3], lie=late, claimed=99 + n) for n in range(3)
        ]
        for site in sites:
            site.start()
        learn(meeting, notes)
        found.append([kept.vector for _, kept, _ in notes.kept.values()])
    assert found[0] == found[1]


def test_what_was_written_down_is_not_asked_again() -> None:
    rows, codes, _ = table(300)
    notes, changes = Notes(), {"rule": "fedavg", "rounds": 4}
    first = meeting_of(charter(3), **changes)
    sites_of(first, rows, codes)
    whole = learn(first, notes).weights
    # killed after three rounds
    del notes.kept[4], notes.kept[5]
    second = meeting_of(charter(3), **changes)
    sites = sites_of(second, rows, codes)
    assert np.array_equal(learn(second, notes, started=1).weights, whole)
    assert [site.trained for site in sites] == [2, 2, 2]


def test_a_site_that_begins_anew_goes_on_where_it_was_asked() -> None:
    rows, codes, _ = table(400)
    for masked in (False, True):
        meeting = meeting_of(charter(4, least=4), rule="fedavg", rounds=2, masked=masked)
        notes = Notes()
        sites = sites_of(meeting, rows, codes, s2={"silent": 1 if masked else 0})
        again = Site(meeting, 2, rows[2::4], codes[2::4])
        started = threading.Thread(target=lambda: (sites[2].join(10), again.start()))  # noqa: B023 - started and ended within the turn
        started.start()
        learn(meeting, notes, Options(wait=6.0))
        started.join()
        assert all(kept.heard == [0, 1, 2, 3] for _, kept, _ in notes.kept.values())


def test_who_was_late_or_still_reads_its_table_hears_the_end_and_who_never_came_is_not_awaited() -> (
    None
):
    rows, codes, _ = table(90)
    meeting = meeting_of(charter(4))
    late, reads = (Site(meeting, number, rows, codes) for number in (0, 1))
    late.introduce()
    question = Question(job=meeting.job.id, round=1, what="moments", size=9, most=1e9)
    turn = Turn(job=meeting.job.id, round=1, attempt=1, step=0)
    meeting.collect({0: Ask(turn=turn, question=question)}, lambda *_: None, 0.01)
    assert meeting.present() == []
    meeting.hear(1, Hello(charter=meeting.charter.digest, versions={}))
    meeting.hear(2, Cannot(job=meeting.job.id, round=0, code="CM-SITE-POLICY", why="no"))
    over = Over(record=b"", why="2 of 4 sites are there")
    ending = threading.Thread(target=meeting.dismiss, args=(over, 60.0))
    ending.start()
    for site in (late, reads):
        ending.join(0.1)
        assert ending.is_alive(), "nobody waits for whoever has yet to hear it"
        assert site.say(Next(job=meeting.job.id)) == over
    ending.join(10.0)
    assert not ending.is_alive(), "somebody waits for sites that did not come, or do not take part"
