"""People by the command line's door, and the link with which a node asks for its first administrator."""

import stat
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from house import House

from bridge.nodes.admit import OPERATOR, Actor
from bridge.nodes.serve import _ask_for_administrator


async def operator(_request: web.Request) -> Actor:
    return OPERATOR


async def test_an_operator_invites_resets_and_switches_off_by_sign_in_name(house: House) -> None:
    async with TestClient(TestServer(house.node.application(operator, control=True))) as client:

        async def asked(path: str, **sent: Any) -> tuple[int, Any]:
            async with client.post(f"/control/people{path}", json=sent) as answer:
                return answer.status, await answer.json()

        status, made = await asked("", name="Ada Admin", sign_in="Ada@Kent.example", roles=["administrator"])
        assert (status, made["state"]) == (201, "invited")
        assert "/set-up/" in made["link"]
        again = await asked("", name="Eve", sign_in="ADA@kent.example", roles=["sender"])
        assert (again[0], again[1]["code"]) == (409, "conflict")
        status, reset = await asked("/reset", sign_in="ada@kent.example")
        assert (status, reset["link"] != made["link"]) == (200, True)
        assert (await asked("/disable", sign_in="ada@kent.example"))[1]["state"] == "disabled"
        assert (await asked("/enable", sign_in="ada@kent.example"))[1]["state"] == "invited"
        assert (await asked("/reset", sign_in="nobody"))[0] == 404
        async with client.get("/control/people") as answer:
            told = await answer.text()
        assert "link" not in told


async def test_systems_and_people_do_not_reach_the_operators_door(house: House) -> None:
    ada = await house.someone("administrator")
    assert (await ada._ask("GET", "/control/people", headers={"Accept": "application/json"})).status == 404


async def test_a_node_without_an_administrator_asks_for_one_at_each_start(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    path = house.node.directory / "run" / "first-administrator"
    await _ask_for_administrator(house.node)
    link = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = capsys.readouterr().err
    assert "set-up" not in told  # nobody's terminal: only the file holds it, and never the log
    stranger = house.stranger()
    assert (await stranger.get(link.removeprefix(house.base))).status == 200
    await house.someone("administrator")
    await _ask_for_administrator(house.node)
    assert not path.exists()
