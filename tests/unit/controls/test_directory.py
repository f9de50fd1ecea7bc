"""Who there is, and what of it is refused: names, roles, grants that end, tokens, factors; and that a
refusal changes nothing.
"""

import datetime

import pyarrow as pa
import pytest
from tests.unit.authenticator import Authenticator
from tests.unit.conftest import refused
from tests.unit.controls.test_access import (  # noqa: F401 - fixtures
    NOW,
    Fixed,
    change,
    code_of,
    directory,
    factors,
    keys,
    token,
)

from casemate.config import PlaceTable
from casemate.controls.access.anomalies import Anomalies
from casemate.controls.access.identity import factors as factors_module
from casemate.controls.access.identity.factors import TRIES
from casemate.controls.access.identity.grants import MAX_REASON
from casemate.controls.access.identity.passkeys import Passkeys
from casemate.controls.access.identity.principals import Directory, current_name
from casemate.controls.access.identity.registered import BY_CERTIFICATE, FACTORS
from casemate.controls.access.identity.tokens import CERTIFICATES, MAX_RATE, TokenLimits, Tokens
from casemate.controls.access.policy import NEEDED, Policy, Resource, roles_text, schema_text
from casemate.controls.access.rows import RowFilter
from casemate.controls.access.situation import Situation
from casemate.controls.access.types import Principal
from casemate.core.store.sqlite import SqliteStore

HOUR = datetime.timedelta(hours=1)
ISSUER = "https://login.example.org"


def state(directory):  # noqa: F811
    """Everything that gives anybody a right."""
    return (directory.rows(), directory.roles(), directory.grants(), Tokens(directory).all())


# People


def test_the_first_owner_is_whom_the_kernel_names_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    store = SqliteStore(tmp_path / "new.db")
    store.upgrade()
    made = Directory(store, Fixed())
    assert made.epoch() == 0
    owner = change(made, made.add_owner)
    assert (owner.name, owner.roles) == (current_name(), ("owner",))
    assert made.current_user() == owner


@pytest.mark.parametrize(
    ("name", "roles", "outside", "said"),
    [
        ("a b", [], None, "is not a name"),
        ("", [], None, "is not a name"),
        ("x" * 64, [], None, "is not a name"),
        ("ana", [], None, "there is a user 'ana' already"),
        ("new", ["king"], None, "unknown role 'king'"),
        ("new", [], "no account", "is no account at a provider"),
        ("new", [], f"{ISSUER} 7", "that account belongs to another user"),
    ],
)
def test_nobody_is_registered_under_a_wrong_or_taken_name_role_or_account(
    directory,  # noqa: F811
    name,
    roles,
    outside,
    said,
):
    change(directory, directory.add, "ola", [], f"{ISSUER} 7")
    before = state(directory)
    with refused("CM-CONFIG", said):
        change(directory, directory.add, name, roles, outside)
    assert state(directory) == before


def test_a_person_is_found_by_their_account_until_they_are_disabled(directory):  # noqa: F811
    change(directory, directory.add, "ola", ["auditor"], f"{ISSUER} 7")
    assert directory.of(f"{ISSUER} 7").name == "ola"
    assert directory.knows(f"{ISSUER} 7")
    change(directory, directory.disable, "ola")
    assert directory.of(f"{ISSUER} 7") is None
    assert directory.knows(f"{ISSUER} 7"), "the account stays taken"
    assert directory.of(f"{ISSUER} 8") is None
    assert not directory.knows(f"{ISSUER} 8")
    (row,) = [row for row in directory.rows() if row.name == "ola"]
    assert (row.uid, row.disabled) == ('User::"ola"', NOW.isoformat())


def test_a_certificate_stands_for_a_service_and_never_for_a_person(directory):  # noqa: F811
    tokens = Tokens(directory)
    with directory.store.transaction() as tx:
        tokens.register(tx, "ward", ["client"], ["m"], by_certificate=True)
        directory.add(tx, "kim", ["owner"], None)
    assert directory.of_certificate("ward").name == "ward"
    assert directory.of_certificate("nobody") is None
    from casemate.controls.access.identity.registered import PRINCIPALS

    with directory.store.transaction() as tx:  # as if somebody had written it there
        tx.execute(
            PRINCIPALS.update()
            .where(PRINCIPALS.c.name == "kim")
            .values(outside=BY_CERTIFICATE + "kim")
        )
    assert directory.of_certificate("kim") is None


