"""Who gets an alert, from the sender's form to every recipient's inbox: each its own copy, nobody anything else."""

import asyncio
from datetime import datetime
from typing import Any

import msgspec
import pytest
from county import County, alert, scenario

from bridge import wire
from bridge.errors import Rejected
from bridge.receipts import Status

SENDING = (
    "01-jobcentre",
    "02-btp",
    "03-housing",
    "04-placement",
    "05-camhs",
    "06-prison",
    "07-hospital",
    "08-clinic",
    "09-drug",
    "10-school",
    "11-family",
    "12-home-unknown",
    "13-postcode",
    "14-handover",
    "16-two-reports-housing",
    "18-exercise",
    "20-flintshire",
)


def cast(name: str) -> tuple[str, list[dict[str, Any]]]:
    """The sender of a scenario, and what is expected of its recipients."""
    told = scenario(name)
    return told["sender"]["node"], told["expect"]["recipients"]


async def received(county: County, node: str, alert_id: str) -> dict[str, Any]:
    """An alert as its recipient reads it."""
    whole = await county[node].acknowledge.show(alert_id)
    assert whole.alert is not None
    return {"alert": msgspec.json.decode(whole.alert), "withheld": list(whole.withheld), "route": whole.route}


@pytest.mark.parametrize("name", SENDING)
async def test_a_scenario_reaches_its_recipients_and_no_other_node(county: County, name: str) -> None:
    sender, expected = cast(name)
    bystander = "luton-training" if name == "18-exercise" else "leeds-camhs"
    names = [sender, *(row["node"] for row in expected if row["node"])]
    if bystander not in names and bystander in county.templates._known:
        names.append(bystander)
    await county.add(*names, around=sender)
    sent = await county.send(sender, name)
    await county.settle(limit=10)
    assert [(leg.function, leg.area, leg.node, leg.step) for leg in sent.route] == [
        (row["function"], row["area"], row["node"], row["step"]) for row in expected
    ]
    for node in county.nodes:
        wanted = [sent.id] if node in {row["node"] for row in expected} else []
        assert await county.inbox(node) == wanted, node
    for row in expected:
        assert (await received(county, row["node"], sent.id))["withheld"] == row.get("withheld", [])
    assert set((await county.statuses(sender, sent.id)).values()) == {"received"}
    assert all(county.events(node) == {} for node in county.nodes)
    # Nothing that a recipient was not meant to get was ever on the wire to it, sealed or not.
    assert {each.recipient for each in county.wire.posts()} <= {row["node"] for row in expected}


async def test_each_recipient_gets_its_own_sealed_copy_and_only_what_it_may_see(county: County) -> None:
    sender, expected = cast("03-housing")
    await county.add(sender, *(row["node"] for row in expected), around=sender)
    sent = await county.send(sender, "03-housing")
    await county.settle(limit=10)
    whole = msgspec.json.decode(scenario("03-housing")["alert"])
    for row in expected:
        got = (await received(county, row["node"], sent.id))["alert"]
        if row.get("withheld"):
            hidden = whole["objects"][0]
            assert hidden not in got["objects"]
            assert hidden["value"] not in msgspec.json.encode(got).decode()
            assert got["subjects"] == whole["subjects"]
        else:
            assert got == whole
    seals = [envelope.sealed for post in county.wire.posts() for envelope in post.envelopes]
    assert len(seals) == len(set(seals)) == len(expected)
    ids = {wire.decode_header(e.header).recipient for post in county.wire.posts() for e in post.envelopes}
    assert ids == {row["node"] for row in expected}


async def test_no_recipient_learns_the_message_ids_of_another(county: County) -> None:
    sender, expected = cast("01-jobcentre")
    await county.add(sender, *(row["node"] for row in expected), around=sender)
    sent = await county.send(sender, "01-jobcentre")
    await county.settle(limit=10)
    messages = {leg.node: leg.message for leg in sent.route}
    assert len(set(messages.values())) == len(expected)
    for row in expected:
        rows = await county[row["node"]].database.fetch("select message_id from inbox")
        assert [each[0].hex() for each in rows] == [messages[row["node"]]]


async def test_a_recipient_that_nobody_serves_is_held_for_the_operator_and_the_others_get_theirs(county: County) -> None:
    await county.add("luton-school", "luton-mash", "essex-police")
    sent = await county.send("luton-school", "10-school")
    await county.settle(limit=10)
    assert [(leg.node, leg.step, leg.code) for leg in sent.route][1] == ("essex-police", "fallback-force", None)
    assert await county.statuses("luton-school", sent.id) == {"luton-mash": "received", "essex-police": "received"}


