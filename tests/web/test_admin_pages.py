"""What administrators do without a shell: partners with two pairs of eyes, areas, people, tokens, the audit log."""

import re
from pathlib import Path

import msgspec
from house import ESSEX, House, Quarry, Someone, opened, settings_of, words_of

import bridge
from bridge.config import Listen
from bridge.nodes import transport
from bridge.nodes.app import Node
from bridge.receipts import STATUSES
from bridge.web.admin.connections import REASONS
from bridge.web.admin.log import KINDS, deed


async def invitation(quarry: Quarry, to: Path) -> tuple[str, str]:
    await quarry.copy(ESSEX, to)
    node = await Node.open(to, ESSEX)
    try:
        return node.enrol.invite().decode(), words_of(node)
    finally:
        await node.close()


async def added(house: House, ada: Someone, invite: str) -> str:
    await ada.get("/admin/partners/add")
    return (await ada.post("/admin/partners/add", {"invitation": invite})).url


ESSEX_PAGE = "/admin/partners/essex-police"


async def test_two_accounts_make_a_partner_active_and_one_does_not(house: House, quarry: Quarry, tmp_path: Path) -> None:
    invite, words = await invitation(quarry, tmp_path / "essex")
    ada, bo = await house.someone("administrator", name="Ada Admin"), await house.someone("administrator", name="Bo Boss")
    assert await added(house, ada, invite) == ESSEX_PAGE
    page = await ada.get(f"{ESSEX_PAGE}/approve")
    assert words not in page.words
    terms = {"functions": "POLICE", "areas": "E23000028", "agreement": "ISA 1", "rang": "yes"}
    wrong = await ada.post(f"{ESSEX_PAGE}/approve", {**terms, "heard": "one two three"})
    assert [field for field, _text in wrong.errors] == ["heard"]
    assert 'value="ISA 1"' in wrong.text
    first = await ada.post(f"{ESSEX_PAGE}/approve", {**terms, "heard": words.upper()})
    assert "Approved by one" in first.words
    await ada.get(f"{ESSEX_PAGE}/approve")
    again = await ada.post(f"{ESSEX_PAGE}/approve", {**terms, "heard": words})
    assert "second, different administrator" in again.words
    assert "Ada Admin approved this partner for: Territorial police force in Essex Police" in (
        await bo.get(f"{ESSEX_PAGE}/approve")
    ).words
    second = await bo.post(f"{ESSEX_PAGE}/approve", {"heard": words, "rang": "yes"})
    assert "The partner is active." in second.words
    partner = house.node.book.get("essex-police")
    assert partner is not None
    assert [approval.admin for approval in partner.approvals] == [f"person:{ada.id}", f"person:{bo.id}"]
    assert "The partner is active." not in (await bo.get(ESSEX_PAGE)).words


async def test_what_is_no_invitation_is_told_at_the_field(house: House) -> None:
    ada = await house.someone("administrator")
    await ada.get("/admin/partners/add")
    for text, told in (("", "Paste the invitation, or choose its file"), ("{}", "This is not an invitation. Ask the partner to send it again")):
        assert (await ada.post("/admin/partners/add", {"invitation": text})).errors == [("invitation", told)]


async def test_every_table_that_an_administrator_sees_has_its_twins(house: House, quarry: Quarry, tmp_path: Path) -> None:
    invite, _words = await invitation(quarry, tmp_path / "essex")
    ada = await house.someone("administrator")
    await added(house, ada, invite)
    await house.node.admit.create("Case system", ["alerts:send"], 30, "operator")
    tables = 0
    for marked, _handler in house.node.shell().pages:
        if marked.method == "GET" and marked.path.startswith("/admin"):
            path = marked.path.replace("{id}", {"/admin/partners": "essex-police", "/admin/team": ada.id}.get("/".join(marked.path.split("/")[:3]), "UNADOPTED"))
            seen = await ada.get(path)
            if seen.status != 200 or "<table" not in seen.text:
                continue
            tables += 1
            assert marked.lists, path
            for kind in (".json", ".csv"):
                assert f'href="{path}{kind}' in seen.text, path
                assert (await ada.get(f"{path}{kind}")).status == 200, path
    assert tables >= 8
    keys = msgspec.json.decode((await ada.get(f"{ESSEX_PAGE}.json")).text)["items"]
    assert {row["purpose"] for row in keys} == {"Identity", "Messages", "Sealing"}
    assert all(row["from"] and row["until"] for row in keys)


async def test_a_test_of_the_connection_says_which_step_fails(house: House, quarry: Quarry, tmp_path: Path) -> None:
    invite, _words = await invitation(quarry, tmp_path / "essex")
    ada = await house.someone("administrator")
    await added(house, ada, invite)
    seen = await ada.post(f"{ESSEX_PAGE}/test")
    assert "Not everything is in order." in seen.words
    assert "Not in order A connection is made" in seen.words


