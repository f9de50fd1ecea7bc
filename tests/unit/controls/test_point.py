"""The policy point and logins on a catalogue alone: who acts, what is refused, and that every refusal
is written down.
"""

import base64
import datetime
import os
import stat

import pytest
from tests.unit.conftest import make_log, refused
from tests.unit.controls.test_access import Fixed, change

from casemate.config import PlaceTable
from casemate.controls.access.acting import FIRST_FACTOR, FRESH, Identity, own_factor
from casemate.controls.access.anomalies import FACTOR_RISK
from casemate.controls.access.identity import principals
from casemate.controls.access.identity.accounts import Accounts
from casemate.controls.access.identity.factors import STEP, codes_at
from casemate.controls.access.identity.principals import Directory, current_name
from casemate.controls.access.identity.sessionfile import Kept, SessionFile
from casemate.controls.access.identity.sessions import Bearer, Session
from casemate.controls.access.logins import Logins
from casemate.controls.access.options import Options
from casemate.controls.access.own import MAX_POLICY_BYTES, read_folder
from casemate.controls.access.point import PolicyPoint
from casemate.controls.access.policy import Resource
from casemate.controls.access.situation import Situation, posture_of
from casemate.controls.access.types import Principal, principal_of

PASSWORD = "correct horse battery staple"
ME = current_name()
LOOSE = '@id("all") permit (principal, action == Action::"run:read", resource);'
STRICT = '@id("freeze") forbid (principal, action == Action::"run:start", resource);'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def derived():
    """What is kept of `PASSWORD`: it takes a while by design, so it is made once."""
    return Accounts(Directory(None, Fixed())).derive("ben", PASSWORD)


@pytest.fixture
def made(tmp_path, log_keys, home, derived):
    """Makes points over one catalogue: the user of this process is its owner; `ben`, a scientist,
    has a password; `eva` has no role.
    """
    log, clock, told = make_log(tmp_path, log_keys), Fixed(), []

    def point(bearer=None, actor=None, **options):
        (tmp_path / "policies").mkdir(exist_ok=True)
        return PolicyPoint(
            log.store,
            clock,
            Options("p-1", "care", tmp_path / "policies", **options),
            lambda: log,
            lambda: log_keys.provider,
            lambda *message: told.append(message[1:]),
            bearer,
            actor,
        )

    first = point()
    with log.store.transaction() as tx:
        first.directory.add_owner(tx)
        first.directory.add(tx, "ben", ["scientist"])
        first.directory.add(tx, "eva", [])
        first.accounts.set(tx, "ben", derived)
        log.append(tx, "test", "project:create", "r", "done", {})
    point.told, point.log, point.clock = told, log, clock
    return point


def entries(point):
    return [(entry.principal, entry.action, entry.outcome) for entry in point.audit.entries()]


def newest(point):
    return entries(point)[-1]


# Who acts


def test_without_a_login_the_user_of_this_machine_acts_where_the_project_says_so(made):
    assert made().identify() == Identity(Principal("User", ME, ("owner",)), None)
    assert made().identify().method == "machine"
    with refused("CM-DENIED", "takes no user of the machine"):
        made(local=False).identify()


def test_a_playbook_acts_as_itself_and_proves_nothing(made):
    playbook = Principal("Service", "playbook-x", ("responder",), ("*",))
    found = made(actor=playbook)
    assert found.identify().principal == found.actor == playbook
    assert found.require("hold:place") == playbook
    with refused("CM-DENIED", "may not hold:lift"):
        found.require("hold:lift")


def test_a_user_of_the_machine_whom_the_project_does_not_know_does_not_act(made, monkeypatch):
    monkeypatch.setattr(principals.pwd, "getpwuid", lambda uid: {}[uid])
    with refused("CM-DENIED", f"the user 'uid-{os.geteuid()}' is not known"):
        made().identify()


def test_a_user_of_the_machine_does_not_pass_for_a_person_of_a_provider(made, monkeypatch):
    point = made()
    change(point.directory, point.directory.add, "ola", ["owner"], "https://i.example 7")
    monkeypatch.setattr(principals, "current_name", lambda: "ola")
    with refused("CM-DENIED", "'ola' is not known"):
        point.identify()


