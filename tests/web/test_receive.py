"""What a receiving team does, as people without scripts do it: the list, one alert, its steps, copies, search, numbers."""

import asyncio
import csv
import io
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from desk import CROYDON, HOSTILE, alert, arrived, until
from house import Quarry, Seen, Someone
from street import Street, built

from bridge.crypto.vault import BucketKey
from bridge.errors import Rejected
from bridge.nodes.recall import Recall

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[Street]:
    async with built(tmp_path_factory.mktemp("street"), quarry) as made:
        yield made


async def receiver(street: Street, *roles: str, **more: Any) -> Someone:
    return await street.hub.someone(*(roles or ("receiver",)), **more)


async def recorded(street: Street, action: str) -> list[tuple[str, str]]:
    """Who did this at the hub, and how it ended, newest first."""
    found = await Recall(database=street.hub.node.database).page(None, 50, lambda each: each.action == action)
    return [(each.actor, each.outcome) for each in found.records]


async def told(street: Street, ref: str) -> str:
    """How the alert stands for its sender, once nothing is on its way."""
    await asyncio.sleep(0.2)
    return (await street.jobcentre.node.follow.show(ref)).row.status


def version_of(seen: Seen) -> str:
    return seen.text.split('name="version" value="')[1].split('"', maxsplit=1)[0]


# ── The list ──