@pytest.mark.parametrize(
    ("role", "includes", "said"),
    [
        ("a b", [], "is not a name"),
        ("owner", [], "is casemate's own"),
        ("nurse", ["king"], "unknown role 'king'"),
        ("nurse", ["nurse"], "would include itself"),
        ("nurse", ["head"], "would include itself"),
    ],
)
def test_a_role_that_makes_no_sense_is_not_defined(directory, role, includes, said):  # noqa: F811
    change(directory, directory.define, "head", [])
    change(directory, directory.define, "nurse", ["monitor"])
    change(directory, directory.define, "head", ["nurse"])
    before = state(directory)
    with refused("CM-CONFIG", said):
        change(directory, directory.define, role, includes)
    assert state(directory) == before
    assert directory.closure(["head"]) == {"head", "nurse", "monitor"}


def test_a_role_is_granted_to_and_withdrawn_from_people_only_who_are_there(directory):  # noqa: F811
    before = state(directory)
    for work, arguments, code, said in (
        (directory.grant, ("nobody", "auditor"), "CM-CONFIG", "there is no user 'nobody'"),
        (directory.grant, ("eva", "king"), "CM-CONFIG", "unknown role"),
        (directory.withdraw, ("nobody", "auditor"), "CM-CONFIG", "does not have the role"),
        (directory.withdraw, ("eva", "auditor"), "CM-CONFIG", "does not have the role"),
        (directory.withdraw, ("ana", "owner"), "CM-REFUSED", "is the only owner"),
        (directory.disable, ("nobody",), "CM-CONFIG", "there is no user"),
        (directory.disable, ("ana",), "CM-REFUSED", "is the only owner"),
    ):
        with refused(code, said):
            change(directory, work, *arguments)
    assert state(directory) == before
    change(directory, directory.grant, "ben", "owner")
    change(directory, directory.withdraw, "ana", "owner")
    assert directory.find("User", "ana").roles == ()
    change(directory, directory.grant, "ana", "owner")
    change(directory, directory.disable, "ben")
    with refused("CM-CONFIG", "there is no user 'ben'"):
        change(directory, directory.disable, "ben")


def test_a_provider_says_exactly_which_roles_somebody_has(directory):  # noqa: F811
    assert change(directory, directory.set_roles, "eva", ["auditor"])
    assert not change(directory, directory.set_roles, "eva", ["auditor"])
    assert not change(directory, directory.set_roles, "nobody", ["auditor"])
    assert change(directory, directory.set_roles, "eva", ["approver"])
    assert directory.find("User", "eva").roles == ("approver",)
    with refused("CM-CONFIG", "unknown role"):
        change(directory, directory.set_roles, "eva", ["king"])
    with refused("CM-REFUSED", "the only owner, and the provider does not say so"):
        change(directory, directory.set_roles, "ana", [])
    assert directory.find("User", "ana").roles == ("owner",)


# Roles that end


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "nobody"}, "there is no user 'nobody'"),
        ({"role": "king"}, "unknown role"),
        ({"reason": "  "}, "a reason of 1 to"),
        ({"reason": "x" * (MAX_REASON + 1)}, "a reason of 1 to"),
        ({"lifetime": datetime.timedelta(0)}, "the time must be positive"),
    ],
)
def test_a_role_is_not_lent_without_person_reason_and_end(directory, changed, said):  # noqa: F811
    usual = {
        "name": "eva",
        "role": "auditor",
        "why": "delegation",
        "reason": "holiday",
        "by": "ana",
        "lifetime": HOUR,
    }
    before = state(directory)
    with refused("CM-CONFIG", said):
        change(directory, lambda tx: directory.lend(tx, **(usual | changed)))
    assert state(directory) == before


def broken(directory, name="eva"):  # noqa: F811
    return change(directory, directory.lend, name, "emergency", "break-glass", "fire", name, HOUR)


