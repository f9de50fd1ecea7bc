"""Merkle trees of RFC 6962, section 2.1: hashes, the compact range that appending needs, proofs and
their verifiers.

The verifiers follow RFC 9162, sections 2.1.3.2 and 2.1.4.2, and refuse every hash that is not 32
bytes long.
"""

from collections.abc import Callable
from hashlib import sha256

from casemate.core.errors import VerificationError

# SHA-256, as in RFC 6962
HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
Nodes = Callable[[int, int], bytes]
"""The hash of the full subtree number `n` of 2**`level` leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children."""
    return sha256(b"\1" + left + right).digest()


def full_root(hashes: list[bytes]) -> bytes:
    """Root over 2**n hashes."""
    while len(hashes) > 1:
        hashes = [
            sha256(b"\1" + hashes[i] + hashes[i + 1]).digest() for i in range(0, len(hashes), 2)
        ]
    return hashes[0]


def _fold(roots: list[bytes]) -> bytes:
    """The root over complete subtrees, largest first."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in roots[-2::-1]:
        root = node_hash(left, root)
    return root


class Frontier:
    """The roots of the complete subtrees of a tree of `size` leaves, largest first: O(log
    n) state.
    """

    def __init__(self, size: int = 0, roots: list[bytes] | None = None) -> None:
        self.size = size
        self.roots = roots or []

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        width = self.size
        while width & 1:
            leaf = node_hash(self.roots.pop(), leaf)
            width >>= 1
        self.roots.append(leaf)
        self.size += 1

    def root(self, *below: bytes) -> bytes:
        """The tree's root, or that of a tree whose last, smaller subtrees are `below`."""
        return _fold([*self.roots, *below])


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling upwards
    (RFC 6962, 2.1.1).
    """
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, nodes))
            high = middle
        else:
            path.append(_range(low, middle, nodes))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """The proof that the tree of `old` leaves is a prefix of that of `new` leaves, 0 <= old <= new
    (RFC 6962, 2.1.2).
    """
    if old in {0, new}:
        return []
    low, high, whole, path = 0, new, True, []
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(middle, high, nodes))
            high = middle
        else:
            path.append(_range(low, middle, nodes))
            low, whole = middle, False
    if not whole:
        path.append(_range(low, high, nodes))
    return path[::-1]


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _range(low: int, high: int, nodes: Nodes) -> bytes:
    roots, width = [], high - low
    for level in range(width.bit_length() - 1, -1, -1):
        if width >> level & 1:
            roots.append(nodes(level, low >> level))
            low += 1 << level
    return _fold(roots)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is number `index` in the tree of `size` leaves with this
    `root`.

    Raises:
        VerificationError: it is not, or a hash is malformed.
    """
    _sized([leaf, root, *proof])
    if not 0 <= index < size:
        raise VerificationError("the proof's index lies outside the tree")
    number, last, found = index, size - 1, leaf
    for item in proof:
        if last == 0:
            raise VerificationError("the inclusion proof is too long")
        if number & 1 or number == last:
            found = node_hash(item, found)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, item)
        number, last = number >> 1, last >> 1
    if last or found != root:
        raise VerificationError("the inclusion proof does not lead to the signed root")


def verify_consistency(
    old: int, new: int, proof: list[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree (`old`, `old_root`) is a prefix of (`new`, `new_root`).

    Raises:
        VerificationError: it is not, or a hash is malformed.
    """
    _sized([old_root, new_root, *proof])
    if not 0 <= old <= new:
        raise VerificationError("the older tree is larger than the newer one")
    if old in {0, new}:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise VerificationError("two different trees of the same size: a fork")
        return
    path = proof if old & (old - 1) else [old_root, *proof]
    if not path:
        raise VerificationError("the consistency proof is empty")
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    first = second = path[0]
    for item in path[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is too long")
        if number & 1 or number == last:
            first, second = node_hash(item, first), node_hash(item, second)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, item)
        number, last = number >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise VerificationError(
            "the newer tree does not contain the older one: a fork or a rollback"
        )


def _sized(hashes: list[bytes]) -> None:
    if any(len(item) != HASH_SIZE for item in hashes):
        raise VerificationError("a hash is not 32 bytes long")
