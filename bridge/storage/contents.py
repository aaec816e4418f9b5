"""The one way to content at rest: a key of each alert, wrapped by the key of its expiry day (PROTOCOL section 8)."""

import secrets
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Protocol

from bridge.clock import end_of, millis
from bridge.crypto.vault import BucketKey, DataKey
from bridge.errors import Rejected

CONTENT = "content"
"""Label of an alert's own content; a copy for one recipient is labelled with its message."""


class Secret(Protocol):
    """A key of the keystore; `seed` is empty once it is destroyed."""

    @property
    def seed(self) -> bytes:
        """The secret."""
        ...


class Buckets(Protocol):
    """The keystore's part: the key of each expiry day, and of each hold."""

    def key(self, kid: str) -> Secret | None:
        """One key by its name, or None."""
        ...

    def bucket(self, day: date) -> BucketKey | None:
        """The key of a day, or None once it is destroyed or was never made."""
        ...

    def buckets(self) -> list[BucketKey]:
        """The keys of every day that is not destroyed."""
        ...

    async def ensure_bucket(self, day: date) -> BucketKey:
        """The key of a day; made, and durable before it is returned, if it is the first use of the day."""
        ...


def payload_label(message_id: bytes) -> str:
    """Label under which a recipient's own copy is encrypted."""
    return "payload " + message_id.hex()


HOLD = "hold-"
"""What the `bucket_day` of held content begins with: its key is then the hold's own."""

HOLD_DAY = date(9999, 12, 31)
"""The day that a hold's key is bound to: it belongs to none."""

HELD_UNTIL = millis(end_of(HOLD_DAY - timedelta(days=1)))
"""The end (ms) of what is held, in the database: after every other."""


class Contents:
    """Makes and finds the keys of alerts."""

    def __init__(self, buckets: Buckets, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._buckets = buckets
        self._random = random

    async def new(self, alert_id: str, day: date) -> tuple[DataKey, bytes]:
        """A new key for an alert that expires on `day`, and its wrapped form for the database."""
        return (await self.until(day)).new_data_key(alert_id, self._random)

    def key(self, alert_id: str, day: str, wrapped: bytes | None) -> DataKey:
        """The key of a stored alert. Raises Rejected `gone` once it or its day's key is destroyed."""
        if wrapped is None:
            raise gone()
        return self.over(day).unwrap(alert_id, wrapped)

    def first_day(self, alert_id: str, day: str, wrapped: bytes) -> date | None:
        """The day that an alert was first kept to, and is still in older copies; None when no key opens it any more."""
        try:
            return self.over(day).unwrap(alert_id, wrapped).day
        except Rejected:
            return None

    def over(self, day: str) -> BucketKey:
        """The key that wraps alerts kept until `day`, or under a hold. Raises Rejected `gone`."""
        if day.startswith(HOLD):
            row = self._buckets.key(day)
            if row is None or not row.seed:
                raise gone()
            return BucketKey(HOLD_DAY, row.seed)
        bucket = self._buckets.bucket(date.fromisoformat(day))
        if bucket is None:
            raise gone()
        return bucket

    def marks(self, texts: Sequence[str]) -> dict[int, str]:
        """The texts by their blind marks under the key of every day on which something expires."""
        return {mark: text for key in self._buckets.buckets() for mark, text in zip(key.marks(texts), texts, strict=True)}

    def has(self, hold: str) -> bool:
        """Whether the key of a hold is there."""
        row = self._buckets.key(hold)
        return row is not None and bool(row.seed)

    async def until(self, day: date) -> BucketKey:
        """The key for content kept until `day`, made if it is the first. Raises Rejected `gone` for a day that is over."""
        return self._buckets.bucket(day) or await self._buckets.ensure_bucket(day)

    def open(self, alert_id: str, day: str, wrapped: bytes | None, content: bytes | None) -> bytes:
        """The content of a stored alert. Raises Rejected `gone`."""
        if content is None:
            raise gone()
        return self.key(alert_id, day, wrapped).open(CONTENT, content)


def gone() -> Rejected:
    """What is said of content whose time is over."""
    return Rejected(
        "gone",
        "The content of this alert was deleted when its time was over.",
        "Nothing brings it back. Its timeline says what became of it; its sender may have it still.",
    )