def test_an_emergency_is_reviewed_by_somebody_else_before_the_next_one(directory):  # noqa: F811
    first = broken(directory)
    assert directory.find("User", "eva").roles == ("emergency",)
    before = state(directory)
    for identifier, reviewer, finding, code, said in (
        ("0", "ana", "ok", "CM-CONFIG", "waits for a review"),
        (first.id, "eva", "ok", "CM-REFUSED", "is reviewed by somebody else"),
        (first.id, "ana", " ", "CM-CONFIG", "a finding of 1 to"),
        (first.id, "ana", "x" * (MAX_REASON + 1), "CM-CONFIG", "a finding of 1 to"),
    ):
        with refused(code, said):
            change(directory, directory.review, identifier, reviewer, finding)
    directory.clock.go(7200)
    with refused("CM-REFUSED", "was not reviewed yet"):
        broken(directory)
    assert state(directory) == before
    closed = change(directory, directory.review, first.id, "ana", " it burnt ")
    assert (closed.reviewer, closed.review) == ("ana", "it burnt")
    with refused("CM-CONFIG", "waits for a review"):
        change(directory, directory.review, first.id, "ana", "again")
    assert broken(directory).id != first.id


def test_a_delegation_ends_with_the_role_and_with_the_person_it_came_from(directory):  # noqa: F811
    for name in ("ana", "ben"):
        change(directory, directory.lend, "eva", "auditor", "delegation", "holiday", name, HOUR)
    change(directory, directory.grant, "ben", "auditor")
    change(directory, directory.withdraw, "ben", "auditor")
    assert directory.find("User", "eva").roles == ("auditor",), "ana's still holds"
    change(directory, directory.grant, "ben", "owner")
    change(directory, directory.disable, "ana")
    assert directory.find("User", "eva").roles == ()
    change(directory, directory.lend, "eva", "auditor", "delegation", "again", "ben", HOUR)
    change(directory, directory.withdraw, "eva", "auditor")
    assert directory.find("User", "eva").roles == ()


# Services and their tokens


def test_a_service_keeps_the_roles_and_models_that_it_was_made_with(directory):  # noqa: F811
    secret, _ = token(directory)
    token(directory)
    before = state(directory)
    for changed in ({"roles": ["monitor"]}, {"models": ["*"]}):
        with refused("CM-CONFIG", "has other roles or models"):
            token(directory, **changed)
    with refused("CM-CONFIG", "there is a service 'svc' already"):
        change(directory, Tokens(directory).register, "svc", ["client"], ["m"])
    with refused("CM-CONFIG", "no token with id 'x'"):
        change(directory, Tokens(directory).revoke, "x")
    assert state(directory) == before
    assert all(not hasattr(one, "hash") for one in Tokens(directory).all())
    change(directory, Tokens(directory).forget, "svc")
    assert Tokens(directory).all() == []
    with refused("CM-DENIED", "no valid token"):
        Tokens(directory).authenticate(secret)


@pytest.mark.parametrize("rate", [-1, 0, MAX_RATE + 1])
def test_a_rate_is_within_its_limits(rate):
    TokenLimits(rate=MAX_RATE).check()
    with refused("CM-CONFIG", "a rate is 1 to"):
        TokenLimits(rate=rate).check()


@pytest.mark.parametrize(
    ("kind", "names", "until", "revoked", "stands"),
    [
        ("client", ["ward"], NOW + HOUR, None, True),
        ("client", ["other"], NOW + HOUR, None, False),
        ("server", ["ward"], NOW + HOUR, None, False),
        ("client", ["ward"], NOW, None, False),
        ("client", ["ward"], NOW + HOUR, "2026-01-01", False),
    ],
)
def test_a_certificate_that_was_issued_before_does_not_come_to_stand_for_a_service(
    directory,  # noqa: F811
    kind,
    names,
    until,
    revoked,
    stands,
):
    with directory.store.transaction() as tx:
        values = {
            "serial": "1f",
            "kind": kind,
            "names": names,
            "until": until.isoformat(),
            "revoked": revoked,
        }
        more = {
            column.name: "x"
            for column in CERTIFICATES.c
            if column.name not in values and not column.nullable
        }
        tx.execute(CERTIFICATES.insert().values(**values, **more))
    tokens = Tokens(directory)

    def register(tx):
        tokens.register(tx, "ward", ["client"], ["m"], by_certificate=True)

    if stands:
        with refused("CM-CONFIG", "there are client certificates of the name 'ward' already"):
            change(directory, register)
        assert directory.find("Service", "ward") is None
    else:
        change(directory, register)
        assert directory.of_certificate("ward").name == "ward"


# Factors


