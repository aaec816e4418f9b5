"""The one way to content at rest: a key of each alert, wrapped by the key of its expiry day (PROTOCOL section 8)."""

import secrets
from collections.abc import Callable
from datetime import date
from typing import Protocol

from bridge.crypto.vault import BucketKey, DataKey
from bridge.errors import Rejected

CONTENT = "content"
"""Label of an alert's own content; a copy for one recipient is labelled with its message."""


class Buckets(Protocol):
    """The keystore's part: the key of each expiry day."""

    def bucket(self, day: date) -> BucketKey | None:
        """The key of a day, or None once it is destroyed or was never made."""
        ...

    async def ensure_bucket(self, day: date) -> BucketKey:
        """The key of a day; made, and durable before it is returned, if it is the first use of the day."""
        ...


def payload_label(message_id: bytes) -> str:
    """Label under which a recipient's own copy is encrypted."""
    return "payload " + message_id.hex()


class Contents:
    """Makes and finds the keys of alerts."""

    def __init__(self, buckets: Buckets, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._buckets = buckets
        self._random = random

    async def new(self, alert_id: str, day: date) -> tuple[DataKey, bytes]:
        """A new key for an alert that expires on `day`, and its wrapped form for the database."""
        bucket = self._buckets.bucket(day) or await self._buckets.ensure_bucket(day)
        return bucket.new_data_key(alert_id, self._random)

    def key(self, alert_id: str, day: str, wrapped: bytes | None) -> DataKey:
        """The key of a stored alert. Raises Rejected `gone` once it or its day's key is destroyed."""
        bucket = self._buckets.bucket(date.fromisoformat(day)) if wrapped is not None else None
        if bucket is None or wrapped is None:
            raise gone()
        return bucket.unwrap(alert_id, wrapped)

    def open(self, alert_id: str, day: str, wrapped: bytes | None, content: bytes | None) -> bytes:
        """The content of a stored alert. Raises Rejected `gone`."""
        if content is None:
            raise gone()
        return self.key(alert_id, day, wrapped).open(CONTENT, content)


def gone() -> Rejected:
    """What is said of content whose time is over."""
    return Rejected("gone", "The content of this alert was deleted when its time was over.")
