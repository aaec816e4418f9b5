"""What is kept, until when, and how it goes at both ends (PROTOCOL sections 8 and 9)."""

import asyncio
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from county import EPOCH, County, Forge, alert, lose_answer

from bridge import agreements, wire
from bridge.answers import Sent
from bridge.clock import end_of, millis
from bridge.config import Retention
from bridge.errors import Rejected
from bridge.nodes.app import Node
from bridge.nodes.brake import BRAKE, MARK
from bridge.receipts import Status
from bridge.storage import counters, inbox, retention, sent
from bridge.storage.contents import HELD_UNTIL, HOLD

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
TODAY = EPOCH.date()
A, B = "A. First", "B. Second"
AUTHORITY = "IOPC 2026/4471"
REVIEW = TODAY + timedelta(days=300)


def kept(days: int, code: str = "UNADOPTED", **more: Any) -> bytes:
    """An alert that may be kept for so many days after today."""
    return alert(retention={"class": code, "until": (TODAY + timedelta(days=days)).isoformat()}, **more)


async def days(county: County, number: float) -> None:
    """Days pass at once, and what runs every minute has run."""
    county.clock.jump(days=number)
    await county.sleep(seconds=61)


async def delivered(county: County, body: bytes) -> Sent:
    done = await county.send(JCP, body)
    await county.settle()
    return done


async def item(county: County, alert_id: str, name: str = MASH) -> inbox.Item:
    return (await inbox.find(county[name].database, alert_id))[-1]


async def row(county: County, alert_id: str) -> sent.Alert:
    found = await sent.alert(county[JCP].database, alert_id)
    assert found is not None
    return found


async def timeline(county: County, alert_id: str) -> list[str]:
    """The statuses that the sender has heard, oldest first."""
    return [each.status for each in reversed((await county[JCP].follow.show(alert_id)).timeline)]


async def told(node: Node, kind: str) -> list[dict[str, Any]]:
    rows = await node.database.fetch("select data from events where type = ? order by seq", (kind,))
    return [msgspec.json.decode(each[0]) for each in rows]


def logged(county: County, event: str) -> list[Any]:
    return [each for each in county.logs if each["event"] == event]


# ── The end ──


@pytest.mark.parametrize(
    ("step", "heard"),
    [
        (None, ["expired_unread", "purged"]),
        ("collect", ["collected", "expired_unread", "purged"]),
        ("open", ["opened", "purged"]),
        ("take", ["taken", "purged"]),
    ],
)
async def test_when_its_time_is_over_both_ends_delete_it_and_the_sender_holds_the_receipt(
    county: County, step: str | None, heard: list[str]
) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    if step is not None:
        await getattr(county[MASH].acknowledge, step)(done.id, "role:duty")
        await county.settle()
    await days(county, 5)
    assert (await item(county, done.id)).content is not None, "the last day is kept whole"
    await days(county, 1)
    await county.settle()
    assert await timeline(county, done.id) == ["queued", "received", *heard]
    gone = await item(county, done.id)
    assert (gone.content, gone.wrapped_key, gone.state, gone.code) == (None, None, "purged", "expired")
    ours = await row(county, done.id)
    assert (ours.content, ours.wrapped_key) == (None, None)
    assert (await county[MASH].acknowledge.show(done.id)).alert is None
    assert (await county[JCP].follow.show(done.id)).alert is None
    last = TODAY + timedelta(days=5)
    assert [node.keystore.bucket(last) for node in county.nodes.values()] == [None, None]
    with pytest.raises(Rejected, match="time for which this could be kept is over"):
        await county[MASH].keystore.ensure_bucket(last)
    assert {each["alert"] for each in await county.audited(MASH, "inbox:deleted")} == {done.id}
    assert {each["alert"] for each in await county.audited(JCP, "alert:deleted")} == {done.id}


