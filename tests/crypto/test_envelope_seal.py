"""Seals, padding and commitments; and what a dishonest holder of an envelope may try."""

import hashlib
import secrets
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.crypto import envelope, merkle, signed
from bridge.crypto.keys import ED25519, MLDSA65, XWING, SealingKey, SigningKey, sealing_recipient
from bridge.errors import Malformed, Rejected


class Signature(NamedTuple):
    kid: bytes
    alg: str
    signature: bytes


def signer(node_id, alg=ED25519):
    return SigningKey.generate(alg, node_id, secrets.token_bytes)


def sealer(node_id):
    return SealingKey.generate(XWING, node_id, secrets.token_bytes)


ALICE, MALLORY = signer("kent-mash"), signer("mallory")
ALICE_PQ = signer("kent-mash", MLDSA65)
BOB, CAROL = sealer("croydon-mash"), sealer("leeds-mash")
HEADER = b'{"v":1,"from":"kent-mash","to":"croydon-mash"}'
INNER = b"what nobody else may read"
PADDED = envelope.pad(INNER, 4)


def signatures(header, sealed, *keys):
    made = signed.sign(signed.ENVELOPE, envelope.signed_parts(header, sealed), keys)
    return [Signature(*one) for one in made]


def accept(header, sealed, made, sender=ALICE, recipient=BOB, suite=1, publics=None):
    """What a receiving node does with an envelope: verify by the sender's registered keys, open, unpad."""
    parts = envelope.signed_parts(header, sealed)
    publics = publics or [sender.public_key()]
    signed.verify(signed.ENVELOPE, parts, made, keys=publics, algs=envelope.SUITES[suite])
    return envelope.unpad(envelope.open_sealed(header, sealed, recipient))


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("suite", [1, 2])
def test_what_was_sealed_and_signed_arrives(suite):
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    keys = [ALICE, ALICE_PQ][:suite]
    made = signatures(HEADER, sealed, *keys)
    assert accept(HEADER, sealed, made, suite=suite, publics=[k.public_key() for k in keys]) == INNER


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=300), st.binary(max_size=5000), st.sampled_from(envelope.BUCKETS[1:]))
def test_any_content_under_any_header_comes_back(header, inner, bucket):
    padded = envelope.pad(inner, bucket)
    sealed = envelope.seal(header, padded, BOB.public)
    assert len(sealed) == bucket * 1024 + envelope.OVERHEAD
    assert envelope.unpad(envelope.open_sealed(header, sealed, BOB)) == inner


def test_two_seals_of_the_same_have_nothing_in_common():
    one, two = (envelope.seal(HEADER, PADDED, BOB.public) for _ in range(2))
    assert one != two
    assert INNER not in one


def test_no_classical_suite_exists_and_each_suite_contains_the_one_before():
    assert dict(envelope.SUITES) == {1: (ED25519,), 2: (ED25519, MLDSA65)}


def test_a_sealed_part_altered_in_any_place_does_not_open():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    ends = {0, 1, 1087, 1088, 1119, 1120, len(sealed) - 17, len(sealed) - 16, len(sealed) - 1}
    for at in {*range(0, len(sealed), 23), *ends}:
        with pytest.raises(Malformed):
            envelope.open_sealed(HEADER, flipped(sealed, at), BOB)


def test_a_header_altered_in_any_byte_neither_opens_nor_verifies():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    made = signatures(HEADER, sealed, ALICE)
    for at in range(len(HEADER)):
        header = flipped(HEADER, at)
        with pytest.raises(Malformed):
            envelope.open_sealed(header, sealed, BOB)
        with pytest.raises(Rejected, match="signature"):
            accept(header, sealed, made)


def test_a_sealed_part_altered_in_any_byte_does_not_verify():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    made = signatures(HEADER, sealed, ALICE)
    for at in range(0, len(sealed), 41):
        with pytest.raises(Rejected) as refused:
            accept(HEADER, flipped(sealed, at), made)
        assert refused.value.code == "bad-signature"


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda s: b"", id="nothing"),
        pytest.param(lambda s: s[:-1], id="one byte short"),
        pytest.param(lambda s: s + b"\0", id="one byte long"),
        pytest.param(lambda s: s[: envelope.OVERHEAD], id="no content"),
        pytest.param(lambda s: s[:1120], id="encapsulated key alone"),
        pytest.param(lambda s: s + bytes(12 * 1024), id="as long as the next size"),
        pytest.param(lambda s: bytes(len(s)), id="all zero"),
        pytest.param(lambda s: s[-len(s) // 2 :] + s[: -len(s) // 2], id="halves swapped"),
    ],
)
def test_a_sealed_part_of_another_shape_does_not_open(cut):
    sealed = cut(envelope.seal(HEADER, PADDED, BOB.public))
    with pytest.raises(Malformed):
        envelope.open_sealed(HEADER, sealed, BOB)


