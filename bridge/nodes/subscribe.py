"""Which of the area's own systems are told of what: endpoints added, changed, given new keys, switched off, removed.

An endpoint's secret is shown when it is made and never again. Whoever wants whole alerts at an endpoint must itself be
allowed to read them.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import msgspec

from bridge.answers import Again, Changed, Endpoint, Made, Told, Wanted
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto.webhooks import Secret
from bridge.errors import Rejected
from bridge.events import KINDS
from bridge.storage import audit, events, webhooks
from bridge.storage.database import Database
from bridge.storage.webhooks import Delivery, Keys, Webhook

MOST = 50
OVERLAP_HOURS = 24

_ID = "0123456789abcdefghjkmnpqrstvwxyz"


class Subscribe:
    """Keeps the endpoints. Everything it needs comes in as an argument.

    `team` in every method is the function that the caller acts for: it sees and changes the endpoints of that team
    alone. None is everybody's.
    """

    def __init__(
        self,
        *,
        database: Database,
        keys: Keys,
        functions: Sequence[str],
        refusal: Callable[[str], str | None],
        wake: Callable[[], None],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keys = keys
        self._functions = frozenset(functions)
        self._refusal = refusal
        self._wake = wake
        self._clock = clock
        self._random = random

    async def add(self, wanted: Wanted, actor: str, *, may_read: bool, team: str | None = None) -> Made:
        """Add an endpoint. It is told of what happens from now on.

        Raises Rejected `usage`, `forbidden` (whole alerts for one who may not read them) and `too-many`.
        """
        self._check(wanted.url, wanted.events, wanted.content, may_read=may_read)
        if team is not None and wanted.team not in {None, team}:
            raise Rejected("forbidden", "The token acts for another team.")
        chosen = team or wanted.team
        if chosen is not None and chosen not in self._functions:
            raise Rejected("usage", "This team is not one of the node's functions.", pointer="/team")
        if len(await webhooks.every(self._db)) >= MOST:
            raise Rejected("too-many", f"There are {MOST} endpoints already.", "Remove one that is not needed.")
        now = self._clock.now()
        hook_id = "".join(_ID[byte % 32] for byte in self._random(12))
        # If we stop after this, keys exist for an endpoint that does not: they harm nobody.
        secret = await self._keys.make(hook_id, now)
        async with self._db.transaction() as tx:
            row = Webhook(
                id=hook_id,
                label=wanted.label.strip(),
                url=wanted.url,
                types=_packed(wanted.events),
                content=wanted.content,
                team=chosen,
                state="on",
                reason=None,
                position=await events.newest(tx),
                failures=0,
                failing_since=None,
                next_attempt=0,
                version=1,
                created_at=millis(now),
                created_by=actor,
            )
            await webhooks.add(tx, row)
            await audit.append(tx, [Event("webhook:added", actor, hook_id, outcome=wanted.content)], millis(now))
        self._wake()
        return Made(self._shown(row, {}, now), secret.secret, secret.public)

    async def every(self, team: str | None = None) -> tuple[Endpoint, ...]:
        """All endpoints, oldest first."""
        counts = await webhooks.counts(self._db)
        now = self._clock.now()
        rows = [row for row in await webhooks.every(self._db) if team in {None, row.team}]
        return tuple(self._shown(row, counts.get(row.id, {}), now) for row in rows)

    async def show(self, hook_id: str, team: str | None = None) -> Endpoint:
        """One endpoint. Raises Rejected `not-found`."""
        row = await self._found(hook_id, team)
        return self._shown(row, (await webhooks.counts(self._db)).get(row.id, {}), self._clock.now())

    async def change(
        self, hook_id: str, to: Changed, actor: str, *, may_read: bool, team: str | None = None, version: int | None = None
    ) -> Endpoint:
        """Change an endpoint, or switch it on or off. Switched on, it is told of what happens from then on.

        Raises Rejected `not-found`, `usage`, `forbidden`, and `changed-meanwhile` if it is no longer at `version`.
        """
        before = await self._found(hook_id, team)
        if version is not None and before.version != version:
            raise changed_meanwhile()
        url = before.url if to.url is None else to.url
        types = _unpacked(before) if to.events is None else to.events
        content = before.content if to.content is None else to.content
        self._check(url, types, content, may_read=may_read or (to.content is None and to.url is None))
        at = millis(self._clock.now())
        row = before._replace(
            url=url, types=_packed(types), content=content, label=before.label if to.label is None else to.label.strip()
        )
        async with self._db.transaction() as tx:
            if to.state == "off" and before.state != "off":
                row = row._replace(state="off", reason="by-hand")
                await webhooks.bury(tx, hook_id, "switched-off")
            elif to.state == "on":
                # It begins afresh, whatever was before; while it was off it was told of nothing.
                position = await events.newest(tx) if before.state == "off" else before.position
                row = row._replace(
                    state="on", reason=None, failures=0, failing_since=None, next_attempt=0, position=position
                )
            if not await webhooks.change(tx, row):
                raise changed_meanwhile()
            await audit.append(tx, [Event("webhook:changed", actor, hook_id, outcome=row.state)], at)
        self._wake()
        return await self.show(hook_id, team)

    async def rotate(
        self, hook_id: str, actor: str, hours: int = OVERLAP_HOURS, team: str | None = None
    ) -> Made:
        """Give an endpoint new keys; for `hours` (0 to 720) the ones before sign too. Raises Rejected `not-found`."""
        row = await self._found(hook_id, team)
        now = self._clock.now()
        until = now + timedelta(hours=hours)
        # If we stop between these, the endpoint has one pair too many or signs with both: receivers see either.
        await self._keys.retire(hook_id, until)
        secret = await self._keys.make(hook_id, now)
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event("webhook:rotated", actor, hook_id)], millis(now))
        counts = await webhooks.counts(self._db)
        shown = self._shown(row, counts.get(hook_id, {}), now)
        return Made(shown, secret.secret, secret.public, until if hours else None)

    async def remove(self, hook_id: str, actor: str, team: str | None = None) -> None:
        """Forget an endpoint, what waits for it, and its keys. Raises Rejected `not-found`."""
        await self._found(hook_id, team)
        async with self._db.transaction() as tx:
            await webhooks.remove(tx, hook_id)
            await audit.append(tx, [Event("webhook:removed", actor, hook_id)], millis(self._clock.now()))
        # If we stop here, the keys stay and sign nothing.
        await self._keys.destroy(hook_id)

    async def log(
        self, hook_id: str, before: int | None, limit: int, state: str | None = None, team: str | None = None
    ) -> tuple[Told, ...]:
        """What was sent or waits, newest event first, numbered below `before`. Raises Rejected `not-found`."""
        await self._found(hook_id, team)
        return tuple(_told(row) for row in await webhooks.log(self._db, hook_id, before, limit, state))

    async def resend(self, hook_id: str, again: Again, actor: str, team: str | None = None) -> int:
        """Queue events once more, in their order; how many. Raises Rejected `not-found`, `usage`, `wrong-state`."""
        row = await self._found(hook_id, team)
        if row.state == "off":
            raise Rejected("wrong-state", "The endpoint is switched off.", "Switch it on first.")
        if (again.events is not None) + again.dead + (again.since is not None) != 1:
            raise Rejected("usage", "Say which: events, dead, or since.", "Exactly one of them.")
        at = millis(self._clock.now())
        async with self._db.transaction() as tx:
            if again.events is not None:
                count = await webhooks.again(tx, hook_id, again.events, at)
            elif again.dead:
                count = await webhooks.raise_dead(tx, hook_id, at)
            else:
                since = await events.since(tx, millis(again.since)) if again.since is not None else 0
                count = await webhooks.again_since(tx, hook_id, since, at)
            await audit.append(tx, [Event("webhook:resent", actor, hook_id, outcome=str(count))], at)
        self._wake()
        return count

    async def _found(self, hook_id: str, team: str | None) -> Webhook:
        row = await webhooks.find(self._db, hook_id)
        if row is None or team not in {None, row.team}:
            raise Rejected("not-found", "There is no such endpoint.")
        return row

    def _check(self, url: str, types: Sequence[str], content: str, *, may_read: bool) -> None:
        refusal = self._refusal(url)
        if refusal is not None:
            raise Rejected("usage", refusal, pointer="/url")
        if any(each not in KINDS for each in types):
            raise Rejected("usage", "This is not one of the events.", f"Use some of {', '.join(KINDS)}.", pointer="/events")
        if content == "full" and not may_read:
            raise Rejected("forbidden", "Whole alerts are for those who may read them.", "It needs the scope alerts:read.")

    def _shown(self, row: Webhook, counts: dict[str, int], now: datetime) -> Endpoint:
        parts = urlsplit(row.url)
        waits = row.state != "off" and row.next_attempt > millis(now)
        return Endpoint(
            id=row.id,
            label=row.label,
            url=urlunsplit(parts._replace(query="…" if parts.query else "")),
            events=_unpacked(row),
            content="full" if row.content == "full" else "thin",
            team=row.team,
            state="on" if row.state == "on" else "failing" if row.state == "failing" else "off",
            reason=row.reason,
            failures=row.failures,
            failing_since=None if row.failing_since is None else moment(row.failing_since),
            next_try=moment(row.next_attempt) if waits else None,
            waiting=counts.get(webhooks.WAITING, 0),
            dead=counts.get(webhooks.DEAD, 0),
            public_keys=tuple(each.public for each in self._secrets(row.id, now)),
            created=moment(row.created_at),
            version=row.version,
        )

    def _secrets(self, hook_id: str, now: datetime) -> list[Secret]:
        return self._keys.of(hook_id, now)


def changed_meanwhile() -> Rejected:
    """What is said to one who acts on what is no longer so."""
    return Rejected("changed-meanwhile", "It was changed since you looked at it.", "Look at it again, and decide anew.")


def _told(row: Delivery) -> Told:
    waits = row.state == webhooks.WAITING
    return Told(
        seq=row.seq,
        event=row.event_id,
        type=row.type,
        alert=row.alert_id,
        state="waiting" if waits else "done" if row.state == webhooks.DONE else "dead",
        attempts=row.attempts,
        queued=moment(row.queued_at),
        tried=None if row.tried_at is None else moment(row.tried_at),
        next_try=moment(row.next_attempt) if waits and row.next_attempt else None,
        status=row.status,
        code=row.code,
    )


def _packed(types: Sequence[str]) -> str:
    return msgspec.json.encode(sorted(set(types))).decode()


def _unpacked(row: Webhook) -> tuple[str, ...]:
    return msgspec.json.decode(row.types, type=tuple[str, ...])
