"""Who the owners are that train together, and what they have agreed on: cards and charters.

A card names an owner by its project's public keys and certificate authority; its fingerprint is
read aloud on the telephone. A charter names the coordinator, the sites, the purpose, and the
columns; the coordinator signs it, each site approves it, and everything that is said later refers
to its digest.
"""

from typing import Any, TypeVar

import msgspec
from cryptography import x509

from casemate.core.digest import sha256_record
from casemate.core.errors import VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope
from casemate.core.types import Record, Schema

CARD_TYPE = "application/vnd.casemate.federation-card+json"
CHARTER_TYPE = "application/vnd.casemate.federation-charter+json"
VERSION = 1
MOST = 8 * 2**20
"""Bytes of a card or charter file."""
R = TypeVar("R", bound=Record)


class Card(Record, frozen=True, kw_only=True):
    """One owner, by what only its project can prove."""

    name: str
    """As others call it: letters, digits, `-`, `_` and `.`."""
    project: str
    """The id of its project."""
    authority: str
    """Certificate of its authority, PEM: whoever dials in its name has a certificate of it."""
    ecdsa: str
    """Its signer's ECDSA P-256 public key, PEM."""
    mldsa65: str
    """Its signer's ML-DSA-65 public key, PEM."""
    version: int = VERSION
    """Of this format."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the card, hexadecimal."""
        return sha256_record(self)

    @property
    def verifier(self) -> Verifier:
        """What checks its signatures."""
        return Verifier.from_pem(self.ecdsa.encode(), self.mldsa65.encode())

    @property
    def certificate(self) -> x509.Certificate:
        """Of its authority."""
        return x509.load_pem_x509_certificate(self.authority.encode())


class Charter(Record, frozen=True, kw_only=True):
    """What owners agree on before anything is learnt."""

    name: str
    """Of the federation."""
    purpose: str
    """What for, in the words of `[project] purpose`."""
    url: str
    """Where the coordinator listens: https, a host, and a port."""
    coordinator: Card
    sites: list[Card]
    """In their order: the number of a site is its place here, from 0."""
    columns: Schema
    """Features with their declared limits and values, and the target's classes; no count of rows.
    """
    least: int
    """Sites of which a round must hear."""
    version: int = VERSION
    """Of this format."""

    @property
    def digest(self) -> str:
        """SHA-256 of the charter, hexadecimal: what everybody approves."""
        return sha256_record(self)

    def site_of(self, fingerprint: str) -> int | None:
        """The number of the site with this card; None: there is none."""
        places = [one.fingerprint for one in self.sites]
        return places.index(fingerprint) if fingerprint in places else None


def signed(record: Record, kind: str, signer: Signer) -> bytes:
    """A DSSE envelope by the project's signer, as JSON."""
    return msgspec.json.encode(signer.sign(record.to_json(), kind))


def card_in(content: bytes) -> Card:
    """The card in a file that its owner signed with the keys that it names.

    Raises:
        VerificationError: the file is none, or somebody else signed it.
    """
    card = _inside(content, Card)
    return _verified(content, CARD_TYPE, card.verifier, Card)


def charter_in(content: bytes) -> Charter:
    """The charter in a file that its coordinator signed.

    Raises:
        VerificationError: the file is none, or somebody else signed it.
    """
    charter = _inside(content, Charter)
    return _verified(content, CHARTER_TYPE, charter.coordinator.verifier, Charter)


def opened(content: bytes, kind: str, by: Card, record: type[R]) -> R:
    """What a party signed.

    Args:
        content: a DSSE envelope as JSON.
        kind: its payload type.
        by: who must have signed it.
        record: what it holds.

    Raises:
        VerificationError: it is none, or somebody else signed it.
    """
    return _verified(content, kind, by.verifier, record)


def _inside(content: bytes, record: type[R]) -> R:
    """What the envelope says it holds; nothing is believed yet."""
    try:
        return msgspec.json.decode(
            msgspec.convert(_envelope(content).get("payload"), bytes), type=record
        )
    except msgspec.MsgspecError as error:
        raise VerificationError(f"the file is no {record.__name__.lower()}: {error}") from error


def _envelope(content: bytes) -> dict[str, Any]:
    if len(content) > MOST:
        raise VerificationError(f"the file is larger than {MOST // 2**20} MiB")
    return read_envelope(content)


def _verified(content: bytes, kind: str, verifier: Verifier, record: type[R]) -> R:
    payload = verifier.verify(_envelope(content), kind)
    try:
        return msgspec.json.decode(payload, type=record)
    except msgspec.MsgspecError as error:
        raise VerificationError(f"what was signed is no {record.__name__.lower()}") from error
