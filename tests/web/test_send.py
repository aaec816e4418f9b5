"""Sending an alert as people without scripts do: the form, STOP, which area, the check, once, drafts, and no others' things."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
import pytest_asyncio
from house import Quarry, Someone, opened
from street import ALERT, JOBCENTRE, Street, built, once_of

from bridge.accounts import May
from bridge.errors import Rejected
from bridge.nodes.draft import LIFE
from bridge.nodes.recall import Recall
from bridge.storage.contents import Contents
from bridge.web import look
from bridge.web.send.sent import read_out

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}\u202egnp.exe =1+1 \" onmouseover=x"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> AsyncIterator[Street]:
    async with built(tmp_path_factory.mktemp("street"), quarry) as made:
        yield made


async def said(worker: Someone, ref: str, words: str) -> str:
    """The page of a sent alert once it says these words."""
    seen = ""
    for _turn in range(100):
        seen = (await worker.get(f"/sent/{ref}")).words
        if words in seen:
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"{words} is not in: {seen}")


async def count(street: Street, person: Someone) -> int:
    rows = await street.jobcentre.node.database.fetch("select id from alerts where actor = ?", (f"person:{person.id}",))
    return len(rows)


async def recorded(street: Street, action: str, ref: str, person: Someone) -> int:
    """How often the audit log says that somebody did this with an alert."""
    shown = await street.jobcentre.node.follow.show(ref)
    wanted = (action, f"person:{person.id}", shown.row.id)
    found = await Recall(database=street.jobcentre.node.database).page(
        None, 10, lambda record: (record.action, record.actor, record.subject) == wanted
    )
    return len(found.records)


async def test_an_alert_goes_from_the_form_by_the_check_to_receipts(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    check = await worker.post("/send", ALERT)
    assert check.url == "/send/check"
    for words in (
        "Croydon safeguarding hub", "Children's services front door", "01632 960000", "You may share this because",
        "It is deleted everywhere after 22 November 2027", "others who send for Maidstone Jobcentre can see it",
        "Kent and London police desk", "section 123 of the Social Security Administration Act", "Marking: OFFICIAL-SENSITIVE",
    ):  # fmt: skip
        assert words in check.words, words
    assert await count(street, worker) == 0
    seen = await worker.post("/send/check", {"once": once_of(check.text)})
    ref = seen.url.removeprefix("/sent/")
    assert f"Alert sent Your reference {ref}" in seen.words
    assert "Say it as: Bravo Romeo" in seen.words
    assert "They should answer by the end of 23 November 2026." in seen.words
    await said(worker, ref, "Croydon safeguarding hub: Delivered")
    await street.hub.node.acknowledge.take(ref, "person:desk")
    await said(worker, ref, "Croydon safeguarding hub: Being worked on")
    await said(worker, ref, "waiting for the team to close it with an outcome")
    assert (await worker.get("/send")).text.count("Offered three claimants") == 0


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"seen": ""}, "seen", "Select what you have seen"),
        ({"area": ""}, "area", 'Enter the area the person is from, or select "I do not know"'),
        ({"area": "Kennt"}, "area", "We do not know “Kennt”. Check the spelling or choose from the list"),
        ({"name": ""}, "name", "Enter a name, a nickname or a description"),
        ({"when": "other", "on-day": "3", "on-year": "2026"}, "on-month", "Date you saw this must include a month"),
        ({"when": "other", "on-day": "3", "on-month": "3", "on-year": "2027"}, "on-day", "Date you saw this must be today or in the past"),
        ({"when": "other"}, "on-day", "Enter the date you saw this"),
        ({"on-day": "3", "on-month": "3", "on-year": "2026"}, "when", 'Select "Another day", or clear the date'),
        ({"happened": "Short"}, "happened", "Enter what happened, in 20 characters or more"),
        ({"happened": ""}, "happened", "Enter what happened, in 20 characters or more"),
        ({"happened": "x" * 2001}, "happened", "What happened must be 2,000 characters or less"),
        ({"happened": "This was marked TOP SECRET by them"}, "happened",
         "This is marked above OFFICIAL-SENSITIVE, which bridge may not carry. Use the channel that your security officer names for it."),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:28],
)  # fmt: skip
async def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    street: Street, changes: dict[str, str], field: str, text: str
) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    seen = await worker.post("/send", {**ALERT, **changes})
    assert (seen.status, seen.errors) == (422, [(field, text)])
    assert seen.title == "Error: Send an alert"
    typed = {**ALERT, **changes}
    assert all(value[:40] in seen.text for name, value in typed.items() if name in {"name", "happened", "area"})


async def test_all_mistakes_are_told_at_once_in_the_order_of_the_page(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    seen = await worker.post("/send", {"danger": "no", "when": "other", "how": "self"})
    assert [field for field, _text in seen.errors] == ["seen", "area", "name", "on-day", "happened"]


async def test_danger_stops_first_whatever_else_is_missing_and_the_alert_is_then_urgent(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    stop = await worker.post("/send", {**ALERT, "danger": "yes", "happened": ""})
    assert stop.url == "/send/stop"
    assert "Ring 999 now" in stop.words
    assert "Then ring Kent" not in stop.words
    assert 'href="tel:999"' in stop.text
    assert "01632 960000" in stop.words
    back = await worker.post("/send/stop", {"did": "rang"})
    assert back.url == "/send"
    check = await worker.post("/send", {**ALERT, "danger": "yes"})
    assert check.url == "/send/check"
    seen = await worker.post("/send/check", {"once": once_of(check.text)})
    assert "You said that somebody is in danger" in seen.words
    shown = await street.jobcentre.node.follow.show(seen.url.removeprefix("/sent/"))
    body = msgspec.json.decode(shown.alert or b"{}")
    assert (body["priority"], body["local_action"]) == ("HIGH", {"also_reported_to": ["999"]})


async def test_nothing_is_sent_to_a_place_that_was_not_meant(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    which = await worker.post("/send", {**ALERT, "area": "Newcastle"})
    assert which.url == "/send/area"
    assert "Newcastle upon Tyne" in which.words
    assert "Newcastle-under-Lyme" in which.words
    assert (await worker.post("/send/area", {})).errors[0][1] == "Select the area you meant, or that you do not know"
    check = await worker.post("/send/area", {"area": "E07000195"})
    assert check.url == "/send/check"
    assert "From Newcastle-under-Lyme" in check.words
    assert "Nobody serves" in check.words
    await worker.get("/send/area")
    none = await worker.post("/send/area", {"area": "unknown"})
    assert "From Not known" in none.words
    assert "Nobody yet" in none.words
    assert "ring Duty desk on 01632 960000" in none.words


async def test_an_area_chosen_from_the_list_counts_only_for_the_text_it_was_chosen_for(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    chosen = {**ALERT, "area": "Newcastle", "area_name": "Newcastle", "area_code": "E08000021"}
    assert "From Newcastle upon Tyne" in (await worker.post("/send", chosen)).words
    await worker.get("/send")
    other = {**chosen, "area": "Croydon"}
    assert "From Croydon" in (await worker.post("/send", other)).words


async def test_areas_are_offered_while_one_is_typed_and_never_by_an_address(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    token = (await worker.get("/send")).csrf
    async with worker.session.post(
        f"{worker.base}/send/areas", data="croy", headers={"X-Form-Token": token, "Sec-Fetch-Site": "same-origin"}
    ) as answer:
        rows = msgspec.json.decode(await answer.read())
    assert {"code": "E09000008", "name": "Croydon", "within": "London"} in rows


async def test_pressing_send_again_and_at_once_sends_once(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    check = await worker.post("/send", ALERT)
    fields = {"once": once_of(check.text)}
    token = check.csrf
    seen = await asyncio.gather(*(worker.post("/send/check", fields, csrf=token) for _each in range(6)))
    assert len({each.url for each in seen}) == 1
    assert (await worker.post("/send/check", fields)).url == seen[0].url
    assert await count(street, worker) == 1


async def test_a_check_page_that_is_no_longer_true_sends_nothing(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    old = once_of((await worker.post("/send", ALERT)).text)
    await worker.get("/send")
    await worker.post("/send", {**ALERT, "happened": "Something else happened, quite another thing."})
    seen = await worker.post("/send/check", {"once": old})
    assert seen.url == "/send/check"
    assert "Your answers have changed since you opened that page" in seen.words
    assert await count(street, worker) == 0


async def test_a_draft_outlives_a_time_out_and_is_gone_after_its_hour_everywhere(street: Street) -> None:
    worker = await street.jobcentre.someone("sender", name="Dee Draft")
    word = "Quartzfinch7731"
    await worker.get("/send")
    await worker.post("/send", {**ALERT, "name": word, "happened": ""})
    street.clock.move(minutes=31)
    ended = await worker.get("/send")
    assert ended.url.startswith("/sign-in")
    assert "What you had begun to write is kept" in ended.words
    node = street.jobcentre.node
    opened = await node.sign_in.enter(worker.id, "passkey")
    worker.session.cookie_jar.update_cookies({"bridge-kent-jcp": opened.secret})
    again = await worker.get("/send")
    assert word in again.text
    assert "We kept what you typed" in again.words
    everything = b"".join(each.read_bytes() for each in node.directory.rglob("*") if each.is_file())
    assert word.encode() not in everything
    street.clock.move(minutes=29)
    await worker.get("/account")
    street.clock.move(seconds=(LIFE - timedelta(minutes=60)).total_seconds() + 5)
    assert word not in (await worker.get("/send")).text
    await node.retain.run()
    assert await node.database.fetch("select id from drafts where account = ?", (worker.id,)) == []


async def test_what_was_kept_while_typing_never_replaces_what_was_sent_after_it(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    check = await worker.post("/send", ALERT)
    await worker.post("/send/draft", {**ALERT, "name": "", "happened": "Half a sen"})
    assert (await worker.get("/send/check")).url == "/send/check"
    street.clock.move(seconds=6)
    await worker.post("/send/draft", {**ALERT, "name": "Kezia"})
    assert (await worker.get("/send/check")).url == "/send"
    assert once_of(check.text)
    assert "Kezia" in (await worker.get("/send")).text


async def test_starting_again_deletes_the_draft(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    await worker.post("/send/draft", {**ALERT, "name": "Quartzfinch"})
    assert "Quartzfinch" in (await worker.get("/send")).text
    seen = await worker.post("/send/again", {})
    assert "Quartzfinch" not in seen.text


async def test_nobody_sees_the_draft_or_the_alert_of_somebody_else_in_another_team(street: Street) -> None:
    ann = await street.jobcentre.someone("sender", name="Ann Sender", teams=["JCP"])
    bob = await street.jobcentre.someone("sender", name="Bob Sender", teams=["HOUSING"])
    cat = await street.jobcentre.someone("sender", name="Cat Sender", teams=["JCP"])
    ref = await street.sent(ann)
    assert (await cat.get(f"/sent/{ref}")).status == 200
    for path in ("", "/correct", "/withdraw", "/send-on", "/receipts", "/live", "/correct/check", "/correct/area", "/correct/stop"):
        assert (await bob.get(f"/sent/{ref}{path}")).status == 404, path
    await bob.get("/account")
    for path in ("/print", "/attend", "/withdraw", "/send-on", "/correct", "/correct/draft", "/correct/check", "/correct/area", "/correct/stop"):
        assert (await bob.post(f"/sent/{ref}{path}", {})).status == 404, path
    assert ref not in (await bob.get("/sent?show=team")).text
    assert ref in (await cat.get("/sent?show=team")).text
    assert ref not in (await cat.get("/sent")).text
    shown = await street.jobcentre.node.database.fetch("select team from alerts where reference = ?", (ref,))
    assert shown == [("JCP",)]


async def test_somebody_in_several_teams_says_for_which(street: Street) -> None:
    worker = await street.jobcentre.someone("sender", teams=["JCP", "HOUSING"])
    assert "Which team are you sending for?" in (await worker.get("/send")).words
    assert (await worker.post("/send", ALERT)).errors == [("team", "Select your team")]
    check = await worker.post("/send", {**ALERT, "team": "HOUSING"})
    assert "you and your team (Housing) can see it" in check.words


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/send", {**ALERT, "admin": "1"}), ("/send", {**ALERT, "seen": ["other", "other"]}), ("/send/draft", {"x": "y"}),
        ("/send/check", {"once": "0" * 32, "to": "me"}), ("/send/check", {"once": "../etc"}), ("/send/area", {"district": "E09000008"}),
        ("/send/stop", {"did": "rang", "n": "1"}), ("/send/not", {"reason": "x", "actor": "person:me"}),
    ],
)  # fmt: skip
async def test_fields_that_a_form_does_not_have_are_refused(street: Street, path: str, fields: dict[str, str]) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    assert (await worker.post(path, fields)).status == 400
    assert await count(street, worker) == 0


async def test_hostile_text_is_inert_on_every_page_and_in_every_list(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    hostile = {"name": HOSTILE, "description": HOSTILE, "happened": HOSTILE, "place": HOSTILE}
    pages = [await worker.post("/send", {**ALERT, **hostile, "area": HOSTILE})]
    ref = await street.sent(worker, **hostile)
    pages += [await worker.get(f"/sent/{ref}"), await worker.get(f"/sent/{ref}/correct"), await worker.post(f"/sent/{ref}/print", {})]
    for seen in pages:
        assert "<script>alert" not in seen.text
        assert "{{ 7*7 }}" in seen.words
        assert "\u202e" not in seen.text
        assert '" onmouseover' not in seen.text
    sheet = (await worker.get("/sent.csv")).text
    assert all(not line.split('","')[0].startswith(('"=', '"+', '"-', '"@')) for line in sheet.splitlines())


async def test_what_needs_the_sender_comes_first_until_it_is_dealt_with(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    assert "You have not sent an alert yet." in (await worker.get("/sent")).words
    first, second = await street.sent(worker), await street.sent(worker)
    await said(worker, first, "Croydon safeguarding hub: Delivered")
    await street.hub.node.acknowledge.not_ours(first, "E08000021", "person:desk")
    words = await said(worker, first, "This needs you")
    assert "They suggest Newcastle upon Tyne" in words
    seen = await worker.get("/sent")
    assert "1 needs you" in seen.words
    assert seen.text.index(first) < seen.text.index(second)
    rows = msgspec.json.decode((await worker.get("/sent.json")).text)["items"]
    assert [(row["reference"], row["needs_you"]) for row in rows] == [(first, True), (second, False)]
    assert "Newcastle upon Tyne" in (await worker.get(f"/sent/{first}/send-on")).text
    told = await worker.post(f"/sent/{first}/send-on", {"area": "Newcastle upon Tyne"})
    assert told.errors == [("area", "No other team is known there. Ring them, or choose another area")]
    await worker.get(f"/sent/{first}")
    await worker.post(f"/sent/{first}/attend", {})
    assert "needs you" not in (await worker.get("/sent")).words


async def test_a_question_from_the_home_area_is_answered_once_and_stands_first_until_then(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker)
    await said(worker, ref, "Croydon safeguarding hub: Delivered")
    await street.hub.node.ask.ask(ref, "Which school is on the <b>blazer</b>?", "person:desk")
    words = await said(worker, ref, "Croydon safeguarding hub asks")
    assert "1 question waits for your answer" in words
    assert "Question for you" in (await worker.get("/sent")).words
    page = await worker.get(f"/sent/{ref}")
    assert "<b>blazer" not in page.text
    question = page.text.split('name="question" value="')[1].split('"')[0]
    assert (await worker.post(f"/sent/{ref}/answer", {"question": question, "text": " "})).errors == [
        (f"answer-{question}", "Enter your answer")
    ]
    assert (await worker.post(f"/sent/{ref}/answer", {"question": "0" * 32, "text": "None of yours"})).status == 404
    for _twice in range(2):
        await worker.get(f"/sent/{ref}")
        seen = await worker.post(f"/sent/{ref}/answer", {"question": question, "text": "A green one, with an oak leaf."})
    assert seen.words.count("A green one, with an oak leaf.") == 1
    assert "need you" not in (await worker.get("/sent")).words
    for _turn in range(100):
        heard = (await street.hub.node.acknowledge.show(ref)).remarks
        if any(each.text == "A green one, with an oak leaf." for each in heard):
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the answer did not come")


async def test_a_list_goes_on_page_by_page(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    for _each in range(3):
        await street.sent(worker)
    rows = msgspec.json.decode((await worker.get("/sent.json")).text)
    assert "next_cursor" not in rows
    seqs = await street.jobcentre.node.database.fetch("select seq from alerts where actor = ?", (f"person:{worker.id}",))
    newest = max(seq for (seq,) in seqs)
    assert len(msgspec.json.decode((await worker.get(f"/sent.json?before={newest}")).text)["items"]) == 2


async def test_a_correction_goes_to_whoever_has_it_once_and_keeps_what_the_form_does_not_know(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    body = msgspec.json.encode(
        {
            "subjects": [{"local_ref": "s1", "names": [{"text": "Kez"}, {"text": "K"}], "dob": "2010-01-01"}, {"description": "tall"}],
            "home": {"district": "E09000008"}, "event": {"kinds": ["missing_or_found"], "narrative": "Seen at the station at noon."},
            "objects": [{"kind": "phone", "value": "07700 900123"}], "odd": {"kept": 1},
        }
    )  # fmt: skip
    sent = await street.jobcentre.node.submit.send(body, f"person:{worker.id}")
    ref = sent.reference
    await said(worker, ref, "Croydon safeguarding hub: Delivered")
    page = await worker.get(f"/sent/{ref}/correct")
    assert 'value="Croydon"' in page.text
    fields = {"danger": "no", "seen": "other", "area": "Croydon", "area_name": "Croydon", "area_code": "E09000008",
              "name": "Kezia", "when": "other", "on-day": "22", "on-month": "11", "on-year": "2026",
              "happened": "Seen at the station at noon.", "how": "self", "protect": "yes"}  # fmt: skip
    check = await worker.post(f"/sent/{ref}/correct", fields)
    assert check.url == f"/sent/{ref}/correct/check"
    assert "Send correction" in check.words
    once = {"once": once_of(check.text)}
    token = check.csrf
    seen = await asyncio.gather(*(worker.post(f"/sent/{ref}/correct/check", once, csrf=token) for _each in range(3)))
    assert len({each.url for each in seen}) == 1
    new = seen[0].url.removeprefix("/sent/")
    assert "Correction sent" in seen[0].words
    shown = msgspec.json.decode((await street.jobcentre.node.follow.show(new)).alert or b"{}")
    assert shown["subjects"][0]["names"] == [{"text": "Kezia", "kind": "known"}, {"text": "K"}]
    assert (shown["subjects"][1], shown["odd"], shown["objects"][0]["value"]) == ({"description": "tall"}, {"kept": 1}, "07700 900123")
    assert shown["event"]["kinds"] == ["missing_or_found"]
    assert f"Corrected by {new}" in (await worker.get(f"/sent/{ref}")).words


async def test_an_alert_is_taken_back_and_the_page_says_who_has_deleted_it(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker)
    await said(worker, ref, "Kent and London police desk: Delivered")
    await said(worker, ref, "Croydon safeguarding hub: Delivered")
    await worker.get(f"/sent/{ref}/withdraw")
    assert (await worker.post(f"/sent/{ref}/withdraw", {})).errors == [("reason", "Select why you take it back")]
    seen = await worker.post(f"/sent/{ref}/withdraw", {"reason": "mistaken_identity"})
    assert f"Alert {ref} was taken back" in seen.words
    await said(worker, ref, "Croydon safeguarding hub : Deleted")
    assert (await worker.get(f"/sent/{ref}/correct")).status == 409


async def test_a_node_that_is_away_is_no_mistake_of_the_worker(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    street.dark.add("croydon-mash")
    try:
        ref = await street.sent(worker)
        words = (await worker.get(f"/sent/{ref}")).words
        assert "Croydon safeguarding hub Sending" in words
        assert "waiting for delivery" in words
        assert "Their system cannot be reached just now" in await said(worker, ref, "Their system cannot be reached")
    finally:
        street.dark.clear()


async def test_printing_is_recorded_and_the_sheet_says_by_whom_and_when_to_shred_it(street: Street) -> None:
    worker = await street.jobcentre.someone("sender", name="Pat Printer")
    ref = await street.sent(worker)
    seen = await worker.post(f"/sent/{ref}/print", {})
    assert f"OFFICIAL-SENSITIVE · {ref} · printed by Pat Printer" in seen.words
    assert "Shred this paper by 22 November 2027." in seen.words
    assert await recorded(street, "alert:printed", ref, worker) == 1


async def test_every_look_at_a_sent_alert_is_recorded_first(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    ref = await street.sent(worker)
    assert await recorded(street, "alert:seen", ref, worker) == 1


async def test_a_decision_not_to_send_is_for_whoever_took_it_alone_and_says_whom_to_ask(street: Street) -> None:
    worker = await street.jobcentre.someone("sender", name="Una Undecided")
    other = await street.jobcentre.someone("sender")
    await worker.get("/send")
    await worker.post("/send", {**ALERT, "name": "Quartzfinch", "happened": ""})
    await worker.get("/send/not")
    wrong = await worker.post("/send/not", {"reason": "", "note": "", "review": "7"})
    assert wrong.errors == [("reason", "Select why you do not send it")]
    seen = await worker.post("/send/not", {"reason": "fear_of_accountability", "note": "Asked nobody yet, Marlinspike", "review": "7"})
    assert seen.title == "Your decision is recorded"
    for words in ("Fear of blame", "You are covered when you share for safety", "29 November 2026", "Someone recruiting or using others", "Croydon"):
        assert words in seen.words, words
    assert "Quartzfinch" not in seen.text
    assert "Quartzfinch" not in (await worker.get("/send")).text
    assert "Marlinspike" in (await worker.get("/send/decisions.json")).text
    theirs = seen.url
    assert (await other.get(theirs)).url == "/send/decisions"
    assert "Marlinspike" not in (await other.get("/send/decisions.json")).text
    node = street.jobcentre.node
    everything = b"".join(each.read_bytes() for each in node.directory.rglob("*") if each.is_file())
    assert b"Marlinspike" not in everything
    assert b"fear_of_accountability" not in everything


async def test_nothing_that_was_typed_stays_among_what_is_drawn_once(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    typed = {**ALERT, "name": "Marlinspike", "description": "Marlinspike", "place": "Marlinspike", "area": "Newcastle", "happened": "Marlinspike"}
    for fields in (typed, {**typed, "area": "Marlinspike"}):
        assert "Marlinspike" in (await worker.post("/send", fields)).text
    assert "Marlinspike" in (await worker.get("/send")).text
    assert not any("Marlinspike" in str(each) for each in look._drawn.items())


async def test_nothing_personal_is_in_a_title_or_an_address(street: Street) -> None:
    worker = await street.jobcentre.someone("sender", name="Titus Title")
    await worker.get("/send")
    typed = {**ALERT, "name": "Quartzfinch", "area": "Newcastle"}
    seen = [await worker.post("/send", typed), await worker.post("/send/area", {"area": "E08000021"})]
    seen.append(await worker.post("/send/check", {"once": once_of(seen[-1].text)}))
    for each in seen:
        for word in ("Quartzfinch", "Newcastle", "Titus", "parcels"):
            assert word not in each.title
            assert word not in each.url


async def test_a_reference_is_read_out_by_words_that_cannot_be_mistaken() -> None:
    assert read_out("BR-7KQ2-M9XT") == "Bravo Romeo, seven Kilo Quebec two, Mike nine X-ray Tango"


async def test_a_draft_outlives_a_restart(quarry: Quarry, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("restart") / "node"
    await quarry.copy(JOBCENTRE, folder)
    async with opened(folder, JOBCENTRE) as house:
        worker = await house.someone("sender")
        await worker.get("/send")
        await worker.post("/send", {**ALERT, "happened": "", "name": "Quartzfinch"})
        cookie = worker.cookie("bridge-kent-jcp")
    async with opened(folder, JOBCENTRE) as house:
        again = house.stranger()
        again.session.cookie_jar.update_cookies({"bridge-kent-jcp": cookie})
        assert "Quartzfinch" in (await again.get("/send")).text
        nobody = await again.post("/send", ALERT)
        assert "Croydon has no team on Bridge yet. Ring Duty desk on 01632 960000" in nobody.words
        held = await again.post("/send/check", {"once": once_of(nobody.text)})
        assert "This needs you No team is known for" in held.words
        assert "Alerts you sent 1 waiting" in held.words
        await again.get("/send")
        await again.post("/send", {**ALERT, "name": "Marlinspike", "happened": ""})
        await again.get("/send/not")
        await again.post("/send/not", {"reason": "statute_forbids", "note": "Marlinspike", "review": "1"})
        await again.get("/send")
        await again.post("/send", {**ALERT, "name": "Marlinspike", "happened": ""})
        rows = await house.node.database.fetch("select id, bucket_day, wrapped_key, content from drafts")
        decided = await house.node.database.fetch("select id, bucket_day, wrapped_key, content from decisions")
        contents = Contents(house.node.keystore)
        assert b"Marlinspike" in contents.open(*rows[0])
        assert b"Marlinspike" in contents.open(*decided[0])
        house.clock.move(days=1)
        await house.node.retain.run()
        assert await house.node.database.fetch("select id from drafts") == []
        with pytest.raises(Rejected, match="deleted"):
            contents.open(*rows[0])  # a copy of the data from before is as unreadable as the data
        for _month in range(25):
            house.clock.move(days=30)
            await house.node.retain.run()
        assert await house.node.database.fetch("select id from decisions") == []
        with pytest.raises(Rejected, match="deleted"):
            contents.open(*decided[0])


async def test_a_stream_ends_with_the_session_and_does_not_keep_it_alive(quarry: Quarry, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("still") / "node"
    await quarry.copy(JOBCENTRE, folder)
    async with opened(folder, JOBCENTRE) as house:
        worker = await house.someone("sender")
        visitor = await house.node.sign_in.visitor(worker.cookie("bridge-kent-jcp") or "")
        assert visitor is not None
        for _each in range(29):
            house.clock.move(minutes=1)
            assert await house.node.sign_in.still(visitor, May.SEND)
        assert not await house.node.sign_in.still(visitor, May.RECEIVE)
        house.clock.move(minutes=1)
        assert not await house.node.sign_in.still(visitor, May.SEND)


async def test_every_mistake_is_told_at_once_in_the_order_of_the_page(street: Street) -> None:
    worker = await street.jobcentre.someone("sender")
    await worker.get("/send")
    seen = await worker.post("/send", {**ALERT, "seen": "", "area": "Kennt", "name": "", "happened": "short"})
    assert [link for link, _text in seen.errors] == ["seen", "area", "name", "happened"]
    assert any("We do not know “Kennt”" in text for _link, text in seen.errors)
