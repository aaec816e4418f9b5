"""An alert that its first recipient does not keep is sent on to where it belongs today (PROTOCOL section 3)."""

from datetime import date, timedelta

import pytest
from county import EPOCH, County, alert, own

from bridge import registry
from bridge.errors import Rejected

SCHOOL, SURREY, WEST = "crawley-school", "surrey-mash", "west-surrey-mash"
WOKING, REIGATE = "E07000217", "E07000211"
DAY = EPOCH.date() + timedelta(days=3)


async def handing_over(county: County, day: date) -> None:
    """The school's administrators enter the day on which Surrey's west takes over from the county."""
    await county.add(SCHOOL, SURREY, WEST)
    for partner, dates in ((SURREY, {"valid_to": day}), (WEST, {"valid_from": day})):
        words = " ".join(registry.fingerprint_of(own(county[partner])).words)
        for admin in ("a-first", "b-second"):
            await county[SCHOOL].enrol.approve(partner, admin, words, **dates)


def wanted(*recipients: tuple[str, str]) -> bytes:
    """An alert about somebody from Woking, seen in Reigate: MASH of each area wanted, with its reason."""
    return alert(
        "14-handover",
        event={"place": {"type": "public_place", "district": REIGATE}},
        recipients=[{"function": "MASH", "area": area, "why": why} for area, why in recipients],
    )


async def test_after_a_hand_over_it_goes_to_the_node_of_the_persons_district_though_the_county_had_it(
    county: County,
) -> None:
    await handing_over(county, DAY)
    sent = await county.send(SCHOOL, wanted(("home", "he lives there")))
    await county.settle()
    await county[SURREY].acknowledge.not_ours(sent.id, WOKING, "desk")
    county.clock.jump(days=4)
    await county.settle()
    await county[SCHOOL].submit.reroute(sent.id, "worker")
    await county.settle()
    assert await county.inbox(WEST) == [sent.id]
    assert await county.inbox(SURREY) == [sent.id]
    assert [leg.node for leg in (await county[SCHOOL].follow.show(sent.id)).route] == [SURREY, WEST]


async def test_where_the_parts_of_a_county_fit_equally_nothing_is_picked(county: County) -> None:
    await handing_over(county, DAY)
    sent = await county.send(SCHOOL, wanted(("home", "known"), ("place", "known")))
    await county.settle()
    await county[SURREY].acknowledge.not_ours(sent.id, None, "desk")
    county.clock.jump(days=4)
    await county.settle()
    with pytest.raises(Rejected) as caught:
        await county[SCHOOL].submit.reroute(sent.id, "worker")
    assert caught.value.code == "wrong-state"
    assert await county.inbox(WEST) == []
