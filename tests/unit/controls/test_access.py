"""Principals, roles, tokens, accounts, second factors, sessions: what they accept and what they
refuse.
"""

import datetime
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.controls.access.identity import accounts as passwords
from casemate.controls.access.identity.accounts import Accounts, check
from casemate.controls.access.identity.factors import STEP, Factors, codes_at
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.sessions import CAP, LIFE, Sessions
from casemate.controls.access.identity.tokens import TokenLimits, Tokens
from casemate.controls.access.policy import Policy, Resource
from casemate.controls.access.situation import Situation, zone
from casemate.controls.access.types import Principal
from casemate.controls.keys.store import KeyStore
from casemate.core.errors import AccessDenied, ConfigError, RefusedError
from casemate.core.store.sqlite import SqliteStore

NOW = datetime.datetime(2026, 3, 4, 12, 30, tzinfo=datetime.UTC)
USUAL = Situation("care", NOW)


class Fixed:
    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time

    def go(self, seconds):
        self.time += datetime.timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return KeyStore.create(tmp_path_factory.mktemp("keys") / "store", "test").provider


@pytest.fixture
def directory(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    directory = Directory(store, Fixed())
    with store.transaction() as tx:
        for name, roles in {"ana": ["owner"], "ben": ["scientist"], "eva": []}.items():
            directory.add(tx, name, roles)
    return directory


def change(directory, work, *arguments):
    with directory.store.transaction() as tx:
        return work(tx, *arguments)


# Tokens


def token(directory, limits=None, **changed):
    values = {
        "service": "svc",
        "roles": ["client"],
        "models": ["m"],
        "lifetime": datetime.timedelta(hours=1),
        **changed,
    }
    with directory.store.transaction() as tx:
        return Tokens(directory).create(tx, **values, limits=limits)


def test_a_token_authenticates_its_service_and_is_not_stored(directory):
    secret, identifier = token(directory)
    session = Tokens(directory).authenticate(secret)
    assert session.principal == Principal("Service", "svc", ("client",), ("m",))
    assert session.token_id == identifier
    directory.store.close()
    assert secret.split("_", 2)[2].encode() not in directory.store.path.read_bytes()


@pytest.mark.parametrize(
    "wrong", ["", "x", "cm_00000000_" + "A" * 43, "last", "revoked", "expired", "other project"]
)
def test_a_token_that_is_not_good_is_refused_with_one_text(directory, tmp_path, wrong):
    secret, identifier = token(directory)
    tokens = Tokens(directory)
    if wrong == "last":
        secret = secret[:-2] + ("AA" if secret[-2:] != "AA" else "BB")
    elif wrong == "revoked":
        change(directory, tokens.revoke, identifier)
    elif wrong == "expired":
        directory.clock.go(3600)
    elif wrong == "other project":
        store = SqliteStore(tmp_path / "other.db")
        store.upgrade()
        tokens = Tokens(Directory(store, Fixed()))
    else:
        secret = wrong
    with pytest.raises(AccessDenied, match="^no valid token$"):
        tokens.authenticate(secret)


@pytest.mark.parametrize(
    "changed",
    [
        {"service": "a b"},
        {"service": ""},
        {"roles": ["king"]},
        {"lifetime": datetime.timedelta(0)},
        {"limits": TokenLimits(actions=("model:inferr",))},
        {"limits": TokenLimits(networks=("10.0.0.0/33",))},
        {"limits": TokenLimits(networks=("10.1.2.3/8",))},
        {"limits": TokenLimits(rate=0)},
    ],
)
def test_a_malformed_token_order_is_refused(directory, changed):
    with pytest.raises(ConfigError):
        token(directory, **changed)


@pytest.mark.parametrize(
    ("limits", "address", "certificate", "admitted"),
    [
        (TokenLimits(), None, None, True),
        (TokenLimits(networks=("10.1.0.0/16", "::1/128")), "10.1.255.3", None, True),
        (TokenLimits(networks=("10.1.0.0/16", "::1/128")), "::1", None, True),
        (TokenLimits(networks=("10.1.0.0/16",)), "10.2.0.1", None, False),
        (TokenLimits(networks=("10.1.0.0/16",)), None, None, False),
        (TokenLimits(networks=("10.1.0.0/16",)), "10.1", None, False),
        (TokenLimits(certificate="ab"), "10.2.0.1", "ab", True),
        (TokenLimits(certificate="ab"), "10.2.0.1", "ac", False),
        (TokenLimits(certificate="ab"), "10.2.0.1", None, False),
    ],
)
def test_a_token_works_from_its_networks_and_with_its_certificate_only(
    directory, limits, address, certificate, admitted
):
    secret, _ = token(directory, limits)
    session = Tokens(directory).authenticate(secret)
    assert session.limits == limits
    assert session.limits.admits(address, certificate) is admitted


# People, roles, grants


def test_a_token_of_another_project_is_refused(directory, tmp_path):
    other = SqliteStore(tmp_path / "other.db")
    other.upgrade()
    made, _ = token(Directory(other, Fixed()))
    token(directory)
    with pytest.raises(AccessDenied, match="^no valid token$"):
        Tokens(directory).authenticate(made)


def test_roles_may_include_others_but_never_themselves(directory):
    change(directory, directory.define, "ward", ["scientist"])
    change(directory, directory.define, "clinic", ["ward", "auditor"])
    with pytest.raises(ConfigError, match="include itself"):
        change(directory, directory.define, "ward", ["clinic"])
    with pytest.raises(ConfigError, match="include itself"):
        change(directory, directory.define, "loop", ["loop"])
    assert directory.roles() == {"ward": ("scientist",), "clinic": ("auditor", "ward")}
    change(directory, directory.grant, "eva", "clinic")
    policy = Policy({}, "p-1", directory.roles())
    assert policy.decide(directory.find("User", "eva"), "run:start", Resource(), USUAL).allowed
    assert policy.decide(directory.find("User", "eva"), "audit:read", Resource(), USUAL).allowed
    assert not policy.decide(
        directory.find("User", "eva"), "gateway:start", Resource(), USUAL
    ).allowed


@pytest.mark.parametrize(
    ("role", "includes"), [("owner", []), ("x y", []), ("ward", ["king"]), ("", [])]
)
def test_a_malformed_role_is_refused(directory, role, includes):
    with pytest.raises(ConfigError):
        change(directory, directory.define, role, includes)


def test_the_last_owner_stays(directory):
    for work in (directory.disable, lambda tx, name: directory.withdraw(tx, name, "owner")):
        with pytest.raises(RefusedError, match="only owner"):
            change(directory, work, "ana")
    change(directory, directory.grant, "ben", "owner")
    change(directory, directory.disable, "ana")
    assert directory.find("User", "ana") is None
    with pytest.raises(ConfigError, match="already"):
        change(directory, directory.add, "ana", [])


def test_whoever_is_suspended_acts_again_after_resume_and_whoever_is_disabled_never(directory):
    change(directory, directory.suspend, "User", "ben")
    assert directory.find("User", "ben") is None
    with pytest.raises(ConfigError, match="no user 'ben'"):
        change(directory, directory.suspend, "User", "ben")
    change(directory, directory.resume, "User", "ben")
    assert directory.find("User", "ben").roles == ("scientist",)
    with pytest.raises(ConfigError, match="not suspended"):
        change(directory, directory.resume, "User", "ben")
    with pytest.raises(ConfigError, match="not suspended"):
        change(directory, directory.resume, "User", "nobody")
    with pytest.raises(RefusedError, match="only owner"):
        change(directory, directory.suspend, "User", "ana")
    change(directory, directory.suspend, "User", "ben")
    change(directory, directory.disable, "ben")
    with pytest.raises(ConfigError, match="for good"):
        change(directory, directory.resume, "User", "ben")
    token(directory)
    change(directory, directory.suspend, "Service", "svc")
    assert directory.find("Service", "svc") is None
    change(directory, directory.resume, "Service", "svc")
    assert directory.find("Service", "svc") is not None
    with pytest.raises(ConfigError, match="are playbooks"):
        token(directory, service="playbook-x")


def test_a_delegation_ends_by_itself_and_can_be_taken_back(directory):
    hour = datetime.timedelta(hours=1)
    change(directory, directory.lend, "eva", "approver", "delegation", "holiday", "ana", hour)
    change(directory, directory.lend, "eva", "operator", "delegation", "holiday", "ana", hour)
    assert directory.find("User", "eva").roles == ("approver", "operator")
    change(directory, directory.withdraw, "eva", "operator")
    assert directory.find("User", "eva").roles == ("approver",)
    directory.clock.go(3600)
    assert directory.find("User", "eva").roles == ()


def test_a_broken_glass_is_reviewed_by_somebody_else_before_the_next(directory):
    hour = datetime.timedelta(hours=1)
    made = change(
        directory, directory.lend, "eva", "emergency", "break-glass", "patient at risk", "eva", hour
    )
    assert directory.find("User", "eva").roles == ("emergency",)
    directory.clock.go(7200)
    assert directory.find("User", "eva").roles == ()
    with pytest.raises(RefusedError, match="not reviewed"):
        change(directory, directory.lend, "eva", "emergency", "break-glass", "again", "eva", hour)
    with pytest.raises(RefusedError, match="somebody else"):
        change(directory, directory.review, made.id, "eva", "fine")
    with pytest.raises(ConfigError, match="finding"):
        change(directory, directory.review, made.id, "ana", " ")
    change(directory, directory.review, made.id, "ana", "justified")
    change(directory, directory.lend, "eva", "emergency", "break-glass", "again", "eva", hour)


def test_every_change_moves_the_epoch(directory):
    tokens, sessions = Tokens(directory), Sessions(directory)
    _, identifier = token(directory)
    changes = [
        (directory.add, "new", []),
        (directory.grant, "new", "auditor"),
        (directory.withdraw, "new", "auditor"),
        (directory.define, "ward", []),
        (directory.disable, "new"),
        (directory.lend, "eva", "auditor", "delegation", "r", "ana", datetime.timedelta(hours=1)),
        (tokens.revoke, identifier),
        (sessions.end_all, "eva", "asked for"),
    ]
    for work, *arguments in changes:
        before = directory.epoch()
        change(directory, work, *arguments)
        assert directory.epoch() > before, work


# Passwords

GOOD = "correct horse battery"


@pytest.fixture
def accounts(directory):
    accounts = Accounts(directory)
    change(directory, accounts.set, "ben", accounts.derive("ben", GOOD))
    return accounts


def test_the_right_password_is_taken_and_none_is_stored(accounts):
    accounts.verify("ben", GOOD)
    accounts.store.close()
    content = accounts.store.path.read_bytes()
    assert GOOD.encode() not in content
    assert b"$argon2id$" in content


def test_a_password_costs_64_mib_three_passes_and_four_lanes(monkeypatch, real_costs):
    monkeypatch.setattr(passwords, "COST", real_costs.password)
    assert passwords._derive(GOOD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ben", "wrong"),
        ("nobody", GOOD),
        ("eva", GOOD),
        ("ben", GOOD + "\0"),
        ("ben", ""),
        ("", ""),
    ],
)
def test_a_wrong_name_and_a_wrong_password_sound_the_same(accounts, name, password):
    with pytest.raises(AccessDenied, match="^wrong name or password, or too many tries$"):
        accounts.verify(name, password)