async def test_many_alerts_of_many_senders_are_told_of_in_few_receipts_each_to_its_own_sender(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    mine = [await county.send(JCP, kept(3)) for _ in range(60)]
    theirs = [await county.send(HOUSING, kept(3)) for _ in range(5)]
    await county.settle()
    since = len(county.wire.posts(to=JCP))
    await days(county, 4)
    await county.settle()
    for name, alerts in ((JCP, mine), (HOUSING, theirs)):
        for each in alerts:
            assert (await county.statuses(name, each.id))[MASH] == "purged/expired"
    assert len(county.wire.posts(to=JCP)) - since <= 4


async def test_what_nobody_took_by_the_end_is_said_to_be_undelivered_when_it_is_deleted(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    done = await county.send(JCP, kept(3))
    await county.sleep(seconds=5)
    await county[JCP].database.fetch("select 1")
    county.clock.jump(days=4)
    await county[JCP].retain.run()
    assert await county.statuses(JCP, done.id) == {MASH: "undelivered/expired"}
    assert await county.waiting(JCP) == 0
    assert (await county[JCP].database.fetch("select count(*) from envelopes where sealed is not null")) == [(0,)]
    county.wire.join(MASH)
    await county.sleep(minutes=1)
    assert await county.inbox(MASH) == []


async def test_an_envelope_on_its_way_loses_what_is_deleted_and_what_is_beside_it_arrives_once(county: County) -> None:
    """The answer to the first try is lost: the receiver speaks of an envelope that the sender has since given up."""
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    short = await county.send(JCP, kept(20))
    long = await county.send(JCP, kept(40))
    await county.sleep(seconds=2)
    await county[JCP].database.fetch("select 1")
    county.wire.join(MASH)
    county.wire.always(lose_answer)
    await county.sleep(seconds=20)
    assert sorted(await county.inbox(MASH)) == sorted([short.id, long.id])
    county.wire.cut(MASH)
    assert await county[JCP].retain.apply("UNADOPTED", 1, "test") == {"received": 0, "sent": 2}
    async with county[JCP].database.transaction() as tx:  # the other one is kept after all
        await tx.execute("update alerts set retain_until = ? where id = ?", (HELD_UNTIL, long.id))
    county.clock.jump(days=2)
    await county[JCP].retain.run()
    county.wire.mend()
    await county.settle()
    assert (await county.statuses(JCP, long.id))[MASH] == "received"
    await county[MASH].acknowledge.open(long.id, "role:duty")
    await county[MASH].acknowledge.open(short.id, "role:duty")
    await county.settle()
    assert (await county.statuses(JCP, long.id))[MASH] == "opened"
    assert "opened" in (await county.statuses(JCP, short.id))[MASH]
    assert county.events(JCP) == {}


# ── Classes, areas, agreements ──


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Retention(), 300),
        (Retention(days={"UNADOPTED": 60}), 60),
        (Retention(ceiling_days=45), 45),
        (Retention(areas={"E06000032": {"UNADOPTED": 50}}), 50),
        (Retention(areas={"E12000006": {"UNADOPTED": 50}}), 50),
        (Retention(areas={"E09000008": {"UNADOPTED": 50}}), 300),
        (Retention(days={"UNADOPTED": 60}, areas={"E06000032": {"UNADOPTED": 90}}), 90),
    ],
    ids=["as asked", "our days", "our ceiling", "our area", "around our area", "another area", "the area says otherwise"],
)
async def test_a_receiving_area_keeps_by_its_own_classes_and_never_longer_than_asked(
    county: County, settings: Retention, expected: int
) -> None:
    await county.add(JCP)
    await county.add(MASH, retention=settings)
    done = await delivered(county, kept(300, event={"observed_from": EPOCH.isoformat()}))
    found = await item(county, done.id)
    assert found.bucket_day == (TODAY + timedelta(days=expected)).isoformat()
    assert found.retain_until == millis(end_of(TODAY + timedelta(days=expected)))
    assert (await row(county, done.id)).bucket_day == (TODAY + timedelta(days=300)).isoformat()


def agreed(one: str, other: str, ceiling: int) -> agreements.Agreement:
    parties = tuple(agreements.Party(node, node) for node in (one, other))
    return agreements.Agreement(f"{one}.{other}", "T", "P", parties, TODAY, TODAY + timedelta(days=365), ceiling)


