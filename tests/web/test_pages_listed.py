"""Every page with its permission: a page that is not listed here, or needs something else, is a mistake."""

from pathlib import Path

from bridge.accounts import ROLES, May, permissions
from bridge.clock import SystemClock
from bridge.metrics import Metrics
from bridge.nodes.pages import Parts, shell_of
from bridge.nodes.sign_in import SignIn
from bridge.storage import open_database
from bridge.web.shell import House, routes_of

PAGES = """
GET  /                          signed-in
GET  /sign-in                   everybody
POST /sign-in                   everybody
GET  /sign-in/code              second-step
POST /sign-in/code              second-step
POST /sign-out                  session
POST /session                   signed-in
GET  /set-up/{secret}           everybody
POST /set-up/{secret}           everybody
GET  /set-up/second-step        setting-up
POST /set-up/second-step        setting-up
GET  /account                   signed-in
GET  /account/password          signed-in
POST /account/password          signed-in
POST /account/sessions/end      signed-in
POST /away                      locked
GET  /away                      locked
GET  /away/back                 locked
POST /away/back                 locked
GET  /help                      everybody
GET  /help/accessibility        everybody
GET  /help/information          everybody
"""


async def test_every_page_is_listed_with_what_it_needs(tmp_path: Path) -> None:
    clock = SystemClock()
    database = await open_database("sqlite:data.db", tmp_path, "data", at=clock.now(), version="0")
    try:
        sign_in = SignIn(database=database, key=bytes(range(32)), clock=clock, issuer="Kent", second_factor=True)
        house = House("kent", "Kent", secure=True, exercise=False, telephone="", desk="Kent")
        parts = Parts(
            house=house, sign_in=sign_in, clock=clock, metrics=Metrics(), secret=lambda _name: bytes(32),
            request_bytes=1, body_seconds=1,
        )  # fmt: skip
        found = {tuple(each) for each in routes_of(shell_of(parts).pages)}
    finally:
        await database.close()
    assert found == {tuple(line.split()) for line in PAGES.strip().splitlines()}


def test_a_role_that_is_not_known_allows_nothing() -> None:
    assert permissions(["nobody", "", "Administrator"]) == frozenset()


def test_nobody_who_administers_reads_alerts_by_that() -> None:
    assert not ROLES["administrator"].may & {May.SEND, May.RECEIVE, May.LEAD}
