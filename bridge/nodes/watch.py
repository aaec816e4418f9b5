"""What happened, for whoever watches it live: in order, from any place that is still kept."""

from collections.abc import Collection
from datetime import datetime

from bridge.clock import Clock, millis
from bridge.events import KINDS, Event, Told, told
from bridge.storage import events
from bridge.storage.database import Database


class Watch:
    """Reads the events. Everything it needs comes in as an argument; `base` is what links begin with."""

    def __init__(self, *, database: Database, clock: Clock, base: str) -> None:
        self._db = database
        self._clock = clock
        self._base = base.rstrip("/")

    async def newest(self) -> int:
        """The number of the newest event: whoever asks for what is after it gets what happens from now on."""
        return await events.newest(self._db)

    async def since(self, when: datetime) -> int:
        """The number after which come the events from a time on."""
        return await events.since(self._db, millis(when))

    async def begins(self, after: int) -> int | None:
        """The number after which events are kept, if some of those that follow `after` no longer are; else None."""
        oldest = await events.oldest(self._db)
        first = await self.newest() + 1 if oldest is None else oldest
        return first - 1 if after + 1 < first else None

    async def after(
        self, seq: int, limit: int, scopes: Collection[str], types: Collection[str] = (), team: str | None = None
    ) -> tuple[list[Event], int]:
        """Of the next `limit` events those that `scopes` may see, of `types` or all; and up to which number was looked."""
        newest = await self.newest()
        found = await events.after(self._db, seq, limit, team)
        upto = found[-1].seq if len(found) == limit else max(newest, found[-1].seq if found else seq)
        seen = [
            each
            for each in found
            if (not types or each.type in types)
            and each.type in KINDS
            and not set(KINDS[each.type].scopes).isdisjoint(scopes)
        ]
        return seen, upto

    def told(self, event: Event) -> Told:
        """The event as it is told, the same as in webhooks."""
        return told(event, self._base)

    def now(self) -> datetime:
        """The time of something that is told of the stream itself."""
        return self._clock.now()
