"""Passkeys as second factors (W3C Web Authentication, level 2): registered and used in a browser,
verified here.

A passkey is bound to our origin and wants the person's fingerprint, face or PIN (user
verification); each challenge is random, good once and for five minutes. No attestation is asked
for: which make of device it is does not matter here.
"""

import datetime
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa
import webauthn
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from casemate.controls.access.identity.factors import CHALLENGES, recovery_codes
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import FACTORS, touch
from casemate.controls.access.identity.tokens import hashed
from casemate.core.errors import AccessDenied, ConfigError

KIND = "passkey"
LIFE = datetime.timedelta(minutes=5)
MOST = 20
"""Passkeys a person may have."""
DENIED = "the passkey's answer is not good"
_REQUIRED = UserVerificationRequirement.REQUIRED


class _Kept(msgspec.Struct, frozen=True):
    """What is stored of a passkey: nothing secret."""

    credential: bytes
    public_key: bytes


class Passkeys:
    """Registers passkeys (WebAuthn) and checks what they sign."""

    def __init__(self, directory: Directory, origin: str) -> None:
        """Work for one origin.

        Args:
            directory: whose catalogue and clock.
            origin: where browsers find us, such as `https://casemate.example:8443`; its host is the
                relying party's id.
        """
        self._store, self._clock = directory.store, directory.clock
        self.origin, self.party = origin, urlsplit(origin).hostname or ""

    def registration(self, name: str) -> dict[str, Any]:
        """`PublicKeyCredentialCreationOptions` as JSON, for `navigator.credentials.create`;
        ConfigError when the person has 20 already.
        """
        known = self._of(name)
        if len(known) >= MOST:
            raise ConfigError(
                f"{name!r} has {MOST} passkeys already", hint="casemate access factor remove"
            )
        options = webauthn.generate_registration_options(
            rp_id=self.party,
            rp_name="casemate",
            user_name=name,
            user_id=hashed(name, "passkey-user"),
            challenge=self._challenge(name, "register"),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED, user_verification=_REQUIRED
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(kept.credential) for _, kept, _ in known
            ],
        )
        return msgspec.json.decode(webauthn.options_to_json(options), type=dict[str, Any])

    def register(
        self, name: str, response: dict[str, Any], *, first: bool = False
    ) -> tuple[str, list[str]]:
        """(id, recovery codes shown once) of a passkey that counts from now on; codes come with the
        first factor only.

        Args:
            name: whose.
            response: what `navigator.credentials.create` gave, as JSON (WebAuthn level 3,
                `toJSON`).
            first: refuse it if the person has a factor meanwhile.

        Raises:
            AccessDenied: it answers no open challenge, or comes from another origin, or the person
                was not verified.
        """
        # Used up before it is looked at: one challenge, one try.
        challenge = self._used(name, "register")

        def check() -> Any:
            return webauthn.verify_registration_response(
                credential=response,
                expected_challenge=challenge,
                expected_rp_id=self.party,
                expected_origin=self.origin,
                require_user_verification=True,
            )

        made = _judged(check)
        identifier = hashed(made.credential_id.hex(), "passkey").hex()[:16]
        content = msgspec.msgpack.encode(_Kept(made.credential_id, made.credential_public_key))
        with self._store.transaction() as tx:
            # In the transaction that writes it: two that are registered at once are not both first.
            if tx.execute(sa.select(FACTORS.c.id).where(FACTORS.c.id == identifier)).first():
                raise AccessDenied(DENIED, hint="it is registered already")
            factors = (
                tx.execute(
                    sa.select(FACTORS.c.kind).where(
                        FACTORS.c.name == name, FACTORS.c.confirmed.is_not(None)
                    )
                )
                .scalars()
                .all()
            )
            if first and factors:
                raise AccessDenied(
                    DENIED, hint="there is a second factor meanwhile: step up with it first"
                )
            values = {
                "id": identifier,
                "name": name,
                "kind": KIND,
                "secret": content,
                "counter": made.sign_count,
            }
            now = self._clock.now().isoformat()
            tx.execute(FACTORS.insert().values(**values, confirmed=now, tries=[]))
            codes = [] if "recovery" in factors else recovery_codes(tx, name, now)
            touch(tx)
        return identifier, codes

    def request(self, name: str) -> dict[str, Any]:
        """`PublicKeyCredentialRequestOptions` as JSON, for `navigator.credentials.get`."""
        options = webauthn.generate_authentication_options(
            rp_id=self.party,
            challenge=self._challenge(name, "use"),
            allow_credentials=[
                PublicKeyCredentialDescriptor(kept.credential) for _, kept, _ in self._of(name)
            ],
            user_verification=_REQUIRED,
        )
        return msgspec.json.decode(webauthn.options_to_json(options), type=dict[str, Any])

    def verify(self, name: str, response: dict[str, Any]) -> str:
        """Which passkey of the person has answered the open challenge; AccessDenied, with one text
        for every reason, otherwise.

        A counter that did not grow means that the passkey was copied: it is refused (section
        6.1.1).
        """
        challenge = self._used(name, "use")
        given = response.get("rawId")
        for identifier, kept, counter in self._of(name):
            if given != webauthn.helpers.bytes_to_base64url(kept.credential):
                continue

            def check(kept: _Kept = kept, counter: int = counter) -> Any:
                return webauthn.verify_authentication_response(
                    credential=response,
                    expected_challenge=challenge,
                    expected_rp_id=self.party,
                    expected_origin=self.origin,
                    credential_public_key=kept.public_key,
                    credential_current_sign_count=counter,
                    require_user_verification=True,
                )

            used = _judged(check)
            with self._store.transaction() as tx:
                same = (FACTORS.c.id == identifier, FACTORS.c.counter == counter)
                if (
                    tx.execute(
                        FACTORS.update().where(*same).values(counter=used.new_sign_count)
                    ).rowcount
                    == 1
                ):
                    return identifier
        raise AccessDenied(
            DENIED, hint="ask for another challenge and use a passkey of this account"
        )

    def _of(self, name: str) -> list[tuple[str, _Kept, int]]:
        with self._store.reading() as tx:
            rows = tx.execute(
                sa.select(FACTORS).where(FACTORS.c.name == name, FACTORS.c.kind == KIND)
            ).all()
        return [
            (row.id, msgspec.msgpack.decode(row.secret, type=_Kept), row.counter) for row in rows
        ]

    def _challenge(self, name: str, purpose: str) -> bytes:
        value, until = secrets.token_bytes(32), (self._clock.now() + LIFE).isoformat()
        with self._store.transaction() as tx:
            tx.execute(
                CHALLENGES.delete().where(
                    CHALLENGES.c.name == name, CHALLENGES.c.purpose == purpose
                )
            )
            tx.execute(
                CHALLENGES.insert().values(name=name, purpose=purpose, value=value, until=until)
            )
        return value

    def _used(self, name: str, purpose: str) -> bytes:
        """The open challenge, which is open no more."""
        where = (CHALLENGES.c.name == name, CHALLENGES.c.purpose == purpose)
        with self._store.transaction() as tx:
            row = tx.execute(sa.select(CHALLENGES).where(*where)).first()
            tx.execute(CHALLENGES.delete().where(*where))
        if row is None or self._clock.now() >= datetime.datetime.fromisoformat(row.until):
            raise AccessDenied(DENIED, hint="ask for another challenge")
        return bytes(row.value)


def _judged(check: Callable[[], Any]) -> Any:
    """What the library makes of an answer; its parsers' faults mean that the answer is not good,
    too.
    """
    try:
        return check()
    except (
        WebAuthnException,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        RecursionError,
        EOFError,
    ) as error:
        raise AccessDenied(
            DENIED, hint="ask for another challenge and use a passkey of this account"
        ) from error
