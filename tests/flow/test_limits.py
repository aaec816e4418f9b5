"""Quotas, sizes, and requests made twice."""

import asyncio
from typing import Any

import msgspec
import pytest
from county import County, Forge, alert, lose_answer

from bridge import wire
from bridge.config import Limits
from bridge.errors import Rejected
from bridge.nodes.transport import Answer
from bridge.receipts import Status

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"


# ── Quotas ──


async def test_over_the_quota_is_a_bare_429_and_nothing_is_stored(county: County) -> None:
    await county.add(MASH, limits=Limits(partner_messages_per_hour=2))
    await county.add(JCP)
    forge = Forge(county, JCP, MASH)
    sent = await county.send(JCP, alert())
    await county.settle()
    assert (await county.post(MASH, forge.envelope(await forge.alert(sent)))).status == 200
    before = await county.stored(MASH)
    answer = await county.post(MASH, forge.envelope(await forge.alert(sent)))
    assert answer == Answer(429, b"", 5)
    assert await county.stored(MASH) == before
    assert county.events(MASH) == {}, "much is not hostile"


@pytest.mark.parametrize("restart", [False, True], ids=["sent one by one", "sent together"])
async def test_what_is_over_the_quota_arrives_later_and_nothing_is_lost(county: County, restart: bool) -> None:
    await county.add(MASH, limits=Limits(partner_messages_per_hour=30))
    await county.add(JCP)
    if restart:
        county.wire.cut(MASH)
    sent = [await county.send(JCP, alert()) for _ in range(70)]
    await county.sleep(seconds=20)
    if restart:
        county.wire.join(MASH)
        await county.sleep(seconds=20)
    assert len(await county.inbox(MASH)) < 70
    for _ in range(12):
        county.clock.jump(minutes=15)
        await county.sleep(seconds=10)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    assert {row.status for row in await county.messages(JCP)} == {Status.RECEIVED}


async def test_one_partners_quota_is_not_anothers(county: County) -> None:
    await county.add(MASH, limits=Limits(partner_messages_per_hour=1))
    await county.add(JCP, HOUSING)
    for _ in range(3):
        await county.send(JCP, alert())
    await county.sleep(seconds=10)
    sent = await county.send(HOUSING, "16-two-reports-housing")
    await county.sleep(seconds=10)
    assert sent.id in await county.inbox(MASH)


async def test_a_repeat_costs_nothing_of_the_quota(county: County) -> None:
    await county.add(MASH, limits=Limits(partner_messages_per_hour=2))
    await county.add(JCP)
    county.wire.next(lose_answer, times=5)
    await county.send(JCP, alert())
    await county.settle(limit=300)
    await county.send(JCP, alert())
    await county.sleep(seconds=5)
    assert len(await county.inbox(MASH)) == 2


# ── Sizes ──


@pytest.mark.parametrize("length", [10, 4000])
@pytest.mark.parametrize("count", [1, 20])
async def test_alerts_of_every_size_arrive_byte_for_byte(county: County, length: int, count: int) -> None:
    await county.add(JCP, MASH)
    body = alert(
        event={"narrative": "é" * length},
        objects=[{"local_ref": f"o{n}", "kind": "other", "value": "x" * 100, "description": "y" * min(length, 2000)} for n in range(count)],
    )  # fmt: skip
    sent = await county.send(JCP, body)
    await county.settle(limit=10)
    whole = await county[MASH].acknowledge.show(sent.id)
    assert whole.alert is not None
    assert bytes(whole.alert) == body


async def test_many_large_alerts_that_wait_are_sealed_in_parts_that_fit(county: County) -> None:
    await county.add(JCP, MASH)
    county.wire.cut(MASH)
    body = alert(
        objects=[{"local_ref": f"o{n}", "kind": "other", "value": "x", "description": "y" * 2000} for n in range(20)]
    )
    sent = [await county.send(JCP, body) for _ in range(12)]
    await county.sleep(seconds=5)
    county.wire.join(MASH)
    await county.settle(limit=30)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    for post in county.wire.posts():
        assert len(post.body) <= wire.CARRIER_LIMIT


async def test_what_is_larger_than_an_alert_may_be_is_refused_at_entry(county: County) -> None:
    await county.add(JCP, MASH)
    with pytest.raises(Rejected) as refused:
        await county.send(JCP, alert(event={"narrative": "x" * 100_000}))
    assert refused.value.code == "malformed"
    assert (await county.stored(JCP))["messages"] == 0


