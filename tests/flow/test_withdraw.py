"""A sender takes an alert back, or corrects it: it reaches every holder, in whatever order things come (DOMAIN 3.12)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from county import EPOCH, HELLO, County, Exchange, Forge, Hand, Wire, alert, lose_answer, lose_request

from bridge import wire
from bridge.answers import Sent
from bridge.envelopes import MessageType
from bridge.errors import Rejected, Unavailable
from bridge.nodes.transport import Answer
from bridge.storage import inbox, sent
from bridge.withdrawals import Withdrawal

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
WHY = "mistaken_identity"
BOTH = [{"function": "MASH", "area": "home"}, {"function": "HOUSING", "area": "home"}]


async def withdraw(county: County, alert_id: str, reason: str = WHY) -> dict[str, Any]:
    return await county.at(JCP, county[JCP].withdraw.withdraw(alert_id, reason, "token:test"))


async def correct(county: County, alert_id: str, body: bytes | None = None) -> Sent:
    return await county.at(JCP, county[JCP].submit.correct(alert_id, body or alert(), "token:test"))


async def holders(county: County, alert_id: str) -> dict[str, dict[str, Any]]:
    state = await county[JCP].withdraw.state(alert_id)
    assert state is not None
    return {each["node"]: each for each in state["holders"]}


async def item(county: County, alert_id: str, name: str = MASH) -> inbox.Item:
    return (await inbox.find(county[name].database, alert_id))[-1]


async def gone_everywhere(county: County, alert_id: str, *names: str) -> None:
    """Marked and deleted here, and the sender has the signed word."""
    for name in names:
        found = await item(county, alert_id, name)
        assert found.withdrawn_at is not None
        assert (found.content, found.wrapped_key, found.state, found.code) == (None, None, "purged", "withdrawn")
        entry = (await county[name].acknowledge.page(0, 10)).items[-1]
        assert (entry.withdrawn, entry.withdrawn_because, entry.deleted_because) == (True, WHY, "withdrawn")
        assert (await county.statuses(JCP, alert_id))[name] == "purged/withdrawn"
    assert all(each["deleted"] for each in (await holders(county, alert_id)).values())


# ── The plain way ──


async def test_a_withdrawal_reaches_every_holder_and_each_says_signed_that_its_copy_is_deleted(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await county.send(JCP, alert(recipients=BOTH))
    await county.settle()
    await county[MASH].acknowledge.take(done.id, "role:duty")
    await county.settle()
    answer = await withdraw(county, done.id)
    assert {(each["node"], each["deleted"], each["reached"], each["telephone"]) for each in answer["holders"]} == {
        (MASH, False, False, "01632 960000"), (HOUSING, False, False, "01632 960000"),
    }  # fmt: skip
    assert (answer["reason"], answer["unanswered"]) == (WHY, 2)
    await county.settle()
    await gone_everywhere(county, done.id, MASH, HOUSING)
    assert {each["telephone"] for each in (await holders(county, done.id)).values()} == {None}
    shown = await county[JCP].follow.show(done.id)
    signed = {(each.status, each.signed) for each in shown.timeline}
    assert {("withdrawn", True), ("purged", True), ("queued", False)} <= signed
    assert county.events(JCP) == county.events(MASH) == county.events(HOUSING) == {}


async def test_a_withdrawn_alert_is_kept_by_its_sender_for_two_weeks_more(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    answer = await withdraw(county, done.id)
    assert answer["own_copy_until"].date() == EPOCH.date() + timedelta(days=15)
    await county.settle()
    county.clock.jump(days=14)
    await county.sleep(seconds=61)
    assert (await county[JCP].follow.show(done.id)).alert is not None
    county.clock.jump(days=1)
    await county.sleep(seconds=61)
    assert (await county[JCP].follow.show(done.id)).alert is None
    assert all(each["deleted"] for each in (await holders(county, done.id)).values())


@pytest.mark.parametrize("fault", [lose_request, lose_answer], ids=["requests are lost", "answers are lost"])
async def test_a_withdrawal_arrives_whatever_the_wire_does(county: County, fault: Any) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    county.wire.next(fault, times=3)
    await withdraw(county, done.id)
    await county.settle()
    await gone_everywhere(county, done.id, MASH)
    assert len(await county.inbox(MASH)) == 1


async def test_twice_is_the_same_as_once_also_at_the_same_moment(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    first, second = await asyncio.gather(withdraw(county, done.id), withdraw(county, done.id, "not_needed"))
    assert first["reason"] == second["reason"]
    await county.settle()
    third = await withdraw(county, done.id, "legal")
    assert third["reason"] == first["reason"]
    assert len(await sent.withdrawals_of(county[JCP].database, done.id)) == 1
    assert len(await county.audited(JCP, "alert:withdrawn")) == 1
    assert len(await county.audited(MASH, "inbox:deleted")) == 1


@pytest.mark.parametrize(("ref", "reason", "code"), [("nothing", WHY, "not-found"), (None, "because", "usage")])
async def test_what_cannot_be_withdrawn_is_refused(county: County, ref: str | None, reason: str, code: str) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    with pytest.raises(Rejected) as refused:
        await withdraw(county, ref or done.id, reason)
    assert refused.value.code == code


# ── Every order ──


async def test_what_never_left_is_told_to_nobody_and_leaves_no_more(county: County) -> None:
    await county.add(JCP, MASH, start=False)
    done = await county.send(JCP, alert())
    answer = await withdraw(county, done.id)
    assert answer["holders"] == []
    await county[JCP].start()
    await county[MASH].start()
    await county.sleep(minutes=2)
    assert await county.inbox(MASH) == []
    assert county.wire.posts(to=MASH) == []
    assert await county.statuses(JCP, done.id) == {MASH: f"withdrawn/{WHY}"}


async def test_a_holder_that_is_down_for_three_days_is_listed_with_its_number_and_then_answers(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    await county.stop(MASH)
    await withdraw(county, done.id)
    for _ in range(3):
        county.clock.jump(days=1)
        await county.sleep(seconds=5)
        (each,) = (await holders(county, done.id)).values()
        assert (each["reached"], each["deleted"], each["telephone"], each["desk"]) == (False, False, "01632 960000", "Duty desk")
    await county.start(MASH)
    await county.settle(limit=30)
    await gone_everywhere(county, done.id, MASH)


async def test_an_alert_on_its_way_that_is_withdrawn_is_sent_no_more(county: County) -> None:
    """Nobody answers while it is tried; when the partner is back, it hears of the withdrawal and never of the alert."""
    await county.add(JCP, MASH)
    county.wire.always(lose_request)
    done = await county.send(JCP, alert())
    other = await county.send(JCP, alert())
    await county.sleep(seconds=30)
    database = county[JCP].database
    carried = await database.fetch("select envelope_id from messages where alert_id = ?", (done.id,))
    sealed = "select sealed from envelopes where id = ?"
    assert (await database.fetch(sealed, carried[0]))[0][0] is not None
    await withdraw(county, done.id)
    assert (await database.fetch(sealed, carried[0]))[0][0] is None
    county.wire.mend()
    await county.settle()
    assert await county.inbox(MASH) == [other.id]
    (each,) = (await holders(county, done.id)).values()
    assert (each["reached"], each["deleted"], each["telephone"]) == (True, True, None)
    assert (await county.statuses(JCP, other.id)) == {MASH: "received"}
    assert county.events(JCP) == county.events(MASH) == {}


@pytest.mark.parametrize("known", [True, False], ids=["its receipt came", "its receipt is lost"])
async def test_a_withdrawal_that_overtakes_its_alert_keeps_it_out(county: County, known: bool) -> None:
    await county.add(JCP, MASH)
    late: list[bytes] = []

    async def held_up(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        late.append(exchange.body)
        raise Unavailable("timeout", "The partner did not answer in time.")

    county.wire.next(held_up, times=1 if known else 100)
    done = await county.send(JCP, alert())
    await county.sleep(seconds=1)
    if not known:
        county.wire.mend()
        await withdraw(county, done.id)
        await county.settle()
        assert await county.inbox(MASH) == []
        answer = await county.handed(MASH, "POST", "/node/v1/envelopes", late[0])
        assert [(each.status, each.code) for doc in county.read(MASH, answer) for each in doc.statements] == [
            ("refused", "policy")
        ]
        assert await county.inbox(MASH) == []
        again = await county.handed(MASH, "POST", "/node/v1/envelopes", late[0])
        assert again == answer
    else:
        await county.settle()
        await withdraw(county, done.id)
        await county.settle()
        await county.handed(MASH, "POST", "/node/v1/envelopes", late[0])
        await gone_everywhere(county, done.id, MASH)
    (each,) = (await holders(county, done.id)).values()
    assert each["deleted"]


async def test_a_withdrawal_while_the_answer_is_on_its_way_back_deletes_what_arrived(county: County) -> None:
    await county.add(JCP, MASH)
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        answer = await hand(exchange.body)
        reached.set()
        await go.wait()
        return answer

    county.wire.next(slow)
    done = await county.send(JCP, alert())
    await reached.wait()
    await withdraw(county, done.id)
    go.set()
    await county.settle()
    await gone_everywhere(county, done.id, MASH)
    assert county.events(JCP) == {}


@pytest.mark.parametrize("place", range(1, 30, 3))
async def test_a_withdrawal_while_the_alert_is_being_sealed_never_leaves_it_with_a_holder(county: County, place: int) -> None:
    """At every place of the sender's work a withdrawal comes between."""
    await county.add(JCP, MASH)
    sending = county.loop.create_task(county.send(JCP, alert()))
    done = await sending
    for _ in range(place):
        await asyncio.sleep(0)
    await withdraw(county, done.id)
    await county.settle()
    assert all(each["deleted"] for each in (await holders(county, done.id)).values())
    for found in await inbox.find(county[MASH].database, done.id):
        assert found.content is None
    assert county.events(JCP) == county.events(MASH) == {}


