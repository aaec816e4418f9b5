"""Keys: made from seeds, found by hints, refused when weak, compared by voice."""

import hashlib
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.crypto import keys
from bridge.crypto.keys import ED25519, MLDSA65, XWING, Fingerprint, PublicKey, SealingKey, SigningKey
from bridge.errors import Rejected

P = 2**255 - 19


def make(alg, node_id="kent-mash", random=secrets.token_bytes):
    return (SealingKey if alg == XWING else SigningKey).generate(alg, node_id, random)


ALGS = pytest.mark.parametrize("alg", [ED25519, MLDSA65, XWING])


@ALGS
def test_a_key_is_made_again_from_its_seed(alg):
    key = make(alg)
    again = type(key).from_seed(alg, "kent-mash", key.seed)
    assert (again.public, again.kid, again.public_key()) == (key.public, key.kid, key.public_key())
    assert len(key.seed) == 32
    assert len(key.public) == keys.PUBLIC_LENGTHS[alg]
    assert key.public_key() == PublicKey(alg, key.kid, key.public)


@ALGS
def test_a_key_comes_from_the_randomness_handed_in(alg):
    asked = []
    key = make(alg, random=lambda n: asked.append(n) or bytes(range(n)))
    assert asked == [32]
    assert key.seed == bytes(range(32))


@ALGS
def test_a_key_shows_its_kid_and_nothing_of_its_seed(alg):
    key = make(alg)
    assert repr(key) == f"{type(key).__name__}({key.kid.hex()})"
    assert str(key) == repr(key)


@ALGS
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(alg, length):
    with pytest.raises(ValueError, match="32 bytes"):
        make(alg, random=lambda _: bytes(length))


@pytest.mark.parametrize(("kind", "alg"), [(SigningKey, XWING), (SealingKey, ED25519), (SigningKey, "rsa")])
def test_a_key_of_the_wrong_kind_is_refused(kind, alg):
    with pytest.raises(ValueError, match="not an algorithm"):
        kind.generate(alg, "kent-mash", secrets.token_bytes)


def test_a_kid_depends_on_algorithm_node_and_key():
    kids = {
        keys.kid(alg, node, public)
        for alg in (ED25519, XWING)
        for node in ("a", "b")
        for public in (b"x", b"y")
    }
    assert len(kids) == 8
    assert {len(kid) for kid in kids} == {8}


def test_a_kid_is_the_head_of_the_digest_that_the_protocol_gives():
    def part(text):
        return len(text).to_bytes(4, "big") + text

    encoded = b"BRIDGEv1" + part(b"bridge/v1/kid") + part(b"ed25519") + part(b"kent-mash") + part(b"k" * 32)
    assert keys.kid(ED25519, "kent-mash", b"k" * 32) == hashlib.sha256(encoded).digest()[:8]


@ALGS
def test_sound_keys_pass(alg):
    for _ in range(8):
        keys.check_public(alg, make(alg).public)


def xwing(mlkem=None, x25519=None):
    public = make(XWING).public
    return (mlkem or public[:1184]) + (x25519 or public[1184:])


def le(number):
    return number.to_bytes(32, "little")


def short_mldsa():
    """A key whose t1 has only coefficients of 0, 1 and 1023: anyone may sign for it."""
    packed = sum(secrets.choice([0, 1, 1023]) << 10 * n for n in range(1536))
    return secrets.token_bytes(32) + packed.to_bytes(1920, "little")


LOW_U = [*sorted(keys._LOW_ORDER_U), P, P + 1]
WEAK = [
    *((f"{alg} of {n} bytes", alg, bytes(n)) for alg in keys.PUBLIC_LENGTHS for n in (0, 31, 1215, 1953)),
    ("no algorithm", "rsa", bytes(32)),
    ("a name of another case", "Ed25519", make(ED25519).public),
    ("ed25519, y not reduced", ED25519, le(P + 3)),
    ("ed25519, y not reduced, sign", ED25519, le(P + 3 + 2**255)),
    ("ed25519, no point", ED25519, le(2)),
    ("ml-dsa-65, all zero", MLDSA65, bytes(1952)),
    ("ml-dsa-65, t1 zero", MLDSA65, secrets.token_bytes(32) + bytes(1920)),
    ("ml-dsa-65, t1 short", MLDSA65, short_mldsa()),
    ("x-wing, all zero", XWING, bytes(1216)),
    ("x-wing, ML-KEM vector zero", XWING, xwing(mlkem=bytes(1152) + secrets.token_bytes(32))),
    ("x-wing, ML-KEM out of its ring", XWING, xwing(mlkem=b"\xff" * 1184)),
    *((f"x-wing, low order {n}", XWING, xwing(x25519=le(u))) for n, u in enumerate(LOW_U)),
    *(
        (f"x-wing, low order {n}, high bit", XWING, xwing(x25519=le(u | 1 << 255)))
        for n, u in enumerate(LOW_U)
    ),
]


