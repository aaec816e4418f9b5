"""How fast a system empties its inbox: a node's own interface and its MESH door, beside the NHS's public MESH sandbox.

All three are asked by the same client, over as many connections, for as many messages of one size, in turns. The
sandbox keeps its messages in the memory of one process, in clear; the node keeps them encrypted, and each
acknowledgement is on the disk, with the signed receipt that it makes, before it is answered.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pair

from bridge import config
from bridge.config import MeshSection

CONNECTIONS = 8
BATCH = 50
TURNS = 3  # all three ways in each, so that whatever else the machine does falls on all alike
AIM = 3.0  # times the sandbox's rate
LOCK = Path(__file__).with_name("mesh-sandbox.lock")
VENV = pair.ROOT / ".venv-bench"

Row = tuple[str, float, str, str, bool | None, str]


class MeshLine(pair.Line):
    """A connection that proves itself as a MESH client does."""

    def __init__(self, place: pair.Place, mailbox: str, password: str, key: str, *, plain: bool) -> None:
        super().__init__(place, "", plain=plain)
        self.base = f"/messageexchange/{mailbox}"
        self._mailbox, self._password, self._key = mailbox, password, key
        self._nonce, self._count = uuid.uuid4(), 0

    def authorization(self) -> str:
        """A new proof for each request."""
        self._count += 1
        at = datetime.now(UTC).strftime("%Y%m%d%H%M")
        said = f"{self._mailbox}:{self._nonce}:{self._count}"
        proof = hmac.new(
            self._key.encode(), f"{said}:{self._password}:{at}".encode(), hashlib.sha256
        ).hexdigest()
        return f"NHSMESH {said}:{at}:{proof}"


ACCEPT = {"Accept": "application/vnd.mesh.v2+json"}


async def _mesh(line: Callable[[], MeshLine], count: int) -> float:
    """Seconds until so many messages were listed, downloaded and acknowledged, each once."""
    left: list[str] = []
    done: set[str] = set()
    asking = asyncio.Lock()

    async def work() -> None:
        mine = line()
        try:
            while True:
                async with asking:
                    if not left:
                        listed = await mine.json(
                            "GET", f"{mine.base}/inbox?max_results={BATCH}", headers=ACCEPT
                        )
                        left.extend(each for each in listed["messages"] if each not in done)
                        if not left:
                            return
                    message = left.pop()
                    done.add(message)
                status, body = await mine.ask("GET", f"{mine.base}/inbox/{message}", headers=ACCEPT)
                if status != 200 or not body:
                    raise RuntimeError(f"download: {status}")
                status, _ = await mine.ask(
                    "PUT", f"{mine.base}/inbox/{message}/status/acknowledged", headers=ACCEPT
                )
                if status != 200:
                    raise RuntimeError(f"acknowledge: {status}")
        finally:
            await mine.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - began
    if len(done) != count:
        raise RuntimeError(f"{len(done)} of {count} messages came")
    return seconds


async def _leases(place: pair.Place, token: str, count: int) -> float:
    """The same by leases: a batch is handed out whole, and acknowledged whole."""
    done = 0

    async def work() -> None:
        nonlocal done
        mine = pair.Line(place, token)
        try:
            wanted = json.dumps({"limit": BATCH, "seconds": 300}).encode()
            while (found := await mine.json("POST", "/v1/inbox/lease", wanted))["lease"] is not None:
                told = await mine.json("POST", f"/v1/inbox/lease/{found['lease']}/ack", b"{}")
                done += told["count"]
        finally:
            await mine.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - began
    if done != count:
        raise RuntimeError(f"{done} of {count} alerts came")
    return seconds


def _installed(say: Callable[[str], None]) -> str:
    """Why the MESH sandbox cannot be run here; empty once it can."""
    python = VENV / "bin" / "python"
    if not python.exists():
        say("mailbox: the MESH sandbox is installed, once")
        commands = [
            [sys.executable, "-m", "venv", str(VENV)],
            [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(LOCK)],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603  ours
            if done.returncode:
                subprocess.run(["rm", "-rf", str(VENV)], check=False)  # noqa: S603, S607  a half-made one is none
                return "it could not be installed from the package index"
    return ""


@contextlib.contextmanager
def _sandbox() -> Iterator[pair.Place]:
    """The public MESH sandbox, in memory, which is its fastest store."""
    place = pair.Place("mesh-sandbox", VENV, pair.free_port())
    process = subprocess.Popen(  # noqa: S603  its own server
        [
            str(VENV / "bin" / "python"), "-m", "uvicorn", "mesh_sandbox.api:app", "--port", str(place.port),
            "--log-level", "error", "--no-access-log",
        ],
        env={**os.environ, "STORE_MODE": "memory", "AUTH_MODE": "full", "SHARED_KEY": "BackBone"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while True:
            try:
                asyncio.run(_pinged(place))
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError("the MESH sandbox did not start") from None
                time.sleep(0.1)
        yield place
    finally:
        process.terminate()
        process.wait(20)


async def _pinged(place: pair.Place) -> None:
    line = pair.Line(place, "", plain=True)
    try:
        await line.ask("GET", "/messageexchange/_ping", headers=ACCEPT)
    finally:
        await line.close()


async def _posted(place: pair.Place, body: bytes, count: int) -> None:
    line = MeshLine(place, "X26ABC1", "password", "BackBone", plain=True)
    headers = {**ACCEPT, "Mex-To": "X26ABC2", "Mex-WorkflowID": "BRIDGE_ALERT", "Mex-Chunk-Range": "1:1"}
    for _ in range(count):
        status, _ = await line.ask("POST", f"{line.base}/outbox", body, headers)
        if status != 202:
            raise RuntimeError(f"the MESH sandbox takes no message: {status}")
    await line.close()


def measure(directory: Path, count: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of the table: name, value, unit, bar, whether it is met, note."""
    from bench import Sender

    say("mailbox: two nodes are made")
    sender_place, receiver_place = pair.kent_and_croydon(directory / "mailbox")
    token = pair.token(receiver_place)
    door = pair.Place("mesh", receiver_place.directory, pair.free_port())
    _with_mesh(receiver_place, door.port)
    made = _mailbox(receiver_place)
    share = max(1, count // TURNS)
    missing = _installed(say)
    turns: list[dict[str, float]] = []

    def to_door() -> MeshLine:
        return MeshLine(door, made["id"], made["password"], made["shared_key"], plain=False)

    with contextlib.ExitStack() as stack:
        stack.enter_context(pair.running(receiver_place))
        sandbox = None if missing else stack.enter_context(_sandbox())
        sender = Sender(sender_place)
        stack.callback(sender.close)
        for turn in range(TURNS):
            say(f"mailbox: turn {turn + 1} of {TURNS}, by leases")
            sender.ask(do="burst", count=share, at_once=32)
            rates = {"leases": share / asyncio.run(_leases(receiver_place, token, share))}
            say(f"mailbox: turn {turn + 1} of {TURNS}, by the MESH door")
            sender.ask(do="burst", count=share, at_once=32)
            rates["door"] = share / asyncio.run(_mesh(to_door, share))
            size = asyncio.run(_size(receiver_place, token))
            if sandbox is not None:
                say(f"mailbox: turn {turn + 1} of {TURNS}, the MESH sandbox")
                asyncio.run(_posted(sandbox, b"x" * size, share))
                to_sandbox = functools.partial(MeshLine, sandbox, "X26ABC2", "password", "BackBone", plain=True)
                rates["sandbox"] = share / asyncio.run(_mesh(to_sandbox, share))
            turns.append(rates)
    return _rows(turns, size, missing)


def _rows(turns: Sequence[Mapping[str, float]], size: int, missing: str) -> list[Row]:
    def median(way: str) -> float:
        return statistics.median(each[way] for each in turns)

    def times(way: str) -> tuple[float, str]:
        found = [each[way] / each["sandbox"] for each in turns]
        return statistics.median(found), "turns " + ", ".join(f"{each:.1f}" for each in found)

    how = f"{CONNECTIONS} connections, messages of {size} bytes"
    each_one = "list, then get and ack each"
    rows: list[Row] = [
        ("node, leases of 50, TLS, durable, encrypted", median("leases"), "alerts/s", "", None, how),
        ("node, MESH door, TLS, durable, encrypted", median("door"), "alerts/s", "", None, each_one),
    ]
    if missing:
        return [*rows, ("mesh-sandbox", 0.0, "alerts/s", "", None, missing)]
    (leases, by_turn), (same, same_by_turn) = times("leases"), times("door")
    return [
        *rows,
        ("mesh-sandbox, in memory, in clear, no TLS", median("sandbox"), "alerts/s", "", None, each_one),
        ("  leases against mesh-sandbox", leases, "times", f">= {AIM:.1f}", leases >= AIM, by_turn),
        ("  MESH door against mesh-sandbox", same, "times", "", None, f"the same requests; {same_by_turn}"),
    ]


async def _size(place: pair.Place, token: str) -> int:
    line = pair.Line(place, token)
    try:
        found = await line.json("GET", "/v1/inbox?limit=1")
        return len((await line.ask("GET", f"/v1/inbox/{found['items'][0]['id']}"))[1])
    finally:
        await line.close()


def _with_mesh(place: pair.Place, port: int) -> None:
    """The door for MESH in the node's settings, and as many requests a minute as anybody likes."""
    path = place.directory / config.FILE_NAME
    settings = config.Settings.read(path.read_text())
    limits = msgspec.structs.replace(settings.limits, token_requests_per_minute=pair.RATE)
    path.write_text(
        config.render(msgspec.structs.replace(settings, mesh=MeshSection(port=port), limits=limits))
    )


def _mailbox(place: pair.Place) -> dict[str, Any]:
    """A mailbox, made as an operator makes it."""
    command = [
        sys.executable, "-m", "bridge", "mailbox", "create", "--dir", str(place.directory), "--json",
        "--id", "BENCH001", "--label", "bench",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pair.ROOT)  # noqa: S603  ours
    made: dict[str, Any] = json.loads(done.stdout)
    return made