async def test_what_nobody_serves_is_held_in_words_and_not_lost(county: County) -> None:
    await county.add("luton-jcp")
    sent = await county.send("luton-jcp", alert())
    (leg,) = sent.route
    assert (leg.node, leg.step, leg.code) == (None, "held", "held")
    assert leg.because.startswith("is held because nobody serves Luton as children's services front door")
    await county.sleep(seconds=30)
    assert county.wire.log == []
    followed = await county["luton-jcp"].follow.show(sent.id)
    assert followed.row.recipients[0].label == "Held"


async def test_what_was_held_can_be_sent_on_when_somebody_serves_it(county: County) -> None:
    await county.add("luton-jcp")
    sent = await county.send("luton-jcp", alert())
    await county.add("luton-mash")
    again = await county["luton-jcp"].submit.reroute(sent.id, "operator")
    await county.settle(limit=10)
    assert [leg.node for leg in again.route if leg.node] == ["luton-mash"]
    assert await county.inbox("luton-mash") == [sent.id]


async def test_an_unknown_home_goes_to_a_desk_and_is_held_without_one(county: County) -> None:
    await county.add("ipswich-youth", "luton-mash")
    held = await county.send("ipswich-youth", "12-home-unknown")
    assert {(leg.node, leg.step) for leg in held.route} == {(None, "held")}
    await county.add("nclcc-desk")
    sent = await county.send("ipswich-youth", "12-home-unknown")
    await county.settle(limit=10)
    assert [(leg.node, leg.step) for leg in sent.route] == [("nclcc-desk", "fallback-desk")]
    assert sent.id in await county.inbox("nclcc-desk")
    assert await county.inbox("luton-mash") == []


async def test_on_the_day_of_a_hand_over_alerts_go_to_the_successor(county: County) -> None:
    await county.add("crawley-school", "surrey-mash", "west-surrey-mash", "surrey-police")
    told = scenario("14-handover")["expect"]
    for when, node in (("2027-03-31T22:00:00+00:00", "surrey-mash"), ("2027-04-01T00:30:00+00:00", "west-surrey-mash")):
        step = datetime.fromisoformat(when) - county.clock.now()
        county.clock.jump(seconds=step.total_seconds())
        for name in county.nodes:
            await county[name].rotate.tend()
        await county.sleep(seconds=1)
        sent = await county.send("crawley-school", "14-handover")
        await county.settle(limit=90)
        assert [leg.node for leg in sent.route] == [node, "surrey-police"]
        assert sent.id in await county.inbox(node)
        assert await county.statuses("crawley-school", sent.id) == {node: "received", "surrey-police": "received"}
    assert told["handover"]["on"] == "2027-04-01"


async def test_two_nodes_for_one_area_and_function_hold_the_alert_and_name_both(county: County) -> None:
    await county.add("luton-jcp", "luton-mash", "southend-mash")
    node = county["luton-jcp"]
    partner = node.book.get("southend-mash")
    assert partner is not None
    both = (*partner.grants, msgspec.structs.replace(partner.grants[0], area="E06000032", function="MASH"))
    node.book.put(msgspec.structs.replace(partner, grants=both))
    sent = await county.send("luton-jcp", alert())
    (leg,) = sent.route
    assert (leg.node, leg.step) == (None, "held")
    assert "Luton Safeguarding Hub" in leg.because or "luton-mash" in leg.because
    assert "both claim MASH" in leg.because
    await county.sleep(seconds=10)
    assert await county.inbox("luton-mash") == await county.inbox("southend-mash") == []


async def test_a_node_that_serves_the_home_area_itself_delivers_to_itself(county: County) -> None:
    await county.add("luton-mash")
    sent = await county.send("luton-mash", alert())
    await county.settle(limit=10)
    assert [leg.node for leg in sent.route] == ["luton-mash"]
    assert await county.inbox("luton-mash") == [sent.id]
    await county["luton-mash"].acknowledge.take(sent.id, "role:duty")
    await county.settle(limit=10)
    assert await county.statuses("luton-mash", sent.id) == {"luton-mash": "taken"}
    assert county.events("luton-mash") == {}


