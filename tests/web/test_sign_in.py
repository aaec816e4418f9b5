"""Who may come in, how guessing is slowed, and when a session is over. Real hashes, real rows, a real listener."""

from pathlib import Path
from typing import Any

import pytest
from house import House, Someone
from yarl import URL

from bridge.accounts import ABSOLUTE, IDLE, LONGEST_WAIT, wait_after, weakness
from bridge.crypto import passwords
from bridge.errors import Rejected

PASSWORD = "kestrel-planet-tulip"  # noqa: S105  of a person who does not exist
COOKIE = "bridge-kent-mash"


async def first(house: House, **changed: str) -> Someone:
    """The first administrator, made through the one-time link."""
    secret = await house.node.sign_in.first_link()
    ada = house.stranger()
    await ada.get(f"/set-up/{secret}")
    fields = {"name": "Ada Admin", "sign_in": "Ada@Kent.example", "password": PASSWORD, "again": PASSWORD, **changed}
    await ada.post(f"/set-up/{secret}", fields)
    return ada


async def test_the_first_link_makes_an_administrator_once(house: House) -> None:
    secret = await house.node.sign_in.first_link()
    assert secret is not None
    ada = house.stranger()
    await ada.get(f"/set-up/{secret}")
    await ada.get(f"/set-up/{secret}")  # looking does not use it up
    seen = await ada.post(
        f"/set-up/{secret}", {"name": "Ada", "sign_in": "ada@kent.example", "password": PASSWORD, "again": PASSWORD}
    )
    assert (seen.status, seen.url) == (200, "/admin")
    assert "There is only one administrator." in seen.words
    again = await house.stranger().get(f"/set-up/{secret}")
    assert (again.status, again.title) == (404, "Page not found")
    assert await house.node.sign_in.first_link() is None


async def test_a_newer_first_link_ends_the_one_before_and_time_ends_both(house: House) -> None:
    old = await house.node.sign_in.first_link()
    new = await house.node.sign_in.first_link()
    stranger = house.stranger()
    assert (await stranger.get(f"/set-up/{old}")).status == 404
    assert (await stranger.get(f"/set-up/{new}")).status == 200
    house.clock.move(days=3)
    assert (await stranger.get(f"/set-up/{new}")).status == 404


async def test_a_set_up_that_is_refused_says_why_at_each_field_and_keeps_the_link(house: House) -> None:
    secret = await house.node.sign_in.first_link()
    ada = house.stranger()
    await ada.get(f"/set-up/{secret}")
    seen = await ada.post(f"/set-up/{secret}", {"name": " ", "sign_in": "", "password": "short", "again": "shart"})
    assert seen.status == 422
    assert seen.title.startswith("Error: ")
    assert [field for field, _text in seen.errors] == ["name", "sign_in", "again"]
    seen = await ada.post(f"/set-up/{secret}", {"name": "A", "sign_in": "a", "password": "short", "again": "short"})
    assert seen.errors == [("password", "Password must be 12 characters or more. Three random words are a good one")]
    assert 'value="A"' in seen.text
    assert "short" not in seen.text


async def test_a_wrong_name_and_a_wrong_password_are_answered_alike(house: House) -> None:
    await first(house)
    told = []
    for name in ("ada@kent.example", "nobody@kent.example"):
        stranger = house.stranger()
        await stranger.get("/sign-in")
        seen = await stranger.post("/sign-in", {"sign_in": name, "password": "not the password"})
        told.append((seen.status, seen.errors))
    assert told[0] == told[1] == (422, [("sign_in", "Check your sign-in name and password")])


async def test_a_name_is_found_however_it_is_written_and_the_way_on_stays_in_the_house(house: House) -> None:
    await first(house)
    for asked, led in (("/admin/team", "/admin/team"), ("//evil.example/x", "/admin"), ("/\\evil.example", "/admin")):
        ada = house.stranger()
        await ada.get("/sign-in")
        seen = await ada.post("/sign-in", {"sign_in": " ADA@kent.EXAMPLE ", "password": PASSWORD, "next": asked})
        assert (seen.status, seen.url) == (200, led)


