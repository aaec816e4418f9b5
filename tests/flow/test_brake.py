"""A clock in doubt deletes nothing and lets nothing old in; two partners or an administrator settle it (PROTOCOL 9)."""

from datetime import timedelta
from typing import Any

import pytest
from county import EPOCH, County, alert, own

from bridge.answers import Sent
from bridge.errors import Rejected
from bridge.nodes.brake import ASK_EVERY
from bridge.storage import inbox

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
ADMIN = "A. First"


def kept(days: int) -> bytes:
    until = (EPOCH.date() + timedelta(days=days)).isoformat()
    return alert(retention={"class": "UNADOPTED", "until": until})


async def received(county: County, days: int = 10) -> Sent:
    done = await county.send(JCP, kept(days))
    await county.settle()
    return done


async def readable(county: County, alert_id: str, name: str = MASH) -> bool:
    return (await county[name].acknowledge.show(alert_id)).alert is not None


async def reason(county: County, name: str = MASH) -> str | None:
    brake = county[name].retain.brake
    return brake.reason if brake else None


def alarms(county: County) -> list[Any]:
    return [each for each in county.logs if each["event"] == "purge-braked"]


# ── While running ──


async def test_a_clock_thrown_40_days_forward_for_ten_minutes_deletes_nothing_and_raises_the_brake(county: County) -> None:
    await county.add(JCP, MASH)
    done = await received(county)
    before = await county.stored(MASH)
    keys = (county[MASH].keystore.days(), [key.kid for key in county[MASH].keystore.keys("sealing")])
    county.clock.jump(days=40, wall_only=True)
    await county.sleep(minutes=10)
    assert [await reason(county, name) for name in (JCP, MASH)] == ["step", "step"]
    assert county[MASH].metrics.value("bridge_purge_braked") == 1
    assert [each["log_level"] for each in alarms(county)] == ["error", "error"]
    assert await county[MASH].retain.run() == await county[MASH].retain.run()
    assert (await county[MASH].retain.run()).braked
    assert await readable(county, done.id)
    assert (await county[JCP].follow.show(done.id)).alert is not None
    county.clock.jump(days=-40, wall_only=True)
    await county.sleep(minutes=5)
    assert await reason(county) == "step", "somebody has to look, also when the time has come back"
    assert await readable(county, done.id)
    assert await county.stored(MASH) == before
    assert (county[MASH].keystore.days(), [key.kid for key in county[MASH].keystore.keys("sealing")]) == keys
    assert (await county[MASH].acknowledge.page(0, 10)).items[0].days_left == 10
    assert await county[MASH].brake.release(ADMIN)
    await county.sleep(minutes=5)
    assert await readable(county, done.id)
    county.clock.jump(days=11)
    await county.sleep(minutes=2)
    assert not await readable(county, done.id)


async def test_a_clock_thrown_back_400_days_revives_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    gone = await received(county)
    (post,) = county.wire.posts(to=MASH)
    county.clock.jump(days=20)
    await county.sleep(seconds=61)
    live = await county.send(JCP, kept(60))
    await county.settle()
    county.clock.jump(days=25)
    await county.sleep(seconds=61)
    assert await county[MASH].retain.forget() > 0
    assert not await readable(county, gone.id)
    county.clock.jump(days=-400, wall_only=True)
    await county.sleep(minutes=2)
    assert await reason(county) == "step"
    assert not await readable(county, gone.id)
    assert await readable(county, live.id)
    answer = await county.handed(MASH, "POST", "/node/v1/envelopes", post.body)
    assert answer.status == 503, "no verdict that is for ever while the clock is in doubt"
    await county.restart(MASH)
    assert await reason(county) == "step"
    assert not await readable(county, gone.id)
    answer = await county.handed(MASH, "POST", "/node/v1/envelopes", post.body)
    assert answer.status == 503
    assert await county.inbox(MASH) == [gone.id, live.id]


async def test_sending_and_receiving_go_on_while_deleting_is_braked(county: County) -> None:
    await county.add(JCP, MASH)
    await received(county)
    county.clock.jump(days=40, wall_only=True)
    await county.sleep(minutes=1)
    done = await county.send(JCP, alert())
    await county.settle()
    assert await county.statuses(JCP, done.id) == {MASH: "received"}
    await county[MASH].acknowledge.open(done.id, "role:duty")
    await county.settle()
    assert await county.statuses(JCP, done.id) == {MASH: "opened"}
    assert abs((await county[MASH].acknowledge.show(done.id)).entry.received - EPOCH) < timedelta(hours=1)


