"""A worker's node, a hub and a police force that know each other, each with its pages, on one machine and one clock."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from house import NOON, House, Quarry, Someone, Watch, opened, settings_of, words_of

from bridge.config import SignIn as SignInSection
from bridge.errors import Unavailable
from bridge.nodes.transport import Answer, Endpoint

PASSWORDS = SignInSection(second_factor=False)
JOBCENTRE = settings_of("kent-jcp", "Maidstone Jobcentre", "E07000110", ("JCP",), sign_in=PASSWORDS)
HUB = settings_of("croydon-mash", "Croydon safeguarding hub", "E09000008", ("MASH", "LA_CSP", "YJS"), sign_in=PASSWORDS)
POLICE = settings_of("two-forces", "Kent and London police desk", "E23000001", ("POLICE",), sign_in=PASSWORDS)
POLICE = msgspec.structs.replace(POLICE, node=msgspec.structs.replace(POLICE.node, areas=("E23000001", "E23000032")))

ALERT = {
    "danger": "no", "seen": "recruitment_out_of_area", "area": "Croydon", "name": "Kez", "age": "16_17",
    "when": "today", "how": "self", "protect": "yes", "ask": "check_and_tell_me",
    "happened": "Offered three claimants cash to carry parcels to the coast.",
}  # fmt: skip


class Running(Watch):
    """A clock that goes on by itself, and can be moved."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self._began = time.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=time.monotonic() - self._began)

    def monotonic(self) -> float:
        return super().monotonic() + time.monotonic() - self._began


@dataclass
class Street:
    """The three of them. What is in `dark` does not answer."""

    jobcentre: House
    hub: House
    police: House
    clock: Running
    dark: set[str]

    async def sent(self, worker: Someone, **changes: Any) -> str:
        """Fill the form in, check and send, as a browser without scripts would; the reference."""
        await worker.get("/send")
        seen = await worker.post("/send", {**ALERT, **changes})
        assert seen.url == "/send/check", seen.errors or seen.words[:400]
        seen = await worker.post("/send/check", {"once": once_of(seen.text)})
        assert seen.url.startswith("/sent/BR-"), seen.words[:400]
        return seen.url.removeprefix("/sent/")


def once_of(text: str) -> str:
    return text.split('name="once" value="')[1].split('"', maxsplit=1)[0]


@asynccontextmanager
async def built(directory: Path, quarry: Quarry) -> AsyncIterator[Street]:
    """The street, at work."""
    clock, dark = Running(), set[str]()
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(aiohttp.ClientSession())

        async def call(
            endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> Answer:
            if any(house.base == endpoint.url and house.node.settings.node.id in dark for house in houses):
                raise Unavailable("unreachable", "The partner cannot be reached.", "Ring its duty desk.")
            async with wire.request(method, f"{endpoint.url}{path}", data=body, headers=headers) as answer:
                return Answer(answer.status, await answer.read())

        houses: list[House] = []
        for settings in (JOBCENTRE, HUB, POLICE):
            folder = directory / settings.node.id
            await quarry.copy(settings, folder)
            houses.append(await stack.enter_async_context(opened(folder, settings, clock, "localhost", call)))
        for one in houses:
            for other in houses:
                if one is not other:
                    await one.node.enrol.add(other.node.enrol.invite(), "ann")
                    for admin in ("ann", "bob"):
                        await one.node.enrol.approve(other.node.settings.node.id, admin, words_of(other.node))
        for house in houses:
            await house.node.start()
        yield Street(*houses, clock, dark)