def test_wrong_passwords_lock_the_account_for_longer_and_longer(accounts):
    clock = accounts.clock
    for _ in range(5):
        with pytest.raises(AccessDenied):
            accounts.verify("ben", "wrong")
    with pytest.raises(AccessDenied):
        accounts.verify("ben", GOOD)
    clock.go(31)
    with pytest.raises(AccessDenied):
        accounts.verify("ben", "wrong")
    clock.go(31)
    with pytest.raises(AccessDenied):
        accounts.verify("ben", GOOD)
    clock.go(30)
    accounts.verify("ben", GOOD)
    assert accounts.known()["ben"].locked is None


@pytest.mark.parametrize("password", ["short", "x" * 300, "aaaaaaaaaaaaaa", "my name is BEN truly"])
def test_a_password_that_is_easy_to_guess_is_refused(password):
    with pytest.raises(ConfigError):
        check(password, "ben", None)


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_breached_password_is_found_wherever_it_stands_in_the_list(tmp_path, count):
    words = [f"a password number {number}" for number in range(count)]
    lines = sorted(hashlib.sha1(word.encode()).hexdigest().upper() + ":7" for word in words)
    (tmp_path / "list").write_text("\r\n".join(lines) + "\r\n")
    for word in words:
        with pytest.raises(ConfigError, match="breach"):
            check(word, "ben", tmp_path / "list")
    check("one that is not in there", "ben", tmp_path / "list")
    with pytest.raises(ConfigError, match="cannot be read"):
        check(GOOD, "ben", tmp_path / "none")


