"""Keeping times and holds by administrators: shown first what is touched, a second person, and never what is in an alert."""

from collections.abc import AsyncIterator
from datetime import date

import pytest
import pytest_asyncio
from desk import alert, arrived
from house import Quarry
from street import Street, built

from bridge.storage import inbox

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[Street]:
    async with built(tmp_path_factory.mktemp("street"), quarry) as made:
        yield made


async def test_a_shorter_time_shows_what_it_touches_and_then_shortens_it(street: Street) -> None:
    ada = await street.hub.someone("administrator", name="Ada Admin")
    ref = await arrived(street, alert(retention={"class": "UNADOPTED"}))
    path = "/admin/keeping/UNADOPTED"
    await ada.get(path)
    for days in ("0", "9999", "x", ""):
        assert (await ada.post(path, {"days": days})).errors[0][0] == "days"
        await ada.get(path)
    preview = await ada.post(path, {"days": "30"})
    assert "1 alert is kept for longer than that and is deleted sooner: received 1, sent 0." in preview.words
    before = (await inbox.find(street.hub.node.database, ref))[0].bucket_day
    done = await ada.post(path, {"days": "30", "sure": "yes"})
    assert "The time is set. 1 alert is deleted sooner." in done.words
    assert "30 days" in done.words
    (after,) = await inbox.find(street.hub.node.database, ref)
    assert (after.bucket_day, after.bucket_day < before) == ("2026-12-22", True)
    newer = await arrived(street, alert(retention={"class": "UNADOPTED"}))
    assert (await inbox.find(street.hub.node.database, newer))[0].bucket_day == "2026-12-22"
    await ada.get(path)
    longer = await ada.post(path, {"days": "200"})
    assert "What is kept already is deleted when it was to be." in longer.words
    assert "The time is set, for what comes from now on." in (await ada.post(path, {"days": "200", "sure": "yes"})).words
    assert (await inbox.find(street.hub.node.database, ref))[0].bucket_day == "2026-12-22"
    assert (await ada.get("/admin/keeping/NOTHING")).status == (await ada.get("/admin/keeping/HOLD")).status == 404


async def test_a_time_that_was_set_is_read_again_at_the_start(street: Street) -> None:
    hub = street.hub.node
    await hub.retain.set_days("ADOPTED", 11, "person:ada")
    before = hub._classes["ADOPTED"]
    hub._classes["ADOPTED"] = hub._classes["MISROUTED"]
    await hub.retain.start()
    assert (before.days, hub._classes["ADOPTED"].days, hub.classes(None)["ADOPTED"].days) == (11, 11, 11)
    hub._classes["ADOPTED"] = before


async def test_an_administrator_is_the_second_person_for_a_hold_and_for_its_end(street: Street) -> None:
    ada, bo = await street.hub.someone("administrator", name="Ada Admin"), await street.hub.someone("administrator", name="Bo Boss")
    ref = await arrived(street)
    assert "Nothing is held." in (await ada.get("/admin/holds")).words
    await street.hub.node.retain.hold(ref, "INQ 7", date(2027, 2, 1), f"person:{ada.id}")
    mine = await ada.get("/admin/holds")
    assert "Somebody else must confirm it." in mine.words
    assert "1 February 2027" in mine.words
    assert "You were the first: somebody else must confirm it." in (await ada.post("/admin/holds/confirm", {"reference": ref})).words
    await bo.get("/admin/holds")
    held = await bo.post("/admin/holds/confirm", {"reference": ref})
    assert "It is held." in held.words and "Kez" not in held.text
    assert (await bo.post("/admin/holds/confirm", {"reference": ref})).status == 404
    await ada.get("/admin/holds")
    assert "You have asked to end it." in (await ada.post("/admin/holds/release", {"reference": ref})).words
    await bo.get("/admin/holds")
    assert "It is not held any longer." in (await bo.post("/admin/holds/release", {"reference": ref})).words
    assert [(await ada.get(f"/admin/holds.{kind}")).status for kind in ("csv", "json")] == [200, 200]


async def test_the_overview_says_how_old_the_last_backups_are(street: Street) -> None:
    ada = await street.hub.someone("administrator")
    assert "No backup of the data “bridge backup” makes one" in (await ada.get("/admin")).words
    await street.hub.node.retain.run()
    assert "What was due was last deleted" in (await ada.get("/admin")).words
