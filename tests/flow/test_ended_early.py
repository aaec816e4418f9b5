"""What was deleted before its day does not come back with older data, nor what was refused (docs/retention.md).

The older data is real, its keys live until the day is over, and the keystore beside it is the one of now.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from county import EPOCH, County, Forge, alert

from bridge import wire
from bridge.clock import end_of, millis
from bridge.nodes.submit import Sent
from bridge.storage import early, inbox, sent
from bridge.storage.early import RECEIVED, SENT, Early, sooner

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
TODAY = EPOCH.date()
DAY = timedelta(days=1)
A, B = "A. First", "B. Second"


async def delivered(county: County, code: str = "UNADOPTED", days: int = 40) -> Sent:
    until = (TODAY + timedelta(days=days)).isoformat()
    done = await county.send(JCP, alert(retention={"class": code, "until": until}))
    await county.settle()
    return done


async def readable(county: County, name: str, alert_id: str) -> bool:
    verb: Any = county[name].follow if name == JCP else county[name].acknowledge
    return (await verb.show(alert_id)).alert is not None


async def item(county: County, alert_id: str) -> inbox.Item:
    return (await inbox.find(county[MASH].database, alert_id))[-1]


async def row(county: County, alert_id: str) -> sent.Alert:
    found = await sent.alert(county[JCP].database, alert_id)
    assert found is not None
    return found


async def again(county: County, name: str) -> dict[str, Any]:
    """What the node says of having come back."""
    said = county[name].restored
    assert said is not None
    return said


async def test_what_its_sender_withdrew_is_deleted_again_before_anybody_can_ask(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    done, other = await delivered(county), await delivered(county)
    copy = await county.copied(MASH, tmp_path / "copy")
    await county[JCP].withdraw.withdraw(done.id, "mistaken_identity", "token:test")
    await county.settle()
    assert not await readable(county, MASH, done.id)
    await county.put_back(MASH, copy)
    assert not await readable(county, MASH, done.id)
    assert (await again(county, MASH))["ended_early"] == 1
    found = await item(county, done.id)
    assert (found.content, found.wrapped_key, found.code) == (None, None, "withdrawn")
    assert found.withdrawn_at is not None
    assert await readable(county, MASH, other.id), "nothing else went"
    assert [each["event"] for each in county.logs].count("ended-early-again") == 1
    await county.settle()
    assert (await county.statuses(JCP, done.id))[MASH] == "purged/withdrawn"
    await county.restart(MASH)
    assert [each["event"] for each in county.logs].count("ended-early-again") == 1, "there is nothing left to obey"


async def test_what_its_sender_withdrew_does_not_come_again_by_replay_either(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    copy = await county.copied(MASH, tmp_path / "copy")  # from before it came
    done = await delivered(county)
    (post,) = county.wire.posts(to=MASH)
    await county[JCP].withdraw.withdraw(done.id, "mistaken_identity", "token:test")
    await county.settle()
    await county.put_back(MASH, copy)
    assert await county.verdict(MASH, *post.envelopes) == [("refused", "expired")]
    assert await county.inbox(MASH) == []


async def test_a_withdrawal_that_came_first_keeps_its_alert_out_of_older_data_too(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    copy = await county.copied(MASH, tmp_path / "copy")
    lost: list[Any] = []

    async def held_up(wire_: Any, exchange: Any, hand: Any) -> Any:
        lost.append(exchange)
        return await hand(b"")

    county.wire.next(held_up)
    done = await county.send(JCP, alert())
    await county.sleep(seconds=0.1)
    await county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test")
    await county.settle()
    await county.put_back(MASH, copy)
    assert {code for _, code in await county.verdict(MASH, *lost[0].envelopes)} == {"expired"}
    assert await county.inbox(MASH) == []


@pytest.mark.parametrize("days", [13, 15], ids=["before that end", "after that end"])
async def test_what_is_kept_for_less_time_is_so_in_older_data(county: County, tmp_path: Path, days: int) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county)
    copy = await county.copied(MASH, tmp_path / "copy")
    assert await county[MASH].retain.apply("UNADOPTED", 14, "A") == {"received": 1, "sent": 0}
    short = millis(end_of(TODAY + 14 * DAY))
    county.clock.jump(days=days)
    await county.sleep(seconds=61)
    await county.put_back(MASH, copy)
    assert await readable(county, MASH, done.id) == (days < 14)
    assert (await item(county, done.id)).retain_until == short
    assert (await again(county, MASH))["ended_early"] == 1
    assert (await again(county, MASH))["deleted"] == (days > 14)
    county.clock.jump(days=2)
    await county.sleep(seconds=61)
    assert not await readable(county, MASH, done.id)


async def test_what_was_taken_into_another_system_goes_as_soon_with_older_data(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, "ADOPTED", 90)
    ours, theirs = await county.copied(JCP, tmp_path / "ours"), await county.copied(MASH, tmp_path / "theirs")
    await county[MASH].acknowledge.close(done.id, "no_further_action", "role:duty")
    await county.settle()
    short = (await item(county, done.id)).retain_until
    assert short == millis(end_of(TODAY + 30 * DAY))
    assert (await row(county, done.id)).retain_until == short
    await county.put_back(MASH, theirs)
    await county.put_back(JCP, ours)
    assert (await item(county, done.id)).retain_until == short
    assert (await row(county, done.id)).retain_until == short


async def test_a_sender_put_back_withdraws_again_and_sends_nothing_that_it_took_back(
    county: County, tmp_path: Path
) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    never = await county.send(JCP, alert())
    await county.sleep(seconds=3)
    county.wire.join(MASH)
    came = await delivered(county)
    await county.settle()
    county.wire.cut(MASH)
    waiting = await county.send(JCP, alert())
    copy = await county.copied(JCP, tmp_path / "copy")
    for each in (came, waiting, never):
        await county[JCP].withdraw.withdraw(each.id, "wrong_area", "token:test")
    await county.sleep(seconds=2)
    await county.put_back(JCP, copy)
    county.wire.mend()
    await county.settle()
    for each in (came, waiting, never):
        state = await county[JCP].withdraw.state(each.id)
        assert state is not None
        assert (state["reason"], state["unanswered"]) == ("wrong_area", 0)
        assert (await row(county, each.id)).retain_until == millis(end_of(TODAY + 14 * DAY))
    found = await inbox.find(county[MASH].database, waiting.id)
    assert [each.content for each in found] in ([], [None]), "what was taken back while it waited reached nobody"
    assert not await readable(county, MASH, came.id)


async def test_a_refused_alert_stays_refused_by_older_data(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    copy = await county.copied(MASH, tmp_path / "copy")
    done = await delivered(county)
    forge = Forge(county, JCP, MASH)
    wrong = await forge.alert(done, reference="BR-0000-0000")
    assert await county.verdict(MASH, forge.envelope(wrong)) == [("refused", "malformed")]
    await county.sleep(seconds=2)
    await county.put_back(MASH, copy)
    right = forge.message(wire.encode_json(await county.carried(JCP, done.id)), message_id=wrong.id)
    assert await county.verdict(MASH, forge.envelope(right)) == [("refused", "malformed")]
    assert await county.inbox(MASH) == []


async def test_what_was_held_when_the_copy_was_made_ends_with_its_hold(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, days=5)
    ours = await delivered(county, days=5)
    for node, each in ((MASH, done), (JCP, ours)):
        for admin in (A, B):
            await county[node].retain.hold(each.id, "Coroner 12", TODAY + 90 * DAY, admin)
    await county.settle()
    copies = {name: await county.copied(name, tmp_path / name) for name in (MASH, JCP)}
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    for node, each in ((MASH, done), (JCP, ours)):
        assert await readable(county, node, each.id)
        for admin in (A, B):
            await county[node].retain.release(each.id, admin)
        await county.put_back(node, copies[node])
        assert not await readable(county, node, each.id)
        assert (await county[node].retain.preview())["holds"] == []
        assert (await county[node].retain.preview())["overdue"] == 0


async def test_a_hold_that_stands_is_kept_by_data_from_under_it(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, days=5)
    for admin in (A, B):
        await county[MASH].retain.hold(done.id, "Coroner 12", TODAY + 90 * DAY, admin)
    copy = await county.copied(MASH, tmp_path / "copy")
    await county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test")
    await county.settle()
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    await county.put_back(MASH, copy)
    assert await readable(county, MASH, done.id), "the authority's word stands above the sender's"


@pytest.mark.parametrize("place", range(1, 40, 3))
async def test_a_withdrawal_that_is_stopped_anywhere_is_known_to_the_keystore_afterwards(
    county: County, place: int, tmp_path: Path
) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county)
    copy = await county.copied(MASH, tmp_path / "copy")
    reached = county.database(MASH).arm(place)
    await county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test")
    await reached
    await county.crash(MASH)
    await county.settle()
    assert not await readable(county, MASH, done.id)
    await county.sleep(seconds=1)
    await county.put_back(MASH, copy)
    assert not await readable(county, MASH, done.id)


async def test_what_ended_early_is_forgotten_with_its_day_and_stands_nowhere_in_between(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, days=5)
    await county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test")
    await county.settle()
    await county.sleep(seconds=2)
    for name, side, key in ((MASH, RECEIVED, (await item(county, done.id)).message_id.hex()), (JCP, SENT, done.id)):
        kept = county[name].keystore.ended(side, key)
        assert kept is not None
        assert kept.day == (TODAY + 5 * DAY).isoformat()
        assert await early.waiting(county[name].database, 10) == [], "the keystore has it"
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    for name in (MASH, JCP):
        assert county[name].keystore.ended_early() == []
        await county.restart(name)
        assert county[name].keystore.ended_early() == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((5, None, "2026-11-30"), (3, "withdrawn", "2026-11-29"), (3, "withdrawn", "2026-11-30")),
        ((3, "withdrawn", "2026-11-29"), (5, None, "2026-11-30"), (3, "withdrawn", "2026-11-30")),
        ((3, "first", "2026-11-29"), (1, "second", "2026-11-29"), (1, "first", "2026-11-29")),
    ],
)
def test_two_words_of_one_thing_are_the_sooner_and_the_longer_remembered(
    one: tuple[int, str | None, str], other: tuple[int, str | None, str], both: tuple[int, str | None, str]
) -> None:
    assert sooner(Early(SENT, "x", *one), Early(SENT, "x", *other)) == Early(SENT, "x", *both)