async def test_nothing_is_given_up_warned_of_or_forgotten_while_the_clock_is_in_doubt(county: County) -> None:
    await county.add(JCP, MASH)
    waiting = await county.send(JCP, kept(20))
    await county.settle()
    county.wire.cut(MASH)
    late = await county.send(JCP, kept(20))
    await county.sleep(seconds=5)
    await county.stop(JCP)
    await county.stop(MASH)
    county.clock.jump(days=40, wall_only=True)
    await county.start(JCP)
    await county.start(MASH)
    await county.sleep(minutes=10)
    assert [await reason(county, name) for name in (JCP, MASH)] == ["ahead", "ahead"]
    assert await county.statuses(JCP, late.id) == {MASH: "queued"}
    for name in (JCP, MASH):
        await county[name].rotate.tend()
        assert await county[name].retain.forget() == 0
        assert county[name].keystore.days(), "no day's key is destroyed"
        assert all(key.seed for key in county[name].keystore.keys("sealing"))
    assert await county[MASH].database.fetch("select count(*) from events where type = 'alert.expiring'") == [(0,)]
    with pytest.raises(Rejected, match="clock is in doubt"):
        await county[MASH].retain.apply("UNADOPTED", 1, "operator")
    county.clock.jump(days=-40, wall_only=True)
    for name in (JCP, MASH):
        await county.restart(name)
        await county[name].brake.release(ADMIN)
    county.wire.join(MASH)
    await county.settle(limit=120)
    assert await county.statuses(JCP, late.id) == {MASH: "received"}
    assert await readable(county, waiting.id)


# ── At start ──


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(1, None), (23, None), (25, "ahead"), (24 * 400, "ahead"), (-0.5, None), (-2, "behind"), (-24 * 400, "behind")],
)
async def test_at_start_the_wall_is_held_against_the_newest_time_known(
    county: County, hours: float, expected: str | None
) -> None:
    await county.add(JCP, MASH)
    done = await received(county, 300)
    await county.sleep(minutes=2)
    await county.stop(MASH)
    county.clock.jump(hours=hours, wall_only=True)
    await county.start(MASH)
    assert await reason(county) == expected
    assert county[MASH].metrics.value("bridge_purge_braked") == int(expected is not None)
    if expected == "behind":
        assert abs(county[MASH].clock.now() - EPOCH) < timedelta(minutes=10), "it goes on from the newest time known"
        before = county[MASH].clock.now()
        await county.sleep(minutes=5)
        assert county[MASH].clock.now() - before == timedelta(minutes=5)
    assert await readable(county, done.id)


async def test_a_brake_outlasts_a_restart(county: County) -> None:
    await county.add(MASH)
    county.clock.jump(hours=5, wall_only=True)
    await county.sleep(seconds=10)
    county.clock.jump(hours=-5, wall_only=True)
    await county.restart(MASH)
    assert await reason(county) == "step"
    assert await county[MASH].brake.release(ADMIN)
    await county.restart(MASH)
    assert await reason(county) is None


# ── Settled ──