def test_a_disabled_user_of_the_machine_does_not_act(made, monkeypatch):
    point = made()
    change(point.directory, point.directory.disable, "ben")
    monkeypatch.setattr(principals, "current_name", lambda: "ben")
    with refused("CM-DENIED", "'ben' is not known"):
        point.identify()
    assert point.directory.find("User", "ben") is None
    assert "ben" not in {found.name for found in point.directory.principals()}


def test_somebody_who_came_over_the_network_acts_by_their_session_alone(made):
    point = made()
    pair = change(point.directory, lambda tx: point.sessions.begin(tx, "ben", "password"))
    over = made(Bearer(pair.access, None))
    assert over.identify().principal.name == over.actor.name == "ben"
    assert over.identify().method == "password"
    made.clock.go(3600)
    with refused("CM-DENIED", "has ended or is not known"):
        over.identify()


def test_who_acts_is_asked_again_until_somebody_has(made):
    assert made().actor.name == ME


# Logins


def test_a_login_by_password_lets_the_command_line_act_with_it(made):
    point = made()
    session = Logins(point).login("ben", PASSWORD, None)
    assert (session.principal.name, session.method) == ("ben", "password")
    assert point.identify().principal.name == "ben"
    assert newest(point) == ('User::"ben"', "access:login", "done")
    assert Logins(point).logout()
    assert not Logins(point).logout()
    assert point.identify().principal.name == ME


@pytest.mark.parametrize(
    ("name", "password", "who"),
    [
        ("ben", "wrong", 'User::"ben"'),
        ("eva", PASSWORD, 'User::"eva"'),
        ("nobody", PASSWORD, 'User::"unknown"'),
        ("x" * 90, PASSWORD, 'User::"unknown"'),
        ("ben", None, 'User::"ben"'),
    ],
)
def test_a_refused_login_is_recorded_under_a_known_name_or_none(made, name, password, who):
    point = made()
    with refused("CM-DENIED"):
        Logins(point).login(name, password, None)
    assert newest(point) == (who, "access:login", "denied")
    assert point.session_file.read() is None


def test_whoever_is_the_user_of_this_machine_needs_no_password_where_that_is_allowed(made):
    assert Logins(made()).login(ME, None, None).method == "machine"
    point = made(local=False)
    with refused("CM-DENIED", "wrong name or password"):
        Logins(point).login(ME, None, None)


