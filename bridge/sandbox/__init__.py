"""`bridge sandbox`: a practice partner for integrators, in one process, as strict as the real thing because it is it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge import logs
from bridge.api import problems
from bridge.api.door import number
from bridge.clock import SystemClock
from bridge.demo.stage import free_ports
from bridge.errors import BridgeError, Malformed, Misconfigured, Rejected
from bridge.nodes.serve import tune_process
from bridge.sandbox.gate import FAULTS
from bridge.sandbox.pair import MAILBOX, Pair, Ports

FIRST_PORT: Final = 8790
MOST_AT_ONCE: Final = 500

_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Wishes:
    """How the sandbox begins: how many alerts wait, how often (s) another comes (0: never), and which faults are on."""

    alerts: int = 3
    every: float = 0.0
    faults: Mapping[str, str] = field(default_factory=dict)
    slow: float = 5.0


class FaultWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault to be put on, and for a slow one how slow (s)."""

    fault: str
    seconds: Annotated[float, Meta(ge=0, le=600)] | None = None


def ports_from(first: int) -> Ports:
    """Four ports from `first` on (0: any that are free), and three more behind them."""
    inner = free_ports(7 if not first else 3)
    outer = inner[3:] if not first else [first, first + 1, first + 2, first + 3]
    return Ports(*outer, *inner[:3])


def run_sandbox(ports: Ports, wishes: Wishes, as_json: bool, say: Callable[[str], None]) -> int:
    """Run until a signal comes; the exit status. Nothing stays behind. Raises Misconfigured when a port is taken."""
    logs.set_up("error", SystemClock())
    return asyncio.run(_stoppable(ports, wishes, as_json, say))


