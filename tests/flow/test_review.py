"""Soft information is looked at again at half its time, once, and ends with the day if nobody needs it any more."""

from datetime import timedelta
from typing import Any

import pytest
from county import EPOCH, County
from test_retention_flows import JCP, MASH, TODAY, A, B, days, delivered, item, kept, timeline, told

from bridge.errors import Rejected


async def marked(county: County) -> list[str]:
    """Alerts that the list of the receiving team marks as to be looked at again."""
    return [each.id for each in (await county[MASH].acknowledge.page(0, 50)).items if each.review]


async def test_at_half_its_time_the_team_is_asked_once_and_what_is_kept_shortly_or_held_is_left_out(county: County) -> None:
    await county.add(JCP, MASH)
    node = county[MASH]
    asked = await delivered(county, kept(60))
    read = await delivered(county, kept(60))
    await node.acknowledge.close(read.id, "no_further_action", "role:duty")
    short = await delivered(county, kept(28))
    adopted = await delivered(county, kept(60, "ADOPTED"))
    held = await delivered(county, kept(60))
    taken_back = await delivered(county, kept(60))
    for admin in (A, B):
        await node.retain.hold(held.id, "Coroner 12", TODAY + timedelta(days=300), admin)
    await days(county, 29)
    assert await marked(county) == [] == await told(node, "alert.review")
    await county[JCP].withdraw.withdraw(taken_back.id, "not_needed", "token:test")
    await county.settle()
    await days(county, 2)
    assert await marked(county) == [asked.id, read.id]
    assert [each["id"] for each in await told(node, "alert.review")] == [asked.id, read.id]
    assert {each["subject"] for each in await county.audited(MASH, "inbox:review-asked")} == {asked.id, read.id}
    listed = await node.triage.page("review", (), "", 1)
    assert ([each.id for each in listed.items], (await node.triage.counts(()))["review"]) == ([asked.id], 2)
    assert [each.id for each in (await node.triage.page("review", (), listed.after or "", 5)).items] == [read.id]
    assert (await node.status())["to_review"] == (await node.retain.preview())["to_review"] == 2
    assert node.metrics.value("bridge_inbox_to_review") == 2
    await days(county, 1)
    assert len(await told(node, "alert.review")) == 2
    assert {short.id, adopted.id, held.id, taken_back.id}.isdisjoint(await marked(county))


async def test_what_is_still_needed_is_kept_to_its_day_and_not_a_day_longer(county: County) -> None:
    await county.add(JCP, MASH)
    node = county[MASH]
    done = await delivered(county, kept(60))
    with pytest.raises(Rejected, match="Nobody has to look at this alert again now"):
        await node.review.say(done.id, "person:a", needed=True)
    await days(county, 31)
    before = await item(county, done.id)
    with pytest.raises(Rejected) as slow:
        await node.review.say(done.id, "person:a", before.version - 1, needed=False)
    assert slow.value.code == "changed-meanwhile"
    said = await node.review.say(done.reference, "person:a", before.version, needed=True)
    again = await node.review.say(done.id, "person:b", needed=False)
    assert (said.review, again.review, again.version) == (False, False, said.version), "who said it first has said it"
    assert [(each["actor"], each["outcome"]) for each in await county.audited(MASH, "inbox:reviewed")] == [("person:a", "needed")]
    assert (await item(county, done.id)).retain_until == before.retain_until
    assert node.metrics.value("bridge_inbox_to_review") == 0
    await days(county, 30)
    assert (await item(county, done.id)).state == "purged"


async def test_what_is_not_needed_is_deleted_when_the_day_is_over_and_its_sender_is_told(county: County) -> None:
    await county.add(JCP, MASH)
    node = county[MASH]
    done, held = await delivered(county, kept(60)), await delivered(county, kept(60))
    for each in (done, held):
        await node.acknowledge.open(each.id, "person:a")
    await days(county, 31)
    for admin in (A, B):
        await node.retain.hold(held.id, "Coroner 12", TODAY + timedelta(days=300), admin)
    with pytest.raises(Rejected, match="This alert is held"):
        await node.review.say(held.id, "person:a", needed=False)
    await node.review.say(done.id, "person:a", needed=False)
    left: Any = await item(county, done.id)
    assert (left.bucket_day, left.state) == ((EPOCH + timedelta(days=31)).date().isoformat(), "opened")
    await days(county, 1)
    await county.settle()
    assert (await item(county, done.id)).content is None
    assert (await timeline(county, done.id))[-1] == "purged"
    assert (await item(county, held.id)).content is not None
