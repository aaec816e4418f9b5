"""Trees and proofs against a plain recursive reading of RFC 6962 section 2.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.crypto import merkle
from bridge.errors import Malformed, Rejected

HASHES = [merkle.leaf_hash(bytes([n])) for n in range(70)]
SIZES = range(1, 34)


def by_the_book(hashes):
    """MTH of RFC 6962, over leaf hashes."""
    if len(hashes) == 1:
        return hashes[0]
    k = max(1 << n for n in range(8) if 1 << n < len(hashes))
    return merkle.node_hash(by_the_book(hashes[:k]), by_the_book(hashes[k:]))


def refused(check, *args):
    with pytest.raises(Rejected) as caught:
        check(*args)
    assert caught.value.code == "bad-proof"


@pytest.mark.parametrize("size", [*SIZES, 64, 65, 70])
def test_roots_are_those_of_the_recursive_definition(size):
    tree = merkle.Tree()
    for leaf in HASHES[:size]:
        tree.append(leaf)
    assert merkle.root_of_hashes(HASHES[:size]) == by_the_book(HASHES[:size]) == tree.root()


def test_every_leaf_of_every_small_tree_is_proved_and_no_other_place_of_it():
    for size in SIZES:
        hashes = HASHES[:size]
        root = by_the_book(hashes)
        for index in range(size):
            proof = merkle.inclusion_proof(hashes, index)
            merkle.verify_inclusion(hashes[index], index, size, proof, root)
            for elsewhere in {index - 1, index + 1, size} - {index}:
                refused(merkle.verify_inclusion, hashes[index], elsewhere, size, proof, root)
            refused(merkle.verify_inclusion, HASHES[69], index, size, proof, root)
            refused(merkle.verify_inclusion, hashes[index], index, size, [*proof, root], root)
            if proof:
                refused(merkle.verify_inclusion, hashes[index], index, size, proof[:-1], root)


def test_every_growth_of_every_small_tree_is_proved_and_no_other():
    for new in SIZES:
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(HASHES[:new], old)
            roots = by_the_book(HASHES[:old]), by_the_book(HASHES[:new])
            merkle.verify_consistency(old, new, proof, *roots)
            refused(merkle.verify_consistency, old, new, proof, HASHES[69], roots[1])
            refused(merkle.verify_consistency, old, new, proof, roots[0], HASHES[69])
            refused(merkle.verify_consistency, old, new, [*proof, roots[0]], *roots)
            if old < new:
                refused(merkle.verify_consistency, new, old, proof, *roots)
                refused(merkle.verify_consistency, old, new, proof[:-1], *roots)


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index):
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_proof(HASHES[:3], index)


@pytest.mark.parametrize("size", [-1, 0, 4])
def test_there_is_no_proof_from_a_tree_that_was_not(size):
    with pytest.raises(ValueError, match="no tree"):
        merkle.consistency_proof(HASHES[:3], size)


@given(st.integers(1, 70), st.data())
def test_a_proof_with_one_bit_turned_is_refused(size, data):
    hashes = HASHES[:size]
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(hashes, index)
    at = data.draw(st.integers(0, len(proof)))
    turned = [*proof, hashes[index]]
    place = data.draw(st.integers(0, 31))
    old = turned[at]
    turned[at] = old[:place] + bytes([old[place] ^ 1 << data.draw(st.integers(0, 7))]) + old[place + 1 :]
    refused(merkle.verify_inclusion, turned[-1], index, size, turned[:-1], by_the_book(hashes))


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_taken_up_from_its_frontier_goes_on_as_if_never_put_down(before, after):
    straight, first = merkle.Tree(), merkle.Tree()
    for leaf in HASHES[:before]:
        straight.append(leaf)
        first.append(leaf)
    second = merkle.Tree.from_frontier(first.frontier())
    for leaf in HASHES[:after]:
        straight.append(leaf)
        second.append(leaf)
    assert (second.size, second.root(), second.frontier()) == (
        straight.size,
        straight.root(),
        straight.frontier(),
    )


def test_a_frontier_stays_small():
    tree = merkle.Tree()
    for _ in range(1023):
        tree.append(HASHES[0])
    assert len(tree.frontier()) == 8 + 10 * 32
    tree.append(HASHES[0])
    assert len(tree.frontier()) == 8 + 32


@pytest.mark.parametrize(
    "frontier",
    [b"", bytes(7), bytes(9), bytes(8 + 32), (1).to_bytes(8, "big"), (3).to_bytes(8, "big") + bytes(63)],
    ids=["nothing", "short size", "one byte more", "hash of no leaf", "no peak", "short peak"],
)
def test_a_frontier_whose_length_does_not_fit_is_malformed(frontier):
    with pytest.raises(Malformed):
        merkle.Tree.from_frontier(frontier)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_leaf_hash_of_another_length_is_not_appended(length):
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.Tree().append(bytes(length))


def test_a_leaf_never_passes_for_a_node():
    left, right = HASHES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)
