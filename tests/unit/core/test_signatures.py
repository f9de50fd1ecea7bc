"""Hybrid signatures: what a verifier accepts as keys, as an envelope, as a statement; and whose
signature counts after a change of signers.
"""

import base64
import datetime

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.unit.conftest import refused

from casemate.core import signatures
from casemate.core.digest import sha256
from casemate.core.signatures import (
    FormerSigner,
    Keyring,
    Signer,
    Verifier,
    read_envelope,
    subjects_of,
)

SIGNER, OTHER = Signer.generate(), Signer.generate()
CLASSICAL, QUANTUM = SIGNER.verifier.pems
NOON = datetime.datetime(2026, 3, 4, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_the_two_public_keys_are_taken_in_any_order():
    for pems in ((CLASSICAL, QUANTUM), (QUANTUM, CLASSICAL)):
        assert Verifier.from_pem(*pems).fingerprint == SIGNER.verifier.fingerprint


@pytest.mark.parametrize(
    ("pems", "said"),
    [
        ((), "ECDSA P-256 (signer.pub) is missing"),
        ((CLASSICAL,), "ML-DSA-65 (signer-mldsa65.pub) is missing"),
        ((QUANTUM,), "ECDSA P-256 (signer.pub) is missing"),
        ((QUANTUM, pem(ec.generate_private_key(ec.SECP384R1()))), "ECDSA P-256"),
        ((CLASSICAL, pem(ed25519.Ed25519PrivateKey.generate())), "ML-DSA-65"),
        ((CLASSICAL, QUANTUM, b"not a key"), "is not PEM"),
        ((CLASSICAL, QUANTUM.replace(b"A", b"!")), "is not PEM"),
    ],
)
def test_half_a_signer_or_keys_of_other_kinds_verify_nothing(pems, said):
    with refused("CM-VERIFY", said):
        Verifier.from_pem(*pems)


def test_a_bundle_that_names_another_signer_is_refused_by_its_hint():
    assert SIGNER.verifier.by_hint(SIGNER.verifier.hint) is SIGNER.verifier
    with refused("CM-SIGNER", "names another signer's key"):
        SIGNER.verifier.by_hint(OTHER.verifier.hint)


def test_a_payload_of_one_type_does_not_pass_for_another():
    envelope = SIGNER.sign(b"x", "a/b")
    with refused("CM-VERIFY", "holds 'a/b', expected 'c/d'"):
        SIGNER.verifier.verify(envelope, "c/d")
    with refused("CM-VERIFY", "does not match"):
        SIGNER.verifier.verify({**envelope, "payloadType": "c/d"}, "c/d")


def test_another_spelling_of_the_same_bytes_is_refused():
    envelope = SIGNER.sign(b"x")  # one byte leaves four bits of base64 that decoders do not look at
    assert envelope["payload"] == "eA=="
    for changed in ({"payload": "eB=="}, {"payload": "eA==\n"}, {"payload": "eA"}):
        with refused("CM-VERIFY", "is not a DSSE envelope"):
            SIGNER.verifier.verify({**envelope, **changed})
    first, second = envelope["signatures"]
    loose = {**second, "sig": second["sig"] + "\n"}
    with refused("CM-VERIFY", "is not a DSSE envelope"):
        SIGNER.verifier.verify({**envelope, "signatures": [first, loose]})


def test_a_field_that_nobody_signed_is_refused():
    envelope = SIGNER.sign(b"x")
    with refused("CM-VERIFY", "is not a DSSE envelope"):
        SIGNER.verifier.verify({**envelope, "more": 1})


def test_the_second_signature_names_its_key():
    with refused("CM-SIGNER", "ML-DSA-65 signature names another key"):
        OTHER.verifier.verify(SIGNER.sign(b"x"))


def test_a_statement_of_another_kind_is_refused():
    envelope = read_envelope(SIGNER.sign_statement({"b": "2", "a": "1"}, "kind", {"n": 1}))
    statement = SIGNER.verifier.verify_statement(envelope, "kind")
    assert statement["predicate"] == {"n": 1}
    assert subjects_of(statement) == {"a": "1", "b": "2"}
    with refused("CM-VERIFY", "the statement is a 'kind', expected 'other'"):
        SIGNER.verifier.verify_statement(envelope, "other")


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"[" * 100_000, b'{"a":"\xcf"}'])
def test_what_is_signed_and_no_statement_is_refused(payload):
    with refused("CM-VERIFY", "the signed statement is not JSON"):
        SIGNER.verifier.verify_statement(SIGNER.sign(payload), "kind")


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"subject": None},
        {"subject": 3},
        {"subject": [None]},
        {"subject": [{"name": "a"}]},
        {"subject": [{"name": "a", "digest": {}}]},
        {"subject": [{"name": "a", "digest": "x"}]},
    ],
)
def test_a_statement_about_no_files_is_refused(statement):
    with refused("CM-VERIFY", "names no files"):
        subjects_of(statement)


