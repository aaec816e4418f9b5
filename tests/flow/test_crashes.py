"""Stopped anywhere and opened again, a node has lost nothing that it acknowledged and doubled nothing.

The node's database stands still at one numbered place after another: before and after each statement, each commit.
There everything of the node ends where it is. Then the same directory is opened again.
"""

import asyncio
import contextlib
from typing import Any

import pytest
from county import County, alert

from bridge.answers import Sent
from bridge.receipts import Status

JCP, MASH = "luton-jcp", "luton-mash"
PLACES = 400  # more than there are; a run ends when a whole delivery reaches none


async def sent_or_lost(county: County, key: str) -> Sent | None:
    """What the caller was told; None when its node ended first."""
    try:
        return await county.send(JCP, alert(), key)
    except (asyncio.CancelledError, KeyError):
        return None


async def stopped_at(county: County, name: str, place: int, key: str) -> tuple[bool, Sent | None]:
    """Send an alert while `name` stands still at a place, and crash it there. False when the place was not reached."""
    reached = county.database(name).arm(place)
    work = asyncio.get_running_loop().create_task(sent_or_lost(county, key))
    done: set[Any] = set()
    for _ in range(40):  # simulated: 4 s, in which all of it is done if nothing stops it
        done, _ = await asyncio.wait({reached}, timeout=0.1)
        if done:
            break
    county.database(name)._armed = None
    if not done:
        return False, await work
    await county.crash(name)
    return True, await work


@pytest.mark.parametrize("who", [JCP, MASH])
async def test_at_every_place_between_submit_and_the_stored_receipt(county: County, who: str) -> None:
    await county.add(JCP, MASH)
    await county.send(JCP, alert())
    await county.settle()
    acknowledged: dict[str, Sent] = {}
    for place in range(1, PLACES):
        key = f"key-{place}"
        reached, told = await stopped_at(county, who, place, key)
        # The caller that was told nothing asks again, under the same key.
        acknowledged[key] = told or await county.send(JCP, alert(), key)
        assert told is None or told.id == acknowledged[key].id
        await county.settle(limit=60)
        if not reached:
            break
    assert 8 < place < PLACES - 1
    inbox = await county.inbox(MASH)
    assert len(inbox) == len(set(inbox)) == len(acknowledged) + 1
    assert {each.id for each in acknowledged.values()} <= set(inbox)
    messages = await county.messages(JCP)
    assert {row.status for row in messages} == {Status.RECEIVED}
    assert len(messages) == len(inbox), "nothing was stored that nobody was told of, and then sent"
    held = await county.stored(JCP)
    assert held["statements"] == len(messages)
    assert county.events(JCP) == county.events(MASH) == {}


@pytest.mark.parametrize("who", [JCP, MASH])
async def test_at_every_place_of_a_later_step(county: County, who: str) -> None:
    await county.add(JCP, MASH)
    for place in range(1, PLACES):
        sent = await county.send(JCP, alert())
        await county.settle(limit=60)
        reached = county.database(who).arm(place)

        async def step(alert_id: str = sent.id) -> None:
            with contextlib.suppress(asyncio.CancelledError, KeyError):
                await county.at(MASH, county[MASH].acknowledge.take(alert_id, "role:duty"))

        work = asyncio.get_running_loop().create_task(step())
        done: set[Any] = set()
        for _ in range(20):
            done, _ = await asyncio.wait({reached}, timeout=0.1)
            if done:
                break
        county.database(who)._armed = None
        if done:
            await county.crash(who)
        await work
        await county[MASH].acknowledge.take(sent.id, "role:duty")  # the person sees it undone and does it, or done
        await county.settle(limit=60)
        assert await county.statuses(JCP, sent.id) == {MASH: "taken"}
        if not done:
            break
    assert 8 < place < PLACES - 1
    said = await county[MASH].database.fetch("select count(*), count(distinct message_id) from said where status = 'taken'")
    assert said[0][0] == said[0][1] == place
    assert county.events(JCP) == county.events(MASH) == {}


async def test_both_ends_crash_again_and_again_while_alerts_flow(county: County) -> None:
    await county.add(JCP, MASH)
    told: list[str] = []
    for turn in range(30):
        who = (JCP, MASH)[turn % 2]
        reached = county.database(who).arm(3 + turn * 7 % 31)
        works = [
            asyncio.get_running_loop().create_task(sent_or_lost(county, f"key-{turn}-{each}")) for each in range(3)
        ]
        await asyncio.wait({reached}, timeout=0.5)
        county.database(who)._armed = None
        if reached.done():
            await county.crash(who)
        told += [done.id for done in await asyncio.gather(*works) if done is not None]
    await county.settle(limit=60)
    inbox = await county.inbox(MASH)
    assert len(inbox) == len(set(inbox))
    assert set(told) <= set(inbox)
    assert len(told) > 30
    assert {row.status for row in await county.messages(JCP)} == {Status.RECEIVED}
    assert county.events(JCP) == county.events(MASH) == {}


@pytest.mark.parametrize("who", [JCP, MASH])
async def test_an_orderly_restart_in_the_middle_loses_and_doubles_nothing(county: County, who: str) -> None:
    await county.add(JCP, MASH)
    sent = []
    for turn in range(8):
        sent += [await county.send(JCP, alert()) for _ in range(3)]
        await county.sleep(seconds=0.003 * turn)
        await county.restart(who)
    await county.settle(limit=60)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)


async def test_work_that_is_cancelled_anywhere_leaves_the_node_whole(county: County) -> None:
    # A caller that hangs up: the request's task is cancelled, the node lives on.
    await county.add(JCP, MASH)
    told: list[str] = []
    for steps in range(1, 60):
        task = asyncio.get_running_loop().create_task(county[JCP].submit.send(alert(), "token:test", f"key-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            told.append((await task).id)
    await county.settle(limit=30)
    inbox = await county.inbox(MASH)
    assert set(told) <= set(inbox)
    assert len(inbox) == len(set(inbox)) == (await county.stored(JCP))["messages"]
    # Whoever was told nothing asks again, and gets the one that was stored if it was.
    for steps in range(1, 60):
        await county.send(JCP, alert(), f"key-{steps}")
    await county.settle(limit=30)
    assert len(await county.inbox(MASH)) == 59
    post = county.wire.posts()[-1]
    for steps in range(1, 40):
        task = asyncio.get_running_loop().create_task(county[MASH].receive.envelopes(post.body))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await task == post.said[0].body
    assert len(await county.inbox(MASH)) == 59
