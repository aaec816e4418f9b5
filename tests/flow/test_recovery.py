"""Outages, poison, lateness and giving up (PROTOCOL section 7)."""

from datetime import timedelta

import pytest
from county import (
    ENVELOPES,
    HELLO,
    County,
    Exchange,
    FastClock,
    Fault,
    Hand,
    Wire,
    alert,
    lose_answer,
    lose_request,
    proxy,
)

from bridge import wire
from bridge.config import Delivery
from bridge.nodes.transport import Answer
from bridge.receipts import Status

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
URGENT = {"priority": "HIGH"}


async def arrives_within(county: County, seconds: float, count: int) -> None:
    """The recipient holds `count` alerts before so much time has passed."""
    last = county.loop.time() + seconds
    while len(await county.inbox(MASH)) < count:
        assert county.loop.time() < last, f"not there after {seconds} s"
        await county.sleep(seconds=0.1)


# ── Outages of any length ──


@pytest.mark.parametrize("urgent", [False, True], ids=["routine", "urgent"])
@pytest.mark.parametrize("days", [0.01, 1, 20])
async def test_after_an_outage_the_first_alert_arrives_within_5_s_of_the_partners_start(
    county: County, days: float, urgent: bool
) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    sent = [await county.send(JCP, alert(**URGENT if urgent else {})) for _ in range(3)]
    await county.sleep(seconds=30)
    county.clock.jump(days=days)
    await county.sleep(seconds=30)
    await county.start(MASH)
    await arrives_within(county, 5, 1)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)


@pytest.mark.parametrize("days", [0.01, 1, 20])
async def test_after_an_outage_of_the_line_alone_the_first_alert_arrives_within_5_s(county: County, days: float) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(3)]
    await county.sleep(seconds=30)
    county.clock.jump(days=days)
    await county.sleep(seconds=30)
    county.wire.join(MASH)
    await arrives_within(county, 5, 1)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)


async def test_after_days_behind_a_proxy_that_answers_for_it_the_first_alert_arrives_within_5_s(county: County) -> None:
    await county.add(JCP, MASH)
    for path in (ENVELOPES, HELLO):
        county.wire.always(proxy(502), path=path, to=MASH)
    await county.send(JCP, alert())
    for _ in range(4):
        await county.sleep(seconds=30)
        county.clock.jump(days=5)
    county.wire.mend()
    await arrives_within(county, 5, 1)


async def test_after_the_sender_was_off_for_20_days_its_queue_leaves_when_it_starts(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(3)]
    await county.sleep(seconds=30)
    await county.stop(JCP)
    county.wire.join(MASH)
    county.clock.jump(days=20)
    await county.start(JCP)
    await arrives_within(county, 5, 1)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)