def test_content_that_its_sender_did_not_pad_does_not_open():
    info = signed.pae(signed.HPKE, HEADER)
    sealed = envelope._HPKE.encrypt(INNER, sealing_recipient(BOB.public), info=info)
    with pytest.raises(Malformed):
        envelope.open_sealed(HEADER, sealed, BOB)


def test_only_the_recipient_opens():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    with pytest.raises(Malformed):
        envelope.open_sealed(HEADER, sealed, CAROL)


def test_the_error_of_a_failed_opening_carries_nothing_of_the_content_or_its_cause():
    with pytest.raises(Malformed) as refused:
        envelope.open_sealed(HEADER, envelope.seal(HEADER, PADDED, CAROL.public), BOB)
    assert str(refused.value) == "This is not a well-formed sealed content."
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_nothing_is_sealed_to_a_weak_key():
    public = BOB.public[:1184] + bytes(32)
    with pytest.raises(Rejected) as refused:
        envelope.seal(HEADER, PADDED, public)
    assert refused.value.code == "weak-key"


def test_only_padded_content_is_sealed():
    with pytest.raises(ValueError, match="padded"):
        envelope.seal(HEADER, INNER, BOB.public)


# What a dishonest holder may try.


def test_a_recipient_cannot_seal_an_alert_on_to_a_third_node_as_its_authors():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    made = signatures(HEADER, sealed, ALICE)
    opened = envelope.open_sealed(HEADER, sealed, BOB)
    for header in (HEADER, HEADER.replace(b"croydon-mash", b"leeds-mash")):
        again = envelope.seal(header, opened, CAROL.public)
        assert envelope.open_sealed(header, again, CAROL) == opened  # the seal alone would let it pass
        with pytest.raises(Rejected) as refused:
            accept(header, again, made, recipient=CAROL)
        assert refused.value.code == "bad-signature"


def test_nobody_can_strip_a_signature_and_sign_anothers_sealed_bytes_as_their_own():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    header = HEADER.replace(b"kent-mash", b"mallory")
    made = signatures(header, sealed, MALLORY)
    parts = envelope.signed_parts(header, sealed)
    # The signature is Mallory's own and good; the seal is bound to the header that named its author.
    signed.verify(signed.ENVELOPE, parts, made, keys=[MALLORY.public_key()], algs=envelope.SUITES[1])
    with pytest.raises(Malformed):
        accept(header, sealed, made, sender=MALLORY)


def test_anothers_signature_under_the_authors_header_is_refused():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    with pytest.raises(Rejected) as refused:
        accept(HEADER, sealed, signatures(HEADER, sealed, MALLORY))
    assert refused.value.code == "bad-signature"


def test_one_envelopes_signature_does_not_carry_anothers_content():
    one, two = (envelope.seal(HEADER, PADDED, BOB.public) for _ in range(2))
    with pytest.raises(Rejected) as refused:
        accept(HEADER, two, signatures(HEADER, one, ALICE))
    assert refused.value.code == "bad-signature"


def test_a_suite_cannot_be_lowered_nor_raised_by_dropping_or_adding_a_signature():
    sealed = envelope.seal(HEADER, PADDED, BOB.public)
    ed, pq = signatures(HEADER, sealed, ALICE, ALICE_PQ)
    publics = [ALICE.public_key(), ALICE_PQ.public_key()]
    for made, suite in (([ed], 2), ([pq], 2), ([ed, pq], 1), ([pq], 1)):
        with pytest.raises(Rejected) as refused:
            accept(HEADER, sealed, made, suite=suite, publics=publics)
        assert refused.value.code == "bad-signature"


# Padding.