def test_a_signature_file_larger_than_the_limit_is_not_parsed(monkeypatch):
    content = msgspec.json.encode(SIGNER.sign(b"x"))
    monkeypatch.setattr(signatures, "MAX_PAYLOAD", len(content))
    assert SIGNER.verifier.verify(read_envelope(content)) == b"x"
    with refused("CM-VERIFY", "larger than 64 MiB"):
        read_envelope(content + b" ")


def test_a_signature_is_recorded_before_it_is_given_away():
    told = []
    signer = Signer(SIGNER.classical, SIGNER.quantum, record=told.append)
    assert SIGNER.verifier.verify(signer.sign(b"x")) == b"x"
    assert told == [sha256(b"x")]

    def away(_):
        raise OSError("the log cannot be written")

    signer = Signer(SIGNER.classical, SIGNER.quantum, record=away)
    with pytest.raises(OSError, match="cannot be written"):
        signer.sign(b"x")


def former(signer, compromised, signed_at):
    return FormerSigner(signer.verifier, compromised, lambda _: signed_at)


@pytest.mark.parametrize(
    ("compromised", "signed_at", "said"),
    [
        (None, None, None),
        (NOON, NOON - HOUR, None),
        (NOON, NOON, "signed at 2026-03-04T12:00:00+00:00"),
        (NOON, NOON + HOUR, "signed at 2026-03-04T13:00:00+00:00"),
        (NOON, None, "shows no earlier signature"),
    ],
)
def test_of_a_compromised_signer_counts_what_is_proven_to_be_older(compromised, signed_at, said):
    verifier, envelope = former(SIGNER, compromised, signed_at), SIGNER.sign(b"x")
    if said is None:
        assert verifier.verify(envelope) == b"x"
    else:
        with refused("CM-COMPROMISED", said):
            verifier.verify(envelope)


def test_that_a_signature_is_old_does_not_make_a_wrong_one_right():
    verifier, envelope = former(SIGNER, NOON, NOON - HOUR), SIGNER.sign(b"x")
    with refused("CM-VERIFY", "does not match"):
        verifier.verify({**envelope, "payload": base64.b64encode(b"y").decode()})


def test_a_keyring_asks_the_signer_that_the_envelope_names():
    ring = Keyring(SIGNER.verifier, [former(OTHER, NOON, NOON - HOUR)])
    assert ring.verify(SIGNER.sign(b"new")) == b"new"
    assert ring.verify(OTHER.sign(b"old")) == b"old"
    assert ring.by_hint(OTHER.verifier.hint) is ring.former[0]
    assert ring.by_hint(SIGNER.verifier.hint) is ring.present
    stranger = Signer.generate()
    with refused("CM-SIGNER", "names another signer's key"):
        ring.by_hint(stranger.verifier.hint)
    with refused("CM-SIGNER", "names another key"):
        ring.verify(stranger.sign(b"x"))


@pytest.mark.parametrize("signatures", [None, 3, "x", [], [None], ["mldsa65:"], {"keyid": "x"}])
def test_an_envelope_that_names_nobody_is_refused_by_a_keyring(signatures):
    ring = Keyring(SIGNER.verifier, [former(OTHER, None, None)])
    with refused("CM-VERIFY"):
        ring.verify({**OTHER.sign(b"x"), "signatures": signatures})
    with refused("CM-VERIFY"):
        ring.verify({"payload": "eA=="})


def test_a_keyring_tells_every_declared_compromise_also_of_the_present_signer():
    assert SIGNER.verifier.compromises == []
    ring = Keyring(SIGNER.verifier, [former(OTHER, NOON, None), former(OTHER, None, None)])
    assert ring.compromises == [f"{OTHER.verifier.fingerprint} 2026-03-04T12:00:00+00:00"]
    ring = Keyring(former(SIGNER, NOON, None), [])
    assert ring.compromises == [f"{SIGNER.verifier.fingerprint} 2026-03-04T12:00:00+00:00"]
    with refused("CM-COMPROMISED"):
        ring.verify(SIGNER.sign(b"x"))
