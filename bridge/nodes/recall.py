"""Reading the audit log as people do: newest first, page by page, by who, what or which thing."""

from collections.abc import Callable

import msgspec

from bridge.audit import Record
from bridge.storage import audit
from bridge.storage.database import Database

CHUNK = 500
MOST_READ = 50_000
"""How many records one question may read; a filter that finds less in them says so and may be asked to go on."""


class Recalled(msgspec.Struct, frozen=True):
    """Records newest first, and where to go on (None at the beginning of the log)."""

    records: tuple[Record, ...]
    before: int | None


class Recall:
    """The audit log for reading. Everything it needs comes in as an argument."""

    def __init__(self, *, database: Database) -> None:
        self._db = database

    async def page(
        self, before: int | None, limit: int, matches: Callable[[Record], bool] | None = None
    ) -> Recalled:
        """At most `limit` records that match, numbered below `before`; at most `MOST_READ` are looked at."""
        top = await audit.count(self._db) + 1 if before is None else before
        found: list[Record] = []
        read = 0
        while top > 1 and read < MOST_READ:
            size = CHUNK if matches else min(CHUNK, limit - len(found))
            after = max(0, top - 1 - size)
            rows = [row for row in await audit.records(self._db, after, top - 1 - after) if row[0] < top]
            for seq, raw, _leaf in reversed(rows):
                top = seq
                if not raw:  # its own time is over
                    continue
                record = msgspec.json.decode(raw, type=Record)
                if matches is None or matches(record):
                    found.append(record)
                    if len(found) == limit:
                        return Recalled(tuple(found), top if top > 1 else None)
            top = after + 1
            read += size
        return Recalled(tuple(found), top if top > 1 else None)