@pytest.mark.parametrize(("to_mash", "to_housing"), [(40, 90), (90, 40), (30, 30)])
async def test_each_recipient_keeps_by_its_own_agreement_and_the_sender_by_the_longest(
    county: County, to_mash: int, to_housing: int
) -> None:
    await county.add(JCP, MASH, HOUSING)
    county[JCP]._agreed = (agreed(JCP, MASH, to_mash), agreed(JCP, HOUSING, to_housing))
    body = kept(300, recipients=[{"function": "MASH", "area": "home", "why": "lives there"},
                                 {"function": "HOUSING", "area": "home", "why": "tenant"}])  # fmt: skip
    done = await delivered(county, body)
    assert done.kept_until == TODAY + timedelta(days=max(to_mash, to_housing))
    assert (await row(county, done.id)).bucket_day == done.kept_until.isoformat()
    for name, ceiling in ((MASH, to_mash), (HOUSING, to_housing)):
        assert (await item(county, done.id, name)).bucket_day == (TODAY + timedelta(days=ceiling)).isoformat()


@pytest.mark.parametrize(
    ("code", "step", "receiver", "sender"),
    [("ADOPTED", "collect", 30, 30), ("ADOPTED", "close", 30, 30), ("ADOPTED", "open", 300, 300),
     ("UNADOPTED", "close", 300, 300), ("UNADOPTED", "not_ours", 14, 300)],
)  # fmt: skip
async def test_what_is_settled_elsewhere_goes_sooner_at_both_ends(
    county: County, code: str, step: str, receiver: int, sender: int
) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(300, code))
    acknowledge = county[MASH].acknowledge
    if step == "close":
        await acknowledge.close(done.id, "no_further_action", "role:duty")
    elif step == "not_ours":
        await acknowledge.not_ours(done.id, None, "role:duty")
    else:
        await getattr(acknowledge, step)(done.id, "role:duty")
    await county.settle()
    assert (await item(county, done.id)).bucket_day == (TODAY + timedelta(days=receiver)).isoformat()
    assert (await row(county, done.id)).bucket_day == (TODAY + timedelta(days=sender)).isoformat()
    assert (await acknowledge.show(done.id)).alert is not None
    assert (await county[JCP].follow.show(done.id)).alert is not None