# Second factors


@pytest.fixture
def factors(directory, keys):
    factors = Factors(directory, keys)
    identifier, text, wrapped = factors.enrol("ben")
    change(directory, factors.add, "ben", identifier, wrapped)
    factors.secret = __import__("base64").b32decode(text)
    return factors


def code_of(factors, offset=0):
    step = int(factors.clock.now().timestamp()) // STEP
    return codes_at(factors.secret, step + offset)[1][1]


def test_a_factor_counts_once_it_was_confirmed_and_comes_with_recovery_codes(factors):
    assert not factors.directory.find("User", "ben").mfa
    with pytest.raises(AccessDenied):
        factors.confirm("ben", "000000")
    codes = factors.confirm("ben", code_of(factors))
    assert factors.directory.find("User", "ben").mfa
    assert len(set(codes)) == 10
    factors.store.close()
    content = factors.store.path.read_bytes()
    assert factors.secret not in content
    assert codes[0].replace("-", "").encode() not in content
    assert factors.verify("ben", codes[3].upper()) == "recovery"
    with pytest.raises(AccessDenied):
        factors.verify("ben", codes[3])
    assert factors.kinds("ben") == {"recovery": 9, "totp": 1}


def test_no_code_is_taken_twice_in_two_hundred_tries(factors):
    factors.confirm("ben", code_of(factors))
    refused = 0
    for _ in range(200):
        factors.clock.go(STEP)
        code = code_of(factors)
        assert factors.verify("ben", code) == "totp"
        try:
            factors.verify("ben", code)
        except AccessDenied:
            refused += 1
    assert refused == 200


