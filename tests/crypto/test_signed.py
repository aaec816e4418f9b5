"""Signatures: what they cover, and every way in which one must not verify."""

import secrets
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.crypto import signed
from bridge.crypto.keys import ED25519, MLDSA65, PublicKey, SigningKey
from bridge.errors import Rejected

PURPOSES = [getattr(signed, name) for name in signed.__all__ if name.isupper()]
BOTH = (ED25519, MLDSA65)


class Signature(NamedTuple):
    kid: bytes
    alg: str
    signature: bytes


ED = SigningKey.generate(ED25519, "kent-mash", secrets.token_bytes)
ML = SigningKey.generate(MLDSA65, "kent-mash", secrets.token_bytes)
OTHER = SigningKey.generate(ED25519, "kent-mash", secrets.token_bytes)
PUBLICS = [ED.public_key(), ML.public_key()]
PARTS = [b"header", b"digest"]


def signatures(purpose=signed.ENVELOPE, parts=PARTS, keys=(ED, ML)):
    return [Signature(*made) for made in signed.sign(purpose, parts, keys)]


def refused(made, *, purpose=signed.ENVELOPE, parts=PARTS, keys=PUBLICS, algs=BOTH):
    with pytest.raises(Rejected) as caught:
        signed.verify(purpose, parts, made, keys=keys, algs=algs)
    assert caught.value.code == "bad-signature"


def test_the_encoding_is_magic_then_each_length_and_its_bytes():
    assert signed.pae("ab", b"", b"xyz").hex() == (
        b"BRIDGEv1".hex() + "00000002" + b"ab".hex() + "00000000" + "00000003" + b"xyz".hex()
    )


def test_a_digest_is_sha256_of_the_encoding():
    # Computed apart: printf 'BRIDGEv1\0\0\0\001a\0\0\0\001b' | sha256sum
    assert (
        signed.digest("a", b"b").hex() == "21b4f3a008c8f6502c54e0db716aedf6008f74621a2fc46178baf70d23d77672"
    )


PIECES = st.lists(st.binary(max_size=12), max_size=5)


@given(st.text(max_size=8), PIECES, st.text(max_size=8), PIECES)
def test_two_encodings_are_equal_only_if_purpose_and_parts_are(purpose_a, parts_a, purpose_b, parts_b):
    same = (purpose_a, parts_a) == (purpose_b, parts_b)
    assert (signed.pae(purpose_a, *parts_a) == signed.pae(purpose_b, *parts_b)) == same


@given(st.binary(min_size=1, max_size=20), st.data())
def test_moving_bytes_between_parts_changes_the_encoding(whole, data):
    a = data.draw(st.integers(0, len(whole)))
    b = data.draw(st.integers(0, len(whole)))
    one, two = (signed.pae("p", whole[:cut], whole[cut:]) for cut in (a, b))
    assert (one == two) == (a == b)


def test_the_purposes_are_all_different():
    assert len(set(PURPOSES)) == len(PURPOSES) >= 12
    assert all(purpose.startswith("bridge/v1/") for purpose in PURPOSES)


@pytest.mark.parametrize(
    ("keys", "algs"), [((ED,), (ED25519,)), ((ED, ML), BOTH), ((ML, ED), BOTH)], ids=["one", "two", "swapped"]
)
def test_what_was_signed_verifies_and_says_by_which_keys(keys, algs):
    kids = {key.alg: key.kid for key in keys}
    used = signed.verify(signed.ENVELOPE, PARTS, signatures(keys=keys), keys=PUBLICS, algs=algs)
    assert used == tuple(kids[alg] for alg in algs)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(PURPOSES), st.lists(st.binary(max_size=64), min_size=1, max_size=4))
def test_any_parts_under_any_purpose_verify_as_signed(purpose, parts):
    signed.verify(purpose, parts, signatures(purpose, parts), keys=PUBLICS, algs=BOTH)


@pytest.mark.parametrize("purpose", [p for p in PURPOSES if p != signed.ENVELOPE])
def test_a_signature_made_for_one_purpose_is_refused_for_another(purpose):
    refused(signatures(), purpose=purpose)