async def test_a_sender_keeps_an_adopted_alert_until_the_last_of_its_recipients_has_taken_it_over(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    body = kept(300, "ADOPTED", recipients=[{"function": "MASH", "area": "home"}, {"function": "HOUSING", "area": "home"}])
    done = await delivered(county, body)
    await county[MASH].acknowledge.collect(done.id, "system")
    await county.settle()
    assert (await row(county, done.id)).bucket_day == (TODAY + timedelta(days=300)).isoformat()
    await days(county, 2)
    await county[HOUSING].acknowledge.close(done.id, "no_further_action", "role:duty")
    await county.settle()
    assert (await row(county, done.id)).bucket_day == (TODAY + timedelta(days=32)).isoformat()


# ── Warnings ──


async def test_the_team_is_told_14_and_3_days_before_and_an_unread_alert_is_an_alarm(county: County) -> None:
    await county.add(JCP, MASH)
    unread = await delivered(county, kept(20))
    read = await delivered(county, kept(20))
    await county[MASH].acknowledge.open(read.id, "role:duty")
    node = county[MASH]
    for passed, given in ((6, 0), (1, 2), (9, 2), (2, 4), (1, 4)):
        await days(county, passed)
        assert len(await told(node, "alert.expiring")) == given
    events = await told(node, "alert.expiring")
    assert {(each["id"], each["days"], each.get("code")) for each in events} == {
        (unread.id, 14, "unread"), (unread.id, 3, "unread"), (read.id, 14, None), (read.id, 3, None),
    }  # fmt: skip
    assert [(each["count"], each["days"], each["log_level"]) for each in logged(county, "unread-and-expiring")] == [
        (1, 14, "error"), (1, 3, "error"),
    ]  # fmt: skip
    assert node.metrics.value("bridge_unread_expiring") == 1
    entries = {each.id: each for each in (await node.acknowledge.page(0, 10)).items}
    assert (entries[unread.id].days_left, entries[unread.id].unread_ending) == (1, True)
    assert (entries[read.id].days_left, entries[read.id].unread_ending) == (1, False)
    assert {each["outcome"] for each in await county.audited(MASH, "inbox:expiring")} == {"unread", "warned"}
    await days(county, 3)
    assert node.metrics.value("bridge_unread_expiring") == 0


async def test_what_is_kept_for_a_week_is_warned_of_once(county: County) -> None:
    await county.add(JCP, MASH)
    await delivered(county, kept(7))
    await county.sleep(seconds=61)
    assert await told(county[MASH], "alert.expiring") == []
    await days(county, 5)
    assert [each["days"] for each in await told(county[MASH], "alert.expiring")] == [3]


async def test_a_new_message_on_an_old_alert_does_not_extend_it(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(10))
    await days(county, 4)
    newer = await county[JCP].submit.correct(done.id, kept(300), "token:test")
    await county.settle()
    last = (TODAY + timedelta(days=10)).isoformat()
    assert [(await item(county, each)).bucket_day for each in (done.id, newer.id)] == [last, last]
    assert [(await row(county, each)).bucket_day for each in (done.id, newer.id)] == [last, last]
    await days(county, 7)
    assert [(await item(county, each)).content for each in (done.id, newer.id)] == [None, None]


# ── Policies ──


async def test_a_shorter_policy_is_counted_then_applied_and_lengthens_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    alerts = [await county.send(JCP, kept(number)) for number in (5, 20, 90, 200)]
    held = await county.send(JCP, kept(100))
    other = await county.send(JCP, kept(14, "MISTAKEN"))
    await county.settle()
    for admin in (A, B):
        await county[MASH].retain.hold(held.id, AUTHORITY, REVIEW, admin)
    await days(county, 1)
    node = county[MASH]
    before = await node.retain.preview()
    counted = (await node.retain.preview("UNADOPTED", 30))["change"]
    assert (await node.retain.preview()) == {**before, "now": county.clock.now()}, "a preview changes nothing"
    assert (counted["received"], counted["sent"]) == (2, 0)
    assert await node.retain.apply("UNADOPTED", 30, "operator") == {"received": 2, "sent": 0}
    assert (await node.retain.preview("UNADOPTED", 30))["change"]["received"] == 0
    assert [(await item(county, each.id)).bucket_day for each in alerts] == [
        (TODAY + timedelta(days=number)).isoformat() for number in (5, 20, 30, 30)
    ]
    assert (await item(county, held.id)).bucket_day.startswith(HOLD)
    assert (await item(county, other.id)).bucket_day == (TODAY + timedelta(days=14)).isoformat()
    assert all([(await node.acknowledge.show(each.id)).alert is not None for each in alerts])
    assert await node.retain.apply("UNADOPTED", 1, "operator") == {"received": 4, "sent": 0}
    await days(county, 1)
    assert [(await item(county, each.id)).content for each in alerts] == [None] * 4
    await county.settle()
    assert (await county.statuses(JCP, alerts[3].id))[MASH] == "purged/expired"


@pytest.mark.parametrize(("code", "number"), [("HOLD", 3), ("NEW", 3), ("ADOPTED", 366), ("MISTAKEN", 15), ("ADOPTED", 0)])
async def test_a_policy_that_cannot_be_is_refused(county: County, code: str, number: int) -> None:
    await county.add(MASH)
    with pytest.raises(Rejected) as refused:
        await county[MASH].retain.apply(code, number, "operator")
    assert refused.value.code == "usage"


async def test_a_preview_says_what_is_due_and_when(county: County) -> None:
    await county.add(JCP, MASH)
    for number in (1, 2, 10, 25, 200):
        await county.send(JCP, kept(number))
    await county.settle()
    county.clock.jump(days=2)
    found = await county[MASH].retain.preview()
    assert found["classes"] == [
        {"side": "received", "class": "UNADOPTED", "kept": 5, "held": 0, "due": 1, "soon": [2, 3, 4]}
    ]
    assert (found["braked"], found["unread_ending"], found["overdue"]) == (None, 2, 1)


# ── Holds ──


async def test_a_hold_takes_two_people_and_outlasts_the_end_and_its_release_deletes_at_once(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    retain = county[MASH].retain
    asked = await retain.hold(done.reference, AUTHORITY, REVIEW, A)
    assert (asked["state"], asked["reference"]) == ("asked", done.reference)
    for same in (A, "a.first", " A.  First "):
        with pytest.raises(Rejected) as refused:
            await retain.hold(done.reference, AUTHORITY, REVIEW, same)
        assert refused.value.code == "two-administrators"
    for authority, review in (("IOPC 2026/4472", REVIEW), (AUTHORITY, REVIEW + timedelta(days=1))):
        with pytest.raises(Rejected, match="another authority or date"):
            await retain.hold(done.reference, authority, review, B)
    assert (await item(county, done.id)).bucket_day == done.kept_until.isoformat()
    assert (await retain.hold(done.reference, AUTHORITY, REVIEW, B))["state"] == "held"
    await county.settle()
    assert await timeline(county, done.id) == ["queued", "received", "held"]
    await days(county, 10)
    found = await county[MASH].acknowledge.show(done.id)
    assert found.alert is not None
    assert (found.entry.held, found.entry.days_left) == (True, None)
    assert county[MASH].metrics.value("bridge_purge_overdue") == 0
    assert (await row(county, done.id)).content is None, "the sender's own copy is not held by it"
    (key,) = county[MASH].keystore.keys("hold")
    assert (await retain.release(done.id, A))["state"] == "leaving"
    with pytest.raises(Rejected, match="A second, different person"):
        await retain.release(done.id, A)
    assert (await county[MASH].acknowledge.show(done.id)).alert is not None
    assert (await retain.release(done.id, B))["state"] == "released"
    assert (await item(county, done.id)).content is None
    assert (await county[MASH].acknowledge.show(done.id)).alert is None
    gone = county[MASH].keystore.key(key.kid)
    assert gone is not None
    assert (gone.seed, gone.state) == (b"", "destroyed")
    await county.settle()
    assert (await timeline(county, done.id))[-1] == "purged"
    assert [each["action"] for each in await county.audited(MASH) if each["action"].startswith("hold:")] == [
        "hold:asked", "hold:confirmed", "hold:release-asked", "hold:released",
    ]  # fmt: skip


async def test_a_hold_on_a_sent_alert_keeps_our_copy_alone(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    for admin in (A, B):
        await county[JCP].retain.hold(done.id, AUTHORITY, REVIEW, admin)
    await days(county, 6)
    assert (await county[JCP].follow.show(done.id)).alert is not None
    assert (await item(county, done.id)).content is None
    for admin in (A, B):
        await county[JCP].retain.release(done.id, admin)
    assert (await county[JCP].follow.show(done.id)).alert is None


async def test_a_release_before_the_end_brings_back_the_day_that_applied(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(50))
    for admin in (A, B):
        await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, admin)
    await days(county, 3)
    for admin in (A, B):
        await county[MASH].retain.release(done.id, admin)
    found = await item(county, done.id)
    assert (found.bucket_day, found.retain_until) == (done.kept_until.isoformat(), millis(end_of(done.kept_until)))
    assert (await county[MASH].acknowledge.show(done.id)).alert is not None


async def test_a_step_under_a_hold_shortens_when_the_hold_ends(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(300, "ADOPTED"))
    for admin in (A, B):
        await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, admin)
    await county[MASH].acknowledge.close(done.id, "no_further_action", "role:duty")
    assert (await item(county, done.id)).bucket_day.startswith(HOLD)
    await days(county, 3)
    for admin in (A, B):
        await county[MASH].retain.release(done.id, admin)
    assert (await item(county, done.id)).bucket_day == (TODAY + timedelta(days=30)).isoformat()


async def test_a_step_that_was_looked_up_before_a_hold_cannot_undo_it(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(300, "ADOPTED"))
    node = county[MASH]
    before = await item(county, done.id)
    for admin in (A, B):
        await node.retain.hold(done.id, AUTHORITY, REVIEW, admin)
    async with node.database.transaction() as tx:
        late = await inbox.change(
            tx, before.seq, before.version, state="closed", at=0, code="no_further_action", actor=None
        )
        await node.retain.stepped(tx, before, Status.CLOSED)
    assert not late
    assert (await item(county, done.id)).bucket_day.startswith(HOLD)
    assert (await node.acknowledge.show(done.id)).alert is not None


async def test_a_hold_gets_a_new_authority_by_two_people_and_keeps_the_day_before_the_first(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    retain = county[MASH].retain
    for admin in (A, B):
        await retain.hold(done.id, AUTHORITY, REVIEW, admin)
    (first,) = county[MASH].keystore.keys("hold")
    for admin in (B, A):
        await retain.hold(done.id, "Coroner 12", TODAY + timedelta(days=400), admin)
    (second,) = county[MASH].keystore.keys("hold")
    assert first.kid != second.kid
    (shown,) = (await retain.preview())["holds"]
    assert (shown["authority"], shown["state"]) == ("Coroner 12", "held")
    assert (await county[MASH].acknowledge.show(done.id)).alert is not None
    await days(county, 6)
    for admin in (A, B):
        await retain.release(done.id, admin)
    assert (await item(county, done.id)).content is None


async def test_what_was_only_asked_is_dropped_at_the_first_word_and_holds_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, A)
    await county[MASH].retain.release(done.id, A)
    with pytest.raises(Rejected, match="is not held"):
        await county[MASH].retain.release(done.id, A)
    await days(county, 6)
    assert (await item(county, done.id)).content is None


async def test_a_hold_that_is_asked_for_does_not_keep(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, A)
    await days(county, 6)
    with pytest.raises(Rejected) as refused:
        await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, B)
    assert refused.value.code == "gone"