def enrolled(point, name):
    """A second factor of `name`; gives codes."""
    identifier, text, wrapped = point.factors.enrol(name)
    change(point.directory, point.factors.add, name, identifier, wrapped)
    secret = base64.b32decode(text)

    def code():
        point.clock.go(2 * STEP)
        return codes_at(secret, int(point.clock.now().timestamp()) // STEP)[1][1]

    point.factors.confirm(name, code())
    return code


def test_who_has_a_second_factor_does_not_log_in_without_it(made):
    point = made()
    code = enrolled(point, "ben")
    with refused("CM-DENIED", "this account has a second factor"):
        Logins(point).login("ben", PASSWORD, None)
    assert newest(point) == ('User::"ben"', "access:login", "denied")
    with refused("CM-DENIED"):
        Logins(point).login("ben", PASSWORD, "000000")
    session = Logins(point).login("ben", PASSWORD, code())
    assert point.situation(point.identify()).mfa_age == 0
    assert session.mfa is not None


def test_a_step_up_renews_the_session_and_a_wrong_code_is_recorded(made):
    point = made()
    code = enrolled(point, "ben")
    Logins(point).login("ben", PASSWORD, code())
    made.clock.go(400)
    before = point.session_file.read()
    with refused("CM-DENIED"):
        Logins(point).step_up("000000")
    assert newest(point) == ('User::"ben"', "access:step-up", "denied")
    assert point.session_file.read() == before
    assert point.situation(point.identify()).mfa_age == 400
    Logins(point).step_up(code())
    assert newest(point) == ('User::"ben"', "access:step-up", "done")
    assert point.session_file.read() != before
    assert point.situation(point.identify()).mfa_age == 0


def test_a_step_up_without_a_session_is_a_login_with_a_code(made):
    point = made()
    code = enrolled(point, ME)
    session = Logins(point).step_up(code())
    assert (session.principal.name, session.method) == (ME, "machine")
    assert session.mfa is not None


@pytest.mark.parametrize(
    ("meanwhile", "code", "said"),
    [
        (lambda logins: logins.logout(), "CM-CONFIG", "nobody is logged in"),
        (lambda logins: logins.login(ME, None, None), "CM-DENIED", "somebody else has logged in"),
    ],
)
def test_a_step_up_counts_for_whoever_proved_it_and_for_nobody_who_came_meanwhile(
    made, meanwhile, code, said, monkeypatch
):
    point = made()
    logins = Logins(point)
    logins.login("ben", PASSWORD, None)
    monkeypatch.setattr(point.factors, "verify", lambda *_: meanwhile(Logins(made())))
    with refused(code, said):
        logins.step_up("123456")
    assert point.situation(point.identify()).mfa_age is None


def test_a_login_ends_the_one_before_it(made):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    first = point.session_file.read()
    Logins(point).login(ME, None, None)
    with refused("CM-DENIED", "has ended"):
        point.sessions.authenticate(first.access)


def test_a_session_file_that_cannot_be_trusted_is_removed_by_a_logout(made):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    point.session_file.path.write_text("{")
    with refused("CM-DENIED", "is damaged"):
        point.identify()
    assert Logins(point).logout()
    assert not point.session_file.path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_session_file_that_others_can_read_or_write_is_not_used(made, mode):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    assert stat.S_IMODE(point.session_file.path.stat().st_mode) == 0o600
    point.session_file.path.chmod(mode)
    with refused("CM-DENIED", "is open to others"):
        point.identify()


def test_a_session_file_that_is_gone_already_is_removed_without_a_fault(home):
    file = SessionFile("p-1")
    assert file.read() is None
    assert not file.remove()
    file.write(Kept("a", "b", "c"))
    assert file.remove()


def test_passkeys_are_bound_to_where_browsers_find_this_service(made):
    point = made(origin="https://casemate.example:8443")
    assert point.passkeys is point.passkeys
    assert point.passkeys.request(ME)["rpId"] == "casemate.example"


def test_a_session_file_of_somebody_else_is_not_used(home, monkeypatch):
    file = SessionFile("p-1")
    file.write(Kept("a", "b", "c"))
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with refused("CM-DENIED", "is open to others"):
        file.read()


# Sessions that go on, and end


def test_a_session_is_renewed_by_itself_and_ends_when_it_is_too_old(made):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    before = point.session_file.read()
    made.clock.go(1000)
    assert point.identify().principal.name == "ben"
    assert point.session_file.read() != before
    made.clock.go(24 * 3600)
    with refused("CM-DENIED", "has ended or is not known"):
        point.identify()


def test_a_pair_that_another_process_has_fetched_is_used_and_not_fetched_twice(made):
    point, other = made(), made()
    Logins(point).login("ben", PASSWORD, None)
    stale = point.session_file.read()
    made.clock.go(1000)
    other.identify()
    assert point._session(stale).principal.name == "ben"
    assert point.identify().principal.name == "ben", "the family goes on: nothing was used twice"


def test_a_session_that_ended_while_nobody_is_logged_in_any_more_stays_ended(made):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    stale = point.session_file.read()
    Logins(made()).logout()
    with refused("CM-DENIED", "has ended or is not known"):
        point._session(stale)


def test_a_session_ends_when_the_devices_posture_changes(made, tmp_path):
    posture = tmp_path / "posture"
    posture.write_text("managed\n")
    point = made(posture=posture)
    Logins(point).login("ben", PASSWORD, None)
    assert point.situation(point.identify()).device == "managed"
    posture.write_text("open\n")
    with refused("CM-DENIED", "the device's posture changed"):
        point.identify()
    assert newest(point) == ('User::"ben"', "session:end", "done")
    posture.write_text("managed\n")
    with refused("CM-DENIED", "has ended or is not known"):
        point.identify()


def test_what_is_known_of_a_device_over_the_network_is_what_its_login_said(made, tmp_path):
    posture = tmp_path / "posture"
    posture.write_text("server")
    point = made(posture=posture)
    pair = change(
        point.directory,
        lambda tx: point.sessions.begin(tx, "ben", "password", device="managed"),
    )
    over = made(Bearer(pair.access, None), posture=posture)
    assert over.situation(over.identify()).device == "managed"
    assert over.situation().device is None
    assert point.situation(network="10.1.2.3").device is None


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"managed\nmore", "managed"), (b"", "unknown"), (b"\xff", "unknown"), (None, "unknown")],
)
def test_a_posture_that_cannot_be_read_is_unknown_and_never_none(tmp_path, content, said):
    path = tmp_path / "posture"
    if content is not None:
        path.write_bytes(content)
    assert posture_of(path) == said
    assert posture_of(None) is None


