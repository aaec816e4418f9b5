"""Two real nodes, made and introduced to each other, and what the measuring programs need to run them.

Everything goes through the node's own code: nodes are made as `bridge init` makes them, introduced as two
administrators on each side would, and run as `bridge run` runs them, in processes of their own.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bridge import registry
from bridge.config import Limits, Node, Settings
from bridge.nodes import app
from bridge.nodes.create import create

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = ROOT / "configs" / "scenarios"
QUOTA = 10_000_000  # messages an hour: the one setting that differs from its default
RATE = 1_000_000  # requests a minute of the measuring token
READY_SECONDS = 30.0
SCOPES = ("alerts:send", "alerts:read", "alerts:act", "receipts:read", "areas:read")


@dataclass(frozen=True)
class Place:
    """One node: its id, the directory that holds all of it, and the port that it listens on."""

    id: str
    directory: Path
    port: int

    @property
    def url(self) -> str:
        """Where partners reach it."""
        return f"https://127.0.0.1:{self.port}"


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make(
    directory: Path,
    node_id: str,
    name: str,
    area: str,
    functions: Sequence[str],
    port: int = 0,
    known_as: int = 0,
) -> Place:
    """A new node with default settings but for the quota, on loopback; `port` 0 takes a free one.

    Partners reach it at the port `known_as`, where that is another.
    """
    place = Place(node_id, directory, port or free_port())
    node = Node(
        id=node_id,
        name=name,
        agency=functions[0],
        areas=(area,),
        functions=tuple(functions),
        url=f"https://127.0.0.1:{known_as or place.port}",
    )
    settings = Settings.first(node, port=place.port)
    create(
        directory,
        msgspec.structs.replace(settings, limits=Limits(partner_messages_per_hour=QUOTA)),
        None,
    )
    return place


def introduce(one: Place, other: Place) -> None:
    """Make two nodes partners: each takes the other's invite, and two administrators confirm its fingerprint."""
    asyncio.run(_introduce(one, other))


async def _introduce(one: Place, other: Place) -> None:
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for place in (one, other):
            node = await app.Node.open(place.directory, settings_of(place))
            stack.push_async_callback(node.close)
            nodes.append(node)
        for here, there in (nodes, reversed(nodes)):
            partner = await here.enrol.add(there.enrol.invite(), "measure")
            heard = " ".join(registry.fingerprint_of(partner.descriptor).words)
            for admin in ("first administrator", "second administrator"):
                await here.enrol.approve(partner.node_id, admin, heard)


def settings_of(place: Place) -> Settings:
    """The node's settings, as it reads them itself."""
    return Settings.load(place.directory, {})


def token(place: Place) -> str:
    """A new API token of a node that is not running."""

    async def made() -> str:
        node = await app.Node.open(place.directory, settings_of(place))
        try:
            made = await node.admit.create("measure", SCOPES, None, "measure", rate=RATE)
            return str(made["token"])
        finally:
            await node.close()

    return asyncio.run(made())


def kent_and_croydon(directory: Path) -> tuple[Place, Place]:
    """A Jobcentre in Kent that sends and a front door in Croydon that receives, made and introduced."""
    sender = make(directory / "kent-jcp", "kent-jcp", "Kent Jobcentres", "E07000110", ("JCP",))
    receiver = make(
        directory / "croydon-mash", "croydon-mash", "Croydon MASH", "E09000008", ("MASH", "YJS", "LA_CSP")
    )
    introduce(sender, receiver)
    return sender, receiver


def alert(**changes: Any) -> bytes:
    """An alert of ordinary length for one recipient, the youth justice team in Croydon: a shipped scenario, shortened."""
    scenario = json.loads((SCENARIOS / "01-jobcentre-recruiter.json").read_text("utf-8"))["alert"]
    wanted = [{"function": "YJS", "area": "home", "why": "he may still be known to youth justice"}]
    return json.dumps({**scenario, "recipients": wanted, **changes}, ensure_ascii=False).encode()


# Processes


class Process:
    """A node in a process of its own. Its log lies beside its directory."""

    def __init__(self, place: Place, command: Sequence[str] | None = None, **options: Any) -> None:
        self.place = place
        self.log = place.directory.with_name(place.directory.name + ".log")
        run = command or ("-m", "bridge", "run", "--dir", str(place.directory))
        with self.log.open("ab") as log:
            given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
            given["env"] = {**os.environ, "PYTHONPATH": str(ROOT), **options.get("env", {})}
            self.popen = subprocess.Popen([sys.executable, *run], stderr=log, cwd=ROOT, **given)  # noqa: S603  our own

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.popen.pid

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until the node answers on its socket; RuntimeError with the end of its log when it does not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answers(self.place):
                return
            if self.popen.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self.place.id} did not start: {self.log.read_text()[-600:]}")

    def stop(self, seconds: float = 10.0) -> None:
        """SIGTERM and wait; SIGKILL if it takes longer than `seconds`."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL and wait."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()

    def rss(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return (
            next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            * 1024
            / 1e6
        )


def answers(place: Place) -> bool:
    """Whether the node accepts connections on its port and on its own socket."""
    path = place.directory / "run" / "bridge.sock"
    try:
        with socket.create_connection(("127.0.0.1", place.port), 1):
            pass
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as local:
                local.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(*places: Place) -> Iterator[list[Process]]:
    """These nodes at work, ended when the block ends."""
    processes = [Process(place) for place in places]
    try:
        for process in processes:
            process.wait_ready()
        yield processes
    finally:
        for process in processes:
            process.stop()


# HTTP


def tls() -> ssl.SSLContext:
    """TLS 1.3 to a node on this machine; who it is does not matter to the one that measures."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Line:
    """One HTTP connection to a node, kept open; as little as a client can do, so that it takes little of the machine.

    Every method raises OSError, EOFError or ValueError when the connection breaks or the answer is not understood.
    """

    def __init__(self, place: Place, bearer: str, *, plain: bool = False) -> None:
        self._place = place
        self._bearer = bearer
        self._plain = plain
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request: status and body."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._place.port, ssl=None if self._plain else tls()
            )
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._place.port}",
            f"Authorization: {self.authorization()}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._writer.write("\r\n".join((*head, "", "")).encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        length = next(
            int(line.split(b":")[1])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return status, await self._reader.readexactly(length)

    def authorization(self) -> str:
        """What stands in the header of that name."""
        return f"Bearer {self._bearer}"

    async def json(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Any:
        """The decoded answer; RuntimeError for any status but a success."""
        status, answer = await self.ask(method, path, body, headers)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status}")
        return json.loads(answer)

    async def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), 1)
        self._reader = self._writer = None
