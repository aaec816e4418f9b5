"""Descriptors and keys between live nodes: renewed, rotated, refused, expired, revoked (PROTOCOL sections 2 and 3)."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import descriptors
import msgspec
import pytest
from county import (
    DESCRIPTOR,
    ENVELOPES,
    HELLO,
    County,
    Exchange,
    Forge,
    Hand,
    Wire,
    alert,
    lose_answer,
    lose_request,
    own,
    proxy,
)

from bridge import registry, wire
from bridge.crypto.keys import ED25519, MLDSA65, XWING, kid
from bridge.envelopes import Signed
from bridge.errors import Rejected
from bridge.nodes.transport import Answer
from bridge.partners import Descriptor, PublishedKey, State
from bridge.receipts import Status

JCP, MASH = "luton-jcp", "luton-mash"


def fetched(county: County) -> int:
    return len([each for each in county.wire.log if each.path == DESCRIPTOR])


# ── Rotation ──


async def test_a_descriptor_that_an_envelope_points_to_is_fetched_once(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.always(lose_request, path=HELLO)  # so that nobody is told
    await county[JCP].rotate.rotate("a-first")
    sent = [await county.send(JCP, alert()) for _ in range(3)]
    await county.settle(limit=5)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    assert fetched(county) == 1
    assert county[MASH].book.get(JCP).descriptor.seq == own(county[JCP]).seq == 2  # type: ignore[union-attr]


async def test_an_envelope_whose_descriptor_cannot_be_had_is_taken_when_it_can(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.always(lose_request, path=HELLO)
    county.wire.always(lose_request, path=DESCRIPTOR)
    await county[JCP].rotate.rotate("a-first")
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=30)
    assert await county.inbox(MASH) == []
    assert county.events(MASH) == {}
    county.wire.mend()
    await county.settle(limit=10)
    assert await county.inbox(MASH) == [sent.id]


async def test_a_forged_number_cannot_make_a_node_fetch_without_end(county: County) -> None:
    await county.add(JCP, MASH)
    forge = Forge(county, JCP, MASH)
    for _ in range(20):
        answer = await county.post(MASH, forge.envelope(forge.message(b"{}"), from_seq=2**52))
        assert answer.status == 503
    assert fetched(county) == 1


@pytest.mark.parametrize("told", [True, False], ids=["announced", "nobody was told"])
async def test_what_was_sealed_before_a_rotation_is_opened_after_it(county: County, told: bool) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    before = await county.send(JCP, alert())
    await county.sleep(seconds=1)
    if not told:
        county.wire.always(lose_request, path=HELLO, to=JCP)
    await county[MASH].rotate.rotate("a-first")
    county.wire.join(MASH)
    after = await county.send(JCP, alert())
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted([before.id, after.id])
    assert county.events(MASH) == county.events(JCP) == {}


async def test_after_a_rotation_new_mail_is_sealed_to_the_new_key(county: County) -> None:
    await county.add(JCP, MASH)
    await county[MASH].rotate.rotate("a-first")
    await county.quiet()
    await county.sleep(seconds=1)
    await county.send(JCP, alert())
    await county.settle(limit=5)
    (envelope,) = county.wire.posts(to=MASH)[-1].envelopes
    newest = max(own(county[MASH]).sealing_keys, key=lambda key: (key.not_before, key.kid))
    assert wire.decode_header(envelope.header).to_kid == newest.kid


async def retire(county: County) -> None:
    """The recipient makes a new sealing key and destroys the one before, before its time."""
    node = county[MASH]
    old = [key.kid for key in node.keystore.keys("sealing")]
    county.clock.jump(seconds=2)
    await node.rotate.rotate("a-first", message=False)
    for each in old:
        await node.keystore.destroy_key(each)
    await node.rotate.tend()


@pytest.mark.parametrize("told", [True, False], ids=["announced", "nobody was told"])
async def test_what_was_sealed_to_a_retired_key_is_sealed_anew_and_arrives_once(county: County, told: bool) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(3)]
    await county.sleep(seconds=1)
    if not told:
        county.wire.always(lose_request, path=HELLO, to=JCP)
    await retire(county)
    county.wire.join(MASH)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    assert {row.status for row in await county.messages(JCP)} == {Status.RECEIVED}
    rows = await county[MASH].database.fetch("select message_id from inbox")
    assert {row[0].hex() for row in rows} == {each.route[0].message for each in sent}, "under their own ids"
    assert county.events(MASH) == county.events(JCP) == {}


async def test_what_was_taken_before_its_key_was_retired_is_not_taken_twice(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.next(lose_answer)
    county.wire.always(proxy(502), path=HELLO)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=1)
    assert await county.inbox(MASH) == [sent.id]
    await retire(county)
    county.wire.mend()
    await county.settle(limit=30)
    assert await county.inbox(MASH) == [sent.id]
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}


async def test_a_partner_that_calls_every_key_retired_is_not_tried_all_the_time(county: County) -> None:
    await county.add(JCP, MASH)
    forge = Forge(county, MASH, JCP)

    async def retired(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        made: list[Signed | None] = [
            forge.receipts(forge.statement(each, None, Status.REFUSED, code="key-retired"))
            for each in exchange.envelopes
        ]
        return Answer(200, wire.encode_answer(made))

    county.wire.always(retired)
    sent = await county.send(JCP, alert())
    await county.sleep(minutes=4)
    assert 3 <= len(county.wire.posts()) <= 9
    county.wire.mend()
    await county.settle(limit=90)
    assert await county.inbox(MASH) == [sent.id]


async def test_an_answer_signed_with_a_key_that_nobody_was_told_of_is_understood(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.next(lose_request, path=HELLO, to=JCP)
    county.clock.jump(seconds=2)
    await county[MASH].rotate.rotate("a-first")
    await county.sleep(seconds=1)
    sent = await county.send(JCP, alert())
    await county.settle(limit=10)
    assert await county.statuses(JCP, sent.id) == {MASH: "received"}
    assert county.events(JCP) == {}


# ── A long life ──


async def test_over_a_year_of_rotations_every_alert_arrives_and_old_seeds_are_destroyed(county: County) -> None:
    await county.add(JCP, MASH)
    sent = []
    for _ in range(18):
        county.clock.jump(days=20)
        for name in (JCP, MASH):
            await county[name].rotate.tend()
        sent.append(await county.send(JCP, alert()))
        await county.settle(limit=10)
    assert len(await county.inbox(MASH)) == len(sent)
    assert county.events(JCP) == county.events(MASH) == {}
    held = county[MASH].keystore.keys("sealing")
    assert 1 <= len(held) <= 4
    gone = county[MASH].keystore.keys("sealing", ["destroyed"])
    assert len(gone) >= 8
    assert all(key.seed == b"" for key in gone)


@pytest.mark.parametrize("days", [20, 45, 80, 400])
@pytest.mark.parametrize("who", [JCP, MASH])
async def test_a_node_that_was_off_for_long_comes_back_and_alerts_flow(county: County, who: str, days: int) -> None:
    await county.add(JCP, MASH)
    await county.stop(who)
    county.clock.jump(days=days)
    for name in county.nodes:
        await county[name].rotate.tend()
    await county.start(who)
    await county.sleep(seconds=1)
    sent = await county.send(JCP, alert())
    await county.settle(limit=90)
    assert await county.inbox(MASH) == [sent.id]


@pytest.mark.parametrize("days", [45, 400])
async def test_a_node_that_was_off_for_long_publishes_nothing_unfit(county: County, days: int) -> None:
    # Opened by a command alone, and never started: what it says of itself is well formed all the same.
    await county.add(JCP)
    await county.stop(JCP)
    county.clock.jump(days=days)
    for _ in range(2):
        node = await county._open(JCP)
        described = own(node)
        assert wire.decode_descriptor(node.enrol.own_signed().document) == described
        now = county.clock.now()
        assert any(key.valid(now) for key in described.sealing_keys)
        assert any(key.valid(now) for key in described.message_keys)
        assert described.expires > now
        await county.stop(JCP)


@pytest.mark.parametrize(
    ("days", "arrives"), [(59, True), (61, True), (73, True), (75, False)], ids=["fresh", "stale", "last day", "blocked"]
)
async def test_an_expired_descriptor_degrades_in_steps(county: County, days: int, arrives: bool) -> None:
    # The sender cannot renew: it runs, but its own clock of keys is not tended and nobody reaches it.
    await county.add(JCP, MASH)
    forge = Forge(county, JCP, MASH)
    sent = await county.send(JCP, alert(retention={"class": "UNADOPTED"}))
    await county.settle()
    county.clock.jump(days=days)
    await county[MASH].rotate.tend()
    county.wire.always(lose_request, path=HELLO)
    county.wire.always(lose_request, path=DESCRIPTOR)
    partner = county[JCP].book.get(MASH)
    assert partner is not None
    county[JCP].book.put(msgspec.structs.replace(partner, descriptor=own(county[MASH])))
    answer = await county.post(MASH, forge.envelope(await forge.alert(sent)))
    assert answer.status == (200 if arrives else 503)
    assert len(await county.inbox(MASH)) == 1 + arrives


# ── Descriptors that may not enter ──


SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


FIRST, SECOND = 1001, 1002
"""Generations of identity keys that are not on the list of test keys, which every node refuses."""


def stranger(generation: int = FIRST, **changes: Any) -> Descriptor:
    """A node that nobody has heard of."""
    message = descriptors.key(ED25519, "kent-mash", "county message")
    sealing = descriptors.key(XWING, "kent-mash", "county sealing")
    fields = {"message_keys": (descriptors.published(message),), "sealing_keys": (descriptors.published(sealing),)}
    return descriptors.descriptor(generation=generation, **{**fields, **changes})


def words(described: Descriptor, generation: int = FIRST, was: int | None = None) -> Signed:
    by = descriptors.identity("kent-mash", generation)
    return descriptors.signed(described, by=by, was=descriptors.identity("kent-mash", was) if was else None)


def weak(alg: str, raw: bytes, node_id: str = "kent-mash") -> PublishedKey:
    until = descriptors.NOW + timedelta(days=60)
    return PublishedKey(kid(alg, node_id, raw).hex(), alg, wire.encode_b64(raw), descriptors.NOW, until)


@pytest.mark.parametrize("use", ["message_keys", "identity_keys"])
async def test_no_key_of_small_order_enters_the_registry(county: County, use: str) -> None:
    await county.add(JCP)
    plain = stranger()
    for count, encoding in enumerate(SMALL_ORDER, 1):
        key = weak(ED25519, bytes.fromhex(encoding))
        keys = (key,) if use == "message_keys" else (key, *plain.identity_keys[1:])
        invite = wire.encode_invite(words(msgspec.structs.replace(plain, **{use: keys})))
        with pytest.raises(Rejected) as refused:
            await county[JCP].enrol.add(invite, "a-first")
        assert refused.value.code == "weak-key", encoding
        assert county.events(JCP) == {("unknown", "weak-key"): count}
    assert county[JCP].book.get("kent-mash") is None


Change = Callable[[County, Descriptor], Descriptor]


def mldsa_alone() -> PublishedKey:
    return descriptors.published(descriptors.key(MLDSA65, "kent-mash", "county message"))




def with_key_of(name: str) -> Change:
    """A message key that another node has, under its own hint."""

    def change(county: County, plain: Descriptor) -> Descriptor:
        theirs = next(key for key in own(county[name]).message_keys if key.alg == ED25519)
        return msgspec.structs.replace(plain, message_keys=(weak(theirs.alg, theirs.raw),))

    return change


def changed(**changes: Any) -> Change:
    return lambda county, plain: msgspec.structs.replace(plain, **changes)


UNFIT: dict[str, tuple[str, Change, bool]] = {
    "it has a key of a partner's": ("known-key", with_key_of(MASH), True),
    "it has a key of ours": ("known-key", with_key_of(JCP), True),
    "it has our own name": ("wrong-node", changed(node_id=JCP), False),
    "its keys are fit for other uses": (
        "weak-key",
        lambda county, plain: msgspec.structs.replace(plain, message_keys=(mldsa_alone(),)),
        True,
    ),
    "it has expired": (
        "expired-descriptor",
        changed(issued=descriptors.NOW - timedelta(days=60), expires=descriptors.NOW - timedelta(days=1)),
        False,
    ),
    "it is of the future": (
        "expired-descriptor",
        changed(issued=descriptors.NOW + timedelta(days=1), expires=descriptors.NOW + timedelta(days=2)),
        False,
    ),
}


@pytest.mark.parametrize("case", UNFIT)
async def test_an_unfit_invite_is_refused_with_its_code(county: County, case: str) -> None:
    await county.add(JCP, MASH)
    code, change, event = UNFIT[case]
    described = change(county, stranger())
    before = [partner.node_id for partner in county[JCP].book.partners()]
    with pytest.raises(Rejected) as refused:
        await county[JCP].enrol.add(wire.encode_invite(words(described)), "a-first")
    assert refused.value.code == code
    assert county.events(JCP) == ({("unknown", code): 1} if event else {})
    assert [partner.node_id for partner in county[JCP].book.partners()] == before


RENEWALS: dict[str, tuple[str, Change, dict[str, Any], bool]] = {
    "under a number that was used": ("forked-descriptor", changed(name="Another"), {}, True),
    "under an older number": ("stale-descriptor", changed(seq=1, name="Older"), {}, True),
    "signed by other keys": (
        "bad-signature",
        changed(seq=6),
        {"generation": SECOND},
        False,
    ),
    "with another identity alone": (
        "bad-signature",
        lambda county, plain: stranger(SECOND, seq=6),
        {"generation": SECOND},
        False,
    ),
    "as an exercise": ("exercise", changed(seq=6, exercise=True), {}, False),
}


@pytest.mark.parametrize("case", RENEWALS)
async def test_a_renewal_that_is_not_in_order_changes_nothing(county: County, case: str) -> None:
    await county.add(JCP)
    held = stranger(seq=5)
    await county[JCP].enrol.add(wire.encode_invite(words(held)), "a-first")
    code, change, signing, event = RENEWALS[case]
    renewal = words(change(county, held), **signing)
    with pytest.raises(Rejected) as refused:
        await county[JCP].enrol.add(wire.encode_invite(renewal), "a-first")
    assert refused.value.code == code
    assert county.events(JCP) == ({("kent-mash", code): 1} if event else {})
    partner = county[JCP].book.get("kent-mash")
    assert partner is not None
    assert partner.descriptor == held


async def test_a_change_of_identity_with_the_word_of_the_one_before_ends_the_approval_that_was_under_way(
    county: County,
) -> None:
    await county.add(JCP)
    node = county[JCP]
    held = stranger()
    await node.enrol.add(wire.encode_invite(words(held)), "a-first")
    heard = " ".join(registry.fingerprint_of(held).words)
    await node.enrol.approve("kent-mash", "a-first", heard)
    newer = stranger(SECOND, seq=2)
    await node.enrol.add(wire.encode_invite(words(newer, SECOND, FIRST)), "a-first")
    with pytest.raises(Rejected) as refused:
        await node.enrol.approve("kent-mash", "b-second", heard)
    assert refused.value.code == "wrong-fingerprint"
    heard = " ".join(registry.fingerprint_of(newer).words)
    assert (await node.enrol.approve("kent-mash", "b-second", heard)).state is State.PENDING
    assert (await node.enrol.approve("kent-mash", "a-first", heard)).state is State.ACTIVE


async def test_what_a_partner_claims_newly_does_not_route(county: County) -> None:
    await county.add(JCP, "southend-mash")
    greedy = county.templates.settings("southend-mash")
    node = msgspec.structs.replace(greedy.node, areas=(*greedy.node.areas, "E06000032"))
    await county.stop("southend-mash")
    county._settings["southend-mash"] = msgspec.structs.replace(greedy, node=node)
    await county.start("southend-mash")
    await county.sleep(seconds=1)
    partner = county[JCP].book.get("southend-mash")
    assert partner is not None
    assert "E06000032" in partner.descriptor.areas
    sent = await county.send(JCP, alert())
    assert [leg.node for leg in sent.route] == [None]


# ── The end of a partnership ──


async def test_nothing_leaves_for_a_partner_that_was_revoked_while_its_alert_waited(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=10)
    await county[JCP].enrol.revoke(MASH, "a-first")
    await county.start(MASH)
    since = len(county.wire.log)
    await county.sleep(minutes=1)
    assert [each for each in county.wire.log[since:] if each.recipient == MASH] == []
    assert await county.inbox(MASH) == []
    assert await county.statuses(JCP, sent.id) == {MASH: "queued"}, "not lost: the operator can send it elsewhere"
    county.clock.jump(days=31)
    await county.sleep(seconds=5)
    assert await county.statuses(JCP, sent.id) == {MASH: "undelivered/expired"}


async def test_what_waits_for_a_suspended_partner_leaves_when_it_is_resumed(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=10)
    await county[JCP].enrol.suspend(MASH, "a-first")
    county.wire.join(MASH)
    await county.sleep(minutes=1)
    assert await county.inbox(MASH) == []
    await county[JCP].enrol.resume(MASH, "a-first")
    await county.settle(limit=5)
    assert await county.inbox(MASH) == [sent.id]


async def test_a_greeting_of_a_revoked_partner_gets_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    await county[MASH].enrol.revoke(JCP, "a-first")
    assert await county[JCP].enrol.hello(MASH) is False
    assert county.wire.posts(path=HELLO, to=MASH)[-1].said == [Answer(400, b"")]


async def test_a_greeting_that_is_old_or_for_another_or_not_its_senders_gets_nothing(county: County) -> None:
    await county.add(JCP, MASH, "luton-housing")
    await county[JCP].enrol.hello(MASH)
    greeting = county.wire.posts(path=HELLO, to=MASH)[-1]
    assert (await county.handed(MASH, "POST", HELLO, greeting.body)).status == 200
    assert (await county.handed("luton-housing", "POST", HELLO, greeting.body)) == Answer(400, b"")
    altered = greeting.body.replace(JCP.encode(), b"luton-jcq", 1)
    assert (await county.handed(MASH, "POST", HELLO, altered)) == Answer(400, b"")
    county.clock.jump(minutes=11)
    assert (await county.handed(MASH, "POST", HELLO, greeting.body)) == Answer(400, b"")
    assert ENVELOPES not in {each.path for each in county.wire.log}
    assert MLDSA65 in {key.alg for key in own(county[MASH]).identity_keys}


async def test_keys_that_are_made_from_two_sides_at_once_get_a_number_each(county: County) -> None:
    await county.add(MASH)
    before = own(county[MASH]).seq
    county.clock.jump(days=31)
    await asyncio.gather(*(county[MASH].rotate.rotate("operator") for _ in range(2)), county[MASH].rotate.tend())
    assert own(county[MASH]).seq == before + 2
    assert len(own(county[MASH]).sealing_keys) == 3


# ── Another identity of our own ──


def fingerprint(county: County, by: str, of: str) -> str:
    known = county[by].book.get(of)
    assert known is not None
    return " ".join(registry.fingerprint_of(known.descriptor).words)


async def test_another_identity_is_taken_by_partners_and_traffic_goes_on(county: County) -> None:
    await county.add(JCP, MASH)
    before = fingerprint(county, JCP, MASH)
    made = await county[MASH].rotate.rotate_identity("operator")
    await county.sleep(seconds=5)
    assert fingerprint(county, JCP, MASH) == fingerprint(county, MASH, MASH) != before
    known = county[JCP].book.get(MASH)
    assert known is not None
    assert (known.state, known.descriptor.seq, len(known.signatures)) == (State.ACTIVE, made.seq, 4)
    done = await county.send(JCP, alert())
    await county.settle()
    assert (await county.statuses(JCP, done.id))[MASH] == "received"
    await county[MASH].checkpoint.sign()
    await county.restart(MASH)
    await county.sleep(minutes=2)
    assert own(county[MASH]).identity_keys == made.identity_keys, "it is the same after a restart"
    assert all(finding.ok for finding in await county[MASH].checkpoint.verify(lambda *_: None))
    assert county[MASH].checkpoint.disputes() == []
    assert {code for name in (JCP, MASH) for _, code in county.events(name)} == set()
    assert (await county.audited(MASH, "key:identity"))[0]["actor"] == "operator"


async def test_who_was_away_for_89_days_follows_a_change_of_identity_and_after_90_the_old_keys_are_gone(
    county: County,
) -> None:
    await county.add(JCP, MASH)
    await county.stop(JCP)
    old = {key.kid for key in own(county[MASH]).identity_keys}
    await county[MASH].rotate.rotate_identity("operator")
    county.clock.jump(days=89)
    await county[MASH].brake.tick()
    await county[MASH].rotate.tend()
    await county.start(JCP)
    await county[JCP].brake.release("A")
    await county[MASH].enrol.greet_all()
    await county.sleep(seconds=30)
    assert fingerprint(county, JCP, MASH) == fingerprint(county, MASH, MASH)
    county.clock.jump(days=2)
    for name in (JCP, MASH):
        await county[name].brake.tick()
        await county[name].rotate.tend()
    assert all(not county[MASH].keystore.key(kid).seed for kid in old)  # type: ignore[union-attr]
    await county[MASH].rotate.rotate("operator")
    known = county[MASH].book.get(MASH)
    assert known is not None
    assert len(known.signatures) == 2, "nobody signs for the identity before any more"


async def test_an_identity_is_not_changed_again_while_partners_may_not_know_of_the_change(county: County) -> None:
    await county.add(MASH)
    await county[MASH].rotate.rotate_identity("operator")
    held = own(county[MASH])
    with pytest.raises(Rejected, match="less than 90 days ago") as refused:
        await county[MASH].rotate.rotate_identity("operator")
    assert refused.value.hint
    assert "after 20 February 2027" in refused.value.hint
    assert own(county[MASH]) == held


async def test_an_identity_is_not_changed_while_the_clock_is_in_doubt(county: County) -> None:
    await county.add(MASH)
    county.clock.jump(days=40, wall_only=True)
    await county[MASH].brake.tick()
    with pytest.raises(Rejected, match="clock is in doubt"):
        await county[MASH].rotate.rotate_identity("operator")


@pytest.mark.parametrize("place", range(1, 12, 2))
async def test_a_change_of_identity_that_is_stopped_anywhere_leaves_one_whole_identity(county: County, place: int) -> None:
    await county.add(JCP, MASH)
    reached = county.database(MASH).arm(place)
    work = county.loop.create_task(county.at(MASH, county[MASH].rotate.rotate_identity("operator")))
    await asyncio.wait({reached, work}, return_when=asyncio.FIRST_COMPLETED)
    await county.crash(MASH)
    await asyncio.gather(work, return_exceptions=True)
    await county.sleep(seconds=30)
    active = {key.kid for key in county[MASH].keystore.keys("identity", ("active",))}
    assert {key.kid for key in own(county[MASH]).identity_keys} == active
    assert len(active) == 2
    assert fingerprint(county, JCP, MASH) == fingerprint(county, MASH, MASH)
