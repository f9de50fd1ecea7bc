"""What a site signs of a model that it helped to learn: how well attacks told the rows that it gave
from rows that it held out. Figures, and no row.
"""

import re

from casemate.controls.federation.cards import Charter, opened
from casemate.core.errors import VerificationError
from casemate.core.signatures import read_envelope
from casemate.core.types import Leak, Record

STATEMENT_TYPE = "application/vnd.casemate.federation-statement+json"
MOST = 64 * 1024
"""Bytes of a statement: seven figures, two signatures and what is around them are 8 000."""


WORD = re.compile(r"[a-z0-9_-]{1,60}")
"""What figures and attacks are called: it is shown to people and kept in records."""


class Statement(Record, frozen=True, kw_only=True):
    """What one site measured of a model on its own rows."""

    charter: str
    """Digest of the charter."""
    job: str
    """Digest of the job."""
    site: int
    """Its number."""
    model: str
    """SHA-256 of the model's file."""
    leaks: dict[str, Leak]
    """By figure, as gates call it."""
    time: str
    """RFC 3339."""
    version: int = 1
    """Of this format."""


def statement_in(content: bytes, charter: Charter) -> Statement:
    """The statement that one of a charter's sites signed.

    Raises:
        VerificationError: none of them did, it is of another charter or in another's name, or holds
            what no attack measures.
    """
    envelope = read_envelope(content)
    number = next(
        (place for place, one in enumerate(charter.sites) if one.verifier.is_named(envelope)), None
    )
    if number is None:
        raise VerificationError(
            "it is no statement that a site of the charter signed",
            hint="a site makes its own: casemate federate attest NAME --model FILE",
        )
    card = charter.sites[number]
    found = opened(content, STATEMENT_TYPE, card, Statement)
    if (found.charter, found.site, found.version) != (charter.digest, number, 1):
        raise VerificationError(
            f"the statement of {card.name} is of another charter, site or version",
            hint=f"have {card.name} make it anew: casemate federate attest NAME --model FILE",
        )
    if not all(_is_measured(name, leak) for name, leak in found.leaks.items()):
        raise VerificationError(
            f"the statement of {card.name} holds figures that no attack has",
            hint=f"ask {card.name} how it came about",
        )
    return found


def _is_measured(name: str, leak: Leak) -> bool:
    ends = (leak.figure.low, leak.figure.value, leak.figure.high)
    return (
        all(WORD.fullmatch(one) for one in (name, leak.attack))
        and -1.0 <= ends[0] <= ends[1] <= ends[2] <= 1.0
        and leak.rows > 0
    )
