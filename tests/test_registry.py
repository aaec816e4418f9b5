"""Which descriptor may enter the registry: real keys, real signatures, one thing changed in each case."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from descriptors import NOW, descriptor, identity, key, published, signed
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import wire
from bridge.crypto.keys import ED25519, MLDSA65, SMALL_ORDER, XWING, SigningKey, kid
from bridge.crypto.signed import DESCRIPTOR, HELLO, ROTATION, sign
from bridge.envelopes import Signature, Signed
from bridge.errors import Rejected
from bridge.partners import Descriptor, Partner, PublishedKey, State, discovered, revoke
from bridge.registry import admit, fingerprint_of, keys_held, public_keys, published_keys

DAY = timedelta(days=1)


def partner(made: Signed, **changes: Any) -> Partner:
    described = wire.decode_descriptor(made.document)
    signatures = tuple((s.kid, s.alg, s.signature) for s in made.signatures)
    return msgspec.structs.replace(discovered(described, made.document, signatures, NOW), **changes)


def entering(made: Signed, **changes: Any) -> Descriptor:
    given: dict[str, Any] = {
        "decode": wire.decode_descriptor,
        "held": None,
        "others": frozenset(),
        "own_id": "croydon-mash",
        "own_keys": frozenset(),
        "now": NOW,
    }
    return admit(made, **{**given, **changes})


def refusal_of(made: Signed, **changes: Any) -> str:
    with pytest.raises(Rejected) as refused:
        entering(made, **changes)
    return refused.value.code


FIRST = signed(descriptor())
HELD = partner(FIRST)
KENT = key(ED25519, "kent-mash", "message")


def test_a_new_node_s_descriptor_enters() -> None:
    assert entering(FIRST) == descriptor()


def test_a_newer_descriptor_replaces_the_one_held() -> None:
    assert entering(signed(descriptor(seq=2, name="Kent, renamed")), held=HELD).name == "Kent, renamed"
    assert entering(signed(descriptor(seq=900)), held=HELD).seq == 900


def test_the_same_bytes_again_are_admitted_again_even_when_they_have_expired_since() -> None:
    assert entering(FIRST, held=HELD, now=NOW + 120 * DAY) == HELD.descriptor


def test_the_same_number_with_other_bytes_is_a_fork() -> None:
    assert refusal_of(signed(descriptor(name="Kent, renamed")), held=HELD) == "forked-descriptor"
    respaced = msgspec.json.format(FIRST.document, indent=1)
    made = sign(DESCRIPTOR, [respaced], identity("kent-mash"))
    assert refusal_of(Signed(respaced, tuple(Signature(*s) for s in made)), held=HELD) == "forked-descriptor"


def test_a_lower_number_is_stale() -> None:
    held = partner(signed(descriptor(seq=5)))
    assert refusal_of(signed(descriptor(seq=4)), held=held) == "stale-descriptor"


# ── whose it is ──


def test_no_descriptor_has_our_own_name_or_another_node_s() -> None:
    assert refusal_of(FIRST, own_id="kent-mash") == "wrong-node"
    assert refusal_of(signed(descriptor("kent-police")), held=HELD) == "wrong-node"


def test_a_revoked_node_never_comes_back() -> None:
    assert refusal_of(signed(descriptor(seq=2)), held=revoke(HELD, NOW)) == "wrong-state"
    assert refusal_of(FIRST, held=revoke(HELD, NOW)) == "wrong-state"


@pytest.mark.parametrize("state", [s for s in State if s is not State.REVOKED])
def test_descriptors_are_renewed_in_every_other_state(state: State) -> None:
    assert entering(signed(descriptor(seq=2)), held=msgspec.structs.replace(HELD, state=state))


def test_live_and_exercise_are_never_changed_under_one_name() -> None:
    assert entering(signed(descriptor(exercise=True))).exercise
    assert refusal_of(signed(descriptor(seq=2, exercise=True)), held=HELD) == "exercise"
    drill = partner(signed(descriptor(exercise=True)))
    assert refusal_of(signed(descriptor(seq=2)), held=drill) == "exercise"


# ── keys ──


def unhinted(alg: str, public: bytes, node_id: str = "kent-mash") -> PublishedKey:
    hint = kid(alg, node_id, public).hex()
    return PublishedKey(hint, alg, wire.encode_b64(public), NOW, NOW + 60 * DAY)


SEALING = key(XWING, "kent-mash", "sealing")
KEY_CASES: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"small-order message key {point.hex()[:8]}…{point.hex()[-2:]}": (
            {"message_keys": (unhinted(ED25519, point),)},
            "weak-key",
        )
        for point in sorted(SMALL_ORDER)
    },
    "message key of no point": ({"message_keys": (unhinted(ED25519, b"\x02" + bytes(31)),)}, "weak-key"),
    "short message key": ({"message_keys": (unhinted(ED25519, b"k" * 31),)}, "weak-key"),
    "unknown algorithm": ({"message_keys": (unhinted("rsa-2048", b"k" * 256),)}, "weak-key"),
    "no classical message key": ({"message_keys": (published(key(MLDSA65, "kent-mash", "m")),)}, "weak-key"),
    "sealing key to sign messages": (
        {"message_keys": (published(KENT), published(key(XWING, "kent-mash", "m")))},
        "weak-key",
    ),
    "classical sealing key": ({"sealing_keys": (published(key(ED25519, "kent-mash", "s")),)}, "weak-key"),
    "one of two sealing keys classical": (
        {"sealing_keys": (published(SEALING), published(key(ED25519, "kent-mash", "s")))},
        "weak-key",
    ),
    "sealing key of zeros": ({"sealing_keys": (unhinted(XWING, bytes(1216)),)}, "weak-key"),
    "sealing key with a low-order part": (
        {"sealing_keys": (unhinted(XWING, SEALING.public[:1184] + bytes(32)),)},
        "weak-key",
    ),
    "hint made for another node": (
        {
            "message_keys": (
                msgspec.structs.replace(published(KENT), kid=kid(ED25519, "x-node", KENT.public).hex()),
            )
        },
        "malformed",
    ),
    "hint made up": (
        {"sealing_keys": (msgspec.structs.replace(published(SEALING), kid="00" * 8),)},
        "malformed",
    ),
}


@pytest.mark.parametrize(("changes", "code"), KEY_CASES.values(), ids=KEY_CASES.keys())
def test_a_key_that_may_not_be_used_keeps_the_descriptor_out(changes: dict[str, Any], code: str) -> None:
    assert refusal_of(signed(descriptor(**changes))) == code


def test_a_small_order_identity_key_keeps_the_descriptor_out() -> None:
    point = bytes([1]) + bytes(
        31
    )  # the neutral point: a signature anyone can make verifies in some libraries
    weak = (unhinted(ED25519, point), published(identity("kent-mash")[1]))
    document = msgspec.json.encode(descriptor(identity_keys=weak))
    forged = Signature(kid(ED25519, "kent-mash", point), ED25519, point + bytes(32))
    post_quantum = sign(DESCRIPTOR, [document], identity("kent-mash")[1:])[0]
    assert refusal_of(Signed(document, (forged, Signature(*post_quantum)))) == "weak-key"


@pytest.mark.parametrize("holder", ["others", "own_keys", "test_keys"])
@pytest.mark.parametrize("use", ["identity_keys", "message_keys", "sealing_keys"])
def test_a_key_that_somebody_else_has_keeps_the_descriptor_out(holder: str, use: str) -> None:
    taken = frozenset({getattr(descriptor(), use)[-1].raw})
    assert refusal_of(FIRST, **{holder: taken}) == "known-key"
    assert refusal_of(signed(descriptor(seq=2)), held=HELD, **{holder: taken}) == "known-key"


def test_keys_held_are_those_of_all_others_revoked_ones_too() -> None:
    police = partner(signed(descriptor("kent-police")))
    gone = revoke(partner(signed(descriptor("essex-mash"))), NOW)
    held = keys_held([HELD, police, gone], besides="kent-mash")
    assert held == published_keys(police.descriptor) | published_keys(gone.descriptor)
    assert len(held) == 8
    assert entering(signed(descriptor(seq=2)), held=HELD, others=held)


# ── signatures ──


def resigned(document: bytes, purpose: str, keys: list[SigningKey]) -> tuple[Signature, ...]:
    return tuple(Signature(*each) for each in sign(purpose, [document], keys))


ED, ML = identity("kent-mash")
DOCUMENT = FIRST.document
SIGNATURE_CASES: dict[str, Signed] = {
    "changed after signing": Signed(DOCUMENT.replace(b"Kent front", b"Kent Front"), FIRST.signatures),
    "white space after signing": Signed(DOCUMENT + b" ", FIRST.signatures),
    "the classical signature alone": Signed(DOCUMENT, FIRST.signatures[:1]),
    "the post-quantum signature alone": Signed(DOCUMENT, FIRST.signatures[1:]),
    "one signature twice": Signed(DOCUMENT, FIRST.signatures[:1] * 2),
    "one byte of the classical signature changed": Signed(
        DOCUMENT,
        (
            msgspec.structs.replace(FIRST.signatures[0], signature=bytes(64)),
            FIRST.signatures[1],
        ),
    ),
    "one byte of the post-quantum signature changed": Signed(
        DOCUMENT,
        (
            FIRST.signatures[0],
            msgspec.structs.replace(
                FIRST.signatures[1], signature=b"\0" + FIRST.signatures[1].signature[1:]
            ),
        ),
    ),
    "signed for another purpose": Signed(DOCUMENT, resigned(DOCUMENT, HELLO, [ED, ML])),
    "signed as a rotation only": Signed(DOCUMENT, resigned(DOCUMENT, ROTATION, [ED, ML])),
    "signed by the message key": Signed(
        DOCUMENT, (*resigned(DOCUMENT, DESCRIPTOR, [KENT]), FIRST.signatures[1])  # type: ignore[list-item]
    ),
    "signed by somebody else": Signed(DOCUMENT, resigned(DOCUMENT, DESCRIPTOR, identity("essex-mash"))),
    "signed by the identity before only": Signed(DOCUMENT, resigned(DOCUMENT, DESCRIPTOR, identity("kent-mash", 0))),
}  # fmt: skip


@pytest.mark.parametrize("made", SIGNATURE_CASES.values(), ids=SIGNATURE_CASES.keys())
def test_a_descriptor_that_its_identity_did_not_sign_stays_out(made: Signed) -> None:
    assert refusal_of(made) == "bad-signature"


def test_an_unsigned_descriptor_raises_no_alarm_about_numbers() -> None:
    forged = Signed(msgspec.json.encode(descriptor(name="Kent, forged")), FIRST.signatures)
    assert refusal_of(forged, held=HELD) == "bad-signature"


# ── rotation of the identity ──

TURNED = descriptor(seq=2, generation=2)
NEW, OLD = identity("kent-mash", 2), identity("kent-mash", 1)


def test_another_identity_enters_with_the_word_of_the_one_before() -> None:
    assert entering(signed(TURNED, by=NEW, was=OLD), held=HELD) == TURNED


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(signed(TURNED, by=NEW), id="by the new one alone"),
        pytest.param(signed(TURNED, by=OLD, was=OLD), id="by the old one alone"),
        pytest.param(signed(TURNED, by=OLD, was=NEW), id="the wrong way round"),
        pytest.param(signed(TURNED, by=NEW, was=NEW), id="by the new one twice"),
        pytest.param(signed(TURNED, by=NEW, was=OLD[:1]), id="by half of the old one"),
        pytest.param(signed(TURNED, by=NEW, was=identity("essex-mash")), id="by a stranger for the old one"),
        pytest.param(
            Signed(
                msgspec.json.encode(TURNED),
                resigned(msgspec.json.encode(TURNED), DESCRIPTOR, [*NEW, *OLD]),
            ),
            id="by the old one without the purpose of a rotation",
        ),
    ],
)
def test_another_identity_without_the_word_of_the_one_before_stays_out(made: Signed) -> None:
    assert refusal_of(made, held=HELD) == "bad-signature"


def test_one_new_key_of_two_is_another_identity() -> None:
    half = descriptor(seq=2, identity_keys=(TURNED.identity_keys[0], descriptor().identity_keys[1]))
    assert refusal_of(signed(half, by=[NEW[0], OLD[1]]), held=HELD) == "bad-signature"
    assert entering(signed(half, by=[NEW[0], OLD[1]], was=OLD), held=HELD) == half


def test_who_holds_the_new_identity_already_need_not_know_the_old_one() -> None:
    made = signed(descriptor(seq=3, generation=2), by=NEW, was=OLD)
    assert entering(made, held=partner(signed(TURNED, by=NEW, was=OLD)))
    assert entering(made)


# ── time ──


@pytest.mark.parametrize(
    ("now", "enters"),
    [
        (NOW - timedelta(minutes=11), False),
        (NOW - timedelta(minutes=10), True),
        (NOW + 90 * DAY - timedelta(seconds=1), True),
        (NOW + 90 * DAY, False),
    ],
)
def test_a_descriptor_enters_only_while_it_is_in_force(now: Any, enters: bool) -> None:
    if enters:
        assert entering(FIRST, now=now)
    else:
        assert refusal_of(FIRST, now=now) == "expired-descriptor"


# ── shape ──


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="empty"),
        pytest.param(DOCUMENT[:-1] + b',"more":1}', id="unknown field"),
        pytest.param(DOCUMENT.replace(b'"seq":1', b'"seq":1,"seq":1'), id="a field twice"),
        pytest.param(DOCUMENT + b" " * (32 * 1024), id="over 32 KiB"),
    ],
)
def test_a_descriptor_of_any_other_form_stays_out_although_it_is_signed(document: bytes) -> None:
    assert refusal_of(Signed(document, resigned(document, DESCRIPTOR, [ED, ML]))) == "malformed"


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    document = bytearray(DOCUMENT)
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] ^= data.draw(st.integers(1, 255))
    assert refusal_of(Signed(bytes(document), FIRST.signatures), held=HELD) in {
        "malformed",
        "bad-signature",
        "wrong-node",
        "weak-key",
        "known-key",
    }


def test_refusals_name_nothing_from_the_descriptor() -> None:
    made = Signed(msgspec.json.encode(descriptor(name="Zebra-Canary")), FIRST.signatures)
    with pytest.raises(Rejected) as refused:
        entering(made)
    assert "Zebra" not in str(refused.value) + repr(refused.value) + repr(refused.value.facts)


def test_the_fingerprint_heard_by_telephone_is_of_the_identity_alone() -> None:
    heard = " ".join(fingerprint_of(descriptor()).words)
    assert fingerprint_of(descriptor(seq=7, name="Other")).matches(heard)
    assert not fingerprint_of(descriptor(generation=2)).matches(heard)
    assert not fingerprint_of(descriptor("essex-mash")).matches(heard)


def test_published_keys_become_the_keys_that_were_published() -> None:
    read = public_keys([published(KENT), published(SEALING)])
    assert read == (KENT.public_key(), SEALING.public_key())
