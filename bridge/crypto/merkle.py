"""Merkle trees as RFC 6962 has them: SHA-256, leaves under prefix 00 and nodes under 01.

Used over the messages of an envelope and over the audit log. Proofs that do not hold raise; there is no verdict
that a caller could forget to look at.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Self

from bridge.errors import Malformed, Rejected

HASH_LENGTH: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash one leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two hashes into their parent's."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over the leaves' data; of no leaves, SHA-256 of nothing."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes. Level by level, an odd last hash goes up as it is: RFC 6962 without recursion."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Which subtrees prove the leaf at `index` in a tree of `size`: (first leaf, leaf after the last), leaf to root.

    For whoever has subtree roots at hand and not every leaf. Raises ValueError out of range.
    """
    if not 0 <= index < size:
        raise ValueError("there is no leaf at this index")
    ranges: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Path from the leaf at `index` to the root over the leaf hashes `hashes`. Raises ValueError out of range."""
    return [root_of_hashes(hashes[low:high]) for low, high in inclusion_ranges(index, len(hashes))]


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Which subtrees prove that a tree of `size` begins with that of `old_size`, as :func:`inclusion_ranges` gives them.

    Raises ValueError if `old_size` is not from 1 to `size`.
    """
    if not 0 < old_size <= size:
        raise ValueError("there is no tree of this size to prove from")
    ranges: list[tuple[int, int]] = []
    low, high, whole = 0, size, True
    while old_size != high - low:
        middle = _split(high - low)
        if old_size <= middle:
            ranges.append((low + middle, high))
            high = low + middle
        else:
            ranges.append((low, low + middle))
            low, old_size, whole = low + middle, old_size - middle, False
    if not whole:
        ranges.append((low, high))
    return ranges[::-1]


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the tree over the first `old_size` leaf hashes is the beginning of that over all of them.

    Raises ValueError if `old_size` is not from 1 to the number of hashes.
    """
    return [root_of_hashes(hashes[low:high]) for low, high in consistency_ranges(old_size, len(hashes))]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is at `index` in the tree of `size` leaves with this root.

    Raises Rejected `bad-proof` for any other case, hashes that are not 32 bytes included.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        raise _bad()
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _bad()
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or found != root:
        raise _bad()


def verify_consistency(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of `new_size` with `new_root` only added to that of `old_size` with `old_root`.

    Raises Rejected `bad-proof` for any other case, an old size of 0 and hashes that are not 32 bytes included:
    nothing can be shown from an empty tree, so nobody should believe that something was. Of equal sizes it asks
    only that the roots are the same bytes and the proof empty, as the reference implementation does.
    """
    if 0 < old_size == new_size and not proof and old_root == new_root:
        return
    if not 0 < old_size < new_size or not _are_hashes(old_root, new_root, *proof):
        raise _bad()
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # a whole subtree: its root is the old root, left out of the proof
        path.insert(0, old_root)
    if not path:
        raise _bad()
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _bad()
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise _bad()


class Tree:
    """A tree that only grows: keeps the roots of its whole subtrees, so that appending is O(log n) in all.

    `frontier()` is all there is to store; proofs need the leaf hashes, which the audit table has.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # largest subtree first, one for each bit set in `size`

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash. Raises ValueError if it is not 32 bytes."""
        if len(leaf) != HASH_LENGTH:
            raise ValueError("a leaf hash is 32 bytes")
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            found = node_hash(peak, found)
        return found

    def frontier(self) -> bytes:
        """The tree's state: the size as u64 big-endian, then the peaks."""
        return self.size.to_bytes(8, "big") + b"".join(self._peaks)

    @classmethod
    def from_frontier(cls, frontier: bytes) -> Self:
        """Take up a tree where `frontier()` left it. Raises Malformed if the length does not fit the size."""
        size = int.from_bytes(frontier[:8], "big")
        if len(frontier) != 8 + HASH_LENGTH * size.bit_count():
            raise Malformed("Merkle frontier")
        tree = cls()
        tree.size = size
        tree._peaks = [frontier[i : i + HASH_LENGTH] for i in range(8, len(frontier), HASH_LENGTH)]
        return tree


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _are_hashes(*hashes: bytes) -> bool:
    return all(len(found) == HASH_LENGTH for found in hashes)


def _bad() -> Rejected:
    return Rejected(
        "bad-proof", "The proof does not hold.", "The log or the copy has been altered: raise an alarm."
    )
