"""Whatever one exchange on the wire comes to, an alert arrives once and its sender holds the receipt (PROTOCOL 7)."""

import pytest
from county import ENVELOPES, FAULTS, HELLO, County, alert, lose_answer

from bridge import wire
from bridge.receipts import Status

EVENTS = {"the request is altered": "bad-signature"}
MANY = [name for name in FAULTS if name.startswith(("the request", "the answer is lost", "the answer is cut", "a bare 500"))]
each_fault = pytest.mark.parametrize("fault", FAULTS)


def same_bytes(county: County, to: str) -> None:
    """Every try of an envelope was the same bytes, and every word about it too."""
    tried: dict[bytes, set[bytes]] = {}
    said: dict[bytes, set[bytes]] = {}
    for post in county.wire.posts(to=to):
        for position, envelope in enumerate(post.envelopes):
            one = wire.encode_carrier([envelope])
            tried.setdefault(wire.decode_header(envelope.header).id.encode(), set()).add(one)
            for answer in post.said:
                signed = wire.decode_answer(answer.body)[position] if answer.status == 200 else None
                if signed is not None:
                    said.setdefault(one, set()).add(wire.encode_signed(signed))
    assert tried
    assert said
    assert all(len(each) == 1 for each in (*tried.values(), *said.values()))


@each_fault
@pytest.mark.parametrize("times", [1, 3], ids=["once", "three times"])
async def test_an_alert_arrives_once_and_its_receipt_is_stored(county: County, fault: str, times: int) -> None:
    await county.add("luton-jcp", "luton-mash")
    county.wire.next(FAULTS[fault], times=times)
    done = await county.send("luton-jcp", "16-two-reports-jobcentre")
    await county.settle(limit=120)
    await county.wire.empty()
    assert await county.inbox("luton-mash") == [done.id]
    assert await county.statuses("luton-jcp", done.id) == {"luton-mash": "received"}
    held = await county.stored("luton-jcp")
    assert (held["receipts"], held["statements"]) == (1, 1)
    same_bytes(county, "luton-mash")
    expected = {("luton-jcp", EVENTS[fault]): times} if fault in EVENTS else {}
    assert county.events("luton-mash") == expected
    assert county.events("luton-jcp") == {}


@each_fault
async def test_a_later_receipt_arrives_whatever_happens_to_it(county: County, fault: str) -> None:
    await county.add("luton-jcp", "luton-mash")
    done = await county.send("luton-jcp", "16-two-reports-jobcentre")
    await county.settle()
    county.wire.next(FAULTS[fault], to="luton-jcp")
    await county["luton-mash"].acknowledge.open(done.id, "role:duty")
    await county["luton-mash"].acknowledge.take(done.id, "role:duty")
    await county.settle(limit=120)
    await county.wire.empty()
    followed = await county["luton-jcp"].follow.show(done.id)
    assert [each.status for each in followed.timeline] == ["taken", "opened", "received", "queued"]
    same_bytes(county, "luton-jcp")


@pytest.mark.parametrize("fault", MANY)
async def test_a_fault_of_a_greeting_stops_nothing(county: County, fault: str) -> None:
    await county.add("luton-jcp", "luton-mash", start=False)
    county.wire.next(FAULTS[fault], times=2, path=HELLO)
    await county["luton-jcp"].start()
    await county["luton-mash"].start()
    done = await county.send("luton-jcp", "16-two-reports-jobcentre")
    await county.settle(limit=60)
    assert await county.inbox("luton-mash") == [done.id]


@pytest.mark.parametrize("fault", MANY)
async def test_many_alerts_under_one_fault_all_arrive_once(county: County, fault: str) -> None:
    await county.add("luton-jcp", "luton-mash")
    county.wire.next(FAULTS[fault])
    sent = [await county.send("luton-jcp", alert()) for _ in range(5)]
    county.wire.next(FAULTS[fault], times=2)
    sent += [await county.send("luton-jcp", alert()) for _ in range(5)]
    await county.settle(limit=120)
    await county.wire.empty()
    assert sorted(await county.inbox("luton-mash")) == sorted(each.id for each in sent)
    assert {row.status for row in await county.messages("luton-jcp")} == {Status.RECEIVED}
    same_bytes(county, "luton-mash")


async def test_lanes_do_not_wait_for_each_other(county: County) -> None:
    await county.add("luton-school", "luton-mash", "southend-mash", "essex-police")
    county.wire.cut("luton-mash")
    done = await county.send("luton-school", "10-school-train-tickets")
    await county.sleep(seconds=1)
    assert await county.statuses("luton-school", done.id) == {
        "luton-mash": "queued",
        "southend-mash": "received",
        "essex-police": "received",
    }


async def test_nothing_but_posts_to_partners_leaves_a_node(county: County) -> None:
    await county.add("luton-jcp", "luton-mash")
    county.wire.next(lose_answer)
    await county.send("luton-jcp", "16-two-reports-jobcentre")
    await county.settle()
    assert {(each.method, each.path) for each in county.wire.log} == {("POST", ENVELOPES), ("POST", HELLO)}


async def test_requests_that_come_together_wait_for_the_same_new_descriptor(county: County) -> None:
    await county.add("luton-jcp", "luton-mash")
    county.wire.next(FAULTS["a bare 422"], times=20, path=HELLO)
    county.clock.jump(seconds=1)
    await county["luton-jcp"].rotate.rotate("a-first", sealing=True, message=True)
    county.wire.next(FAULTS["the request is there twice at once"], times=1, to="luton-mash", path=ENVELOPES)
    await county.send("luton-jcp", alert())
    await county.settle()
    asked = [each for each in county.wire.log if each.path == "/node/v1/descriptor"]
    assert len(asked) == 1, "both waited for one, and neither was sent away to come again"
    assert len(await county.inbox("luton-mash")) == 1