async def _stoppable(ports: Ports, wishes: Wishes, as_json: bool, say: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number_ in _STOPS:
        loop.add_signal_handler(number_, stop.set)
    with tempfile.TemporaryDirectory(prefix="bridge-sandbox-", dir=_memory()) as directory:
        async with opened(Path(directory), ports, wishes) as sandbox:
            tune_process()
            say(json.dumps(sandbox.facts()) if as_json else sandbox.words())
            sys.stdout.flush()
            await stop.wait()
    if not as_json:
        say("Stopped. Nothing is left behind.")
    return 0


def _memory() -> str | None:
    """Where files cost nothing, if there is such a place and nobody has chosen another: nothing here is to be kept."""
    shared = Path("/dev/shm")  # noqa: S108  only a directory made inside it is used
    return str(shared) if "TMPDIR" not in os.environ and os.access(shared, os.W_OK) else None


class Sandbox:
    """The pair, and the small door that steers it."""

    def __init__(self, pair: Pair, ports: Ports, wishes: Wishes) -> None:
        self._pair = pair
        self._ports = ports
        self._wishes = wishes
        self._turn = asyncio.Lock()
        self._life = contextlib.AsyncExitStack()

    # What an integrator is told

    def facts(self) -> dict[str, Any]:
        """Addresses and secrets, as `--json` prints them."""
        secrets = self._pair.secrets
        return {
            "url": f"http://127.0.0.1:{self._ports.api}",
            "token": secrets.token,
            "docs": f"http://127.0.0.1:{self._ports.api}/docs",
            "control": f"http://127.0.0.1:{self._ports.control}",
            "mesh": {
                "url": f"http://127.0.0.1:{self._ports.mesh}",
                "mailbox": MAILBOX,
                "password": secrets.mailbox_password,
                "shared_key": secrets.mailbox_key,
                "workflow": "BRIDGE_ALERT",
                "to": "BRIDGE01",
            },
        }

    def words(self) -> str:
        """The same for a person."""
        facts = self.facts()
        mesh = facts["mesh"]
        return "\n".join(
            [
                "The sandbox is ready: you are Luton, your partner is Kent. All people in it are invented.",
                "",
                f"  export BRIDGE_URL={facts['url']}",
                f"  export BRIDGE_TOKEN={facts['token']}",
                "",
                f"  reference   {facts['docs']}",
                f"  MESH        {mesh['url']}  mailbox {mesh['mailbox']}  password {mesh['password']}",
                f"              shared key {mesh['shared_key']}  workflow {mesh['workflow']}  send to {mesh['to']}",
                f"  control     {facts['control']}",
                "",
                "Try:",
                '  curl -H "Authorization: Bearer $BRIDGE_TOKEN" $BRIDGE_URL/v1/inbox',
                f"  curl -X POST '{facts['control']}/alerts?count=3'                 three more alerts arrive",
                f'  curl -X PUT {facts["control"]}/faults/partner -d \'{{"fault": "down"}}\'  or slow, refuses, garbles; at api, mesh, partner',
                f"  curl -X DELETE {facts['control']}/faults                       all is well again",
                f"  curl -X POST {facts['control']}/reset                          everything as at the start",
                "",
                "Ctrl-C ends it and deletes everything.",
            ]
        )

    # What can be done with it

    async def begin(self) -> None:
        """Both nodes at work, as at the start."""
        await self._life.enter_async_context(self._pair.at_work())
        await self._pair.send(self._wishes.alerts)
        for at, fault in self._wishes.faults.items():
            await self._pair.put(at, fault, self._wishes.slow)

    async def end(self) -> None:
        """Both nodes closed, and no fault on."""
        for gate in self._pair.gates.values():
            gate.put(None)
        await self._life.aclose()

    async def keep_sending(self) -> None:
        """Another alert every so often."""
        while True:
            await asyncio.sleep(self._wishes.every)
            async with self._turn:
                with contextlib.suppress(BridgeError):
                    await self._pair.send(1)

    async def status(self, _request: web.Request) -> web.Response:
        """How it stands."""
        async with self._turn:
            return _json({**await self._pair.status(), "url": self.facts()["url"]})

    async def send(self, request: web.Request) -> web.Response:
        """Alerts from the partner, now."""
        count = number(request, "count", 1, 1, MOST_AT_ONCE)
        async with self._turn:
            return _json({"sent": await self._pair.send(count)}, 202)

    async def put(self, request: web.Request) -> web.Response:
        """A fault on, at one of the doors."""
        at = request.match_info["at"]
        if at not in self._pair.gates:
            raise Rejected(
                "not-found", "There is no such door.", f"Use one of {', '.join(self._pair.gates)}."
            )
        try:
            wanted = msgspec.json.decode(await request.read(), type=FaultWanted)
        except msgspec.MsgspecError:
            raise Malformed("fault", 'Send {"fault": "down"}; with slow also "seconds".') from None
        if wanted.fault not in FAULTS:
            raise Rejected("usage", "There is no such fault.", f"Use one of {', '.join(FAULTS)}.")
        async with self._turn:
            await self._pair.put(at, wanted.fault, wanted.seconds)
            return _json(await self._pair.status())

    async def mend(self, _request: web.Request) -> web.Response:
        """All faults off."""
        async with self._turn:
            for at in self._pair.gates:
                await self._pair.put(at, None)
            return _json(await self._pair.status())

    async def reset(self, _request: web.Request) -> web.Response:
        """Everything as at the start, under the same addresses, token and mailbox."""
        async with self._turn:
            await self.end()
            self._life = contextlib.AsyncExitStack()
            await self.begin()
            return _json(await self._pair.status())


@contextlib.asynccontextmanager
async def opened(directory: Path, ports: Ports, wishes: Wishes) -> AsyncIterator[Sandbox]:
    """The sandbox, ready, until the block ends."""
    pair = Pair(directory, ports)
    sandbox = Sandbox(pair, ports, wishes)
    async with contextlib.AsyncExitStack() as life:
        for gate in pair.gates.values():
            await gate.open()
            life.push_async_callback(gate.close)
        await pair.make()
        await sandbox.begin()
        life.push_async_callback(sandbox.end)
        app = web.Application(client_max_size=65536, middlewares=[_politely])
        app.router.add_get("/", sandbox.status)
        app.router.add_post("/alerts", sandbox.send)
        app.router.add_put("/faults/{at}", sandbox.put)
        app.router.add_delete("/faults", sandbox.mend)
        app.router.add_post("/reset", sandbox.reset)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        life.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, "127.0.0.1", ports.control).start()
        except OSError:
            raise Misconfigured(
                f"Port {ports.control} is taken.", "Stop what uses it, or choose others with --port."
            ) from None
        if wishes.every:
            sending = asyncio.get_running_loop().create_task(sandbox.keep_sending())
            life.callback(sending.cancel)
        yield sandbox


@web.middleware
async def _politely(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refusals in our form; nothing for a page of some web site that found this port."""
    try:
        if "Origin" in request.headers:
            raise Rejected("forbidden", "This is for programs on this machine, not for web pages.")
        answer: web.StreamResponse = await handler(request)
    except BridgeError as error:
        return problems.response(error)
    return answer


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value) + b"\n", content_type="application/json"
    )