def test_a_factor_that_nobody_began_is_not_confirmed(factors):  # noqa: F811
    with refused("CM-CONFIG", "no factor waits for its first code"):
        factors.confirm("eva", "123456")


def test_factors_are_counted_and_forgotten_with_their_recovery_codes(factors):  # noqa: F811
    assert factors.kinds("ben") == {}
    factors.confirm("ben", code_of(factors))
    assert factors.kinds("ben") == {"recovery": 10, "totp": 1}
    assert change(factors.directory, factors.remove, "ben") == 11
    assert factors.kinds("ben") == {}
    with refused("CM-DENIED"):
        factors.verify("ben", code_of(factors, 1))


def test_a_secret_under_another_version_of_the_key_proves_the_same(factors, keys):  # noqa: F811
    factors.confirm("ben", code_of(factors))
    with factors.store.transaction() as tx:
        ((identifier, wrapped),) = factors.wrapped(tx)
        factors.replace(
            tx,
            identifier,
            keys.wrap(factors_module.KEK, keys.unwrap(factors_module.KEK, wrapped)),
        )
        ((_, again),) = factors.wrapped(tx)
    assert again != wrapped
    factors.clock.go(60)
    assert factors.verify("ben", code_of(factors)) == "totp"


def test_a_factor_that_is_removed_while_its_code_is_looked_at_proves_nothing(
    factors,  # noqa: F811
    monkeypatch,
):
    factors.confirm("ben", code_of(factors))
    factors.clock.go(60)
    code, inner = code_of(factors), factors_module.codes_at

    def removed(*arguments):
        change(factors.directory, factors.remove, "ben")
        return inner(*arguments)

    monkeypatch.setattr(factors_module, "codes_at", removed)
    with refused("CM-DENIED"):
        factors.verify("ben", code)


def test_a_right_code_after_too_many_wrong_ones_waits(factors):  # noqa: F811
    factors.confirm("ben", code_of(factors))
    factors.clock.go(60)
    for _ in range(TRIES):
        with refused("CM-DENIED"):
            factors.verify("ben", "000000")
    with refused("CM-DENIED"):
        factors.verify("ben", code_of(factors))


def test_of_two_uses_of_a_passkey_at_once_one_comes_too_late(directory, monkeypatch):  # noqa: F811
    passkeys = Passkeys(directory, "https://casemate.example")
    device = Authenticator("https://casemate.example", "casemate.example")
    passkeys.register("ana", device.create(passkeys.registration("ana")))
    answer, inner = device.get(passkeys.request("ana")), passkeys._of

    def overtaken(name):
        found = inner(name)
        with directory.store.transaction() as tx:
            tx.execute(
                FACTORS.update().where(FACTORS.c.kind == "passkey").values(counter=found[0][2] + 9)
            )
        return found

    monkeypatch.setattr(passkeys, "_of", overtaken)
    with refused("CM-DENIED"):
        passkeys.verify("ana", answer)


def test_a_first_passkey_is_not_added_beside_a_factor_that_came_meanwhile(directory):  # noqa: F811
    passkeys = Passkeys(directory, "https://casemate.example")
    devices = [Authenticator("https://casemate.example", "casemate.example") for _ in range(2)]
    answer = devices[0].create(passkeys.registration("ana"))
    passkeys.register("ana", answer, first=True)
    answer = devices[1].create(passkeys.registration("ana"))
    with refused("CM-DENIED", "there is a second factor meanwhile"):
        passkeys.register("ana", answer, first=True)
    assert len(passkeys._of("ana")) == 1


# What is unusual, and what policies say of it


def test_who_acts_from_many_networks_is_watched_without_keeping_them_all(directory):  # noqa: F811
    told = []
    anomalies = Anomalies(directory, {}, 10, lambda tx, found: told.append(found.kind))
    anomalies._lately = {("x", str(number)): 0.0 for number in range(10_001)}
    anomalies.seen('User::"ben"', "10.1.2.3")
    assert len(anomalies._lately) == 1
    anomalies.seen('User::"ben"', "10.9.2.3")
    anomalies.seen('User::"ben"', "10.9.2.3")
    assert told == ["new-network"], "once a minute and network"


