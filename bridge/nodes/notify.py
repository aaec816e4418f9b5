"""Tells the duty inbox by e-mail that something waits: references and a link, never anything of an alert.

Durable. The events of the database are the queue, and how far they were told of is a fact beside them: a mail that was not
accepted is tried again until it is, whatever stops meanwhile. If the node stops between the server's yes and our note of
it, the same mail goes out once more under the same Message-ID. What happens in one go is told in one mail, and mails
are at least a minute apart, so that a busy day fills nobody's inbox.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

import structlog

from bridge.clock import Clock, millis, moment
from bridge.errors import Unavailable
from bridge.events import Event
from bridge.metrics import Metrics
from bridge.storage import counters, events
from bridge.storage.database import Database

log = structlog.get_logger()

TOLD: Final = {
    "alert.received": "A new alert waits",
    "alert.overdue": "Nobody has taken an alert in time",
    "alert.answer": "The sender of an alert has answered",
    "alert.question": "A receiver asks about an alert you sent",
    "delivery.undeliverable": "An alert could not be delivered",
}
"""Which events are worth an e-mail, and what it says of them."""

APART: Final = 60.0
STEPS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds to wait after the first, second, ... failed try in a row."""

BATCH: Final = 200
NAMED: Final = 20
PLACE: Final = "mail-position"
SINCE: Final = "mail-failing-since"

Send = Callable[[EmailMessage], Awaitable[None]]
"""Hands a mail to the server. Raises Unavailable with a code when it is not accepted."""


@dataclass(frozen=True)
class Envelope:
    """Who the mails are from and to, and what they say of the node."""

    sender: str
    to: tuple[str, ...]
    node: str
    url: str
    exercise: bool = False


class Notify:
    """Sends the mails. Everything it needs comes in as an argument."""

    def __init__(
        self, *, database: Database, send: Send, envelope: Envelope, clock: Clock, metrics: Metrics
    ) -> None:
        self._db = database
        self._send = send
        self._envelope = envelope
        self._clock = clock
        self._metrics = metrics
        self._next = 0.0
        self._failures = 0

    async def start(self) -> None:
        """From the first start on: nothing that happened before mails were set up is told."""
        if await counters.fact(self._db, PLACE) is None:
            async with self._db.transaction() as tx:
                await counters.set_fact(tx, PLACE, str(await events.newest(tx)))

    async def state(self) -> dict[str, Any]:
        """Since when mails are not accepted, if they are not."""
        since = await counters.fact(self._db, SINCE)
        return {"failing_since": None if since is None else moment(int(since)), "failures": self._failures}

    async def work(self) -> None:
        """Tell what has happened since the last mail, if it is time."""
        if self._clock.monotonic() < self._next:
            return
        place = int(await counters.fact(self._db, PLACE) or 0)
        found = await events.after(self._db, place, BATCH)
        if not found:
            return
        news = [each for each in found if each.type in TOLD]
        if news:
            try:
                await self._send(letter(news, self._envelope))
            except Unavailable as error:
                await self._failed(error)
                return
            self._metrics.inc("bridge_mails_total", outcome="sent")
            self._next = self._clock.monotonic() + APART
        # If we stop before here, the same mail is sent again: its Message-ID is the same.
        async with self._db.transaction() as tx:
            await counters.set_fact(tx, PLACE, str(found[-1].seq))
            await counters.drop_fact(tx, SINCE)
        self._failures = 0

    async def _failed(self, error: Unavailable) -> None:
        self._metrics.inc("bridge_mails_total", outcome=error.code)
        if not self._failures:
            log.error("mail-failed", code=error.code)
        if await counters.fact(self._db, SINCE) is None:
            async with self._db.transaction() as tx:
                await counters.set_fact(tx, SINCE, str(millis(self._clock.now())))
        self._next = self._clock.monotonic() + STEPS[min(self._failures, len(STEPS) - 1)]
        self._failures += 1


def letter(news: Sequence[Event], envelope: Envelope) -> EmailMessage:
    """One mail about these events: what kind and which references, and where to read more. Nothing else ever."""
    first = TOLD[news[0].type]
    mail = EmailMessage()
    training = "[Training] " if envelope.exercise else ""
    mail["Subject"] = f"{training}Bridge: {first[0].lower()}{first[1:]}" if len(news) == 1 else f"{training}Bridge: {len(news)} things wait for you"
    mail["From"] = envelope.sender
    mail["To"] = ", ".join(envelope.to)
    mail["Date"] = format_datetime(news[-1].at)
    # The same mail again has the same name, so that an inbox can tell.
    name = hashlib.sha256(" ".join(each.id for each in news).encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{name}@{envelope.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [f"At {envelope.node}:", ""]
    for kind, words in TOLD.items():
        mine = list(dict.fromkeys(each.facts.reference or "" for each in news if each.type == kind))
        if mine:
            more = f" and {len(mine) - NAMED} more" if len(mine) > NAMED else ""
            lines.append(f"{words}: {', '.join(filter(None, mine[:NAMED]))}{more}")
    lines += ["", f"Sign in to read: {envelope.url}", "", "This mail never says what an alert is about. If somebody is in danger now, ring 999."]
    mail.set_content("\n".join(lines))
    return mail
