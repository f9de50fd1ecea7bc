"""Secure aggregation among sites of one process: every message of the protocol, no network; and the
same sum without them, where nobody is there to hide an update from.

Sites may fall silent before any step; groups are summed apart, so that a robust way can look at
sums where it may not look at updates.
"""

import contextlib
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from casemate.core.errors import VerificationError
from casemate.ml.federated.masking import LEAST_MEMBERS, Member, Terms, Verify, require
from casemate.ml.federated.ring import OutOfRange, Range
from casemate.ml.federated.unmasking import Gatherer, Sum, require_enough

Array = np.ndarray[Any, Any]
STEPS = ("share", "mask", "agree", "reveal")
"""Before which of them a site can fall silent: after its key, its shares, its update, its
agreement.
"""


def threshold_of(sites: int) -> int:
    """The least threshold at which no two stories can be told: more than two thirds."""
    return max(LEAST_MEMBERS, 2 * sites // 3 + 1)


def groups_of(sites: list[int], count: int, chance: np.random.Generator) -> list[list[int]]:
    """The sites in `count` groups of about the same size, drawn anew."""
    drawn = chance.permutation(np.array(sites))
    return [sorted(part.tolist()) for part in np.array_split(drawn, count)]


def summed(vectors: dict[int, Array], terms: Terms, silent: dict[int, str] | None = None) -> Sum:
    """The sum of the vectors of whoever was heard, float64 [p], by the whole protocol.

    Args:
        vectors: of each site, float64 [p].
        terms: of the round.
        silent: the step before which a site falls silent.

    Raises:
        VerificationError: too few sites were left at a step.
    """
    keys = {site: Ed25519PrivateKey.generate() for site in vectors}
    verify = verifier({site: key.public_key() for site, key in keys.items()})
    members = {site: Member(terms, site, key.sign, verify) for site, key in keys.items()}
    gatherer = Gatherer(terms)

    fallen = dict(silent or {})

    def there(step: str) -> list[int]:
        return [site for site in members if fallen.get(site) not in STEPS[: STEPS.index(step) + 1]]

    roster = gatherer.roster([one.advertise() for one in members.values()])
    sealed = gatherer.forward({site: members[site].share(roster) for site in there("share")})
    for site in there("mask"):
        try:
            gatherer.add(members[site].mask(sealed[site], vectors[site]))
        except OutOfRange:  # the site notices, and sends nothing more
            fallen[site] = "mask"
    heard = gatherer.heard()
    agreements = gatherer.agreed([members[site].agree(heard) for site in there("agree")])
    return gatherer.finish([members[site].reveal(agreements) for site in there("reveal")])


def unmasked(vectors: dict[int, Array], terms: Terms, silent: dict[int, str] | None = None) -> Sum:
    """What `summed` comes to, to the last bit: masks cancel exactly in the ring, so that only what
    rounds, falls silent or does not fit is left of it. Arguments and faults as there.
    """
    require(terms)
    limits, fallen = Range(terms.most, len(vectors)), dict(silent or {})
    heard: dict[int, Array] = {}
    shared = [site for site in vectors if fallen.get(site) != "share"]
    require_enough(terms, len(shared), "shared their secrets")
    for site in shared:
        if fallen.get(site) != "mask":
            with contextlib.suppress(OutOfRange):
                heard[site] = limits.encode(vectors[site])
    require_enough(terms, len(heard), "sent an update")
    agreed = [site for site in heard if fallen.get(site) != "agree"]
    require_enough(terms, len(agreed), "agreed on who was heard")
    revealed = [site for site in agreed if fallen.get(site) != "reveal"]
    require_enough(terms, len(revealed), "revealed shares")
    total = np.asarray(np.sum([*heard.values()], axis=0, dtype=np.uint64))
    return Sum(limits.decode(total, len(heard)), sorted(heard), limits.step / 2 * len(heard))


def verifier(keys: dict[int, Ed25519PublicKey]) -> Verify:
    """Whether a site signed something, by the sites' keys."""

    def verify(site: int, message: bytes, signature: bytes) -> None:
        try:
            if site in keys:
                keys[site].verify(signature, message)
                return
        except InvalidSignature:
            pass
        raise VerificationError(f"site {site} did not sign that")

    return verify