@pytest.mark.parametrize(
    ("length", "bucket"),
    [(0, 4), (4092, 4), (4093, 16), (16380, 16), (16381, 64), (65532, 64), (65533, 256), (262140, 256)],
)
def test_content_goes_into_the_smallest_size_that_holds_it(length, bucket):
    assert envelope.bucket_for(length) == bucket
    padded = envelope.pad(b"\xff" * length, bucket)
    assert len(padded) == bucket * 1024
    assert envelope.unpad(padded) == b"\xff" * length


@pytest.mark.parametrize("length", [262141, 10**9])
def test_content_beyond_the_largest_size_is_too_large(length):
    with pytest.raises(Rejected) as refused:
        envelope.bucket_for(length)
    assert refused.value.code == "too-large"


def test_content_beyond_the_size_chosen_is_too_large():
    with pytest.raises(Rejected) as refused:
        envelope.pad(bytes(4093), 4)
    assert refused.value.code == "too-large"


def test_only_the_four_sizes_are_padded_to():
    with pytest.raises(ValueError, match="size"):
        envelope.pad(b"", 5)


@pytest.mark.parametrize(
    "padded",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PADDED[:-1], id="short of a size"),
        pytest.param(PADDED + bytes(1024), id="between sizes"),
        pytest.param(PADDED[:-1] + b"\1", id="last byte not zero"),
        pytest.param(PADDED[: 4 + len(INNER)] + b"\1" + PADDED[5 + len(INNER) :], id="first byte not zero"),
        pytest.param((4093).to_bytes(4, "big") + bytes(4092), id="length beyond the end"),
        pytest.param(b"\xff" * 4096, id="length of four gigabytes"),
        pytest.param((len(INNER) - 1).to_bytes(4, "big") + PADDED[4:], id="length one too small"),
    ],
)
def test_padding_that_is_not_exact_is_malformed(padded):
    with pytest.raises(Malformed):
        envelope.unpad(padded)


@given(st.binary(max_size=4200), st.data())
def test_no_single_byte_of_the_padding_may_differ(inner, data):
    padded = envelope.pad(inner, envelope.bucket_for(len(inner)))
    at = data.draw(
        st.integers(4 + len(inner), len(padded) - 1) if len(padded) > 4 + len(inner) else st.nothing()
    )
    with pytest.raises(Malformed):
        envelope.unpad(flipped(padded, at))


# Commitment and digest.


def leaf(n=0, **changes):
    parts = {
        "message_id": bytes([n]) * 16,
        "type": "alert",
        "salt": bytes([n]) * 32,
        "payload": b"{}",
    } | changes
    return envelope.leaf(**parts)


def test_a_commitment_over_one_message_is_its_leaf_hash():
    assert envelope.commitment([leaf()]) == merkle.leaf_hash(leaf())


@pytest.mark.parametrize(
    "change",
    [{"message_id": b"x" * 16}, {"type": "update"}, {"salt": b"x" * 32}, {"payload": b"{} "}],
    ids=lambda c: next(iter(c)),
)
def test_a_commitment_changes_with_every_part_of_a_message(change):
    assert envelope.commitment([leaf(), leaf(1)]) != envelope.commitment([leaf(**change), leaf(1)])


def test_a_commitment_covers_the_order_and_the_number_of_messages():
    leaves = [leaf(n) for n in range(4)]
    commitments = {envelope.commitment(x) for x in (leaves, leaves[::-1], leaves[:3], [*leaves, leaves[3]])}
    assert len(commitments) == 4


def test_one_message_is_shown_without_its_neighbours():
    leaves = [leaf(n) for n in range(64)]
    hashes = [merkle.leaf_hash(one) for one in leaves]
    proof = merkle.inclusion_proof(hashes, 17)
    merkle.verify_inclusion(merkle.leaf_hash(leaf(17)), 17, 64, proof, envelope.commitment(leaves))


def test_an_envelope_without_messages_has_no_commitment():
    with pytest.raises(Malformed):
        envelope.commitment([])


def test_an_envelopes_digest_is_of_the_bytes_its_signature_covers():
    sealed = b"sealed"
    parts = [HEADER, hashlib.sha256(sealed).digest()]
    assert envelope.signed_parts(HEADER, sealed) == parts
    assert (
        envelope.envelope_digest(HEADER, sealed)
        == hashlib.sha256(signed.pae(signed.ENVELOPE, *parts)).digest()
    )
