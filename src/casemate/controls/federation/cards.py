"""Who the owners are that train together, and what they have agreed on: cards and charters.

A card names an owner by its project's public keys and certificate authority; its fingerprint is
read aloud on the telephone. A charter names the coordinator, the sites, the purpose, and the
columns; the coordinator signs it, each site approves it, and everything that is said later refers
to its digest.
"""

import contextlib
import math
import re
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from casemate.core.digest import sha256_record
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope
from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Record, Schema
from casemate.ml.federated.encoding import Limits

CARD_TYPE = "application/vnd.casemate.federation-card+json"
CHARTER_TYPE = "application/vnd.casemate.federation-charter+json"
VERSION = 1
MOST = 8 * 2**20
"""Bytes of a card or charter file."""
MOST_SITES = 1_000
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DER, _SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
_MADE_BY = {
    "Card": "its owner writes one: casemate federate card NAME",
    "Charter": "its coordinator writes one: casemate federate found NAME",
}
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


def address_of(url: str) -> tuple[str, int]:
    """(host, port) of a coordinator's URL.

    Raises:
        VerificationError: it is not `https://HOST:PORT` and nothing more.
    """
    host, port = None, None
    # what urllib would pass over: line breaks, a name before "@", a path, an empty query
    if url.isascii() and url.isprintable() and not set(url[8:]) & set(" @/?#"):
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            (parts.hostname or "").encode("idna")  # labels that nobody can look up
            host, port = (parts.hostname, parts.port) if parts.scheme == "https" else (None, None)
    if not host or not port:
        raise VerificationError(
            f"{url[:200]!r} is not where a coordinator can listen", hint="https://HOST:PORT"
        )
    return host, port


def sound(charter: Charter) -> Charter:
    """The charter, if it can be one of several owners; its coordinator may be one of its sites,
    with the same card.

    Raises:
        VerificationError: an owner is there twice under any of its marks, or something has a name,
            number or address that it cannot have.
    """
    problems = [
        f"{one[:80]!r} is no name"
        for one in (charter.name, charter.coordinator.name, *(card.name for card in charter.sites))
        if not NAMES.fullmatch(one)
    ]
    if {charter.version, charter.coordinator.version, *(c.version for c in charter.sites)} != {
        VERSION
    }:
        problems.append("it, or a card in it, is of another version of casemate's format")
    if not 2 <= charter.least <= len(charter.sites) <= MOST_SITES:
        problems.append(
            f"a round would need {charter.least} of {len(charter.sites)} sites; 2 are the least,"
            f" {MOST_SITES} sites the most"
        )
    features = charter.columns.features
    problems += [f"{one.name[:80]!r} has no limits" for one in features if not is_bounded(one)]
    if not features or charter.columns.labels or charter.columns.further:
        problems.append("there is not one target and something to predict it from")
    seen: set[tuple[str, object]] = set()
    sites = [*charter.sites]
    if charter.coordinator in sites:
        sites.remove(charter.coordinator)
    for card in (charter.coordinator, *sites):
        marks = _marks(card)
        problems += [f"{card.name} is there twice, by its {what}" for what, _ in marks & seen]
        seen |= marks
    if problems:
        raise VerificationError(
            f"the charter is none: {'; '.join(problems[:3])}",
            hint="its coordinator founds it anew with one card of each owner",
        )
    address_of(charter.url)
    return charter


def is_bounded(column: ColumnSchema) -> bool:
    """Whether a feature has limits that can be told: two numbers, or values."""
    if column.type == "category":
        return bool(column.categories)
    low, high = column.min, column.max
    return low is not None and high is not None and -math.inf < low < high < math.inf


def limits_of(columns: Schema) -> Limits:
    """What bounds the features of a charter, in their order; a missing category is a value too."""
    return Limits(
        numbers={
            one.name: (one.min or 0.0, one.max or 0.0)
            for one in columns.features
            if one.type != "category"
        },
        categories={
            one.name: [*(one.categories or []), MISSING_CATEGORY] for one in columns.categories
        },
    )


def _marks(card: Card) -> set[tuple[str, object]]:
    """What no two owners have alike."""
    try:
        authority = card.certificate.public_key().public_bytes(_DER, _SPKI)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"the card of {card.name[:80]!r} has no certificate") from error
    verifier = card.verifier
    return {
        ("name", card.name),
        ("project", card.project),
        ("authority", authority),
        ("ECDSA key", verifier.classical.public_bytes(_DER, _SPKI)),
        ("ML-DSA key", verifier.quantum.public_bytes_raw()),
    }


def signed(record: Record, kind: str, signer: Signer) -> bytes:
    """A DSSE envelope by the project's signer, as JSON."""
    # not in a fixed order, which numbers as keys cannot have: what is signed is what is sent
    return msgspec.json.encode(signer.sign(msgspec.json.encode(record), kind))


def card_in(content: bytes) -> Card:
    """The card in a file that its owner signed with the keys that it names.

    Raises:
        VerificationError: the file is none, or somebody else signed it. ConfigError: it is no
            bytes.
    """
    card = _inside(_small(content), Card)
    found = _verified(content, CARD_TYPE, card.verifier, Card)
    if not NAMES.fullmatch(found.name) or found.version != VERSION:
        raise VerificationError(
            f"the card of {found.name[:80]!r} has no name that can be said, or another version",
            hint="its owner makes it anew: casemate federate card NAME",
        )
    _marks(found)
    return found


def charter_in(content: bytes) -> Charter:
    """The charter in a file that its coordinator signed.

    Raises:
        VerificationError: the file is none, or somebody else signed it. ConfigError: it is no
            bytes.
    """
    charter = _inside(_small(content), Charter)
    return sound(_verified(content, CHARTER_TYPE, charter.coordinator.verifier, Charter))


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
            msgspec.convert(read_envelope(content).get("payload"), bytes), type=record
        )
    except (msgspec.MsgspecError, ValueError, RecursionError, VerificationError) as error:
        raise VerificationError(
            f"this is no {record.__name__.lower()} of casemate", hint=_MADE_BY[record.__name__]
        ) from error


def _small(content: bytes) -> bytes:
    if not isinstance(content, bytes):  # a path, or its name, is what people have at hand
        raise ConfigError(
            f"a signed file is given as bytes, and this is a {type(content).__name__}",
            hint="pathlib.Path(FILE).read_bytes()",
        )
    if len(content) > MOST:
        raise VerificationError(f"the file is larger than {MOST // 2**20} MiB")
    return content


def _verified(content: bytes, kind: str, verifier: Verifier, record: type[R]) -> R:
    try:
        payload = verifier.verify(read_envelope(content), kind)
    except VerificationError as error:
        error.hint = (
            "it was changed on the way, or somebody else signed it: have its owner send it again by"
            " another way, and compare the fingerprint"
        )
        raise
    try:
        return msgspec.json.decode(payload, type=record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(f"what was signed is no {record.__name__.lower()}") from error
