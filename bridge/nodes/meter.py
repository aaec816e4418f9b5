"""How much a token asks, and what came of it: a token bucket each, and a log of calls without their content.

The log is for whoever connects a system and asks why a call failed. It is written in batches, so that reading the inbox
costs no commit of its own; a node that is killed loses the last seconds of it and nothing else.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bridge.answers import Called
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.storage import calls
from bridge.storage.database import Database

KEPT: Final = timedelta(days=7)
MOST_KEPT: Final = 10_000
MOST_HELD: Final = 5_000
MOST_BUCKETS: Final = 4_096
WINDOW: Final = 60


@dataclass(frozen=True)
class Allowance:
    """What is left to a caller: requests now, and seconds until one more may be made when there are none."""

    limit: int
    left: int
    wait: int


class Meter:
    """Buckets and the log. Everything it needs comes in as an argument."""

    def __init__(self, *, database: Database, clock: Clock, a_minute: int) -> None:
        self._db = database
        self._clock = clock
        self._a_minute = a_minute
        self._left: dict[str, tuple[float, float]] = {}
        self._held: list[calls.Call] = []

    def seconds(self) -> float:
        """A time to measure how long a call takes."""
        return self._clock.monotonic()

    def take(self, caller: str, a_minute: int | None = None) -> Allowance:
        """Count one request of a caller. Raises Rejected `too-many`, with the seconds to wait in its facts."""
        limit = a_minute or self._a_minute
        now = self._clock.monotonic()
        left, since = self._left.get(caller, (float(limit), now))
        left = min(float(limit), left + (now - since) * limit / WINDOW)
        if left < 1:
            wait = max(1, int((1 - left) * WINDOW / limit + 0.999))
            self._left[caller] = (left, now)
            raise Rejected(
                "too-many", f"More than {limit} requests a minute.", f"Wait {wait} s.", retry_after=wait, limit=limit
            )
        if len(self._left) > MOST_BUCKETS:
            self._forget_full(now)
        self._left[caller] = (left - 1, now)
        return Allowance(limit, int(left - 1), 0)

    def _forget_full(self, now: float) -> None:
        """Buckets that were not touched for a whole window are full again, and are the same as none."""
        self._left = {name: kept for name, kept in self._left.items() if now - kept[1] < WINDOW}
        if len(self._left) > MOST_BUCKETS:
            self._left.clear()

    def note(self, token: str, method: str, route: str, status: int, code: str | None, seconds: float) -> None:
        """Remember a call until the next :meth:`flush`."""
        if len(self._held) < MOST_HELD:
            at = millis(self._clock.now())
            self._held.append(calls.Call(0, token, at, method, route, status, code, int(seconds * 1000)))

    async def flush(self) -> None:
        """Write what is remembered."""
        held, self._held = self._held, []
        if held:
            async with self._db.transaction() as tx:
                await calls.add(tx, held)

    async def forget(self) -> None:
        """Drop what is older than a week, and of each token all but its newest calls."""
        async with self._db.transaction() as tx:
            await calls.forget(tx, millis(self._clock.now() - KEPT), MOST_KEPT)

    async def log(self, token: str | None, before: int | None, limit: int) -> tuple[Called, ...]:
        """The calls of one token, or of all, newest first and numbered below `before`."""
        await self.flush()
        return tuple(
            Called(row.seq, row.token, moment(row.at), row.method, row.route, row.status, row.code, row.took)
            for row in await calls.of(self._db, token, before, limit)
        )