@pytest.mark.parametrize("place", range(1, 40, 6))
async def test_a_crash_at_any_place_of_a_withdrawal_leaves_it_done_or_not_begun(county: County, place: int) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    reached = county.database(JCP).arm(place)
    task = county.loop.create_task(withdraw(county, done.id))
    await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
    await county.crash(JCP)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await county.settle()
    if await county[JCP].withdraw.state(done.id) is None:
        assert (await item(county, done.id)).content is not None
        await withdraw(county, done.id)
        await county.settle()
    await gone_everywhere(county, done.id, MASH)


async def test_what_lay_beside_a_withdrawn_alert_is_withdrawn_from_its_holder_too(county: County) -> None:
    """Two in one envelope, whose answer is lost: with the first withdrawn, the second waits to be sealed anew and looks
    as if it had never left, though its recipient has it."""
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    await county.send(JCP, alert())
    await county.sleep(seconds=2)
    one, two = [await county.send(JCP, alert()) for _ in range(2)]
    county.wire.join(MASH)
    county.wire.always(lose_answer)
    await county.sleep(seconds=30)
    assert {one.id, two.id} <= set(await county.inbox(MASH))
    await county[JCP].deliver.stop()  # so that nothing is sealed between the two
    for each in (one, two):
        await withdraw(county, each.id)
    county.wire.mend()
    await county.restart(JCP)
    await county.settle()
    for each in (one, two):
        assert (await item(county, each.id)).content is None
        assert all(holder["deleted"] for holder in (await holders(county, each.id)).values())