async def test_a_partner_is_ended_for_good_only_after_a_tick(house: House, quarry: Quarry, tmp_path: Path) -> None:
    invite, _words = await invitation(quarry, tmp_path / "essex")
    ada = await house.someone("administrator")
    await added(house, ada, invite)
    await ada.get(f"{ESSEX_PAGE}/revoke")
    assert (await ada.post(f"{ESSEX_PAGE}/revoke", {})).errors[0][0] == "sure"
    assert "Ended" in (await ada.post(f"{ESSEX_PAGE}/revoke", {"sure": "yes"})).words


async def test_areas_show_who_serves_them_and_what_nobody_does(house: House) -> None:
    ada = await house.someone("administrator")
    rows = msgspec.json.decode((await ada.get("/admin/areas.json?team=MASH")).text)["items"]
    assert len(rows) == 361
    kent = [row for row in rows if row["state"] == "served"]
    assert {row["served_by"] for row in kent} == {"Kent MASH"}
    assert {row["within"] for row in kent} == {"Kent County Council"}
    assert {row["way"] for row in kent} == {"serves the county"}
    seen = await ada.get("/admin/areas?team=MASH&show=gaps&q=hartlepool")
    assert "1 area" in seen.words
    assert "Hartlepool" in seen.words


async def test_an_area_that_two_claim_is_in_the_list_and_on_the_map(house: House, quarry: Quarry, tmp_path: Path) -> None:
    ada = await house.someone("administrator")
    other = settings_of("kent-two", "Kent <b>Two", "E10000016", ("MASH",))
    await quarry.copy(other, tmp_path / "two")
    node = await Node.open(tmp_path / "two", other)
    try:
        await house.node.enrol.add(node.enrol.invite(), "ann")
        for admin in ("ann", "bob"):
            await house.node.enrol.approve("kent-two", admin, words_of(node))
    finally:
        await node.close()
    seen = await ada.get("/admin/areas?team=MASH&show=twice")
    assert "Claimed by two (12)" in seen.words
    assert "Two claim it Kent <b>Two, Kent MASH" in seen.words or "Two claim it Kent MASH, Kent <b>Two" in seen.words
    assert "<b>" not in seen.text
    assert seen.text.count('<path class="bridge-hex--twice"') == 12
    assert len([row for row in msgspec.json.decode((await ada.get("/admin/areas.json?team=MASH")).text)["items"] if row["state"] == "twice"]) == 12


async def test_a_link_for_somebody_new_is_shown_once_and_opens_their_account(house: House) -> None:
    ada = await house.someone("administrator")
    await ada.get("/admin/team/invite")
    seen = await ada.post("/admin/team/invite", {"name": "Rae Reader", "sign_in": "rae@kent.example", "roles": "receiver", "teams": "MASH"})
    link = seen.words.split("/set-up/")[1].split()[0]
    assert link not in (await ada.get("/admin/team")).text
    rae = house.stranger()
    assert "Rae Reader" in (await rae.get(f"/set-up/{link}")).words
    password = "walnut-harbour-mitten"  # noqa: S105  of a person who does not exist
    seen = await rae.post(f"/set-up/{link}", {"password": password, "again": password})
    assert seen.status == 200
    person = await house.node.sign_in.find("rae@kent.example")
    assert (person.state, person.roles, person.teams) == ("active", ("receiver",), ("MASH",))
    assert (await rae.get("/admin")).status == 403


async def test_a_token_is_shown_once_and_ends_at_once(house: House) -> None:
    con = await house.someone("integration")
    await con.get("/admin/tokens/new")
    seen = await con.post("/admin/tokens/new", {"label": "Case system", "days": "30", "scopes": ["alerts:send", "areas:read"]})
    token = next(word for word in seen.words.split() if word.startswith("brg_"))
    actor = await house.node.admit.actor(token)
    assert actor.scopes == {"alerts:send", "areas:read"}
    assert token not in (await con.get("/admin/tokens")).text
    await con.post(f"/admin/tokens/{actor.name.removeprefix('token:')}/end")
    assert "ended" in (await con.get("/admin/tokens")).words


async def test_an_auditor_finds_who_did_what_and_checks_the_chain(house: House) -> None:
    ada, olu = await house.someone("administrator", name="Ada Admin"), await house.someone("auditor", name="Olu Auditor")
    await ada.get("/admin/team")
    await ada.post(f"/admin/team/{olu.id}/sessions/end")
    olu = await house.someone("auditor", name="Olu Again")
    seen = await olu.get(f"/admin/audit?kind=person&who=person:{ada.id}")
    assert "Ada Admin ended somebody's sessions" in seen.words.replace("  ", " ")
    assert "The log is whole" in (await olu.post("/admin/audit/check")).words
    assert (await olu.get("/admin")).status == 403


