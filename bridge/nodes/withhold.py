"""A decision not to share is recorded with its reason, for whoever took it alone (docs/glossary.md, "decision not to send").

Nobody else reads it here, and nothing of it goes to a partner: it is there so that the person can say later why, and is
reminded to look at it again. The audit log holds that a decision was taken, never its reason.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from bridge import vocabulary
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis, moment
from bridge.errors import Rejected
from bridge.storage import audit, decisions
from bridge.storage.contents import CONTENT, Contents
from bridge.storage.database import Database
from bridge.vocabulary import RetentionClass

CLASS: Final = "WITHHELD"
MOST: Final = 200
"""As many of one person's decisions as are ever listed."""


class Reason(msgspec.Struct, frozen=True):
    """What is written down: the reason's code, when it is looked at again, what it was about, and a note."""

    reason: str
    review: date
    seen: str = ""
    area: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return "Reason(...)"


class Decided(msgspec.Struct, frozen=True):
    """A decision as its owner sees it."""

    id: str
    at: datetime
    kept_until: datetime
    reason: Reason

    def __repr__(self) -> str:
        return f"Decided({self.id})"


class Withhold:
    """Records decisions not to share. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        classes: Callable[[str | None], Mapping[str, RetentionClass]],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._classes = classes
        self._clock = clock
        self._random = random

    async def record(self, actor: str, reason: Reason) -> Decided:
        """Write a decision down. Raises Rejected `usage` for a reason that is none or a review that is over."""
        now = self._clock.now()
        today = now.astimezone(UTC).date()
        if reason.reason not in vocabulary.WITHHELD_REASON or reason.review < today:
            raise Rejected("usage", "This is not one of the reasons, or its date has passed.")
        kept = self._classes(None)[CLASS]
        day = today + timedelta(days=kept.days or 0)
        decision_id = f"decision-{self._random(12).hex()}"
        key, wrapped = await self._contents.new(decision_id, day)
        row = decisions.Decision(
            decision_id, actor, millis(now), millis(end_of(day)), day.isoformat(), wrapped,
            key.seal(CONTENT, msgspec.json.encode(reason)),
        )  # fmt: skip
        # If we stop here, nothing is recorded and the person is asked again.
        async with self._db.transaction() as tx:
            await decisions.add(tx, row)
            await audit.append(tx, [Event("decision:taken", actor, decision_id)], millis(now))
        return Decided(decision_id, now, end_of(day), reason)

    async def mine(self, actor: str) -> list[Decided]:
        """One person's own decisions, newest first; those whose time is over are gone."""
        found = []
        for row in await decisions.of(self._db, actor, millis(self._clock.now()), MOST):
            try:
                content = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
            except Rejected:
                continue
            reason = msgspec.json.decode(content, type=Reason)
            found.append(Decided(row.id, moment(row.decided_at), moment(row.retain_until), reason))
        return found