async def test_a_new_alert_is_in_the_list_with_its_target_and_is_counted(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    seen = await bo.get("/inbox")
    assert ref in seen.words
    assert "Recruiting away from home, Croydon" in seen.words
    assert "Maidstone Jobcentre" in seen.words
    assert "left" in seen.words
    assert "Kez" not in seen.text
    assert seen.title == "Received alerts"
    assert 'class="bridge-count"' in seen.text


async def test_the_urgent_stand_first_then_the_oldest_and_pages_skip_none(street: Street) -> None:
    bo = await receiver(street)
    refs = [await arrived(street) for _ in range(26)]
    urgent = await arrived(street, alert(priority="HIGH"))
    first = await bo.get("/inbox?tab=new")
    assert first.text.index(urgent) < first.text.index(refs[0])
    assert "Urgent" in first.words
    link = first.text.split('rel="next" href="')[1].split('"', maxsplit=1)[0].replace("&amp;", "&")
    second = await bo.get(link)
    twin = msgspec.json.decode((await bo.get("/inbox.json")).text)
    on_pages = [each for each in (*refs, urgent) if (each in first.text) != (each in second.text)]
    assert len(on_pages) == 27
    assert {*refs, urgent} <= {each["reference"] for each in twin["items"]}
    only = await bo.get("/inbox?tab=new&urgent=yes")
    assert urgent in only.text and refs[0] not in only.text


async def test_a_team_sees_what_came_for_it_and_nothing_else_by_any_address(street: Street) -> None:
    ref = await arrived(street)
    csp = await receiver(street, teams=["LA_CSP"], name="Cat Csp")
    mash = await receiver(street, teams=["MASH"], name="Mo Mash")
    assert ref not in (await csp.get("/inbox")).text
    assert ref in (await mash.get("/inbox.json")).text
    assert ref not in (await csp.get("/inbox.json")).text
    assert ref not in (await csp.get("/inbox.csv")).text
    for path in ("", "/ask", "/pass-on", "/close", "/keep", "/print", "/download", "/live?seen=x"):
        assert (await csp.get(f"/inbox/{ref}{path}")).status == 404, path
    await csp.get("/inbox")
    for path in ("/take", "/take-over", "/ask", "/pass-on", "/close", "/review", "/keep", "/let-go", "/print", "/download"):
        assert (await csp.post(f"/inbox/{ref}{path}", {}, csrf=csrf_of(csp))).status == 404, path
    assert (await mash.get(f"/inbox/{ref.lower().replace('-', '')}")).status == 200


def csrf_of(someone: Someone) -> str:
    assert someone.seen is not None
    return someone.seen.csrf


async def test_whoever_may_not_receive_sees_nothing(street: Street) -> None:
    ref = await arrived(street)
    admin, sender = await receiver(street, "administrator"), await receiver(street, "sender")
    for someone in (admin, sender):
        for path in ("/inbox", "/inbox.json", f"/inbox/{ref}", f"/inbox/{ref}/print", "/search", "/reports"):
            assert (await someone.get(path)).status == 403, path
    plain = await receiver(street)
    assert [(await plain.get(path)).status for path in ("/search", "/reports", "/reports.csv")] == [403] * 3


# ── One alert ──


async def test_an_alert_says_who_signed_it_what_it_says_and_how_it_may_be_used(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    seen = await bo.get(f"/inbox/{ref}")
    assert seen.title == f"Alert {ref}"
    for words in (
        "Recruiting away from home, Croydon", "Signed by Maidstone Jobcentre", "the signature was checked again just now",
        "Kez", "Under 18", "Tall, grey tracksuit", "Offered three claimants cash.", "07700 900123", "OFFICIAL-SENSITIVE",
        "Lawful sharing permitted", "Children are being recruited.", "Work coach, Maidstone", "It is deleted here after",
        "Somebody here read it", "Waiting: taken by the team",
    ):  # fmt: skip
        assert words in seen.words, words
    assert await told(street, ref) == "opened"
    assert (f"person:{bo.id}", "ok") in await recorded(street, "inbox:seen")


async def test_content_that_was_changed_in_the_database_is_not_to_be_relied_on(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    node = street.hub.node
    await bo.get(f"/inbox/{ref}")
    async with node.database.transaction() as tx:
        row = await tx.fetch_one("select envelope_id, signatures from arrivals where envelope_id = (select envelope_id from inbox where reference = ?)", (ref,))
        assert row is not None
        forged = row[1][:-1] + bytes([row[1][-1] ^ 1])
        await tx.execute("update arrivals set signatures = ? where envelope_id = ?", (forged, row[0]))
    assert "Do not rely on it" in (await bo.get(f"/inbox/{ref}")).words


async def test_one_person_takes_it_others_see_who_and_it_is_closed_with_an_outcome(street: Street) -> None:
    ann, bo = await receiver(street, name="Ann Able"), await receiver(street, name="Bo Busy")
    ref = await arrived(street)
    page = await ann.get(f"/inbox/{ref}")
    await bo.get(f"/inbox/{ref}")
    taken = await ann.post(f"/inbox/{ref}/take", {"version": version_of(page)})
    assert "It is yours now." in taken.words
    late = await bo.post(f"/inbox/{ref}/take", {"version": version_of(page)})
    assert "Somebody else took it just before you." in late.words
    assert "Ann Able works on this alert" in late.words
    assert ref in (await bo.get("/inbox?tab=working")).text
    over = await bo.post(f"/inbox/{ref}/take-over", {"version": version_of(await bo.get(f"/inbox/{ref}"))})
    assert "You took this alert" in over.words
    form = await bo.get(f"/inbox/{ref}/close")
    wrong = await bo.post(f"/inbox/{ref}/close", {"version": version_of(form)})
    assert (wrong.status, wrong.errors, wrong.title) == (422, [("outcome", "Select what came of it")], "Error: Close this alert")
    await bo.post(f"/inbox/{ref}/close", {"version": version_of(form), "outcome": "safeguarding_referral"})
    assert "Safeguarding referral made" in (await bo.get("/inbox?tab=closed")).words
    assert await told(street, ref) == "closed"
    assert [each for each in await recorded(street, "inbox:taken-over") if each[0] == f"person:{bo.id}"] != []


async def test_a_note_at_closing_stays_with_the_team_and_goes_with_the_alert(street: Street) -> None:
    bo, ann = await receiver(street, name="Bo Busy"), await receiver(street, name="Ann Able")
    ref = await arrived(street)
    await bo.get(f"/inbox/{ref}")
    form = await bo.get(f"/inbox/{ref}/close")
    assert "the sender does not see it" in form.words
    fields = {"version": version_of(form), "outcome": "safeguarding_referral"}
    long = await bo.post(f"/inbox/{ref}/close", {**fields, "note": "x" * 2001})
    assert [field for field, _text in long.errors] == ["note"]
    await bo.post(f"/inbox/{ref}/close", {**fields, "note": f"Case Quillnote-4711 {HOSTILE}"})
    seen = await ann.get(f"/inbox/{ref}")
    assert "Case Quillnote-4711 <script>" in seen.words
    assert "Note of your own team, by Bo Busy" in seen.words
    assert await told(street, ref) == "closed"
    for node in (street.hub.node, street.jobcentre.node):
        for name in ("messages", "envelopes", "receipts", "inbox", "audit", "events"):
            rows = await node.database.fetch(f"select * from {name}")
            assert b"Quillnote" not in repr(rows).encode(), name
    await ann.get(f"/inbox/{ref}/print")
    paper = await ann.post(f"/inbox/{ref}/print", {})
    file = await ann.post(f"/inbox/{ref}/download", {"format": "json"}, csrf=csrf_of(ann))
    assert (paper.status, file.status) == (200, 200)
    assert "Quillnote" not in paper.text + file.text
    await street.jobcentre.node.withdraw.withdraw(ref, "not_needed", "person:worker")
    await until(ann, f"/inbox/{ref}", "Its content was deleted when the sender took it back")
    assert await street.hub.node.acknowledge.note(ref) is None
    assert (await street.hub.node.database.fetch("select note from inbox where reference = ?", (ref,)))[0][0] is None


async def test_the_sender_is_asked_once_and_the_answer_comes_to_the_alert(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    await bo.get(f"/inbox/{ref}/ask")
    assert (await bo.post(f"/inbox/{ref}/ask", {"question": " "})).errors == [("question", "Enter your question")]
    await bo.get(f"/inbox/{ref}/ask")
    for _press in range(2):
        await bo.get(f"/inbox/{ref}/ask")
        seen = await bo.post(f"/inbox/{ref}/ask", {"question": f"Which school? {HOSTILE}"})
    assert "The sender is asked." in seen.words
    assert seen.text.count("<script>alert(1)") == 0
    assert len((await street.hub.node.acknowledge.show(ref)).remarks) == 1
    await asyncio.sleep(0.3)
    await street.jobcentre.node.ask.answer(ref, f"Kestrel High. {HOSTILE}", "person:worker")
    words = await until(bo, f"/inbox/{ref}", "Kestrel High.")
    assert "They answered" in words
    assert "Question asked" not in words


async def test_it_is_given_back_with_an_area_that_is_asked_about_when_it_is_not_clear(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    form = await bo.get(f"/inbox/{ref}/pass-on")
    version = version_of(form)
    unknown = await bo.post(f"/inbox/{ref}/pass-on", {"area": "Nowhereshire", "version": version})
    assert unknown.errors[0][0] == "area"
    unclear = await bo.post(f"/inbox/{ref}/pass-on", {"area": "Richmond", "version": version})
    assert unclear.errors == [("code", "Select which area you mean")]
    assert "Which area do you mean?" in unclear.words
    done = await bo.post(f"/inbox/{ref}/pass-on", {"area": "Luton", "version": version})
    assert "It is given back." in done.words
    assert "You suggested Luton" in done.words
    assert await told(street, ref) == "not_ours"


async def test_who_was_slower_is_told_and_changes_nothing(street: Street) -> None:
    ann, bo = await receiver(street), await receiver(street)
    ref = await arrived(street)
    form = await bo.get(f"/inbox/{ref}/close")
    await ann.post(f"/inbox/{ref}/take", {"version": version_of(await ann.get(f"/inbox/{ref}"))})
    await bo.get(f"/inbox/{ref}/close")
    slow = await bo.post(f"/inbox/{ref}/close", {"version": version_of(form), "outcome": "crime_recorded"})
    assert "the alert has changed since you looked at it" in slow.words
    assert await told(street, ref) == "taken"


# ── Keeping longer ──


async def test_two_people_keep_an_alert_longer_one_of_them_a_lead_and_two_end_it(street: Street) -> None:
    ann, lead = await receiver(street, name="Ann Asks"), await receiver(street, "receiver-lead", name="Lee Leads")
    ref = await arrived(street)
    keep = f"/inbox/{ref}/keep"
    await ann.get(keep)
    wrong = await ann.post(keep, {"authority": "O'Neil?", "review-day": "1", "review-month": "", "review-year": "2027"})
    assert [field for field, _text in wrong.errors] == ["review-month", "authority"] or len(wrong.errors) == 2
    day = {"review-day": "1", "review-month": "3", "review-year": "2027"}
    asked = await ann.post(keep, {"authority": "INQ 12/2026", **day})
    assert "A lead of your team must now confirm it" in asked.words
    assert (await ann.post(keep, {"confirm": "yes"})).status == 403
    await lead.get(keep)
    held = await lead.post(keep, {"confirm": "yes"})
    assert "It is kept until two people end it." in held.words
    assert "Kept longer" in (await ann.get(f"/inbox/{ref}")).words
    await asyncio.sleep(0.2)
    statuses = [each.status for each in (await street.jobcentre.node.follow.show(ref)).timeline]
    assert "held" in statuses
    await ann.get(keep)
    await ann.post(f"/inbox/{ref}/let-go", {})
    again = await ann.get(keep)
    assert "You have asked to end it." in again.words
    await lead.get(keep)
    assert "It is no longer kept longer." in (await lead.post(f"/inbox/{ref}/let-go", {})).words


# ── Copies ──


async def test_at_half_its_time_somebody_says_whether_an_alert_is_still_needed(street: Street) -> None:
    bo = await receiver(street, name="Bo Box")
    kept, ended = await arrived(street), await arrived(street)
    database = street.hub.node.database
    assert "Half of its time is over" not in (await bo.get(f"/inbox/{kept}")).words
    async with database.transaction() as tx:
        await tx.execute("update inbox set review_asked_at = 1 where reference in (?, ?)", (kept, ended))
    listed = await bo.get("/inbox?tab=review")
    assert kept in listed.words and ended in listed.words and "Still needed? (2)" in listed.words
    for ref, needed, said in ((kept, "yes", "It is kept until its day."), (ended, "no", "It is deleted at the end of today.")):
        seen = await bo.get(f"/inbox/{ref}")
        assert "Half of its time is over" in seen.words
        assert (await bo.post(f"/inbox/{ref}/review", {"needed": "perhaps", "version": version_of(seen)})).url == f"/inbox/{ref}"
        done = await bo.post(f"/inbox/{ref}/review", {"needed": needed, "version": version_of(seen)}, csrf=csrf_of(bo))
        assert said in done.words
    assert [outcome for _, outcome in await recorded(street, "inbox:reviewed")][:2] == ["not-needed", "needed"]
    assert "Nothing is to be looked at again" in (await bo.get("/inbox?tab=review")).words
    assert "Half of its time is over" not in (await bo.get(f"/inbox/{ended}")).words
    rows = msgspec.json.decode((await bo.get("/inbox.json")).text)["items"]
    notes = {each["reference"]: each["note"] for each in rows}
    assert "0 days left" in notes[ended], "the list says what is deleted soon"
    assert "left" not in notes[kept]


async def test_paper_says_what_binds_it_and_is_in_the_register(street: Street) -> None:
    bo = await receiver(street, name="Bo Prints")
    ref = await arrived(street)
    await bo.get(f"/inbox/{ref}/print")
    paper = await bo.post(f"/inbox/{ref}/print", {})
    for words in (f"OFFICIAL-SENSITIVE {ref} Printed by Bo Prints", "Destroy this paper by", "Kez", "07700 900123"):
        assert words in paper.words, words
    copies = await street.hub.node.export.of_alert(ref)
    assert [(each.format, each.by) for each in copies] == [("paper", f"person:{bo.id}")]


@pytest.mark.parametrize("how", ["print", "download"])
async def test_conditions_are_agreed_to_and_the_sender_is_asked_before_a_copy(street: Street, how: str) -> None:
    bo = await receiver(street)
    ref = await arrived(street, alert(grading={"handling": "C", "conditions": ["A1", "S2"], "caveat_text": "Not by post."}))
    path = f"/inbox/{ref}/{how}"
    before = await bo.get(path)
    for words in ("Covert development", "Consult the originator", "Not by post.", "asked before any further use"):
        assert words in before.words, words
    refused = await bo.post(path, {"format": "json"})
    assert [field for field, _text in refused.errors] == ["consulted", "agreed"]
    assert await street.hub.node.export.of_alert(ref) == ()
    await bo.get(path)
    assert (await bo.post(path, {"format": "json", "consulted": "yes"})).errors[0][0] == "agreed"
    await bo.get(path)
    made = await bo.post(path, {"format": "json", "agreed": "yes", "consulted": "yes"})
    assert made.status == 200
    (copy,) = await street.hub.node.export.of_alert(ref)
    assert copy.consulted


async def test_a_download_is_offered_in_several_forms_and_holds_no_formula(street: Street) -> None:
    bo = await receiver(street)
    body = alert(relations=[], subjects=[{"names": [{"text": "=HYPERLINK(\"http://x\")"}]}], event={"narrative": HOSTILE, "kinds": ["=1+1"]})
    ref = await arrived(street, body)
    page = await bo.get(f"/inbox/{ref}/download")
    assert 'value="csv"' in page.text
    file = await bo.post(f"/inbox/{ref}/download", {"format": "csv"})
    assert file.headers["Content-Disposition"].endswith(f'{ref}.csv"')
    assert "no-store" in file.headers["Cache-Control"]
    assert not [cell for row in csv.reader(io.StringIO(file.text)) for cell in row if cell[:1] in "=+-@" and cell]


# ── Hostile text, foreign forms ──


async def test_what_a_partner_writes_is_text_on_every_page_and_in_every_list(street: Street) -> None:
    lead = await receiver(street, "receiver-lead")
    body = alert(
        reporter={"role_title": HOSTILE[:90], "site": HOSTILE[:90], "contact_channel": HOSTILE[:90]},
        subjects=[{"local_ref": "s1", "names": [{"text": HOSTILE}], "description": HOSTILE, "roles": [HOSTILE[:60]],
                   "identifiers": [{"scheme": HOSTILE[:60], "value": HOSTILE[:60]}]}],
        event={"kinds": [HOSTILE[:60]], "narrative": HOSTILE, "place": {"text": HOSTILE, "type": HOSTILE[:60]}},
        objects=[{"kind": HOSTILE[:60], "value": HOSTILE, "description": HOSTILE, "handling": HOSTILE[:60]}],
        relations=[], grading={"conditions": [HOSTILE[:60]], "caveat_text": HOSTILE, "handling": HOSTILE[:60]},
        legal={"gateways": [HOSTILE[:60]], "reasons_text": HOSTILE},
    )  # fmt: skip
    ref = await arrived(street, body)
    for path in ("/inbox", f"/inbox/{ref}", f"/inbox/{ref}/ask", f"/inbox/{ref}/close", f"/inbox/{ref}/print", f"/inbox/{ref}/keep"):
        seen = await lead.get(path)
        assert seen.status == 200, path
        assert "<script>alert" not in seen.text and "onmouseover=x <b>" not in seen.text.replace("&lt;b&gt;", ""), path
        assert " 49 " not in seen.words and "alert(1)" not in seen.title, path
    paper = await lead.post(f"/inbox/{ref}/print", {"agreed": "yes", "consulted": "yes"})
    assert "<script>alert" not in paper.text
    cells = [cell for row in csv.reader(io.StringIO((await lead.get("/inbox.csv")).text)) for cell in row]
    assert any("alert(1)" in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@"}]


async def test_forms_of_others_and_with_more_fields_are_refused(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    page = await bo.get(f"/inbox/{ref}")
    take = f"/inbox/{ref}/take"
    assert (await bo.post(take, {"version": "1"}, csrf="0" * 64)).status == 403
    await bo.get(f"/inbox/{ref}")
    assert (await bo.post(take, {"version": "1"}, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})).status == 403
    await bo.get(f"/inbox/{ref}")
    assert (await bo.post(take, {"version": "1", "actor": "person:x"})).status == 400
    assert (await street.hub.node.acknowledge.show(ref)).entry.taken_by is None
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "no-store" in page.headers["Cache-Control"]


# ── The end of things ──


async def test_a_withdrawn_alert_leaves_its_reference_and_what_was_said(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street)
    await bo.get(f"/inbox/{ref}")
    await street.jobcentre.node.withdraw.withdraw(ref, "mistaken_identity", "token:x")
    words = await until(bo, f"/inbox/{ref}", "Its content was deleted when the sender took it back")
    assert "wrong person" in words
    assert "Kez" not in words
    for path in ("/ask", "/close", "/print", "/pass-on"):
        assert (await bo.get(f"/inbox/{ref}{path}")).status == 410, path
    assert "Deleted" in (await bo.get("/inbox?tab=closed")).words


async def test_what_nobody_takes_in_time_is_marked_told_and_counted_once(street: Street) -> None:
    bo = await receiver(street)
    ref = await arrived(street, alert(priority="HIGH"))
    street.clock.move(hours=5)
    bo = await receiver(street)  # the session of before is over
    triage = street.hub.node.triage
    for _run in range(2):
        await triage.escalate()
    rows = await street.hub.node.database.fetch("select count(*) from events where type = 'alert.overdue' and alert_id = (select alert_id from inbox where reference = ?)", (ref,))
    assert rows[0][0] == 1
    seen = await bo.get("/inbox")
    assert "waited longer than its target" in seen.words or "have waited longer than their target" in seen.words
    assert "over its target" in seen.words
    assert "It should have been taken by" in (await bo.get(f"/inbox/{ref}")).words


# ── Search and numbers ──


async def test_a_lead_finds_an_alert_by_part_of_a_name_and_the_search_is_recorded(street: Street) -> None:
    lead = await receiver(street, "receiver-lead", teams=["MASH"])
    other = await receiver(street, "receiver-lead", teams=["YJS"])
    ref = await arrived(street, alert(relations=[], subjects=[{"names": [{"text": "Zoë O-Kestrel"}]}]))
    await lead.get("/search")
    empty = await lead.post("/search", {})
    assert [field for field, _text in empty.errors] == ["reference", "reason"]
    fields = {"name": "zoe kestrel", "area": "Croydon", "reason": "known"}
    await lead.get("/search")
    found = await lead.post("/search", fields)
    assert (found.url, ref in found.text) == ("/search", True)
    await other.get("/search")
    assert "Nothing found" in (await other.post("/search", fields)).words
    await other.get("/search")
    assert "Nothing found" in (await other.post("/search", {"reference": ref, "reason": "known"})).words
    await lead.get("/search")
    assert ref in (await lead.post("/search", {"reference": ref, "reason": "rights"})).text
    assert (f"person:{lead.id}", "known") in await recorded(street, "inbox:searched")
    await lead.get("/search")
    assert "Nothing found" in (await lead.post("/search", {"name": "nobody at all", "reason": "known"})).words


async def test_the_numbers_of_a_week_are_on_the_page_and_in_the_lists(street: Street) -> None:
    lead = await receiver(street, "receiver-lead")
    page = await lead.get("/reports")
    assert "Week from" in page.words
    assert '<svg class="bridge-bars" role="img" aria-labelledby="bars-title"' in page.text
    assert "nothing came or went" in page.words
    items = msgspec.json.decode((await lead.get("/reports.json")).text)["items"]
    assert len(items) == 12
    assert items[-1]["received"] > 20
    assert items[-1]["hours_to_close"] is not None


async def test_where_people_are_from_is_a_map_with_a_table_and_counting_is_recorded(street: Street) -> None:
    lead, other = await receiver(street, "receiver-lead"), await receiver(street, "receiver-lead", teams=["YJS"])
    await arrived(street)
    items = msgspec.json.decode((await lead.get("/reports/areas.json")).text)["items"]
    by = {each["area"]: each["number"] for each in items}
    assert by["Croydon"] >= 1
    page = await lead.get("/reports/areas")
    assert f"<title>Croydon: {by['Croydon']} alert" in page.text
    assert f"Croydon London {by['Croydon']}" in page.words
    assert page.text.count("<path class=") == 361
    assert (f"person:{lead.id}", "ok") in await recorded(street, "inbox:counted")
    assert "No alert of the last 12 weeks is kept." in (await other.get("/reports/areas")).words
    assert (await (await receiver(street)).get("/reports/areas.csv")).status == 403


async def test_a_list_that_is_open_is_told_of_new_alerts_and_ends_with_the_session(street: Street) -> None:
    bo = await receiver(street)
    page = await bo.get("/inbox")
    path = page.text.split('data-live="')[1].split('"', maxsplit=1)[0]
    async with bo.session.get(f"{bo.base}{path}") as stream:
        assert stream.content_type == "text/event-stream"
        ref = await arrived(street)
        async with asyncio.timeout(10):
            lines = b""
            while b"changed" not in lines or not lines.endswith(b"\n\n"):
                lines += await stream.content.readany()
    assert b"Show 1 new alert" in lines
    assert ref.encode() not in lines
    assert (await bo.get("/inbox/live?seen=x")).status == 422


async def test_to_listen_does_not_keep_a_session_alive(street: Street) -> None:
    bo = await receiver(street)
    path = (await bo.get("/inbox")).text.split('data-live="')[1].split('"', maxsplit=1)[0]
    for _turn in range(3):
        street.clock.move(minutes=11)
        async with bo.session.get(f"{bo.base}{path}", headers={"Accept": "text/event-stream"}, allow_redirects=False) as stream:
            status = stream.status
    assert status == 303  # signed out after half an hour, for all its listening


async def test_the_door_of_verbs_says_the_same(street: Street) -> None:
    with pytest.raises(Rejected) as refused:
        await street.hub.node.triage.may("BR-NONE", ())
    assert refused.value.code == "not-found"


# ── Earlier alerts about perhaps the same person ──

TARIQ = [{"local_ref": "s1", "names": [{"text": "Tariq Osei"}], "dob": "2009-03-02"}]
LATER = [{"local_ref": "s1", "names": [{"text": "Osei Tarik"}], "dob": "2009-03-02"}]
CARD = "Possible earlier alerts about the same person"


async def came(street: Street, **changes: Any) -> str:
    """An alert that arrived and got its marks."""
    ref = await arrived(street, alert(objects=[], relations=[], **changes))
    while await street.hub.node.match.work():
        pass
    return ref


async def test_an_earlier_alert_about_perhaps_the_same_person_is_suggested_with_its_reasons(street: Street) -> None:
    lea = await receiver(street)
    early = await came(street, subjects=TARIQ, recipients=[{"function": "LA_CSP", "area": "home"}])
    late = await came(street, subjects=LATER, recipients=[{"function": f, "area": "home"} for f in ("LA_CSP", "MASH")])
    first = await lea.get(f"/inbox/{early}")
    assert CARD not in first.words
    seen = await lea.get(f"/inbox/{late}")
    assert CARD in seen.words and f'href="/inbox/{early}"' in seen.text
    assert "The same date of birth" in seen.words and "A first name that sounds alike" in seen.words
    # Whoever was shown it stands in the record; who is of another team alone is shown nothing.
    early_id, late_id = [(await street.hub.node.triage.may(ref, ())).alert_id for ref in (early, late)]
    rows = await Recall(database=street.hub.node.database).page(None, 50, lambda each: each.action == "inbox:suggested")
    assert rows.records[0].alert == early_id
    hub = await receiver(street, teams=["MASH"])
    assert CARD not in (await hub.get(f"/inbox/{late}")).words
    # Neither alert is changed, and both stand apart in the list as before.
    assert (await street.hub.node.acknowledge.show(late_id)).entry.corrects is None
    # What a person says stays said, for everybody.
    said = await lea.post(f"/inbox/{late}/not-same", {"other": early})
    assert "It is not suggested for this alert again" in said.words and CARD not in said.words
    assert CARD not in (await (await receiver(street)).get(f"/inbox/{late}")).words
    assert (await recorded(street, "inbox:told-apart"))[0][1] == early_id
    assert (await hub.post(f"/inbox/{late}/not-same", {"other": early})).status == 404


NEVER_COMPARED: dict[str, dict[str, Any]] = {
    "the sender is to be asked first": {"grading": {"handling": "C", "conditions": ["S2"]}},
    "a caveat in words": {"grading": {"caveat_text": "For the named officer alone"}},
    "came as that of the place": {"event": {"place": {"district": CROYDON}}, "home": {"district": "E09000010"},
                                  "recipients": [{"function": "MASH", "area": "place"}]},
}  # fmt: skip


@pytest.mark.parametrize("binds", NEVER_COMPARED.values(), ids=NEVER_COMPARED)
async def test_what_may_not_be_compared_is_neither_suggested_nor_given_suggestions(street: Street, binds: Any) -> None:
    match = street.hub.node.match
    who = [{"names": [{"text": "Femi Adeyemi-Cole"}], "dob": "2010-10-10"}]
    free = await came(street, subjects=who)
    bound = await came(street, subjects=who, **binds)
    later = await came(street, subjects=who)
    assert free in [each.reference for each in await match.earlier(later, "bo", ())]
    assert bound not in [each.reference for each in await match.earlier(later, "bo", ())]
    assert await match.earlier(bound, "bo", ()) == ()


async def test_what_is_over_is_not_suggested_and_its_marks_are_gone(street: Street) -> None:
    node = street.hub.node
    who = [{"names": [{"text": "Ngozi Eze"}], "dob": "2011-01-01"}]
    refs = [await came(street, subjects=who) for _ in range(3)]
    given_back, withdrawn, last = refs
    await node.acknowledge.not_ours(given_back, None, "bo")
    assert [each.reference for each in await node.match.earlier(last, "bo", ())] == [withdrawn]
    ids = [(await node.triage.may(ref, ())) for ref in refs]
    before = await node.database.fetch("select count(*) from traces")
    await street.jobcentre.node.withdraw.withdraw(ids[1].alert_id, "mistaken_identity", "ann")
    for _turn in range(100):
        if (await node.triage.may(withdrawn, ())).gone:
            break
        await asyncio.sleep(0.02)
    assert await node.match.earlier(last, "bo", ()) == ()
    after = await node.database.fetch("select count(*) from traces")
    assert after[0][0] < before[0][0]


async def test_a_mark_says_nothing_without_the_key_of_its_day(street: Street) -> None:
    node = street.hub.node
    await came(street, subjects=[{"names": [{"text": "Ngozi Eze"}], "dob": "2011-01-01"}])
    rows = await node.database.fetch("select mark from traces")
    texts = ["born:2011-01-01", "name:ngozi", "name:eze"]
    known = {row[0] for row in rows}
    days = node.keystore.buckets()
    assert len(known & {mark for key in days for mark in key.marks(texts)}) >= 3
    other = BucketKey.generate(days[0].day, secrets.token_bytes)
    assert not known & set(other.marks(texts))
    other.destroy()
    with pytest.raises(Rejected):
        other.marks(texts)