# ── Once is enough ──


async def test_the_same_key_and_body_give_the_first_result_again(county: County) -> None:
    await county.add(JCP, MASH)
    first = await county.send(JCP, alert(), "key-1")
    await county.settle()
    county.clock.jump(hours=23)
    again = await county.send(JCP, alert(), "key-1")
    assert (again.id, again.repeated, first.repeated) == (first.id, True, False)
    assert again.route[0].status == Status.RECEIVED, "and say how it stands now"
    await county.settle()
    assert await county.inbox(MASH) == [first.id]


async def test_the_same_key_outlives_a_restart(county: County) -> None:
    await county.add(JCP, MASH)
    first = await county.send(JCP, alert(), "key-1")
    await county.crash(JCP)
    assert (await county.send(JCP, alert(), "key-1")).id == first.id


async def test_the_same_key_with_another_body_is_a_conflict(county: County) -> None:
    await county.add(JCP, MASH)
    first = await county.send(JCP, alert(), "key-1")
    with pytest.raises(Rejected) as refused:
        await county.send(JCP, alert(priority="HIGH"), "key-1")
    assert refused.value.code == "idempotency-conflict"
    await county.settle()
    assert await county.inbox(MASH) == [first.id]


async def test_the_same_key_while_the_first_is_under_way_is_told_so(county: County) -> None:
    await county.add(JCP, MASH)
    results: list[Any] = await asyncio.gather(
        *(county.send(JCP, alert(), "key-1") for _ in range(3)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, Rejected)]
    assert [each.code for each in refused] == ["in-flight", "in-flight"]
    await county.settle()
    assert len(await county.inbox(MASH)) == 1
    assert (await county.send(JCP, alert(), "key-1")).repeated


async def test_keys_of_two_callers_are_two_keys(county: County) -> None:
    await county.add(JCP, MASH)
    one = await county[JCP].submit.send(alert(), "token:one", "key-1")
    two = await county[JCP].submit.send(alert(priority="HIGH"), "token:two", "key-1")
    assert one.id != two.id


async def test_a_refused_alert_leaves_its_key_free(county: County) -> None:
    await county.add(JCP, MASH)
    with pytest.raises(Rejected):
        await county.send(JCP, alert(grading={"marking": "SECRET"}), "key-1")
    assert not (await county.send(JCP, alert(), "key-1")).repeated


async def test_after_a_day_a_key_may_be_used_again(county: County) -> None:
    await county.add(JCP, MASH)
    first = await county.send(JCP, alert(), "key-1")
    county.clock.jump(hours=25)
    await county[JCP]._forget()
    second = await county.send(JCP, alert(priority="HIGH"), "key-1")
    assert second.id != first.id


# ── What a partner takes ──


def long(length: int) -> bytes:
    """An alert whose narrative has that many characters."""
    return alert(event={"narrative": "x" * length})


async def test_no_post_is_larger_than_its_partner_takes(county: County) -> None:
    await county.add(MASH, limits=Limits(carrier_bytes=300_000))
    await county.add(JCP)
    county.wire.cut(MASH)
    sent = [await county.send(JCP, long(4000)) for _ in range(160)]
    county.wire.join(MASH)
    await county.settle(limit=900)
    assert sorted(await county.inbox(MASH)) == sorted(each.id for each in sent)
    sizes = [len(each.body) for each in county.wire.posts(to=MASH)]
    assert max(sizes) <= 300_000
    assert sum(sizes) > 600_000, "it would have gone in one or two"


async def test_what_is_larger_than_a_partner_takes_is_said_and_the_rest_arrives(county: County) -> None:
    await county.add(JCP, MASH)
    partner = county[JCP].book.get(MASH)
    assert partner is not None
    limits = msgspec.structs.replace(partner.descriptor.limits, max_bucket=4)
    county[JCP].book.put(
        msgspec.structs.replace(partner, descriptor=msgspec.structs.replace(partner.descriptor, limits=limits))
    )
    large = await county.send(JCP, long(4000))
    small = await county.send(JCP, long(10))
    await county.settle(limit=300)
    assert await county.inbox(MASH) == [small.id]
    found = {row.alert_id: (row.status, row.code) for row in await county.messages(JCP)}
    assert found == {large.id: (Status.UNDELIVERED, "too-large"), small.id: (Status.RECEIVED, None)}
