"""The primitives that casemate uses, as it uses them, against the edge cases of Project
Wycheproof.
"""

import json

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from casemate.controls.access.identity import jwt
from casemate.core.errors import AccessDenied

REFUSED = (InvalidSignature, InvalidTag, ValueError)


@pytest.fixture
def vectors(case):
    """(group, test) pairs of a file."""

    def read(name):
        document = json.loads(case(f"vectors/wycheproof/{name}_test.json").read_text())
        return [(group, test) for group in document["testGroups"] for test in group["tests"]]

    return read


def judge(pairs, check):
    """Every case in the way its file says; `acceptable` may go either way."""
    seen = 0
    for group, test in pairs:
        try:
            check(group, test)
            accepted = True
        except REFUSED:
            accepted = False
        if test["result"] != "acceptable":
            assert accepted == (test["result"] == "valid"), (test["tcId"], test["comment"])
        seen += 1
    return seen


def data(test, *names):
    return [bytes.fromhex(test[name]) for name in names]


def test_aes_256_gcm_with_12_byte_nonces(vectors):
    def check(_group, test):
        key, nonce, aad, message, cipher, tag = data(test, "key", "iv", "aad", "msg", "ct", "tag")
        if (
            AESGCM(key).decrypt(nonce, cipher + tag, aad) != message
            or AESGCM(key).encrypt(nonce, message, aad) != cipher + tag
        ):
            raise ValueError("another result")

    ours = [
        (group, test)
        for group, test in vectors("aes_gcm")
        if (group["keySize"], group["ivSize"], group["tagSize"]) == (256, 96, 128)
    ]
    assert judge(ours, check) > 50


def test_ed25519_signatures_of_checkpoints(vectors):
    def check(group, test):
        (public,) = data(group["publicKey"], "pk")
        signature, message = data(test, "sig", "msg")
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)

    assert judge(vectors("ed25519"), check) > 100


def test_ecdsa_p256_signatures_of_envelopes(vectors):
    def check(group, test):
        key = serialization.load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        signature, message = data(test, "sig", "msg")
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))

    assert judge(vectors("ecdsa_secp256r1_sha256"), check) > 400


def test_mldsa_65_signatures_of_envelopes(vectors):
    def check(group, test):
        signature, message = data(test, "sig", "msg")
        context = bytes.fromhex(test.get("ctx", ""))
        mldsa.MLDSA65PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"])).verify(
            signature, message, context
        )

    assert judge(vectors("mldsa_65_verify"), check) > 150


def test_mlkem_768_of_the_recovery_key(vectors):
    def check(group, test):
        if "seed" not in test:
            raise ValueError("not a decapsulation")
        private = mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(test["seed"]))
        if private.public_key().public_bytes_raw() != bytes.fromhex(test["ek"]):
            raise ValueError("another public key")
        if private.decapsulate(bytes.fromhex(test["c"])) != bytes.fromhex(test["K"]):
            raise ValueError("another secret")

    assert (
        judge(
            [pair for pair in vectors("mlkem_768") if "seed" in pair[1] and "c" in pair[1]], check
        )
        > 50
    )


def test_x25519_of_the_recovery_key(vectors):
    def check(_group, test):
        public, private, shared = data(test, "public", "private", "shared")
        if (
            x25519.X25519PrivateKey.from_private_bytes(private).exchange(
                x25519.X25519PublicKey.from_public_bytes(public)
            )
            != shared
        ):
            raise ValueError("another secret")

    assert judge([pair for pair in vectors("x25519") if "public" in pair[1]], check) > 400


def test_hmac_sha256_of_pseudonyms(vectors):
    def check(group, test):
        key, message, tag = data(test, "key", "msg", "tag")
        mac = HMAC(key, hashes.SHA256())
        mac.update(message)
        if mac.finalize() != tag:
            raise ValueError("another tag")

    assert judge([pair for pair in vectors("hmac_sha256") if pair[0]["tagSize"] == 256], check) > 80


def test_tokens_of_other_issuers(vectors):
    """Of the valid ones we refuse shared secrets, and the four whose key names another algorithm
    than the token.
    """
    stricter = {346, 347, 350, 351}
    seen = {"valid": 0, "invalid": 0}
    for group, test in vectors("json_web_signature"):
        keys = [group.get("public") or group["private"]]
        try:
            jwt.check_signature(test["jws"], keys)
            accepted = True
        except AccessDenied:
            accepted = False
        good = (
            test["result"] == "valid" and keys[0]["kty"] != "oct" and test["tcId"] not in stricter
        )
        assert accepted == good, (test["tcId"], test["comment"])
        seen[test["result"]] += 1
    assert seen["invalid"] > 350