@pytest.mark.parametrize(
    ("offset", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
def test_a_code_is_good_one_step_around_now(factors, offset, taken):
    factors.confirm("ben", code_of(factors))
    factors.clock.go(10 * STEP)
    if taken:
        assert factors.verify("ben", code_of(factors, offset)) == "totp"
    else:
        with pytest.raises(AccessDenied):
            factors.verify("ben", code_of(factors, offset))


def test_an_older_code_than_the_last_one_is_refused(factors):
    factors.confirm("ben", code_of(factors))
    factors.clock.go(10 * STEP)
    factors.verify("ben", code_of(factors, 1))
    with pytest.raises(AccessDenied):
        factors.verify("ben", code_of(factors, 0))


def test_five_wrong_codes_close_the_factor_for_a_minute(factors):
    factors.confirm("ben", code_of(factors))
    factors.clock.go(10 * STEP)
    for _ in range(5):
        with pytest.raises(AccessDenied):
            factors.verify("ben", "000000" if code_of(factors) != "000000" else "111111")
    with pytest.raises(AccessDenied):
        factors.verify("ben", code_of(factors))
    factors.clock.go(60)
    assert factors.verify("ben", code_of(factors)) == "totp"


# one catalogue for all of them: a refused code leaves nothing of somebody without a factor
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=70))
def test_hostile_codes_are_refused_without_a_fault(directory, text):
    with pytest.raises(AccessDenied):
        Factors(directory, None).verify("ben", text)


def test_fifty_wrong_codes_in_a_day_close_the_factor_but_not_the_recovery_codes(factors):
    codes = factors.confirm("ben", code_of(factors))
    factors.clock.go(STEP)
    for _ in range(10):
        for _ in range(5):
            with pytest.raises(AccessDenied):
                factors.verify("ben", "000000")
        factors.clock.go(600)
    with pytest.raises(AccessDenied):
        factors.verify("ben", code_of(factors))
    assert factors.verify("ben", codes[0]) == "recovery"
    factors.clock.go(86400)
    assert factors.verify("ben", code_of(factors)) == "totp"