# Decisions


def test_what_was_decided_is_recorded_whatever_it_was(made, monkeypatch):
    point = made()
    assert point.require("run:read").name == ME
    assert newest(point) == (f'User::"{ME}"', "run:read", "allowed")
    monkeypatch.setattr(principals, "current_name", lambda: "eva")
    with refused("CM-DENIED", "no-permit-matched"):
        point.require("run:read")
    assert newest(point) == ('User::"eva"', "run:read", "denied")


def test_what_a_decision_was_told_is_in_its_entry(made):
    point = made()
    Logins(point).login(ME, None, None)
    trainer = Principal("User", "ben", ())
    point.require(
        "model:approve",
        Resource("Model", "m"),
        context={"stage": "production", "trainer": trainer},
        note="n",
    )
    entry = list(point.audit.entries())[-1]
    assert entry.resource == 'Model::"m"'
    told = {name: entry.detail[name] for name in ("stage", "trainer", "method", "note")}
    assert told == {
        "stage": "production",
        "trainer": 'User::"ben"',
        "method": "machine",
        "note": "n",
    }


def test_a_factor_that_was_just_proven_counts_for_one_decision(made):
    point = made(mfa_required=True)
    with refused("CM-DENIED", "fresh-second-factor"):
        point.permitted("policy:change")
    assert point.permitted("policy:change", fresh=True)[1].allowed
    with refused("CM-DENIED", "fresh-second-factor"):
        point.permitted("policy:change")


def test_a_question_for_another_purpose_is_decided_for_that_one(made, tmp_path):
    point = made()
    (tmp_path / "policies/x.cedar").write_text(
        '@id("care") forbid (principal, action == Action::"run:read", resource)'
        ' when { context.purpose == "care" };'
    )
    count = len(entries(point))
    assert not point.decide("run:read", Resource())[1].allowed
    assert point.decide("run:read", Resource(), purpose="billing")[1].allowed
    assert len(entries(point)) == count + 1, "the policies were applied, the questions not recorded"


# Policies


def acting(point, name):
    pair = change(point.directory, lambda tx: point.sessions.begin(tx, name, "password"))
    return Bearer(pair.access, None)


def test_an_owners_edit_is_applied_with_the_next_decision_and_recorded(made, tmp_path):
    (tmp_path / "policies/x.cedar").write_text(LOOSE)
    point = made()
    assert not point.applied.history()
    assert point.policy.version == point.in_force().version
    assert newest(point) == (f'User::"{ME}"', "policy:change", "done")
    (applied,) = point.applied.history()
    assert (applied.number, applied.texts) == (1, {"x.cedar": LOOSE})
    assert not point.pending


def test_whoever_may_not_change_policies_decides_by_those_in_force(made, tmp_path):
    (tmp_path / "policies/x.cedar").write_text(LOOSE)
    point = made(acting(made(), "eva"))
    with refused("CM-DENIED"):
        point.require("run:read")
    assert point.pending
    assert not point.applied.history()


WRITER = (
    '@id("writer") permit (principal == User::"ben", action == Action::"policy:change", resource);'
)


def test_whoever_may_change_policies_does_not_write_himself_a_permission(made, tmp_path):
    (tmp_path / "policies/w.cedar").write_text(WRITER)
    assert made().policy.version, "the owner applies it"
    (tmp_path / "policies/x.cedar").write_text(LOOSE)
    point = made(acting(made(), "ben"))
    before = point.applied.newest()
    assert point.policy.version == before.version
    assert point.pending
    with refused("CM-REFUSED", "would permit more than those in force: permit all"):
        point.apply()
    assert point.applied.newest() == before


def test_whoever_may_change_policies_may_tighten_them(made, tmp_path):
    (tmp_path / "policies/w.cedar").write_text(WRITER)
    assert made().policy.version
    (tmp_path / "policies/x.cedar").write_text(STRICT)
    point = made(acting(made(), "ben"))
    assert point.apply() == 2
    assert point.apply() == 2, "what is in force is not applied again"
    with refused("CM-DENIED", "freeze"):
        point.require("run:start")
    assert set(point.applied.newest().texts) == {"w.cedar", "x.cedar"}