async def test_guessing_is_slowed_without_locking_out_whoever_was_here_before(house: House) -> None:
    ada = await first(house)
    await ada.post("/sign-out")
    await ada.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})
    await ada.get("/account")
    await ada.post("/sign-out")  # this browser is known now

    async def guess(_password: str, _phc: str | None) -> bool:
        return False

    verify, house.node.sign_in._verify = house.node.sign_in._verify, guess  # type: ignore[method-assign]  # hashing is not asked here
    stranger = house.stranger()
    await stranger.get("/sign-in")
    answers = [
        (await stranger.post("/sign-in", {"sign_in": "ada@kent.example", "password": str(n)})).words for n in range(7)
    ]
    assert "Wait 1 seconds" in answers[5]
    house.clock.move(seconds=1)
    late = await stranger.post("/sign-in", {"sign_in": "ada@kent.example", "password": "x"})
    assert "Check your sign-in name" in late.words
    house.node.sign_in._verify = verify  # type: ignore[method-assign]
    assert (await stranger.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})).status == 422
    assert (await ada.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})).url == "/admin"


def test_the_wait_grows_and_stops_at_a_minute() -> None:
    waits = [wait_after(n).total_seconds() for n in range(60)]
    assert waits == sorted(waits)
    assert waits[4] == 0
    assert waits[-1] == LONGEST_WAIT.total_seconds()


async def test_a_code_is_asked_for_once_it_is_set_up_and_each_is_good_once(house: House) -> None:
    ada = await first(house)
    await ada.get("/set-up/second-step")
    visitor = await house.node.sign_in.visitor(ada.cookie(COOKIE) or "")
    assert visitor is not None
    secret, _address = house.node.sign_in.pending_code(visitor)

    def code() -> str:
        return passwords._totp(secret).generate(int(house.clock.now().timestamp())).decode()

    before = ada.cookie(COOKIE)
    assert (await ada.post("/set-up/second-step", {"code": code()})).url == "/admin"
    assert ada.cookie(COOKIE) != before
    house.clock.move(minutes=2)
    bob = house.stranger()
    await bob.get("/sign-in")
    seen = await bob.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})
    assert seen.url == "/sign-in/code"
    half = bob.cookie(COOKIE)
    assert (await bob.get("/admin")).url == "/sign-in/code"
    await bob.get("/sign-in/code")
    good = code()
    assert (await bob.post("/sign-in/code", {"code": "000 000"})).status == 422
    assert (await bob.post("/sign-in/code", {"code": good})).url == "/admin"
    assert bob.cookie(COOKIE) not in {half, None}
    eve = house.stranger()
    await eve.get("/sign-in")
    await eve.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})
    assert (await eve.post("/sign-in/code", {"code": good})).status == 422


async def test_a_value_planted_before_signing_in_is_worth_nothing_after(house: House) -> None:
    await first(house)
    victim = house.stranger()
    victim.session.cookie_jar.update_cookies({COOKIE: "planted-by-somebody-else-000000000"}, URL(house.base))
    await victim.get("/sign-in")
    await victim.post("/sign-in", {"sign_in": "ada@kent.example", "password": PASSWORD})
    assert victim.cookie(COOKIE) != "planted-by-somebody-else-000000000"
    assert await house.node.sign_in.visitor("planted-by-somebody-else-000000000") is None