@pytest.mark.parametrize(("alg", "public"), [pytest.param(a, p, id=name) for name, a, p in WEAK])
def test_a_weak_public_key_is_refused(alg, public):
    with pytest.raises(Rejected) as refused:
        keys.check_public(alg, public)
    assert refused.value.code == "weak-key"


@pytest.mark.parametrize("alg", [XWING, ED25519])
@settings(deadline=None)
@given(data=st.data())
def test_any_bytes_at_all_are_accepted_or_refused_as_weak(alg, data):
    public = data.draw(st.binary(min_size=keys.PUBLIC_LENGTHS[alg], max_size=keys.PUBLIC_LENGTHS[alg]))
    try:
        keys.check_public(alg, public)
    except Rejected as refused:
        assert refused.code == "weak-key"


def identity(node_id="kent-mash"):
    return [make(ED25519, node_id).public_key(), make(MLDSA65, node_id).public_key()]


def test_the_word_list_has_2048_distinct_easy_words():
    words = keys.word_list()
    assert len(set(words)) == len(words) == 2048
    assert len({word[:4] for word in words}) == 2048
    assert all(word.isascii() and word.isalpha() and word.islower() and 3 <= len(word) <= 8 for word in words)


def test_a_fingerprint_is_eight_words_and_eight_groups_of_digits():
    made = Fingerprint(bytes(range(32)))
    # 88 bits in elevens: 0, 16, 257, ... and the digest modulo 10^40, worked out apart.
    bits = "".join(f"{byte:08b}" for byte in range(11))
    assert made.words == tuple(keys.word_list()[int(bits[n : n + 11], 2)] for n in range(0, 88, 11))
    assert "".join(made.digits) == str(int.from_bytes(bytes(range(32)), "big"))[-40:]
    assert [len(group) for group in made.digits] == [5] * 8


def test_digits_keep_their_leading_zeros():
    assert Fingerprint(bytes(32)).digits == ("00000",) * 8


def test_a_fingerprint_says_which_node_and_which_keys():
    publics = identity()
    made = keys.fingerprint("kent-mash", publics)
    assert keys.fingerprint("kent-mash", publics[::-1]) == made
    others = [
        keys.fingerprint("kent-mush", publics),
        keys.fingerprint("kent-mash", publics[:1]),
        keys.fingerprint("kent-mash", [publics[0], identity()[1]]),
        keys.fingerprint("kent-mash", [identity()[0], publics[1]]),
    ]
    assert made not in others
    assert len({other.words for other in others} | {made.words}) == 5


def test_a_fingerprint_is_the_digest_that_the_protocol_gives():
    def part(text):
        return len(text).to_bytes(4, "big") + text

    publics = [PublicKey(MLDSA65, b"", b"m" * 1952), PublicKey(ED25519, b"", b"e" * 32)]
    named = [b"bridge/v1/fingerprint", b"kent-mash", b"ed25519", b"e" * 32, b"ml-dsa-65", b"m" * 1952]
    encoded = b"BRIDGEv1" + b"".join(part(one) for one in named)
    assert keys.fingerprint("kent-mash", publics).digest == hashlib.sha256(encoded).digest()


def test_what_a_person_types_matches_in_any_case_and_spacing():
    made = keys.fingerprint("kent-mash", identity())
    words, digits = made.words, made.digits
    for heard in (
        " ".join(words),
        "-".join(words).upper(),
        f"  {', '.join(words).title()}. ",
        "".join(words),
        "\n".join(words),
        "\u2013".join(words),
        " ".join(digits),
        "-".join(digits),
        "".join(digits),
        "\u00a0".join(digits),
        str.translate(" ".join(digits), {ord("0") + n: 0xFF10 + n for n in range(10)}),  # full width
    ):
        assert made.matches(heard), "a right fingerprint was not taken"


def test_what_is_not_the_whole_fingerprint_does_not_match():
    made = keys.fingerprint("kent-mash", identity())
    words, digits = made.words, made.digits
    other = keys.fingerprint("kent-mash", identity())
    for heard in (
        "",
        " ",
        "-",
        " ".join(words[:-1]),
        " ".join(words[1:]),
        " ".join(words[::-1]),
        " ".join(digits[:-1]),
        " ".join([*words, *digits]),
        " ".join([*words, words[0]]),
        " ".join([*digits, "0"]),
        str(other),
        " ".join(other.words),
        " ".join(other.digits),
        "x" * 100_000,
        "\u0000",
    ):
        assert not made.matches(heard), "a wrong fingerprint was taken"


@given(st.text(max_size=200))
def test_no_other_text_matches(text):
    assert not Fingerprint(b"\x5a" * 32).matches(text)