async def test_while_a_partner_is_away_it_is_asked_every_few_seconds_with_no_alert_in_it(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    await county.send(JCP, alert())
    await county.sleep(seconds=30)
    county.clock.jump(hours=3)
    since = len(county.wire.log)
    await county.sleep(minutes=1)
    asked = county.wire.log[since:]
    assert 12 <= len([each for each in asked if each.path == HELLO]) <= 22
    assert len([each for each in asked if each.path == ENVELOPES]) <= 2


async def test_a_partner_with_nothing_waiting_is_left_alone(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    since = len(county.wire.log)
    await county.sleep(minutes=1)
    assert county.wire.log[since:] == []


async def test_the_wait_outlives_a_restart_of_the_sender(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=20)
    before = (await county[JCP].partner_state(MASH))["failing_since"]
    await county.restart(JCP)
    await county.sleep(seconds=1)
    state = await county[JCP].partner_state(MASH)
    assert (state["failing_since"], state["waiting"], state["reason"]) == (before, 1, "unreachable")
    await county.start(MASH)
    await county.settle(limit=5)
    state = await county[JCP].partner_state(MASH)
    assert (state["failures"], state["waiting"], state["reason"]) == (0, 0, None)
    await county.restart(JCP)
    assert (await county[JCP].partner_state(MASH))["failing_since"] is None
    assert await county.inbox(MASH) == [sent.id]


async def test_a_clock_set_back_a_little_holds_up_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    await county.send(JCP, alert())
    await county.sleep(seconds=30)
    county.clock.jump(minutes=-8, wall_only=True)
    await county.send(JCP, alert())
    county.wire.join(MASH)
    await arrives_within(county, 5, 2)


async def test_a_clock_that_was_years_ahead_for_a_moment_holds_up_nothing_after_it(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    await county.send(JCP, alert())
    await county.sleep(seconds=30)
    county.clock.jump(days=400, wall_only=True)
    await county.sleep(seconds=20)
    county.clock.jump(days=-400, wall_only=True)
    county.wire.join(MASH)
    late = await county.send(JCP, alert())
    await arrives_within(county, 5, 1)
    assert late.id in await county.inbox(MASH)


# ── Poison ──


def failing_on(envelope_ids: set[str], status: int = 500) -> Fault:
    """The partner cannot handle a carrier that holds one of these envelopes; the first seen is taken when none is given."""

    async def fault(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        ids = {wire.decode_header(each.header).id for each in exchange.envelopes}
        if not envelope_ids:
            envelope_ids.add(min(ids))
        return Answer(status, b"") if ids & envelope_ids else await hand(exchange.body)

    return fault


def breaking_on(envelope_ids: set[str]) -> Fault:
    """As :func:`failing_on`; but the line breaks, as when the partner's process dies of it."""
    inner = failing_on(envelope_ids)

    async def fault(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        answer = await inner(wire_, exchange, hand)
        return answer if answer.status == 200 else await lose_request(wire_, exchange, hand)

    return fault


@pytest.mark.parametrize("fault", [failing_on, breaking_on], ids=["answers 500", "breaks the line"])
@pytest.mark.parametrize("waiting", [True, False], ids=["behind it", "later"])
async def test_an_envelope_on_which_the_partner_always_fails_stops_no_other(
    county: County, fault: object, waiting: bool
) -> None:
    await county.add(JCP, MASH)
    poison: set[str] = set()
    county.wire.always(fault(poison))  # type: ignore[operator]
    sent = [await county.send(JCP, alert())]
    await county.sleep(seconds=0.006)  # until it is the one that is seen first
    if not waiting:
        await county.sleep(seconds=30)
    sent += [await county.send(JCP, alert()) for _ in range(20)]
    await county.sleep(seconds=2)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent[1:])
    assert await county.statuses(JCP, sent[0].id) == {MASH: "queued"}
    since = len(county.wire.log)
    await county.sleep(minutes=2)
    assert 1 <= len([each for each in county.wire.log[since:] if each.path == ENVELOPES]) <= 6, "ever more rarely"
    county.wire.mend()
    await county.restart(MASH)  # whose greeting gives it another try at once
    await county.settle(limit=5)
    assert len(await county.inbox(MASH)) == 21


async def test_a_dozen_poisoned_envelopes_stop_no_other(county: County) -> None:
    await county.add(JCP, MASH)
    bad: set[str] = set()

    async def fault(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        ids = {wire.decode_header(each.header).id for each in exchange.envelopes}
        if len(bad) < 12:
            bad.update(ids)
        return Answer(500, b"") if ids & bad else await hand(exchange.body)

    county.wire.always(fault)
    first = []
    while len(bad) < 12:
        first.append(await county.send(JCP, alert()))
        await county.sleep(seconds=0.1)
    await county.restart(JCP)
    after = [await county.send(JCP, alert()) for _ in range(3)]
    await county.sleep(seconds=20)
    assert set(await county.inbox(MASH)) >= {each.id for each in after}


async def test_an_alert_that_a_partner_may_not_know_yet_arrives_when_it_does(county: County) -> None:
    # We have approved the partner, and it has not approved us: its answers are bare until it has.
    await county.add(JCP)
    await county.add(MASH, start=False)
    node = county[MASH]
    partner = node.book.get(JCP)
    assert partner is not None
    async with node.database.transaction() as tx:
        await tx.execute("delete from partners where node_id = ?", (JCP,))
    await county.restart(MASH)
    sent = await county.send(JCP, alert())
    for _ in range(4):  # far apart by now
        county.clock.jump(hours=1)
        await county.sleep(seconds=10)
    assert await county.inbox(MASH) == []
    await county.trust(MASH, JCP)
    await arrives_within(county, 5, 1)
    assert await county.inbox(MASH) == [sent.id]


async def test_a_fault_of_our_own_does_not_end_a_lane(county: County) -> None:
    await county.add(JCP, MASH)

    async def fault(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        raise ZeroDivisionError

    county.wire.next(fault)
    sent = await county.send(JCP, alert())
    await county.settle(limit=60)
    assert await county.inbox(MASH) == [sent.id]
    assert [each["event"] for each in county.logs if "exc_info" in each] == ["delivery-not-recorded"]
    county.logs.clear()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_partner_that_asks_for_patience_is_tried_again_soon_and_not_all_the_time(county: County, status: int) -> None:
    await county.add(JCP, MASH)
    county.wire.always(proxy(status))
    sent = [await county.send(JCP, alert()) for _ in range(3)]
    await county.sleep(minutes=1)
    assert 8 <= len(county.wire.posts()) <= 20
    county.wire.mend()
    await arrives_within(county, 6, 3)
    await county.settle(limit=5)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)


# ── Lateness, and giving up ──


async def test_the_sender_is_told_once_when_nobody_has_an_alert_in_time(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    slow = await county.send(JCP, alert())
    fast = await county.send(JCP, alert(**URGENT))
    assert {row.alert_id: row.urgent for row in await county.messages(JCP)} == {slow.id: 0, fast.id: 1}
    county.clock.jump(minutes=14)
    await county.sleep(seconds=5)
    assert await county.audited(JCP, "message:late") == []
    county.clock.jump(minutes=1)
    await county.sleep(seconds=5)
    late = await county.audited(JCP, "message:late")
    assert [(each["actor"], each["subject"]) for each in late] == [(MASH, fast.route[0].message)]
    county.clock.jump(hours=3, minutes=44)
    await county.sleep(seconds=5)
    assert len(await county.audited(JCP, "message:late")) == 1
    county.clock.jump(minutes=1)
    await county.sleep(seconds=5)
    late = await county.audited(JCP, "message:late")
    assert [each["subject"] for each in late] == [fast.route[0].message, slow.route[0].message]
    assert len([each for each in county.logs if each["event"] == "not-delivered-yet"]) == 2
    await county.restart(JCP)
    await county.sleep(seconds=5)
    assert len(await county.audited(JCP, "message:late")) == 2
    assert (await county[JCP].follow.show(slow.id)).route[0].telephone == "01632 960000", "with a number to ring"


async def test_what_nobody_signs_for_in_time_is_undelivered_by_our_own_signed_word(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=10)
    county.clock.jump(days=29, hours=23)
    await county.sleep(seconds=10)
    assert await county.statuses(JCP, sent.id) == {MASH: "queued"}
    county.clock.jump(hours=1)
    await county.sleep(seconds=10)
    assert await county.statuses(JCP, sent.id) == {MASH: "undelivered/expired"}
    (receipt,) = await county[JCP].follow.receipts(sent.id)
    assert receipt.issuer == JCP
    assert [each.status for each in receipt.statements] == [Status.UNDELIVERED]
    await county.start(MASH)
    await county.sleep(seconds=20)
    assert await county.inbox(MASH) == [], "what was given up is not sent any more"
    assert await county.statuses(JCP, sent.id) == {MASH: "undelivered/expired"}


async def test_a_late_receipt_wins_over_undelivered(county: County) -> None:
    # The partner has the alert; its answer was lost, and then the line was down for a month.
    await county.add(JCP, MASH)
    county.wire.next(lose_answer)
    county.wire.always(proxy(502), path=HELLO)
    sent = await county.send(JCP, alert())
    await county.sleep(seconds=1)
    assert await county.inbox(MASH) == [sent.id]
    county.wire.cut(MASH)
    county.clock.jump(days=30, hours=1)
    await county.sleep(seconds=10)
    assert await county.statuses(JCP, sent.id) == {MASH: "undelivered/expired"}
    county.wire.mend()
    await county[MASH].acknowledge.open(sent.id, "role:duty")
    await county.settle(limit=30)
    assert await county.statuses(JCP, sent.id) == {MASH: "opened"}
    followed = await county[JCP].follow.show(sent.id)
    assert [each.status for each in followed.timeline] == ["opened", "undelivered", "queued"]


async def test_what_must_be_read_soon_does_not_take_its_neighbours_with_it(county: County) -> None:
    # Sealed together, one alert may be kept for a day and the other for months.
    await county.add(JCP, MASH)
    await county.stop(MASH)
    tomorrow = (county.clock.now() + timedelta(days=1)).date().isoformat()
    await county.send(JCP, alert())
    await county.quiet()  # the lane waits now, and what follows is sealed together
    soon = await county.send(JCP, alert(retention={"class": "UNADOPTED", "until": tomorrow}))
    later = await county.send(JCP, alert())
    await county.sleep(seconds=20)
    county.clock.jump(days=3)
    await county.sleep(seconds=10)
    assert await county.statuses(JCP, soon.id) == {MASH: "undelivered/expired"}
    assert await county.statuses(JCP, later.id) == {MASH: "queued"}
    await county.start(MASH)
    await county.settle(limit=30)
    assert await county.statuses(JCP, later.id) == {MASH: "received"}
    assert later.id in await county.inbox(MASH)
    assert soon.id not in await county.inbox(MASH)


async def test_only_what_ends_on_the_same_day_is_sealed_together(county: County) -> None:
    await county.add(JCP, MASH)
    tomorrow = (county.clock.now() + timedelta(days=1)).date().isoformat()
    county.wire.cut(MASH)
    first = await county.send(JCP, alert())
    await county.sleep(seconds=10)
    soon = await county.send(JCP, alert(retention={"class": "UNADOPTED", "until": tomorrow}))
    later = await county.send(JCP, alert())
    beside = await county.send(JCP, alert())

    async def first_alone(wire_: Wire, exchange: Exchange, hand: Hand) -> Answer:
        if exchange.body != county.wire.posts()[0].body:
            wire_.cut(MASH)
        return await hand(exchange.body)

    county.wire.join(MASH)
    county.wire.always(first_alone)
    await county.sleep(seconds=10)
    rows = {row.alert_id: row for row in await county.messages(JCP)}
    assert rows[later.id].envelope_id == rows[beside.id].envelope_id
    assert len({rows[each.id].envelope_id for each in (first, soon, later)}) == 3
    county.clock.jump(days=3)
    await county.sleep(seconds=10)
    assert await county.statuses(JCP, soon.id) == {MASH: "undelivered/expired"}
    county.wire.mend()
    await county.settle(limit=10)
    assert await county.statuses(JCP, later.id) == {MASH: "received"}
    assert await county.inbox(MASH) == [first.id, later.id, beside.id]


async def test_urgent_alerts_overtake_what_waits(county: County) -> None:
    await county.add(JCP, MASH, delivery=Delivery(allow_loopback=True))
    await county.stop(MASH)
    slow = [await county.send(JCP, alert()) for _ in range(70)]
    fast = await county.send(JCP, alert(**URGENT))
    await county.sleep(seconds=10)
    await county.start(MASH)
    await county.settle(limit=30)
    order = await county.inbox(MASH)
    assert len(order) == 71
    assert order.index(fast.id) < order.index(slow[-1].id)


async def test_many_that_wait_leave_sealed_together(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(150)]
    await county.start(MASH)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    assert (await county.stored(JCP))["envelopes"] < 20


async def test_what_was_sealed_with_a_withdrawn_alert_goes_on_and_is_known_by_either_envelope(county: County) -> None:
    # Both arrived and the answer was lost; one is withdrawn, so the other is sealed anew. Receipts name the first seal.
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    await county.send(JCP, alert())
    await county.sleep(seconds=10)
    one, other = await county.send(JCP, alert()), await county.send(JCP, alert())
    county.wire.join(MASH)
    county.wire.always(lose_answer)
    county.wire.always(proxy(502), path=HELLO, to=MASH)
    await county[JCP].enrol.hello(MASH)
    county[JCP].deliver.greeted(MASH)
    while {one.id, other.id} - set(await county.inbox(MASH)):
        await county.sleep(seconds=5)
        county[JCP].deliver.greeted(MASH)
    rows = {row.alert_id: row.envelope_id for row in await county.messages(JCP)}
    assert rows[one.id] == rows[other.id] is not None
    await county[JCP].withdraw.withdraw(one.id, "mistaken_identity", "token:test")
    county.wire.mend()
    await county[MASH].acknowledge.open(other.id, "role:duty")
    await county.settle(limit=60)
    assert await county.statuses(JCP, other.id) == {MASH: "opened"}
    assert (await county.inbox(MASH)).count(other.id) == 1
    assert county.events(JCP) == county.events(MASH) == {}


# ── A clock that is wrong ──


async def test_a_sender_whose_clock_is_ahead_is_told_so_until_it_is_right(county: County) -> None:
    await county.add(JCP, MASH)
    await county.stop(JCP)
    county.clocks[JCP] = clock = FastClock(county.clock, minutes=15)
    await county.start(JCP)
    sent = await county.send(JCP, alert())
    await county.settle()
    assert (await county[JCP].follow.show(sent.id)).route[0].code == "expired"
    told = [each for each in (await county[JCP].check())["steps"] if each.step == "clock" and not each.ok]
    assert [each.detail.split(":")[0] for each in told] == [
        "at least 14 minutes ahead of what Luton Safeguarding Hub signs"
    ]
    assert (await county[JCP].status())["clock_ahead"].keys() == {MASH}
    assert (await county[MASH].status())["clock_ahead"] == {}
    clock.by = timedelta()
    await county.send(JCP, alert())
    await county.settle()
    assert (await county[JCP].status())["clock_ahead"] == {}
