"""Why a decision is as it is: what may be asked, what is refused, tables of expectations; the review
of everybody; how long something may last; what callers have used.
"""

import datetime

import pytest
from tests.unit.conftest import refused
from tests.unit.controls.test_access import Fixed, change

from casemate.controls.access.applied import Applied
from casemate.controls.access.explain import (
    MAX_TABLE,
    Expectation,
    Explainer,
    missing,
    read_table,
)
from casemate.controls.access.identity.grants import Grant
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.tokens import Tokens
from casemate.controls.access.policy import Policy
from casemate.controls.access.review import STALE_DAYS, review, waiting
from casemate.controls.access.situation import Situation, zone
from casemate.controls.access.usage import Usage, Used
from casemate.core.clock import lifetime
from casemate.core.entry import Entry
from casemate.core.store.sqlite import SqliteStore

NOW = datetime.datetime(2026, 3, 4, 12, 30, tzinfo=datetime.UTC)
NIGHT = """
// nobody works at night
@id("night") forbid (principal, action == Action::"run:start", resource) when { context.hour < 6 };
"""
WARD = """
@id("ward") permit (principal, action == Action::"run:read", resource)
when { context.purpose == "ward" && context has network && context.network == ip("10.1.2.3")
  && context has device && context.device == "managed" && context.environment == "production" };
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    store = SqliteStore(tmp_path_factory.mktemp("explain") / "catalog.db")
    store.upgrade()
    directory = Directory(store, Fixed())
    with store.transaction() as tx:
        for name, roles in {"ana": ["owner"], "ben": ["scientist"], "eva": []}.items():
            directory.add(tx, name, roles)
        Tokens(directory).register(tx, "svc", ["client"], ["m"])
    return directory


@pytest.fixture(scope="module")
def explainer(directory):
    texts = {"night.cedar": NIGHT, "ward.cedar": WARD}
    now = NOW.astimezone(zone("Europe/Berlin"))
    return Explainer(Policy(texts, "p-1"), texts, directory, Situation("care", now))


def asked(principal, action, **more):
    return Expectation(principal, action, True, **more)


def test_an_answer_names_the_policies_and_the_roles_that_may(explainer):
    said = explainer.explain(asked("ben", "run:start"))
    assert (said.principal, said.roles, said.resource) == ('User::"ben"', ("scientist",), "Project")
    assert said.decision.allowed
    assert set(said.decision.reasons) == set(said.policies)
    said = explainer.explain(asked("eva", "run:start"))
    assert (
        missing(said)
        == "no policy permits it; under these circumstances owner, retrainer, scientist may"
    )
    night = datetime.datetime(2026, 3, 4, 1, tzinfo=datetime.UTC)
    said = explainer.explain(asked("ana", "run:start", at=night))
    assert missing(said) == "forbidden by night"
    assert said.policies["night"].startswith('@id("night") forbid')
    assert said.roles_that_may == ()
    assert missing(
        said.__class__(*["x"] * 4, explainer.explain(asked("eva", "run:read")).decision, {}, ())
    ) == ("no policy permits it; under these circumstances no role may")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"principal": "Role::x"}, "'Role::x' is not a principal"),
        ({"principal": "a b"}, "'a b' is not a principal"),
        ({"principal": "nobody"}, "there is no User 'nobody'"),
        ({"principal": "Service::nobody"}, "there is no Service 'nobody'"),
        ({"roles": ["king"]}, "unknown role 'king'"),
        ({"action": "run:strat"}, "there is no action 'run:strat'"),
        ({"resource": "Table::x"}, "'Table::x' is not a resource"),
        ({"resource": "Model::m"}, "run:start is not about a Model"),
        ({"network": "10.1"}, "'10.1' is not an IP address"),
        ({"at": datetime.datetime(2026, 3, 4)}, "has no time zone"),  # noqa: DTZ001 - that is it
    ],
)
def test_a_question_about_what_does_not_exist_is_refused_and_not_answered_no(
    explainer, changed, said
):
    usual = {"principal": "ana", "action": "run:start", "allow": False}
    with refused("CM-CONFIG", said):
        explainer.explain(Expectation(**(usual | changed)))


def test_somebody_who_is_not_there_yet_is_asked_about_by_roles(explainer):
    assert explainer.explain(asked("new", "run:start", roles=["scientist"])).decision.allowed
    said = explainer.explain(asked("ana", "run:start", roles=["scientist", "auditor"]))
    assert said.roles == ("auditor", "scientist"), "instead of those that they have"
    said = explainer.explain(
        asked("Service::new", "model:infer", roles=["client"], resource="Model::m")
    )
    assert said.decision.allowed, "a service that is not there yet may ask every model"


def test_a_question_can_be_about_one_thing_or_about_all_of_its_kind(explainer):
    assert explainer.explain(asked("Service::svc", "model:infer")).resource == "Model all"
    assert explainer.explain(asked("Service::svc", "model:infer", resource="Model")).resource == (
        "Model all"
    )
    for name, allowed in (("m", True), ("other", False)):
        said = explainer.explain(asked("Service::svc", "model:infer", resource=f"Model::{name}"))
        assert (said.resource, said.decision.allowed) == (f"Model {name}", allowed)
    assert explainer.explain(asked("ana", "run:start", resource="Project::p-1")).resource == (
        "Project p-1"
    )


def test_circumstances_of_a_question_count_instead_of_those_of_the_moment(explainer):
    usual = {
        "purpose": "ward",
        "network": "10.1.2.3",
        "device": "managed",
        "environment": "production",
    }
    assert explainer.explain(asked("eva", "run:read", **usual)).decision.reasons == ("ward",)
    for name, other in (
        ("purpose", "care"),
        ("network", "10.1.2.4"),
        ("device", "open"),
        ("environment", "local"),
    ):
        changed = usual | {name: other}
        assert not explainer.explain(asked("eva", "run:read", **changed)).decision.allowed, name


def test_risk_and_second_factors_of_a_question_count(explainer):
    def said(**more):
        return explainer.explain(asked("ana", "policy:change", **more)).decision.allowed

    assert said()
    assert not said(mfa=True)
    assert said(mfa=True, mfa_age=10)
    assert not said(risk=100)


def test_who_trained_sealed_or_is_raised_counts_where_the_action_asks_for_it(explainer):
    def reasons(action, **more):
        return explainer.explain(asked("ana", action, **more)).decision.reasons

    assert reasons("model:approve", trainer="User::ana") == ("approver-is-not-the-trainer",)
    assert reasons("model:approve", steward="ana") == ("approver-is-not-the-data-owner",)
    assert explainer.explain(asked("ana", "model:approve", trainer="ben")).decision.allowed
    assert reasons("access:grant", subject="ana") == ("nobody-raises-himself",)
    assert explainer.explain(asked("ana", "access:grant", subject="ben")).decision.allowed
    assert explainer.explain(asked("ana", "access:grant")).decision.allowed
    assert explainer.explain(asked("ana", "dataset:read", column_class="general")).decision.allowed


def test_everybody_who_may_is_named(explainer):
    may = explainer.who_can(asked("anybody", "run:start"))
    assert [principal.uid for principal, _ in may] == ['User::"ana"', 'User::"ben"']
    night = datetime.datetime(2026, 3, 4, 1, tzinfo=datetime.UTC)
    assert explainer.who_can(asked("anybody", "run:start", at=night)) == []


def test_an_expectation_holds_if_answer_and_reason_do(explainer):
    def holds(**words):
        usual = {"principal": "eva", "action": "run:start", "allow": False}
        ((_, _, agrees),) = explainer.test([Expectation(**(usual | words))])
        return agrees

    assert holds()
    assert not holds(allow=True)
    assert holds(because="no-permit-matched")
    assert not holds(because="night")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is not a table of expectations"),
        (b"expect = []", "expects nothing"),
        (b"[[expect]]\nprincipal = 1", "is not a table of expectations"),
        (
            b'[[expect]]\nprincipal = "a"\naction = "b"\nallow = true\nalow = false',
            "is not a table of expectations",
        ),
        (b"[[expect", "is not a table of expectations"),
        (b"# \xff", "is not a table of expectations"),
        (b"a = " + b"[" * 5000, "is not a table of expectations"),
        (b" " * (MAX_TABLE + 1), "is larger than 1 MiB"),
    ],
)
def test_a_table_that_could_prove_nothing_is_refused(tmp_path, content, said):
    path = tmp_path / "t.toml"
    if content is not None:
        path.write_bytes(content)
    with refused("CM-CONFIG", said):
        read_table(path)


def test_a_table_is_read_row_by_row(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(
        '[[expect]]\nprincipal = "a"\naction = "b"\nallow = true\nfrom = "10.1.2.3"\n' * 2
    )
    row = Expectation("a", "b", True, network="10.1.2.3")
    assert read_table(path) == [row, row]


# The review of everybody


def entry(principal, action, outcome="done", days=1):
    time = (NOW - datetime.timedelta(days=days)).isoformat()
    return Entry(
        index=0,
        time=time,
        principal=principal,
        action=action,
        resource="r",
        outcome=outcome,
        detail={},
    )


def test_a_review_tells_what_was_used_denied_and_not_seen(directory):
    entries = [
        entry('User::"ben"', "run:cancel", days=200),
        entry('User::"ben"', "run:start"),
        entry('User::"ben"', "run:start", "denied"),
        entry('User::"ben"', "dataset:read", "denied"),
        entry('User::"ana"', "run:start", days=STALE_DAYS + 1),
    ]
    found = {
        one.principal: one
        for one in review(directory, Policy({}, "p-1"), Situation("care", NOW), entries)
    }
    ben = found['User::"ben"']
    assert ben.last_seen == entries[3].time
    assert (ben.denied, ben.stale) == (2, False)
    assert "run:start" not in ben.unused
    assert {"run:cancel", "dataset:read"} <= set(ben.unused), "long ago, and a denial, is no use"
    assert found['User::"ana"'].stale
    eva = found['User::"eva"']
    assert (eva.last_seen, eva.stale, eva.denied) == (None, False, 0)
    assert set(eva.unused) <= {"access:self", "dataset:read-rows"}
    assert "model:infer" in found['Service::"svc"'].unused, "asked about a model that it has"
    later = Situation("care", NOW + datetime.timedelta(days=STALE_DAYS + 1))
    assert all(one.stale for one in review(directory, Policy({}, "p-1"), later, []))


def test_emergencies_wait_until_somebody_has_looked():
    def grant(why, seen):
        return Grant("g", "ben", "emergency", why, "r", "ben", NOW, NOW, None, seen)

    grants = [grant("break-glass", None), grant("break-glass", "ok"), grant("delegation", None)]
    assert waiting(grants) == grants[:1]


# Times, and what was used


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("4h", 14400), ("7d", 604800), ("1m", 60)]
)
def test_a_time_is_a_number_and_a_unit(text, seconds):
    assert lifetime(text, datetime.timedelta(days=7)).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "7", "7w", "0h", "-1h", "1.5h", "8d", "9999999d", "169h", "h7", "1 h", "²d"]
)
def test_what_is_no_time_or_too_long_is_refused(text):
    with refused("CM-CONFIG", "is not a time of at most 7 days"):
        lifetime(text, datetime.timedelta(days=7))


def test_there_is_no_decision_in_a_time_zone_that_does_not_exist():
    for name in ("Mars/Olympus", "", "../etc/passwd", "a\0b"):
        with refused("CM-CONFIG", "there is no time zone"):
            zone(name)


def test_policies_as_applied_are_kept_newest_first(directory):
    applied, policy = Applied(directory.store, directory.clock), Policy({}, "p-1")
    assert applied.newest().number == 0
    numbers = [change(directory, applied.apply, policy, texts, "ana") for texts in ({"a": "x"}, {})]
    assert numbers == [1, 2]
    assert [(one.number, one.texts) for one in applied.history()] == [(2, {}), (1, {"a": "x"})]
    assert applied.newest() == applied.history()[0]


def test_what_is_used_adds_up_by_caller_model_and_window(directory):
    usage, minute = Usage(directory.store), ("svc", "", 60, 100)
    assert usage.of("svc", "", 60, 0) == {}
    usage.add([(minute, Used(2, 5, 1)), (("svc", "m", 60, 100), Used(9, 9, 9))], 1)
    totals = usage.add([(minute, Used(1, 1, 1)), (("svc", "", 60, 101), Used(4, 4, 0))], 1)
    assert totals[minute] == {100: Used(3, 6, 2)}
    assert totals["svc", "", 60, 101] == {100: Used(3, 6, 2), 101: Used(4, 4, 0)}
    assert usage.of("svc", "", 60, 101) == {101: Used(4, 4, 0)}
    usage.add([(("svc", "", 60, 1000), Used(1, 1, 1))], 1)
    assert usage.of("svc", "", 60, 0) == {1000: Used(1, 1, 1)}, "what is too old is forgotten"
    assert usage.of("svc", "m", 60, 0) == {100: Used(9, 9, 9)}
