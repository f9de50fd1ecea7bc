"""Passkeys: the ceremony with a software authenticator, and what must not pass for one."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import often
from tests.unit.authenticator import PRESENT, Authenticator, text
from tests.unit.controls.test_access import change, directory  # noqa: F401 - a fixture

from casemate.controls.access.identity.passkeys import LIFE, MOST, Passkeys
from casemate.core.errors import AccessDenied, ConfigError

ORIGIN, PARTY = "https://casemate.example:8443", "casemate.example"


@pytest.fixture
def passkeys(directory):  # noqa: F811
    return Passkeys(directory, ORIGIN)


@pytest.fixture
def device():
    return Authenticator(ORIGIN, PARTY)


def registered(passkeys, device, name="ana"):
    return passkeys.register(name, device.create(passkeys.registration(name)))


def test_a_passkey_is_registered_and_used(passkeys, device):
    identifier, codes = registered(passkeys, device)
    assert len(codes) == 10
    assert registered(passkeys, Authenticator(ORIGIN, PARTY))[1] == []
    for _ in range(3):
        assert passkeys.verify("ana", device.get(passkeys.request("ana"))) == identifier
    assert (
        passkeys._store.path.read_bytes().count(
            device.key.private_numbers().private_value.to_bytes(32, "big")
        )
        == 0
    )
    person = passkeys
    assert person.request("ana")["rpId"] == PARTY
    assert person.request("ana")["userVerification"] == "required"


def test_a_person_with_a_passkey_has_a_second_factor(passkeys, device, directory):  # noqa: F811
    assert not directory.find("User", "ana").mfa
    registered(passkeys, device)
    assert directory.find("User", "ana").mfa


def test_an_answer_counts_once(passkeys, device):
    registered(passkeys, device)
    answer = device.get(passkeys.request("ana"))
    passkeys.verify("ana", answer)
    for _ in range(20):
        with pytest.raises(AccessDenied, match="not good"):
            passkeys.verify("ana", answer)


def test_a_registration_counts_once_and_for_one_person(passkeys, device):
    answer = device.create(passkeys.registration("ana"))
    passkeys.register("ana", answer)
    with pytest.raises(AccessDenied):
        passkeys.register("ana", answer)
    with pytest.raises(AccessDenied, match="not good"):
        registered(passkeys, device)
    with pytest.raises(AccessDenied):
        registered(passkeys, device, "ben")


def test_a_challenge_ends_after_five_minutes_and_with_the_next_one(passkeys, device):
    registered(passkeys, device)
    options = passkeys.request("ana")
    passkeys._clock.go(LIFE.total_seconds())
    with pytest.raises(AccessDenied):
        passkeys.verify("ana", device.get(options))
    older = passkeys.request("ana")
    passkeys.request("ana")
    with pytest.raises(AccessDenied):
        passkeys.verify("ana", device.get(older))


ATTACKS = {
    "another origin": lambda device: setattr(device, "origin", "https://casemate.example.evil"),
    "without the port": lambda device: setattr(device, "origin", "https://casemate.example"),
    "plain http": lambda device: setattr(device, "origin", "http://casemate.example:8443"),
    "another party": lambda device: setattr(device, "party", "evil.example"),
    "nobody verified": lambda device: setattr(device, "flags", PRESENT),
    "nobody present": lambda device: setattr(device, "flags", 0),
    "another key": lambda device: setattr(device, "key", Authenticator(ORIGIN, PARTY).key),
    "another credential": lambda device: setattr(
        device, "credential", Authenticator(ORIGIN, PARTY).credential
    ),
    "a copy that lags behind": lambda device: setattr(device, "count", 0),
    "a counter that stands still": lambda device: setattr(device, "step", 0),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_answer_from_elsewhere_is_refused(passkeys, device, name):
    registered(passkeys, device)
    passkeys.verify("ana", device.get(passkeys.request("ana")))
    ATTACKS[name](device)
    with pytest.raises(AccessDenied, match="not good"):
        passkeys.verify("ana", device.get(passkeys.request("ana")))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in ATTACKS
        if "key" not in name and "credential" not in name and "co" not in name
    ],
)
def test_a_passkey_from_elsewhere_is_not_registered(passkeys, device, name):
    ATTACKS[name](device)
    with pytest.raises(AccessDenied, match="not good"):
        registered(passkeys, device)


def test_a_passkey_of_somebody_else_is_refused(passkeys, device, directory):  # noqa: F811
    theirs = Authenticator(ORIGIN, PARTY)
    registered(passkeys, device)
    registered(passkeys, theirs, "ben")
    with pytest.raises(AccessDenied):
        passkeys.verify("ana", theirs.get(passkeys.request("ana")))
    answer = device.get(passkeys.request("ben"))
    with pytest.raises(AccessDenied):
        passkeys.verify("ana", answer)  # to ben's challenge


def test_a_registration_cannot_stand_for_a_use_nor_a_use_for_a_registration(passkeys, device):
    created = device.create(passkeys.registration("ana"))
    passkeys.request("ana")
    with pytest.raises(AccessDenied):
        passkeys.verify("ana", created)
    registered(passkeys, device)
    used = device.get(passkeys.request("ana"))
    passkeys.registration("ana")
    with pytest.raises(AccessDenied):
        passkeys.register("ana", used)


FIELDS = ["id", "rawId", "type", "response", "clientExtensionResults"]
PARTS = ["clientDataJSON", "authenticatorData", "signature", "attestationObject"]
JUNK = (
    st.none()
    | st.integers()
    | st.text(max_size=20)
    | st.binary(max_size=80).map(text)
    | st.lists(st.none(), max_size=2)
    | st.just({})
)


@settings(max_examples=often(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(FIELDS + PARTS), value=JUNK, create=st.booleans())
def test_hostile_answers_are_refused_without_a_fault(passkeys, device, where, value, create):
    device.credential, name = Authenticator(ORIGIN, PARTY).credential, "eva"
    answer = (
        device.create(passkeys.registration(name)) if create else device.get(passkeys.request(name))
    )
    good = copy.deepcopy(answer)
    place = answer if where in FIELDS else answer["response"]
    place[where] = value
    if answer == good or (
        create and where in ("clientExtensionResults", "authenticatorData", "signature")
    ):
        return
    with pytest.raises(AccessDenied):
        if create:
            passkeys.register(name, answer)
        else:
            passkeys.verify(name, answer)


def test_a_person_has_so_many_passkeys_at_the_most(passkeys):
    for _ in range(MOST):
        registered(passkeys, Authenticator(ORIGIN, PARTY))
    with pytest.raises(ConfigError, match="already"):
        passkeys.registration("ana")