@pytest.mark.parametrize(
    ("authority", "review", "admin", "code"),
    [
        ("Kieran's file", REVIEW, A, "usage"), ("", REVIEW, A, "usage"), ("x" * 65, REVIEW, A, "usage"),
        (AUTHORITY, TODAY, A, "usage"), (AUTHORITY, TODAY + timedelta(days=732), A, "usage"), (AUTHORITY, REVIEW, " ", "usage"),
    ],
    ids=["not a reference", "none", "too long", "today", "too far", "nobody"],
)  # fmt: skip
async def test_a_hold_needs_a_reference_a_day_and_a_name(
    county: County, authority: str, review: date, admin: str, code: str
) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    with pytest.raises(Rejected) as refused:
        await county[MASH].retain.hold(done.id, authority, review, admin)
    assert refused.value.code == code


async def test_a_hold_whose_review_has_come_is_told_every_day(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    for admin in (A, B):
        await county[MASH].retain.hold(done.id, AUTHORITY, TODAY + timedelta(days=3), admin)
    await days(county, 2)
    assert logged(county, "hold-review-due") == []
    await days(county, 1)
    await county.sleep(minutes=5)
    await days(county, 1)
    assert len(logged(county, "hold-review-due")) == 2
    assert county[MASH].metrics.value("bridge_holds_to_review") == 1
    assert (await county[MASH].retain.preview())["holds"][0]["review_due"]


@pytest.mark.parametrize("place", range(1, 40, 6))
async def test_a_release_that_is_stopped_anywhere_leaves_a_hold_or_a_deletion_and_no_key_behind(
    county: County, place: int
) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    for admin in (A, B):
        await county[MASH].retain.hold(done.id, AUTHORITY, REVIEW, admin)
    await days(county, 6)
    await county[MASH].retain.release(done.id, A)
    reached = county.database(MASH).arm(place)
    task = county.loop.create_task(county.at(MASH, county[MASH].retain.release(done.id, B)))
    await _either(task, reached)
    await county.crash(MASH)
    task.cancel()
    county.wire.mend()
    await county.sleep(seconds=65)
    found = await item(county, done.id)
    held = await retention.holds_on(county[MASH].database, done.id, "inbox")
    assert (found.content is None) == (held == [])
    assert len(county[MASH].keystore.keys("hold")) == len(held)
    await county.settle()
    assert ("purged" in await timeline(county, done.id)) == (held == [])


async def _either(task: Any, reached: Any) -> None:
    await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)