def test_no_travel_is_seen_where_a_network_is_nowhere(directory):  # noqa: F811
    told = []
    places = {"berlin": PlaceTable(latitude=52.5, longitude=13.4, networks=["10.1.0.0/16"])}
    anomalies = Anomalies(directory, places, 10, lambda tx, found: told.append(found.kind))
    for address in ("10.1.2.3", "10.9.2.3"):
        anomalies.seen('User::"ben"', address)
    assert told == ["new-network"]


def test_a_model_that_is_probed_is_told(directory):  # noqa: F811
    told = []
    anomalies = Anomalies(directory, {}, 10, lambda tx, found: told.append(found))
    anomalies.probing('Service::"svc"', "asks as one who copies")
    assert [(found.kind, found.message) for found in told] == [
        ("model-probing", "asks as one who copies")
    ]
    assert anomalies.risk('Service::"svc"') == told[0].risk > 0


@pytest.mark.parametrize("action", sorted(NEEDED))
def test_a_decision_that_was_not_told_what_the_schema_wants_is_no(action):
    owner, usual = Principal("User", "ana", ("owner",)), Situation("care", NOW)
    policy = Policy({}, "p-1")
    kind = {"dataset": "Dataset", "model": "Model"}[action.split(":")[0]]
    assert policy.decide(owner, action, Resource(kind, "m"), usual, **NEEDED[action]).allowed
    for left_out in NEEDED[action]:
        context = {name: value for name, value in NEEDED[action].items() if name != left_out}
        decision = policy.decide(owner, action, Resource(kind, "m"), usual, **context)
        assert (decision.allowed, decision.reasons) == (False, ("policy-error",))


def test_a_condition_that_cannot_be_evaluated_denies_what_roles_permit():
    text = (
        '@id("odd") forbid (principal, action == Action::"run:read", resource)'
        " when { 9223372036854775807 + context.hour > 0 };"
    )
    policy, owner = Policy({"x.cedar": text}, "p-1"), Principal("User", "ana", ("owner",))
    decision = policy.decide(owner, "run:read", Resource(), Situation("care", NOW))
    assert (decision.allowed, decision.reasons) == (False, ("policy-error",))


def test_a_policy_template_is_refused():
    with refused("CM-CONFIG", "templates are not used here"):
        Policy({"x.cedar": "permit (principal == ?principal, action, resource);"}, "p-1")


def test_decisions_do_not_pile_up_in_memory(monkeypatch):
    from casemate.controls.access import policy as module

    monkeypatch.setattr(module, "MAX_KNOWN", 3)
    policy = Policy({}, "p-1")
    for number in range(10):
        person = Principal("User", f"p{number}", (f"role-{number}", "owner"))
        assert policy.decide(person, "run:read", Resource(), Situation("care", NOW)).allowed
        assert max(len(policy._slices), len(policy._known)) <= 3


def test_moments_within_a_second_are_one_moment_for_policies_and_others_are_not():
    usual = Situation("care", NOW, mfa_age=11)
    same = Situation("care", NOW + datetime.timedelta(milliseconds=900), mfa_age=19)
    assert usual.key == same.key
    for name, value in {
        "purpose": "x",
        "now": NOW + datetime.timedelta(seconds=1),
        "environment": "x",
        "mfa_age": 20,
        "network": "10.1.2.3",
        "device": "x",
        "risk": 1,
    }.items():
        changed = Situation(**{"purpose": "care", "now": NOW, "mfa_age": 11, name: value})
        assert changed.key != usual.key, name


def test_an_authenticator_is_given_the_secret_and_whose_it_is():
    told = factors_module.uri("ana b", "p/1", "ABC")
    assert told.startswith("otpauth://totp/casemate:ana%20b%20(p/1)?secret=ABC&issuer=casemate&")


def test_limits_of_a_token_that_make_sense_are_taken():
    TokenLimits(actions=("model:infer", "model:read"), networks=("10.1.0.0/16",), rate=1).check()


def test_a_row_is_asked_about_once_and_a_table_without_rows_not_at_all():
    asked = []
    rows = RowFilter([], lambda tags: bool(asked.append(tags)))
    table = pa.table({"a": [1, 2, 3]})
    assert rows.keep(table.slice(0, 0)).num_rows == rows.keep(table).num_rows == 0
    assert rows.keep(table).num_rows == 0
    assert (asked, rows.withheld) == ([()], 6)


def test_what_is_shipped_can_be_read():
    assert 'Role::"owner"' in roles_text()
    assert "entity User" in schema_text()