async def test_after_a_long_stop_two_partners_whose_time_agrees_release_the_brake_within_seconds(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await received(county)
    await county.sleep(minutes=2)
    await county.stop(MASH)
    county.clock.jump(days=20)
    await county.start(MASH)
    await county.sleep(seconds=10)
    assert await reason(county) is None
    await county.sleep(seconds=61)
    assert not await readable(county, done.id)
    votes = await county.audited(MASH, "clock:vote")
    assert {each["actor"] for each in votes} <= {JCP, HOUSING}
    assert [each["actor"] for each in await county.audited(MASH, "clock:released")] == ["partners"]


async def test_a_machine_that_slept_is_released_by_two_partners_though_its_own_time_lies_behind(county: County) -> None:
    """Wall time moved on and monotonic time did not: the wall is right, what the node goes by is not."""
    await county.add(JCP, MASH, HOUSING)
    node = county[MASH]
    node.clock._mono += 3 * 3600  # as if its monotonic clock had stood for three hours
    await county.sleep(seconds=6)
    assert (await county.audited(MASH, "clock:braked"))[0]["outcome"] == "step"
    await county.sleep(seconds=ASK_EVERY + 10)
    assert await reason(county) is None
    assert abs(node.clock.now() - county.clock.now()) < timedelta(seconds=1)


@pytest.mark.parametrize("others", [[JCP], [JCP, HOUSING]], ids=["one partner", "two that disagree"])
async def test_too_few_partners_or_such_as_disagree_do_not_release_it(county: County, others: list[str]) -> None:
    await county.add(*others, MASH)
    done = await county.send(JCP, kept(10))
    await county.settle()
    await county.sleep(minutes=2)
    await county.stop(MASH)
    if len(others) == 1:
        county.clock.jump(days=20)
        await county.start(MASH)
    else:  # only this node's clock is wrong
        county.clock.jump(days=20, wall_only=True)
        await county.start(MASH)
        county.clock.jump(days=-20, wall_only=True)
        for name in others:
            county[name].clock.trust()
            await county[name].brake.release(ADMIN)
        node = county[MASH]

        class Wrong:
            now = staticmethod(lambda: county.clock.now() + timedelta(days=20))
            monotonic = staticmethod(county.clock.monotonic)

        node.clock._source = Wrong()
    await county.sleep(minutes=10)
    assert await reason(county) == "ahead"
    assert await readable(county, done.id)
    assert await county[MASH].brake.release(ADMIN)
    assert await reason(county) is None


async def test_a_partner_counts_once_however_often_it_greets(county: County) -> None:
    await county.add(JCP, MASH)
    county.clock.jump(hours=5, wall_only=True)
    await county.sleep(seconds=10)
    for name in (JCP, MASH):
        await county[name].brake.release(ADMIN)
    await county.stop(MASH)
    county.clock.jump(days=3)
    await county.start(MASH)
    for _ in range(3):
        await county[JCP].enrol.hello(MASH)
        await county.sleep(minutes=2)
    brake = county[MASH].retain.brake
    assert brake is not None
    assert brake.votes == (JCP,)
    assert len(await county.audited(MASH, "clock:vote")) == 1


async def test_a_release_is_named_and_needs_a_brake(county: County) -> None:
    await county.add(MASH)
    assert not await county[MASH].brake.release(ADMIN)
    with pytest.raises(Rejected, match="Say who you are"):
        county.clock.jump(hours=5, wall_only=True)
        await county[MASH].brake.tick()
        await county[MASH].brake.release("  ")
    assert await county[MASH].brake.release(ADMIN)
    (record,) = await county.audited(MASH, "clock:released")
    assert record["actor"].startswith("admin:")
    assert ADMIN not in repr(record)


async def test_an_envelope_whose_time_is_over_by_a_doubtful_clock_is_taken_when_it_is_believed_again(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    done = await county.send(JCP, alert())
    await county.sleep(seconds=5)
    await county.stop(MASH)
    county.clock.jump(days=60, wall_only=True)
    await county.start(MASH)
    county.clock.jump(days=-60, wall_only=True)
    county.wire.join(MASH)
    county[JCP].clock.trust()
    await county[JCP].brake.release(ADMIN)
    await county.sleep(minutes=2)
    assert await county.statuses(JCP, done.id) == {MASH: "queued"}
    await county[MASH].brake.release(ADMIN)
    await county.settle(limit=600)
    assert await county.statuses(JCP, done.id) == {MASH: "received"}
    assert len(await inbox.find(county[MASH].database, done.id)) == 1


@pytest.mark.parametrize("days", [40, -400])
async def test_keys_and_descriptor_that_a_wrong_clock_made_are_made_again_once_it_is_believed(
    county: County, days: int
) -> None:
    await county.add(JCP, MASH)
    await county.stop(MASH)
    county.clock.jump(days=days, wall_only=True)
    await county.start(MASH)
    await county[MASH].rotate.rotate("a hasty administrator")
    await county.sleep(seconds=10)
    county.clock.jump(days=-days, wall_only=True)
    await county[MASH].brake.tick()
    assert await county[MASH].brake.release("A")
    await county.sleep(seconds=10)
    now = county.clock.now()
    held = own(county[MASH])
    assert held.issued <= now < held.issued + timedelta(hours=1)
    known = county[JCP].book.get(MASH)
    assert known is not None
    assert known.descriptor.seq == held.seq, "partners have it"
    done = await county.send(JCP, alert())
    await county.settle()
    assert (await county.statuses(JCP, done.id))[MASH] == "received"
    assert county.events(JCP) == {}
    county.clock.jump(days=31)
    for name in (JCP, MASH):
        await county[name].brake.tick()
        await county[name].rotate.tend()
    assert any(key.valid(county.clock.now() + timedelta(days=8)) and key.not_before <= county.clock.now()
               for key in own(county[MASH]).sealing_keys), "there is always one in force"  # fmt: skip
