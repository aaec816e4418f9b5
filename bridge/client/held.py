"""A received alert that is in the caller's hands for a time, and what of a lease has not been handed on yet."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bridge import answers
from bridge.alerts import Alert
from bridge.receipts import STATUSES

FIRST_BACK: Final = 15
LONGEST_BACK: Final = 3600
WAIT: Final = 25
"""Seconds that the node holds a question open when nothing is there."""


class Hold:
    """What a system was handed: the alert as it was sent, and the lease under which it has it.

    `times` above 1 says that it was handed out before: to this system, or to another that did not acknowledge it.
    """

    def __init__(self, lease: str, handed: answers.Handed) -> None:
        self.lease = lease
        self.handed = handed
        self.settled = False

    @property
    def id(self) -> str:
        """The alert's id, which stays the same however often it is handed out."""
        return self.handed.id

    @property
    def reference(self) -> str:
        """What people say to each other."""
        return self.handed.reference

    @property
    def times(self) -> int:
        """How often it was handed out."""
        return self.handed.times

    @property
    def raw(self) -> bytes:
        """The alert's own bytes, as its sender submitted them."""
        return bytes(self.handed.alert)

    @property
    def json(self) -> dict[str, Any]:
        """The alert with all its fields, those that this client does not know among them."""
        found: dict[str, Any] = msgspec.json.decode(self.raw)
        return found

    @property
    def alert(self) -> Alert:
        """The alert as a struct."""
        return msgspec.json.decode(self.raw, type=Alert)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"

    def back_after(self, error: BaseException) -> int:
        """Seconds after which it may be handed out again: at once for whoever was interrupted, else later each time."""
        if not isinstance(error, Exception):
            return 0
        return min(LONGEST_BACK, FIRST_BACK << min(self.times - 1, 8))


class Batch:
    """What came with one lease, in order. `left` is what the caller has not been given yet."""

    def __init__(self, lease: answers.Lease, seconds: int, now: float) -> None:
        self.id = lease.lease or ""
        self._items = list(lease.items)
        self._seconds = seconds
        self._since = now

    def __iter__(self) -> Iterator[answers.Handed]:
        while self._items:
            yield self._items.pop(0)

    @property
    def left(self) -> list[str]:
        """Ids of what was not handed on."""
        return [each.id for each in self._items]

    def half_over(self, now: float) -> bool:
        """Whether the lease should be renewed before the next is handed on; asking counts as doing."""
        over = now - self._since > self._seconds / 2
        if over:
            self._since = now
        return over


_OVER: Final = {str(code) for code, row in STATUSES.items() if row.final} | {"closed", "rerouted"}


def over(recipients: tuple[answers.Recipient, ...]) -> bool:
    """Whether work on an alert has come to its end with every recipient: only its deletion may still be said."""
    return all(each.status in _OVER for each in recipients)


def news(
    timeline: tuple[answers.Moment, ...], known: set[tuple[str, str, str | None]]
) -> list[answers.Moment]:
    """The moments of a timeline that are not known yet, oldest first; they are known from then on."""
    fresh = []
    for each in sorted(timeline, key=lambda one: one.at):
        name = (each.message, each.status, each.code)
        if name not in known:
            known.add(name)
            fresh.append(each)
    return fresh