@pytest.mark.parametrize(
    ("move", "alive"),
    [
        ([IDLE.total_seconds() - 1], True),
        ([IDLE.total_seconds()], False),
        ([1700] * int(ABSOLUTE.total_seconds() // 1700), True),
        ([1700] * (int(ABSOLUTE.total_seconds() // 1700) + 1), False),
    ],
    ids=["almost idle", "idle", "used all day", "longer than any session"],
)
async def test_a_session_ends_when_it_is_idle_and_after_half_a_day(house: House, move: list[float], alive: bool) -> None:
    sam = await house.someone("sender")
    for seconds in move:
        house.clock.move(seconds=seconds)
        seen = await sam.get("/account")
    assert (seen.url == "/account") is alive
    if not alive:
        assert seen.url == "/sign-in?next=/account&ended"
        assert "You were signed out" in seen.words


async def test_a_session_that_is_over_on_the_node_is_over(house: House) -> None:
    sam, other = await house.someone("sender"), await house.someone("administrator", name="Olu Other")
    secret = sam.cookie(COOKIE)
    await sam.get("/account")
    await sam.post("/sign-out")
    assert await house.node.sign_in.visitor(secret or "") is None
    ana = await house.someone("sender", name="Ana Away")
    await other.get(f"/admin/team/{ana.id}")
    await other.post(f"/admin/team/{ana.id}/disable")
    assert (await ana.get("/account")).url.startswith("/sign-in")


async def test_the_shield_hides_everything_until_the_password_is_given(house: House) -> None:
    ada = await first(house)
    seen = await ada.post("/away")
    assert (seen.url, seen.title, seen.words) == ("/away", "Back to work", "Skip to main content Back to work Continue")
    for path in ("/admin", "/account", "/admin/team"):
        assert (await ada.get(path)).url == "/away"
    assert (await ada.get("/admin/team.json")).status == 401
    await ada.get("/away/back")
    assert (await ada.post("/away/back", {"password": "wrong"})).status == 422
    assert (await ada.post("/away/back", {"password": PASSWORD})).url == "/admin"


FOREIGN: dict[str, dict[str, Any]] = {
    "no token": {"csrf": ""},
    "another token": {"csrf": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "from another site, with the token": {"headers": {"Sec-Fetch-Site": "cross-site"}},
    "from the same site, not this one": {"headers": {"Sec-Fetch-Site": "same-site"}},
    "another origin, with the token": {"headers": {"Origin": "https://evil.example"}},
    "no origin to speak of": {"headers": {"Origin": "null"}},
}


@pytest.mark.parametrize("how", FOREIGN.values(), ids=FOREIGN)
async def test_a_form_that_is_not_from_our_own_page_changes_nothing(house: House, how: dict[str, Any]) -> None:
    ada = await house.someone("administrator")
    await ada.get("/admin/team/invite")
    seen = await ada.post("/admin/team/invite", {"name": "Eve", "sign_in": "eve", "roles": "administrator"}, **how)
    assert (seen.status, seen.title) == (403, "You cannot see this page")
    assert len(await house.node.sign_in.people()) == 1


async def test_another_persons_token_is_no_token(house: House) -> None:
    ada, sam = await house.someone("administrator"), await house.someone("administrator", name="Sam")
    await ada.get("/admin")
    token = ada.seen.csrf if ada.seen else ""
    assert (await sam.post("/admin/check", csrf=token)).status == 403


ODD: dict[str, dict[str, Any]] = {
    "a field too many": {"name": "A", "sign_in": "a", "roles": "sender", "state": "active"},
    "a field twice": {"name": ["A", "B"], "sign_in": "a", "roles": "sender"},
    "a field far too long": {"name": "A" * 20_001, "sign_in": "a", "roles": "sender"},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
async def test_a_form_that_no_page_of_ours_makes_is_refused_whole(house: House, fields: dict[str, Any]) -> None:
    ada = await house.someone("administrator")
    await ada.get("/admin/team/invite")
    assert (await ada.post("/admin/team/invite", fields)).status == 400
    assert len(await house.node.sign_in.people()) == 1


async def test_a_role_that_was_not_offered_is_refused(house: House) -> None:
    ada = await house.someone("administrator")
    await ada.get("/admin/team/invite")
    seen = await ada.post("/admin/team/invite", {"name": "A", "sign_in": "a", "roles": ["sender", "owner"]})
    assert seen.errors == [("roles", "Select at least one role")]


async def test_the_last_administrator_stays(house: House) -> None:
    ada = await house.someone("administrator", name="Ada")
    with pytest.raises(Rejected) as refused:
        await house.node.sign_in.disable(ada.id, "operator")
    assert refused.value.code == "wrong-state"
    await ada.get(f"/admin/team/{ada.id}/roles")
    seen = await ada.post(f"/admin/team/{ada.id}/roles", {"roles": "sender"})
    assert [field for field, _text in seen.errors] == ["roles"]


async def test_a_name_lies_nowhere_in_clear(house: House, tmp_path: Path) -> None:
    await house.someone("sender", name="Persephone Quillfeather")
    await house.node.database.checkpoint()
    for path in (tmp_path / "kent").rglob("*"):
        if path.is_file():
            assert b"Quillfeather" not in path.read_bytes(), path.name
            assert b"quillfeather" not in path.read_bytes(), path.name


async def test_cookies_keep_to_this_node_and_out_of_scripts(house: House) -> None:
    stranger = house.stranger()
    async with stranger.session.get(f"{house.base}/sign-in") as answer:
        set_cookie = answer.headers.getall("Set-Cookie")
    assert all("HttpOnly" in each and "SameSite=Lax" in each and "Path=/" in each for each in set_cookie)


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaaa", "passwordpassword", "Password1234", "Ada Admin 1", "kent mash kent mash"]
)
def test_a_password_that_is_easy_to_guess_is_not_taken(password: str) -> None:
    assert weakness(password, "Ada Admin", "ada@kent.example", "Kent MASH") is not None


def test_three_words_are_a_good_password() -> None:
    assert weakness(PASSWORD, "Ada Admin", "ada@kent.example", "Kent MASH") is None
