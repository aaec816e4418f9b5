"""A real node with its pages at a real address, and people who use them as a browser would, without a browser."""

import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from bridge.config import Contact, Settings
from bridge.config import Node as NodeSection
from bridge.config import SignIn as SignInSection
from bridge.errors import Unavailable
from bridge.nodes.app import Node
from bridge.nodes.create import make
from bridge.nodes.transport import Answer, Endpoint
from bridge.registry import fingerprint_of

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start
        self._steady = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._steady

    def move(self, **by: float) -> None:
        step = timedelta(**by)
        self._now += step
        self._steady += step.total_seconds()


async def nobody_answers(
    _endpoint: Endpoint, _method: str, _path: str, _body: bytes = b"", _headers: dict[str, str] | None = None, **_: Any
) -> Answer:
    raise Unavailable("unreachable", "The partner cannot be reached.", "Ring its duty desk.")


def settings_of(node_id: str, name: str, area: str, functions: Sequence[str] = ("MASH",), **changes: Any) -> Settings:
    node = NodeSection(
        id=node_id,
        name=name,
        agency=functions[0],
        areas=(area,),
        functions=tuple(functions),
        url="http://localhost:8443",
        contact=Contact("Duty desk", "01632 960000", "always"),
    )
    first = Settings.first(node, port=8443)
    return msgspec.structs.replace(first, **changes)


class Quarry:
    """Directories of nodes, made once for all tests and copied."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def copy(self, settings: Settings, to: Path) -> None:
        template = self._directory / settings.node.id
        if not template.exists():
            template.mkdir(mode=0o700)
            await make(template, settings, None, Watch(NOON - timedelta(minutes=1)))
        shutil.copytree(template, to)


class Refused(Exception):
    """A page answered otherwise than a test expected."""


@dataclass
class Seen:
    """One answer, as a person or a program sees it."""

    status: int
    url: str
    text: str
    headers: Any

    @property
    def title(self) -> str:
        found = re.search(r"<title>(.*?)</title>", self.text, re.DOTALL)
        return unescape(found[1]).strip().removesuffix(" \u2013 Bridge") if found else ""

    @property
    def words(self) -> str:
        """What is on the page, without its markup."""
        body = re.sub(r"<(script|style|head)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]*)"', self.text)
        return found[1] if found else ""

    @property
    def errors(self) -> list[tuple[str, str]]:
        """The error summary: where each line leads, and what it says."""
        summary = re.search(r'class="govuk-error-summary.*?</ul>', self.text, re.DOTALL)
        links = re.findall(r'<a href="#([^"]*)">(.*?)</a>', summary[0], re.DOTALL) if summary else []
        return [(target, unescape(text).strip()) for target, text in links]


@dataclass
class Someone:
    """A person with a browser of their own: cookies, and the token of the page they have open."""

    base: str
    name: str = ""
    id: str = ""
    seen: Seen | None = None
    session: aiohttp.ClientSession = field(default_factory=lambda: aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))

    async def get(self, path: str, **headers: str) -> Seen:
        return await self._ask("GET", path, headers=headers)

    async def post(
        self, path: str, fields: dict[str, Any] | None = None, *, headers: dict[str, str] | None = None,
        csrf: str | None = None, follow: bool = True,
    ) -> Seen:  # fmt: skip
        """Send a form as the page that is open would: with its token and its origin."""
        data: list[tuple[str, str]] = []
        for name, value in (fields or {}).items():
            data += [(name, each) for each in (value if isinstance(value, list | tuple) else [value])]
        token = self.seen.csrf if csrf is None and self.seen else csrf
        data += [("csrf", token)] if token else []
        sent = {"Sec-Fetch-Site": "same-origin", "Origin": self.base, **(headers or {})}
        return await self._ask("POST", path, data=aiohttp.FormData(data), headers=sent, follow=follow)

    async def _ask(self, method: str, path: str, *, follow: bool = True, **more: Any) -> Seen:
        more["headers"] = {"Accept": "text/html", **(more.get("headers") or {})}
        async with self.session.request(method, f"{self.base}{path}", allow_redirects=follow, **more) as answer:
            seen = Seen(answer.status, str(answer.url.relative()), await answer.text(), answer.headers)
        if "text/html" in answer.headers.get("Content-Type", ""):
            self.seen = seen
        return seen

    def cookie(self, name: str) -> str | None:
        return next((each.value for each in self.session.cookie_jar if each.key == name), None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()


@dataclass
class House:
    """A node with its pages, and whoever is in it."""

    node: Node
    base: str
    clock: Watch
    people: list[Someone] = field(default_factory=list)

    def stranger(self) -> Someone:
        someone = Someone(self.base)
        self.people.append(someone)
        return someone

    async def someone(self, *roles: str, name: str = "Sam Smith", teams: Sequence[str] = ()) -> Someone:
        """Somebody with these roles, signed in."""
        sign_in = self.node.sign_in
        person, _secret = await sign_in.invite(name, f"{name} {len(self.people)}", roles, teams, "operator")
        row = await sign_in._row(person.id)
        from bridge.storage import accounts as rows

        async with self.node.database.transaction() as tx:
            await rows.save(tx, row._replace(state="active"))
        opened = await sign_in.enter(person.id, "passkey")
        someone = self.stranger()
        someone.name, someone.id = name, person.id
        cookie = f"bridge-{self.node.settings.node.id}"
        someone.session.cookie_jar.update_cookies({cookie: opened.secret}, URL(self.base))
        return someone

    async def close(self) -> None:
        for someone in self.people:
            await someone.session.close()


@asynccontextmanager
async def opened(
    directory: Path, settings: Settings, clock: Watch | None = None, host: str = "127.0.0.1", call: Any = nobody_answers
) -> AsyncIterator[House]:
    """The node in `directory` at work at a free port of this machine; its url says the same host and port."""
    clock = clock or Watch()
    waiting = socket.create_server(("127.0.0.1", 0))
    base = f"http://{host}:{waiting.getsockname()[1]}"
    settings = msgspec.structs.replace(settings, node=msgspec.structs.replace(settings.node, url=base))
    node = await Node.open(directory, settings, clock=clock, call=call)
    runner = None
    try:
        app = node.application(node.bearer)
        node.shell().attach(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, waiting).start()
        house = House(node, base, clock)
        try:
            yield house
        finally:
            await house.close()
    finally:
        if runner is not None:
            await runner.cleanup()
        waiting.close()
        await node.close()


def words_of(node: Node) -> str:
    """The 8 words that a node's administrator would read out."""
    own = node.book.get(node.book.own_id)
    assert own is not None
    return " ".join(fingerprint_of(own.descriptor).words)


KENT = settings_of("kent-mash", "Kent MASH", "E10000016", ("MASH", "LA_ASC"), sign_in=SignInSection(second_factor=False))
ESSEX = settings_of("essex-police", "Essex Police", "E23000028", ("POLICE",))
