"""Wakes whoever waits for something new. A hint and never the truth: that is in the database, and is read after it."""

import asyncio


class Bell:
    """Rung whenever something may have happened. Reading `rung` before looking, nobody misses a ring while looking."""

    def __init__(self) -> None:
        self.rung = 0
        self.closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody."""
        self.rung += 1
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()

    def close(self) -> None:
        """The node stops: nobody waits any more."""
        self.closed = True
        self.ring()

    async def after(self, rung: int, seconds: float | None) -> None:
        """Wait until it was rung more often than `rung`, or for `seconds`, or until the node stops."""
        if self.rung != rung or self.closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(future)
