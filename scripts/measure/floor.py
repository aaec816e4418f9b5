"""What nothing can be faster than: the cryptography of one alert, one fsync, one POST over TLS.

As a program (`floor.py seal|open SECONDS`) it prints how many alerts a second one side's cryptography alone allows;
both sides are measured at the same time on the same cores, as two nodes on one machine would share them.
"""

import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from bridge.crypto import envelope as seals
from bridge.crypto.keys import ED25519, XWING, SealingKey, SigningKey
from bridge.crypto.signed import ENVELOPE, sign, verify
from bridge.crypto.tls import make_certificate
from bridge.envelopes import Signature

BUCKET = 4  # KiB: what an ordinary alert is padded to
ALERT = 2_400  # bytes of an ordinary alert with what the node adds to it
ANSWER = 700  # bytes of a receipts document for one alert with its signature


class Sides(NamedTuple):
    """What each side does for one alert in an envelope of its own, as functions to be called again and again."""

    seal: Callable[[], None]
    open: Callable[[], None]


def sides() -> Sides:
    """Seal and sign; verify and open."""
    sealing = SealingKey.generate(XWING, "croydon-mash", os.urandom)
    signing = SigningKey.generate(ED25519, "kent-jcp", os.urandom)
    header = os.urandom(430)
    padded = seals.pad(os.urandom(ALERT), BUCKET)
    sealed = seals.seal(header, padded, sealing.public)
    keys = [signing.public_key()]
    signatures = [Signature(*each) for each in sign(ENVELOPE, seals.signed_parts(header, sealed), [signing])]

    def seal() -> None:
        made = seals.seal(header, padded, sealing.public)
        sign(ENVELOPE, seals.signed_parts(header, made), [signing])

    def open_() -> None:
        verify(ENVELOPE, seals.signed_parts(header, sealed), signatures, keys=keys, algs=seals.SUITES[1])
        seals.unpad(seals.open_sealed(header, sealed, sealing))

    return Sides(seal, open_)


def rate(work: Callable[[], None], seconds: float) -> float:
    """How often a second `work` can be done."""
    work()
    count = 0
    begun = time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        for _ in range(20):
            work()
        count += 20
    return count / spent


def crypto_rates(seconds: float) -> tuple[float, float]:
    """Alerts a second that sealing, and that opening, allow, both at work at the same time in processes of their own."""
    sides_ = [
        subprocess.Popen(  # noqa: S603  this very file
            [sys.executable, __file__, side, str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        )
        for side in Sides._fields
    ]
    seal, open_ = (float(side.communicate()[0]) for side in sides_)
    return seal, open_


class Disk:
    """A file beside the database, to which 4 KiB at a time are added and made durable."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / "fsync.floor").open("wb", buffering=0)
        self._page = os.urandom(4096)

    def once(self) -> float:
        """Seconds that one fsync takes."""
        self._file.write(self._page)
        begun = time.perf_counter()
        os.fsync(self._file.fileno())
        return time.perf_counter() - begun

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Post:
    """A POST over TLS 1.3 to a server that does nothing, through a connection kept open; the server is a process."""

    def __init__(self) -> None:
        self._body = os.urandom(BUCKET * 1024 + seals.OVERHEAD + 600)

    async def start(self) -> None:
        """Start the server and connect to it."""
        self._server = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "serve",
            "0",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)},
        )
        if self._server.stdout is None:
            raise RuntimeError("the server has a pipe")
        port = int(await self._server.stdout.readline())
        self._url = f"https://127.0.0.1:{port}/"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), headers={"Accept-Encoding": "identity"}
        )
        await self.once()

    async def once(self) -> float:
        """Seconds from the request to the end of its answer."""
        begun = time.perf_counter()
        async with self._session.post(self._url, data=self._body) as answer:
            await answer.read()
        return time.perf_counter() - begun

    async def close(self) -> None:
        """End the connection and the server."""
        await self._session.close()
        if self._server.stdin is not None:
            self._server.stdin.close()
        await self._server.wait()


async def _serve() -> None:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"x" * ANSWER)

    application = web.Application()
    application.router.add_post("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    password = os.urandom(32).hex()
    issued = make_certificate(["localhost"], datetime.now(UTC), 1, password=password.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(issued.key + issued.certificate)
        pem.flush()
        context.load_cert_chain(pem.name, password=password)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(
        None, sys.stdin.read
    )  # until whoever started us has gone
    await runner.cleanup()


if __name__ == "__main__":
    side, seconds = sys.argv[1], float(sys.argv[2])
    if side == "serve":
        asyncio.run(_serve())
    else:
        print(rate(getattr(sides(), side), seconds))