# ── Nothing comes back ──


async def test_a_deleted_alert_does_not_come_back_by_replay_whatever_is_forgotten(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(10))
    (post,) = county.wire.posts(to=MASH)
    await days(county, 11)
    assert (await item(county, done.id)).content is None
    again = await county.handed(MASH, "POST", "/node/v1/envelopes", post.body)
    assert again == post.said[0], "what came before gets the stored answer"
    await days(county, 25)
    assert await county[MASH].retain.forget() > 0
    assert (await county[MASH].database.fetch("select count(*) from seen where verdict = 'received'"))[0][0] == 0
    said = await county.verdict(MASH, *post.envelopes)
    assert said == [("refused", "expired")]
    assert (await item(county, done.id)).content is None
    assert await county.inbox(MASH) == [done.id]


@pytest.mark.parametrize("back", [20, 30, 35], ids=str)
async def test_after_ids_are_forgotten_a_clock_set_back_and_trusted_lets_nothing_old_in(county: County, back: int) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(10))
    (post,) = county.wire.posts(to=MASH)
    await days(county, 35)
    await county[MASH].retain.forget()
    county.clock.jump(days=-back, wall_only=True)
    await county[MASH].brake.tick()
    await county[MASH].brake.release("a hasty administrator")
    assert county[MASH].clock.now() == county.clock.now()
    assert await county.verdict(MASH, *post.envelopes) == [("refused", "expired")]
    await county.restart(MASH)
    assert await county.verdict(MASH, *post.envelopes) == [("refused", "expired")]
    assert (await item(county, done.id)).content is None
    assert await county.inbox(MASH) == [done.id]