def test_everything_that_is_recorded_is_told_in_words() -> None:
    code = Path(bridge.__file__).parent
    known = {each for file in code.rglob("*.py") for each in re.findall(r'\bEvent\(\s*"([a-z]+:[a-z_-]+)"', file.read_text("utf-8"))}
    told = {f"inbox:{each}" for each in ("received", "collected", "opened", "taken", "closed", "not_ours", "expired_unread", "purged", "held")}
    acts = known | told | {f"message:{each}" for each in STATUSES} | {"copy:destroyed", "copy:adopted"}
    assert len(known) > 50
    assert {each for each in acts if deed(each) == each or each.partition(":")[0] not in KINDS} == set()


def test_why_nothing_was_delivered_is_told_in_words() -> None:
    source = Path(transport.__file__).read_text("utf-8")
    codes = set(re.findall(r'Unavailable\(\s*"([a-z-]+)"', source)) | {"refused", "no-key", "gone", "by-hand", "switched-off", "endpoint-failing"}
    assert len(codes) > 10
    assert {code for code in codes if code not in REASONS} == set()


async def test_an_account_page_says_whose_sessions_its_button_ends(house: House) -> None:
    ada, bo = await house.someone("administrator", name="Ada Admin"), await house.someone("sender", name="Bo Worker")
    assert "Sign out everywhere else" in (await ada.get(f"/admin/team/{ada.id}")).words
    seen = await ada.get(f"/admin/team/{bo.id}")
    assert "Sign out everywhere" in seen.words
    assert "everywhere else" not in seen.words


async def test_the_overview_does_not_say_that_all_is_well_while_a_figure_says_otherwise(house: House) -> None:
    ada = await house.someone("administrator")
    seen = await ada.get("/admin")
    assert "No backup of the data “bridge backup” makes one" in seen.words
    assert "Nothing needs you at present." not in seen.words


async def test_the_audit_log_holds_no_name(house: House) -> None:
    ada = await house.someone("administrator", name="Persephone Quillfeather")
    await ada.get("/admin/tokens/new")
    await ada.post("/admin/tokens/new", {"label": "x", "days": "1", "scopes": "alerts:send"})
    records = await house.node.database.fetch("select record from audit")
    assert records
    assert all(b"uillfeather" not in record for (record,) in records)


async def test_the_first_page_says_what_is_still_to_be_set_up(house: House) -> None:
    ada = await house.someone("administrator")
    assert "of 6 steps are done" in (await ada.get("/admin")).words
    await house.someone("administrator", name="Bo")
    assert "There is only one administrator." not in (await ada.get("/admin")).words


async def test_a_certificate_that_ends_soon_is_told_in_time(quarry: Quarry, tmp_path: Path) -> None:
    own = settings_of("kent-tls", "Kent MASH", "E10000016", listen=Listen(tls="own"))
    await quarry.copy(own, tmp_path / "tls")
    async with opened(tmp_path / "tls", own) as house:
        ada = await house.someone("administrator")
        assert "The certificate of its address is good until" in (await ada.get("/admin/keys")).words
        assert "Renew it before" not in (await ada.get("/admin")).words
        end = house.node._certificate_end()
        assert end is not None
        house.clock.move(seconds=(end - house.clock.now()).total_seconds() - 29 * 86_400)
        later = await house.someone("administrator")
        assert "Renew it before, or nobody can reach the node." in (await later.get("/admin")).words


async def test_settings_are_shown_with_where_they_come_from(house: House) -> None:
    ada = await house.someone("administrator")
    rows = msgspec.json.decode((await ada.get("/admin/settings.json")).text)["items"]
    by_key = {(row["section"], row["key"]): row for row in rows}
    assert by_key["node", "name"]["source"] == "file"
    assert by_key["limits", "request_bytes"]["source"] == "default"
    assert all(row["sentence"] for row in rows)


async def test_a_node_for_practice_says_so_on_every_page(quarry: Quarry, tmp_path: Path) -> None:
    practice = settings_of("practice-mash", "Practice MASH", "E10000016")
    practice = msgspec.structs.replace(practice, node=msgspec.structs.replace(practice.node, exercise=True))
    await quarry.copy(practice, tmp_path / "practice")
    async with opened(tmp_path / "practice", practice) as house:
        assert "Training: nothing is sent to real partners." in (await house.stranger().get("/sign-in")).words