# Sessions


@pytest.fixture
def sessions(directory):
    return Sessions(directory)


def begin(sessions, **more):
    return change(sessions.directory, lambda tx: sessions.begin(tx, "ben", "password", **more))


def refused(work, *arguments):
    with pytest.raises(AccessDenied, match="^the session has ended or is not known$"):
        work(*arguments)


def test_a_session_acts_for_a_quarter_of_an_hour_and_is_not_stored(sessions):
    pair = begin(sessions)
    assert sessions.authenticate(pair.access).principal.name == "ben"
    sessions.clock.go(LIFE.total_seconds() - 1)
    sessions.authenticate(pair.access)
    sessions.clock.go(1)
    refused(sessions.authenticate, pair.access)
    sessions.store.close()
    assert pair.access.split("_", 2)[2].encode() not in sessions.store.path.read_bytes()


def test_renewing_changes_both_secrets_and_ends_at_the_cap(sessions):
    pair, count = begin(sessions), 0
    while True:
        sessions.clock.go(800)
        try:
            fresh = sessions.renew(pair.refresh)
        except AccessDenied:
            break
        refused(sessions.authenticate, pair.access)
        pair, count = fresh, count + 1
    assert count == int(CAP.total_seconds() // 800) - (CAP.total_seconds() % 800 == 0)


def test_a_refreshing_secret_that_is_used_twice_ends_the_family(sessions):
    first = begin(sessions)
    other = begin(sessions)
    second = sessions.renew(first.refresh)
    third = sessions.renew(second.refresh)
    refused(sessions.renew, first.refresh)
    refused(sessions.authenticate, third.access)
    refused(sessions.renew, third.refresh)
    sessions.authenticate(other.access)


def test_the_two_secrets_cannot_stand_for_one_another(sessions):
    pair = begin(sessions)
    refused(sessions.authenticate, pair.refresh)
    refused(sessions.renew, pair.access)
    sessions.authenticate(pair.access)


@pytest.mark.parametrize(
    "wrong", ["", "cs_", "cs_0123456789abcdef_" + "A" * 43, "cm_01234567_" + "A" * 43, "\0"]
)
def test_an_unknown_session_is_refused(sessions, wrong):
    refused(sessions.authenticate, wrong)
    refused(sessions.renew, wrong)


def test_a_session_that_is_bound_to_a_certificate_is_refused_without_it(sessions):
    pair = begin(sessions, certificate="ab" * 32)
    sessions.authenticate(pair.access, "ab" * 32)
    for certificate in (None, "", "cd" * 32):
        refused(sessions.authenticate, pair.access, certificate)
        refused(sessions.renew, pair.refresh, certificate)
    sessions.renew(pair.refresh, "ab" * 32)


def test_a_step_up_gives_other_secrets_and_says_when(sessions):
    pair = begin(sessions)
    assert sessions.authenticate(pair.access).mfa is None
    sessions.clock.go(60)
    fresh = sessions.step_up(pair.access)
    refused(sessions.authenticate, pair.access)
    assert sessions.authenticate(fresh.access).mfa == sessions.clock.now()
    assert sessions.authenticate(sessions.renew(fresh.refresh).access).mfa == sessions.clock.now()


def test_a_session_ends_with_its_person_and_when_it_is_told_to(sessions):
    one, two = begin(sessions), begin(sessions)
    assert len(sessions.live()) == 2
    change(sessions.directory, sessions.end, sessions.authenticate(one.access).id)
    refused(sessions.authenticate, one.access)
    sessions.authenticate(two.access)
    change(sessions.directory, sessions.directory.disable, "ben")
    refused(sessions.authenticate, two.access)


# Situations


def test_hours_are_those_of_the_time_zone():
    berlin = Situation("care", NOW.astimezone(zone("Europe/Berlin"))).context()
    assert (berlin["hour"], berlin["weekday"]) == (13, 3)
    assert berlin["now"]["__extn"]["arg"] == "2026-03-04T12:30:00Z"
    with pytest.raises(ConfigError, match="no time zone"):
        zone("Mars/Olympus")