def test_every_single_byte_change_of_what_was_signed_is_refused():
    made = signatures()
    for n, part in enumerate(PARTS):
        for at in range(len(part)):
            altered = part[:at] + bytes([part[at] ^ 1]) + part[at + 1 :]
            refused(made, parts=[altered if n == m else p for m, p in enumerate(PARTS)])


@pytest.mark.parametrize(("n", "stride"), [(0, 1), (1, 41)], ids=["ed25519", "ml-dsa-65"])
def test_every_single_byte_change_of_a_signature_is_refused(n, stride):
    made = signatures()
    good = made[n].signature
    for at in [*range(0, len(good), stride), len(good) - 1]:
        made[n] = made[n]._replace(signature=good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        refused(made)


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda ed, ml: [], id="none at all"),
        pytest.param(lambda ed, ml: [ed], id="post-quantum one stripped"),
        pytest.param(lambda ed, ml: [ml], id="classical one stripped"),
        pytest.param(lambda ed, ml: [ed, ed], id="classical one twice"),
        pytest.param(lambda ed, ml: [ed, ml, ml], id="post-quantum one twice"),
        pytest.param(
            lambda ed, ml: [ed, ml, ml._replace(alg="rsa")], id="one of an unknown algorithm beside"
        ),
        pytest.param(lambda ed, ml: [ed, ml._replace(alg="rsa")], id="algorithm renamed"),
        pytest.param(lambda ed, ml: [ed, ed._replace(alg=MLDSA65)], id="classical bytes called post-quantum"),
        pytest.param(lambda ed, ml: [ed._replace(kid=ml.kid), ml], id="kid of the other key"),
        pytest.param(lambda ed, ml: [ed._replace(kid=bytes(8)), ml], id="kid of no key"),
        pytest.param(lambda ed, ml: [ed._replace(kid=b""), ml], id="empty kid"),
        pytest.param(lambda ed, ml: [ed._replace(signature=b""), ml], id="empty signature"),
        pytest.param(lambda ed, ml: [ed._replace(signature=ed.signature + b"\0"), ml], id="longer signature"),
        pytest.param(lambda ed, ml: [ed._replace(signature=ml.signature), ml], id="signatures mixed"),
    ],
)
def test_signatures_that_are_not_exactly_those_of_the_suite_are_refused(alter):
    refused(alter(*signatures()))


def test_a_post_quantum_signature_beside_is_refused_where_the_suite_has_none():
    refused(signatures(), algs=(ED25519,))


@pytest.mark.parametrize("algs", [(), (ED25519, ED25519)], ids=["none", "one twice"])
def test_a_suite_that_asks_for_nothing_or_for_one_twice_verifies_nothing(algs):
    refused([], algs=algs)
    refused(signatures(keys=(ED, ED)), algs=algs)


def test_a_key_of_another_node_or_none_is_refused():
    refused(signatures(keys=(OTHER, ML)))
    refused(signatures(), keys=[])


def test_the_right_key_is_found_among_several_of_one_kid():
    # A kid is 8 bytes: somebody may grind a second key for it, and gains nothing.
    impostor = PublicKey(ED25519, ED.kid, OTHER.public)
    made = signatures(keys=(ED,))
    signed.verify(signed.ENVELOPE, PARTS, made, keys=[impostor, *PUBLICS], algs=(ED25519,))
    refused(made, keys=[impostor], algs=(ED25519,))


def test_a_weak_key_that_slipped_in_verifies_nothing():
    weak = PublicKey(ED25519, b"weakweak", bytes([1]) + bytes(31))
    forged = Signature(b"weakweak", ED25519, bytes([1]) + bytes(63))
    refused([forged], keys=[weak], algs=(ED25519,))


def test_ed25519_signs_the_same_bytes_the_same_way():
    # RFC 8032 section 7.1, test 2.
    key = SigningKey.from_seed(
        ED25519,
        "kent-mash",
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    )
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
