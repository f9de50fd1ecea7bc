"""Tokens of other people's issuers: JWS (RFC 7515) with claims (RFC 7519), checked more strictly
than libraries do by themselves.

The library computes signatures. Which algorithms and keys may be used for one is decided here,
before it: `alg` from a list and fit for the key, `use` and `key_ops` of the key, exactly one key of
the token's `kid`, canonical base64url without padding, no critical extensions, no keys inside of
the token (RFC 8725).
"""

import base64
import datetime
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError

from casemate.core.errors import AccessDenied, ConfigError

MAX_TOKEN = 16 * 1024
"""Characters of a token, before anything of it is decoded. A judgement: servers refuse larger
heads.
"""
MAX_KEYS = 100
"""Keys of an issuer that are looked at. A judgement: rotation needs two or three."""
LEEWAY = datetime.timedelta(seconds=60)
# RFC 7518, 3.3: a key of 2048 bits or larger MUST be used
LEAST_RSA_BITS = 2048
REFUSED, REMEDY = "the token is not valid", "ask its issuer for another one"
ALGORITHMS = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithm -> type and curve of the key. No `none`, and nothing with a shared secret."""
_FORBIDDEN = ("crit", "jwk", "jku", "x5c", "x5u", "b64")


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    exp: float
    aud: str | list[str]
    iat: float | None = None
    nbf: float | None = None
    nonce: str | None = None
    azp: str | None = None


@dataclass(frozen=True)
class Claims:
    """What an issuer says; made by `verify` only."""

    issuer: str
    subject: str
    expires: datetime.datetime
    said: dict[str, Any]
    """Every claim, as it stands in the token."""


def read_keys(content: bytes) -> list[dict[str, Any]]:
    """The keys of a JWK set (RFC 7517); ConfigError when it is none, or none of its keys could
    verify anything.
    """
    try:
        found = msgspec.json.decode(content, type=dict[str, Any])
        keys = msgspec.convert(found["keys"], list[dict[str, Any]])
        usable = [key for key in keys[:MAX_KEYS] if any(_fits(key, name) for name in ALGORITHMS)]
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            "this is not a JWK set",
            hint="JSON with a list of keys, such as `kubectl get --raw /openid/v1/jwks`",
        ) from error
    if not usable:
        raise ConfigError(
            "the JWK set holds no public key that may verify a token",
            hint="ask whoever runs the issuer",
        )
    return usable


def check_signature(token: str, keys: list[dict[str, Any]]) -> bytes:
    """The payload of a compact JWS that one of `keys` has signed; AccessDenied, with one text for
    every reason, otherwise.
    """
    try:
        return _payload(token, keys)
    except (
        JoseError,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        msgspec.MsgspecError,
    ) as error:
        raise AccessDenied(REFUSED, hint=REMEDY) from error


def _payload(token: str, keys: list[dict[str, Any]]) -> bytes:
    if len(token) > MAX_TOKEN or not token.isascii():
        raise ValueError("size")
    parts = [_decode(part) for part in token.split(".")]
    if len(parts) != 3:
        raise ValueError("parts")
    fields = msgspec.json.decode(parts[0], type=dict[str, Any])
    header = msgspec.convert(fields, _Header)
    if any(name in fields for name in _FORBIDDEN):
        raise ValueError("header")
    fitting = [
        key
        for key in keys
        if (header.kid is None or key.get("kid") == header.kid) and _fits(key, header.alg)
    ]
    if len(fitting) != 1:  # none, or an issuer whose keys cannot be told apart
        raise ValueError("key")
    # The header's word for it, but `_fits` has bound it to the key's own kind: an RSA key never
    # serves as the secret of an HMAC (RFC 8725, 2.1 and 3.1).
    return bytes(
        jws.deserialize_compact(token, jwk.import_key(fitting[0]), algorithms=[header.alg]).payload
    )


def _decode(part: str) -> bytes:
    """Base64url in its one canonical spelling (RFC 7515, section 2): no padding, no other alphabet,
    no stray bits.
    """
    content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        raise ValueError("base64url")
    return content


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether this key may verify a signature of that algorithm."""
    wanted = ALGORITHMS.get(algorithm)
    if (
        wanted is None
        or (key.get("kty"), key.get("crv")) != wanted
        or key.get("alg", algorithm) != algorithm
    ):
        return False
    if key.get("use", "sig") != "sig" or "verify" not in key.get("key_ops", ["verify"]):
        return False
    return key["kty"] != "RSA" or (
        isinstance(key.get("n"), str) and 8 * len(_modulus(key["n"])) >= LEAST_RSA_BITS
    )


def _modulus(text: str) -> bytes:
    try:
        return _decode(text).lstrip(b"\0")
    except ValueError:
        return b""


def issuer_of(token: str) -> str:
    """The `iss` that a token names, believed by nobody yet: it chooses the keys that `verify` then
    needs. Empty when there is none.
    """
    try:
        parts = token[:MAX_TOKEN].split(".")
        found = msgspec.json.decode(_decode(parts[1]), type=dict[str, Any]).get("iss", "")
    except (ValueError, IndexError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def verify(
    token: str,
    keys: list[dict[str, Any]],
    issuer: str,
    audience: str,
    now: datetime.datetime,
    nonce: str | None = None,
) -> Claims:
    """The claims of a token that was made by `issuer` for `audience` and is good now.

    Args:
        token: compact JWS.
        keys: of the issuer, from `read_keys`.
        issuer: must be its `iss`.
        audience: must be among its `aud`; where there are others too, it must be the `azp`.
        now: must lie between `nbf`, `iat` and `exp`, with a minute's leeway.
        nonce: must be its `nonce`, where one was asked for.

    Raises:
        AccessDenied: with one text for every reason.
    """
    payload = check_signature(token, keys)
    try:
        claims = msgspec.json.decode(payload, type=_Claims)
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        early = max(claims.nbf or 0.0, claims.iat or 0.0)
        # of several audiences, `azp` says whom it was made for (OpenID Connect Core, 3.1.3.7)
        good = (
            claims.iss == issuer
            and audience in audiences
            and claims.azp in (None, audience)
            and (len(audiences) == 1 or claims.azp == audience)
        )
        good = (
            good and (now - LEEWAY).timestamp() < claims.exp and early <= (now + LEEWAY).timestamp()
        )
        good = good and bool(claims.sub) and (nonce is None or claims.nonce == nonce)
        expires = datetime.datetime.fromtimestamp(claims.exp, datetime.UTC)
    except (msgspec.MsgspecError, RecursionError, OverflowError, ValueError) as error:
        raise AccessDenied(REFUSED, hint=REMEDY) from error
    if not good:
        raise AccessDenied(REFUSED, hint=REMEDY)
    return Claims(
        claims.iss, claims.sub, expires, msgspec.json.decode(payload, type=dict[str, Any])
    )
