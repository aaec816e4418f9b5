"""What a person has begun to write, kept for them on the node: encrypted, for an hour, and gone once it is sent.

A draft outlives a time-out, a new sign-in and a restart. Like all content it lies under a key of its own, which the key
of its last day wraps; it is never shown to anybody but the account that wrote it.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from bridge import accounts
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.storage import drafts
from bridge.storage.contents import CONTENT, Contents
from bridge.storage.database import Database

LIFE: Final = accounts.IDLE + timedelta(minutes=30)
"""Half an hour to be signed out by doing nothing, and half an hour to come back."""

LONGEST: Final = 128 * 1024


class Kept(msgspec.Struct, frozen=True):
    """A draft as it is kept. `once` is the key under which it is sent: another content has another."""

    once: str
    content: bytes
    saved: datetime
    until: datetime

    def __repr__(self) -> str:
        return f"Kept({self.until:%H:%M})"


class Drafts:
    """Keeps drafts. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._clock = clock
        self._random = random

    async def keep(self, account: str, purpose: str, content: bytes) -> Kept:
        """Keep this in place of what was kept before. The same content keeps its `once`. Raises Rejected `too-large`."""
        if len(content) > LONGEST:
            raise Rejected("too-large", "This is longer than a draft may be.", "Write less.")
        now = self._clock.now()
        before = await self.find(account, purpose)
        once = before.once if before is not None and before.content == content else self._random(16).hex()
        until = now + LIFE
        draft_id = f"draft-{self._random(12).hex()}"
        day = until.astimezone(UTC).date()
        key, wrapped = await self._contents.new(draft_id, day)
        row = drafts.Draft(
            draft_id,
            account,
            purpose,
            once,
            millis(now),
            millis(until),
            day.isoformat(),
            wrapped,
            key.seal(CONTENT, content),
        )
        # If we stop here, what was kept before is still there.
        async with self._db.transaction() as tx:
            await drafts.save(tx, row)
        return Kept(once, content, now, until)

    async def find(self, account: str, purpose: str) -> Kept | None:
        """What is kept for an account, or None; one whose key is gone is none."""
        row = await drafts.find(self._db, account, purpose, millis(self._clock.now()))
        if row is None:
            return None
        try:
            content = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
        except Rejected:
            return None
        return Kept(row.once, content, moment(row.saved_at), moment(row.expires_at))

    async def drop(self, account: str, purpose: str, once: str | None = None) -> None:
        """Delete a draft: it is sent, or not wanted; with `once`, only if it is still that one."""
        async with self._db.transaction() as tx:
            await drafts.drop(tx, account, purpose, once)
