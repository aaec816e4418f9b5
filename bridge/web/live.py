"""A page that is told when something has changed, by server-sent events; without scripts, whoever reads it loads it again.

The stream says that there is something new and a few words that may be read aloud, nothing more: the page asks for itself
again. It ends with the session, and listening does not keep a session alive.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from bridge.accounts import May
from bridge.clock import Clock
from bridge.errors import Rejected
from bridge.nodes.bell import Bell
from bridge.nodes.sign_in import SignIn
from bridge.web.shell import Visit

HEARTBEAT: Final = 15.0
SLOWEST: Final = 30.0
STREAMS: Final = 4
"""As many pages of one person as may listen at once; what is more than that is loaded again by hand."""

Look = Callable[[str], Awaitable[tuple[str, str] | None]]
"""Given the mark of what a reader has seen: the mark of now and what is new in words, or None when nothing is."""

Count = Callable[[], Awaitable[int]]
"""The number beside the page's entry of the navigation."""


class Live:
    """Streams for pages. Everything it needs comes in as an argument."""

    def __init__(self, *, bell: Bell, sign_in: SignIn, clock: Clock) -> None:
        self._bell = bell
        self._sign_in = sign_in
        self._clock = clock
        self._open: Counter[str] = Counter()

    async def stream(
        self, visit: Visit, may: May, mark: str, look: Look, count: Count | None = None
    ) -> web.StreamResponse:
        """Tell the page whenever `look` finds something new since `mark`, or since the last that the browser names.

        With `count`, also whenever that number is another: the page shows it in its menu. Raises Rejected `too-many`.
        """
        who = visit.who
        if self._open[who.id] >= STREAMS:
            raise Rejected(
                "too-many", "Too many pages are open.", "Close some of them, or load the page again."
            )
        self._open[who.id] += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        visit.headers(answer)
        try:
            await answer.prepare(visit.request)
            await _write(answer, b"retry: 3000\n\n")
            await self._go_on(
                visit, may, answer, visit.request.headers.get("Last-Event-ID", mark)[:100], look, count
            )
        except (ConnectionResetError, TimeoutError):
            pass  # the reader left, or reads nothing
        finally:
            self._open[who.id] -= 1
            if not self._open[who.id]:
                del self._open[who.id]
        return answer

    async def _go_on(
        self, visit: Visit, may: May, answer: web.StreamResponse, mark: str, look: Look, count: Count | None
    ) -> None:
        beat = self._clock.monotonic() + HEARTBEAT
        counted: int | None = None
        while not self._bell.closed:
            rung = self._bell.rung
            found = await look(mark)
            if found is not None:
                mark, words = found
                data = msgspec.json.encode({"said": words})
                await _write(answer, f"id: {mark}\nevent: changed\n".encode() + b"data: " + data + b"\n\n")
            if count is not None and (number := await count()) != counted:
                counted = number
                await _write(answer, f'event: count\ndata: {{"count": {number}}}\n\n'.encode())
            left = beat - self._clock.monotonic()
            if left <= 0:
                if not await self._sign_in.still(visit.who, may):
                    await _write(answer, b"event: over\ndata: {}\n\n")
                    return
                await _write(answer, b": still here\n\n")
                beat = self._clock.monotonic() + HEARTBEAT
            else:
                await self._bell.after(rung, left)


async def _write(answer: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(SLOWEST):
        await answer.write(data)