# ── Holds, reroutes, other senders ──


async def test_what_is_held_is_marked_at_once_and_deleted_when_the_hold_ends(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    for admin in ("A", "B"):
        await county[MASH].retain.hold(done.id, "Coroner 12", EPOCH.date() + timedelta(days=90), admin)
    await county.settle()
    assert await county.statuses(JCP, done.id) == {MASH: "held"}
    await withdraw(county, done.id)
    await county.settle()
    found = (await county[MASH].acknowledge.show(done.id)).entry
    assert (found.withdrawn, found.withdrawn_because, found.held) == (True, WHY, True)
    (each,) = (await holders(county, done.id)).values()
    assert (each["reached"], each["deleted"], each["kept_on_hold"], each["telephone"]) == (True, False, True, "01632 960000")
    for admin in ("A", "B"):
        await county[MASH].retain.release(done.id, admin)
    await county.settle()
    await gone_everywhere(county, done.id, MASH)


async def test_a_withdrawn_alert_is_not_sent_on(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    await county[MASH].acknowledge.not_ours(done.id, "E09000008", "role:duty")
    await county.settle()
    await withdraw(county, done.id)
    with pytest.raises(Rejected, match="was withdrawn"):
        await county[JCP].submit.reroute(done.id, "token:test", "E09000008")
    with pytest.raises(Rejected, match="was withdrawn"):
        await correct(county, done.id)


async def test_a_node_cannot_take_back_what_another_sent(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await county.send(JCP, alert())
    await county.settle()
    (message,) = await county.messages(JCP)
    forge = Forge(county, HOUSING, MASH)
    payload = wire.encode_json(Withdrawal(1, done.id, message.id.hex(), WHY))
    assert await county.verdict(MASH, forge.envelope(forge.message(payload, MessageType.WITHDRAW))) == [
        ("refused", "policy")
    ]
    found = await item(county, done.id)
    assert (found.withdrawn_at, found.content is None) == (None, False)


async def test_an_alert_and_its_withdrawal_in_one_envelope_lose_neither_the_envelope_nor_the_rule(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    forge = Forge(county, JCP, MASH)
    for first in (True, False):
        message = forge.message(wire.encode_json(await county.carried(JCP, done.id)))
        back = forge.message(wire.encode_json(Withdrawal(1, done.id, message.id.hex(), WHY)), MessageType.WITHDRAW)
        both = (message, back) if first else (back, message)
        said = await county.verdict(MASH, forge.envelope(*both))
        assert said == [("received", None), ("refused", "policy")], "the first counts, whichever it is"


# ── Corrections ──


async def test_a_correction_reaches_every_holder_and_marks_what_it_replaces(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await county.send(JCP, alert(recipients=BOTH))
    await county.settle()
    newer = await correct(county, done.id, alert(priority="MEDIUM"))
    await county.settle()
    for name in (MASH, HOUSING):
        old, new = (await county[name].acknowledge.page(0, 10)).items
        assert (old.id, old.superseded_by, old.corrects) == (done.id, newer.id, None)
        assert (new.id, new.superseded_by, new.corrects, new.priority) == (newer.id, None, done.id, "MEDIUM")
        assert (await county.statuses(JCP, newer.id))[name] == "received"
    assert (await county[JCP].follow.show(done.id)).corrected_by == (newer.reference,)
    answer = await withdraw(county, done.id)
    assert answer["corrected_by"] == [newer.reference]


async def test_a_holder_that_has_not_signed_for_a_correction_is_listed_with_its_number(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await county.send(JCP, alert(recipients=BOTH))
    await county.settle()
    county.wire.cut(HOUSING)
    newer = await correct(county, done.id)
    await county.sleep(seconds=30)
    legs = {leg.node: leg for leg in (await county[JCP].follow.show(newer.id)).route}
    assert (legs[MASH].status, legs[HOUSING].status) == ("received", "queued")
    assert legs[HOUSING].telephone == "01632 960000"
    assert (await item(county, done.id)).superseded_by == newer.id, "who has it, has marked the old one"
    assert (await item(county, done.id, HOUSING)).superseded_by is None
    county.wire.mend()
    await county.settle()
    assert (await item(county, done.id, HOUSING)).superseded_by == newer.id
    assert (await county.statuses(JCP, newer.id))[HOUSING] == "received"


async def test_a_correction_that_overtakes_its_alert_marks_it_when_it_comes(county: County) -> None:
    await county.add(JCP, MASH)
    late: list[bytes] = []

    async def held_up(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        late.append(exchange.body)
        raise Unavailable("timeout", "The partner did not answer in time.")

    county.wire.next(held_up)
    done = await county.send(JCP, alert())
    await county.sleep(seconds=0.01)
    newer = await correct(county, done.id)
    await county.settle()
    await county.handed(MASH, "POST", "/node/v1/envelopes", late[0])
    found = {each.id: each for each in (await county[MASH].acknowledge.page(0, 10)).items}
    assert (found[done.id].superseded_by, found[newer.id].corrects) == (newer.id, done.id)


async def test_a_correction_of_what_is_deleted_or_another_senders_is_refused(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await county.send(JCP, alert())
    await county.settle()
    newer = await correct(county, done.id)
    await county.settle()
    carried = await county.carried(JCP, newer.id)
    other = await county.send(HOUSING, alert())
    await county.settle()
    foreign = Forge(county, HOUSING, MASH)
    theirs = await foreign.alert(other, id=carried.id, reference=carried.reference, in_reply_to=done.id)
    message = foreign.message(theirs.payload, MessageType.UPDATE)
    assert await county.verdict(MASH, foreign.envelope(message)) == [("refused", "id-conflict")]
    await withdraw(county, done.id)
    await county.settle()
    forge = Forge(county, JCP, MASH)
    third = await county.send(JCP, alert())
    again = await forge.alert(third, in_reply_to=done.id)
    county.wire.cut(JCP)
    fresh = wire.decode_json(again.payload, type(carried), limit=10**6, what="alert")
    assert fresh.in_reply_to == done.id
    before = await county.inbox(MASH)
    await county.verdict(MASH, forge.envelope(forge.message(again.payload, MessageType.UPDATE)))
    assert await county.inbox(MASH) == before


async def test_nobody_is_left_to_correct(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    await county[MASH].acknowledge.not_ours(done.id, None, "role:duty")
    await county.settle()
    with pytest.raises(Rejected, match="Nobody has this alert any longer"):
        await correct(county, done.id)


async def test_a_partner_that_only_greets_is_told_all_the_same(county: County) -> None:
    """Its answers to envelopes fail for an hour; the withdrawal waits and goes through."""
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    county.wire.always(lose_request)
    await withdraw(county, done.id)
    await county.sleep(minutes=60)
    assert county.wire.posts(to=MASH, path=HELLO)
    county.wire.mend()
    await county.settle()
    await gone_everywhere(county, done.id, MASH)