@pytest.mark.parametrize("how", ["withdrawn", "expired"])
async def test_a_deleted_alert_does_not_come_back_under_another_message_id(county: County, how: str) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(10))
    forge = Forge(county, JCP, MASH)
    message = await forge.alert(done)
    if how == "withdrawn":
        await county[JCP].withdraw.withdraw(done.id, "mistaken_identity", "token:test")
        await county.settle()
    else:
        await days(county, 11)
    said = await county.verdict(MASH, forge.envelope(message))
    assert said == [("refused", "expired")]
    assert (await item(county, done.id)).content is None
    assert len(await county.inbox(MASH)) == 1


async def test_a_refused_alert_stays_refused(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, kept(10))
    await county.settle()
    forge = Forge(county, JCP, MASH)
    wrong = await forge.alert(done, reference="BR-0000-0000")
    assert await county.verdict(MASH, forge.envelope(wrong)) == [("refused", "malformed")]
    right = wire.encode_json(await county.carried(JCP, done.id))
    assert await county.verdict(MASH, forge.envelope(forge.message(right, message_id=wrong.id))) == [
        ("refused", "id-conflict")
    ]
    assert await county.verdict(MASH, forge.envelope(wrong)) == [("refused", "malformed")]


# ── Late, stopped, forgotten ──


async def test_what_should_be_gone_and_is_not_is_an_alarm(county: County) -> None:
    await county.add(JCP, MASH)
    done = await delivered(county, kept(5))
    county.clock.jump(hours=3, wall_only=True)
    await county[MASH].brake.tick()
    county.clock.jump(days=6)
    await county[MASH].retain.run()
    assert county[MASH].retain.brake is not None
    assert county[MASH].metrics.value("bridge_purge_overdue") == 1
    assert [each["count"] for each in logged(county, "purge-overdue")] == [1]
    await county[MASH].brake.release(A)
    await county[MASH].retain.run()
    assert county[MASH].metrics.value("bridge_purge_overdue") == 0
    assert (await item(county, done.id)).content is None


