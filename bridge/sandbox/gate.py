"""A gate before a node's door: lets everything through, or does to it what lines and partners do on a bad day.

It works on bytes and knows nothing of the node, which therefore is exactly the real one.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Literal, get_args

from bridge.errors import Misconfigured

Fault = Literal["down", "slow", "refuses", "garbles"]
FAULTS: Final[tuple[str, ...]] = get_args(Fault)

_HEAD: Final = b"\r\n\r\n"
_REFUSAL: Final = (
    b'{"type":"/problems/storage","title":"Not available now","status":503,"code":"storage",'
    b'"detail":"The sandbox was told to refuse.","exit":4}'
)
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: " + str(len(_REFUSAL)).encode() + _HEAD + _REFUSAL
)


class Gate:
    """Listens on one port of this machine and leads to another, under at most one fault."""

    def __init__(self, port: int, inner: int, *, may_refuse: bool = True) -> None:
        self.port = port
        self.fault: str | None = None
        self.seconds = 5.0
        self._inner = inner
        self._may_refuse = may_refuse
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Begin to listen. Raises Misconfigured when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        except OSError:
            raise Misconfigured(
                f"Port {self.port} is taken.", "Stop what uses it, or choose others with --port."
            ) from None

    async def close(self) -> None:
        """Listen no more, and drop whoever is connected."""
        if self._server is not None:
            self._server.close()
            self._drop()
            await self._server.wait_closed()

    def put(self, fault: str | None, seconds: float | None = None) -> None:
        """From now on this fault, or none. One that is down drops whoever is connected."""
        self.fault = fault
        if seconds is not None:
            self.seconds = seconds
        if fault == "down":
            self._drop()

    def _drop(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "down":
            writer.transport.abort()
            return
        self._open.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self._inner)
            self._open.add(onward)
            pumps = [
                asyncio.ensure_future(self._there(reader, writer, onward)),
                asyncio.ensure_future(self._pump(back, writer, self._altered)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for each in (writer, onward):
                if each is not None:
                    self._open.discard(each)
                    with contextlib.suppress(OSError, RuntimeError):
                        each.close()

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if self.fault == "refuses" and self._may_refuse:
                writer.write(_REFUSED)
                await writer.drain()
                return
            if self.fault == "slow":
                await asyncio.sleep(self.seconds)
            onward.write(data)
            await onward.drain()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alter: Callable[[bytes], bytes]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(alter(data))
                await writer.drain()

    def _altered(self, data: bytes) -> bytes:
        """The answer as it comes through: its head as it is, its body, where it is to be garbled, of the same length."""
        if self.fault != "garbles":
            return data
        if data.startswith(b"HTTP/"):
            head, gap, body = data.partition(_HEAD)
            return head + gap + _garbled(body)
        return _garbled(data)


def _garbled(data: bytes) -> bytes:
    return bytes(each ^ 0x2A for each in data)