@pytest.mark.parametrize("of", ["sender", "recipient"])
async def test_exercise_and_live_do_not_mix(county: County, of: str) -> None:
    await county.add("exeter-training", "dorset-mash")
    wrong = ("exeter-training", alert()) if of == "sender" else ("dorset-mash", alert(status="exercise"))
    with pytest.raises(Rejected) as refused:
        await county.send(*wrong)
    assert refused.value.code == "exercise"
    assert (await county.stored(wrong[0]))["messages"] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grading": {"marking": "SECRET"}}, "marking"),
        ({"grading": {"marking": "top-secret"}}, "marking"),
        ({"home": {"raw_text": "Nowhere in Particular"}}, "area-not-found"),
        ({"home": {"raw_text": "DA1"}}, "ambiguous-area"),
        ({"subjects": [], "objects": []}, "usage"),
        ({"recipients": [{"function": "WIZARDS", "area": "home"}]}, "usage"),
        ({"subjects": "x"}, "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_may_not_be_sent_is_refused_at_entry_and_leaves_nothing(
    county: County, changes: dict[str, Any], code: str
) -> None:
    await county.add("luton-jcp", "luton-mash")
    before = await county.stored("luton-jcp")
    with pytest.raises(Rejected) as refused:
        await county.send("luton-jcp", alert(**changes))
    assert refused.value.code == code
    assert await county.stored("luton-jcp") == before
    assert await county.audited("luton-jcp", "alert:sent") == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"home": {"raw_text": "Nowhere in Particular"}}, "/home/raw_text"),
        ({"recipients": [{"function": "MASH", "area": "E99999999"}]}, "/recipients"),
        (
            {"event": {"place": {"district": "E99999999"}}, "recipients": [{"function": "MASH", "area": "place"}]},
            "/event/place/district",
        ),
    ],
    ids=["home", "a recipient's", "the place"],
)
async def test_an_area_that_is_not_known_is_named_by_where_it_was_given(
    county: County, changes: dict[str, Any], pointer: str
) -> None:
    await county.add("luton-jcp", "luton-mash")
    with pytest.raises(Rejected) as refused:
        await county.send("luton-jcp", alert(**changes))
    assert (refused.value.code, refused.value.facts["pointer"]) == ("area-not-found", pointer)


async def test_what_a_recipient_does_comes_back_step_by_step(county: County) -> None:
    await county.add("luton-jcp", "luton-mash")
    sent = await county.send("luton-jcp", alert())
    await county.settle()
    desk = county["luton-mash"].acknowledge
    for step, status in (("collect", "collected"), ("open", "opened"), ("take", "taken")):
        await getattr(desk, step)(sent.id, "role:duty")
        await getattr(desk, step)(sent.id, "role:duty")  # twice is the same as once
        await county.settle()
        assert await county.statuses("luton-jcp", sent.id) == {"luton-mash": status}
    await desk.close(sent.id, "safeguarding_referral", "role:duty")
    await county.settle()
    followed = await county["luton-jcp"].follow.show(sent.id)
    assert [each.status for each in followed.timeline] == ["closed", "taken", "opened", "collected", "received", "queued"]
    assert followed.timeline[0].outcome == "safeguarding_referral"
    assert len(await county["luton-jcp"].follow.receipts(sent.id)) == 5
    assert Status(followed.row.status) is Status.CLOSED


async def test_not_ours_comes_back_with_the_area_where_it_belongs(county: County) -> None:
    await county.add("luton-jcp", "luton-mash")
    sent = await county.send("luton-jcp", alert())
    await county.settle()
    await county["luton-mash"].acknowledge.not_ours(sent.id, "E06000033", "role:duty")
    await county.settle()
    followed = await county["luton-jcp"].follow.show(sent.id)
    assert (followed.timeline[0].status, followed.timeline[0].referral) == ("not_ours", "E06000033")


async def test_of_two_people_who_close_an_alert_at_once_one_is_told_that_it_changed(county: County) -> None:
    await county.add("luton-jcp", "luton-mash")
    sent = await county.send("luton-jcp", alert())
    await county.settle()
    desk = county["luton-mash"].acknowledge
    results = await asyncio.gather(
        desk.close(sent.id, "no_further_action", "role:a"),
        desk.close(sent.id, "crime_recorded", "role:b"),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in results) == ["Entry", "Rejected"]
    await county.settle()
    followed = await county["luton-jcp"].follow.show(sent.id)
    assert [each.status for each in followed.timeline].count(Status.CLOSED) == 1


async def test_two_reports_of_one_person_are_two_alerts(county: County) -> None:
    await county.add("luton-jcp", "luton-housing", "luton-mash")
    one = await county.send("luton-jcp", "16-two-reports-jobcentre")
    two = await county.send("luton-housing", "16-two-reports-housing")
    await county.settle()
    assert sorted(await county.inbox("luton-mash")) == sorted([one.id, two.id])