def test_decisions_stay_with_the_policies_in_force_or_are_read_again_when_told_to(made, tmp_path):
    point = made()
    assert point.policy.version == point.in_force().version
    (tmp_path / "policies/x.cedar").write_text(STRICT)
    point.use_in_force()
    assert point.require("run:start").name == ME
    point.forget()
    with refused("CM-DENIED", "freeze"):
        point.require("run:start")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b" " * (MAX_POLICY_BYTES + 1)), "larger than 1 MiB"),
        (lambda path: path.write_bytes(b"\xff"), "is not UTF-8"),
    ],
)
def test_a_policy_file_that_is_too_large_or_no_text_is_refused(tmp_path, write, said):
    write(tmp_path / "x.cedar")
    with refused("CM-CONFIG", said):
        read_folder(tmp_path)


# Something unusual


PLACES = {
    "berlin": PlaceTable(latitude=52.5, longitude=13.4, networks=["10.1.0.0/16"]),
    "perth": PlaceTable(latitude=-32.0, longitude=115.9, networks=["10.2.0.0/16"]),
}


def test_something_unusual_is_told_and_raises_the_risk(made):
    point = made()
    Logins(point).login("ben", PASSWORD, None)
    point.anomalies.probing('User::"ben"', "asks as one who copies")
    ((event, _, detail),) = made.told
    assert (event, detail["principal"], detail["kind"]) == (
        "access:anomaly",
        'User::"ben"',
        "model-probing",
    )
    assert newest(point) == ('User::"ben"', "access:anomaly", "done")
    assert point.situation(point.identify()).risk == detail["risk"] == FACTOR_RISK


def test_what_nobody_does_ends_every_session_of_the_person(made):
    point = made(places=PLACES)
    Logins(point).login("ben", PASSWORD, None)
    session = point.session_file.read()
    point.anomalies.seen('User::"ben"', "10.1.0.9")
    made.clock.go(600)
    point.anomalies.seen('User::"ben"', "10.2.0.9")
    assert [detail["kind"] for _, _, detail in made.told][-1] == "impossible-travel"
    with refused("CM-DENIED", "has ended"):
        point.sessions.authenticate(session.access)


NOW = datetime.datetime(2026, 3, 4, 12, 30, tzinfo=datetime.UTC)


def session_of(principal, age):
    return Session(principal, "s", "password", NOW - age, NOW + FIRST_FACTOR, None, None, None)


@pytest.mark.parametrize(
    ("mfa", "began", "age", "risk", "said"),
    [
        (False, datetime.timedelta(0), None, 0, None),
        (False, FIRST_FACTOR, None, 0, None),
        (False, FIRST_FACTOR + datetime.timedelta(seconds=1), None, 0, "within ten minutes"),
        (True, datetime.timedelta(0), None, 0, "with the help of the first one"),
        (True, datetime.timedelta(0), FRESH + 1, 0, "with the help of the first one"),
        (True, datetime.timedelta(0), FRESH, 0, None),
        (False, datetime.timedelta(0), None, 100, "something unusual is open"),
        (True, datetime.timedelta(0), FRESH + 1, 100, "something unusual is open"),
        (True, datetime.timedelta(0), FRESH, 100, None),
    ],
)
def test_a_factor_is_added_soon_after_a_login_or_with_one_that_was_just_used(
    mfa, began, age, risk, said
):
    person = Principal("User", "ben", (), mfa=mfa)
    situation = Situation("care", NOW, mfa_age=age, risk=risk)
    identity = Identity(person, session_of(person, began))
    if said is None:
        assert own_factor(identity, situation) is person
    else:
        with refused("CM-DENIED", said):
            own_factor(identity, situation)


def test_the_point_asks_of_this_moment_whether_a_factor_may_be_added(made):
    point = made()
    assert point.own_factor(point.identify()).name == ME
    Logins(point).login("ben", PASSWORD, None)
    made.clock.go(FIRST_FACTOR.total_seconds() + 1)
    with refused("CM-DENIED", "within ten minutes"):
        point.own_factor(point.identify())


@pytest.mark.parametrize("uid", ["ben", 'Role::"x"', 'User::"a"b"', "User::ben", 'User::""'])
def test_a_record_that_names_no_principal_was_changed(uid):
    with refused("CM-VERIFY", "is not a principal"):
        principal_of(uid)
    assert principal_of('Service::"s"') == Principal("Service", "s", ())