@pytest.mark.parametrize("place", range(1, 60, 8))
async def test_a_sweep_that_is_stopped_anywhere_is_finished_by_the_next_and_said_once(county: County, place: int) -> None:
    await county.add(JCP, MASH)
    done = [await county.send(JCP, kept(3)) for _ in range(3)]
    await county.settle()
    county.clock.jump(days=4)
    reached = county.database(MASH).arm(place)
    task = county.loop.create_task(county.at(MASH, county[MASH].retain.run()))
    await _either(task, reached)
    await county.crash(MASH)
    task.cancel()
    if county[MASH].retain.brake is not None:  # time known was written before four days passed
        await county[MASH].brake.release(A)
    await county.sleep(seconds=65)
    await county.settle()
    for each in done:
        assert (await item(county, each.id)).content is None
        assert await timeline(county, each.id) == ["queued", "received", "expired_unread", "purged"]
    assert county[MASH].keystore.bucket(done[0].kept_until) is None


async def test_stubs_and_receipts_go_when_their_own_six_years_are_over(county: County) -> None:
    await county.add(JCP, MASH)
    old = await delivered(county, kept(3))
    await days(county, 4)
    await county.settle()
    for _ in range(10):
        county.clock.jump(days=200)
        await county[JCP].retain.forget()
        await county[MASH].retain.forget()
    assert await county.inbox(MASH) == [old.id]
    for _ in range(2):
        county.clock.jump(days=200)
        await county[JCP].retain.run()
        await county[JCP].retain.forget()
        await county[MASH].retain.forget()
    assert await county.inbox(MASH) == []
    left = {**await county.stored(JCP), "alerts": (await county[JCP].database.fetch("select count(*) from alerts"))[0][0]}
    assert {name: left[name] for name in ("alerts", "receipts", "statements", "envelopes")} == {
        "alerts": 0, "receipts": 0, "statements": 0, "envelopes": 0,
    }  # fmt: skip
    assert (await county.stored(MASH))["arrivals"] == 0
    dropped = await county[MASH].database.fetch("select count(*) from audit where record = ?", (b"",))
    assert dropped[0][0] > 0, "what the log said goes as well, and its tree stands"
    assert all(each.ok for each in await county[MASH].checkpoint.verify(lambda *_: None))


# ── The month ──


async def test_a_months_statement_counts_what_passed_with_each_partner(county: County) -> None:
    await county.add(JCP, MASH, HOUSING)
    one, two = [await delivered(county, kept(3)) for _ in range(2)]
    three = await delivered(county, kept(100))
    await county.send(HOUSING, kept(100))
    await county.settle()
    await county[MASH].acknowledge.open(one.id, "role:duty")
    await county[JCP].withdraw.withdraw(three.id, "not_needed", "token:test")
    await county.settle()
    await days(county, 4)
    await county.settle()
    here = await county[MASH].retain.month(2026, 11)
    assert list(here) == [HOUSING, JCP]
    assert {name: count for name, count in here[JCP].items() if count} == {
        "received": 3, "opened_here": 1, "unread_here": 1, "withdrawn_by_them": 1, "deleted_here": 3,
    }  # fmt: skip
    assert {name: count for name, count in here[HOUSING].items() if count} == {"received": 1}
    there = await county[JCP].retain.month(2026, 11)
    assert {name: count for name, count in there[MASH].items() if count} == {
        "sent": 3, "delivered": 3, "opened_there": 1, "unread_there": 1, "withdrawn_by_us": 1, "deleted_there": 3,
    }  # fmt: skip
    assert await county[JCP].retain.month(2026, 10) == {}
    assert await county[JCP].retain.month(2026, 12) == {}
    assert two.id in await county.inbox(MASH)


async def test_a_statement_counts_what_a_partner_has_not_confirmed(county: County) -> None:
    await county.add(JCP, MASH)
    await delivered(county, kept(3))
    county.wire.cut(MASH)
    await days(county, 4)
    assert (await county[JCP].retain.month(2026, 11))[MASH]["deletion_not_confirmed"] == 1
    county.wire.join(MASH)
    await county.settle()
    assert (await county[JCP].retain.month(2026, 11))[MASH]["deletion_not_confirmed"] == 0


async def test_the_newest_time_known_is_kept(county: County) -> None:
    await county.add(MASH)
    await county.sleep(minutes=3)
    mark = await counters.fact(county[MASH].database, MARK)
    assert mark is not None
    assert 0 <= millis(county.clock.now()) - int(mark) <= 66_000
    assert await counters.fact(county[MASH].database, BRAKE) is None
