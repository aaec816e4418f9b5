"""Endpoints of the area's own systems, and what was sent or waits to be sent to each of them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from bridge.crypto.keys import ED25519
from bridge.crypto.webhooks import HMAC, SECRET_LENGTH, Secret, public_of
from bridge.events import Event
from bridge.storage.database import Database, Transaction
from bridge.storage.keystore import ACTIVE, DESTROYED, KeyRow, Keystore

WAITING = "waiting"
DONE = "done"
DEAD = "dead"


class Webhook(NamedTuple):
    """A row of `webhooks`; see the migration for the columns."""

    id: str
    label: str
    url: str
    types: str
    content: str
    team: str | None
    state: str
    reason: str | None
    position: int
    failures: int
    failing_since: int | None
    next_attempt: int
    version: int
    created_at: int
    created_by: str

    def __repr__(self) -> str:
        return f"Webhook({self.id})"


class Delivery(NamedTuple):
    """A row of `deliveries`; see the migration for the columns."""

    webhook: str
    seq: int
    event_id: str
    type: str
    alert_id: str | None
    state: str
    attempts: int
    next_attempt: int
    queued_at: int
    tried_at: int | None = None
    status: int | None = None
    code: str | None = None


_WEBHOOK = ",".join(Webhook._fields)
_DELIVERY = ",".join(Delivery._fields)


async def add(tx: Transaction, row: Webhook) -> None:
    """Store a new endpoint."""
    await tx.execute(f"insert into webhooks ({_WEBHOOK}) values ({','.join('?' * len(row))})", row)


async def every(db: Database | Transaction) -> list[Webhook]:
    """All endpoints, oldest first."""
    return [Webhook(*row) for row in await db.fetch(f"select {_WEBHOOK} from webhooks order by created_at, id")]


async def find(db: Database | Transaction, webhook_id: str) -> Webhook | None:
    """One endpoint."""
    row = await db.fetch_one(f"select {_WEBHOOK} from webhooks where id = ?", (webhook_id,))
    return None if row is None else Webhook(*row)


async def change(tx: Transaction, row: Webhook) -> bool:
    """Write what an administrator may change of an endpoint, if it is still at `row.version`; False if it is not."""
    changed = await tx.execute(
        "update webhooks set label = ?, url = ?, types = ?, content = ?, state = ?, reason = ?, position = ?,"
        " failures = ?, failing_since = ?, next_attempt = ?, version = version + 1 where id = ? and version = ?",
        (row.label, row.url, row.types, row.content, row.state, row.reason, row.position,
         row.failures, row.failing_since, row.next_attempt, row.id, row.version),
    )  # fmt: skip
    return changed == 1


async def fare(
    tx: Transaction, webhook_id: str, *, state: str, reason: str | None, failures: int, since: int | None, next_attempt: int
) -> None:
    """Write how an endpoint fares, unless it was switched off meanwhile."""
    await tx.execute(
        "update webhooks set state = ?, reason = ?, failures = ?, failing_since = ?, next_attempt = ?"
        " where id = ? and state <> 'off'",
        (state, reason, failures, since, next_attempt, webhook_id),
    )


async def switch_off(tx: Transaction, webhook_id: str, reason: str) -> None:
    """Send nothing more to an endpoint until a person switches it on."""
    await tx.execute(
        "update webhooks set state = 'off', reason = ?, version = version + 1 where id = ?", (reason, webhook_id)
    )


async def remove(tx: Transaction, webhook_id: str) -> bool:
    """Forget an endpoint and all that was queued for it; False when there is none."""
    await tx.execute("delete from deliveries where webhook = ?", (webhook_id,))
    return await tx.execute("delete from webhooks where id = ?", (webhook_id,)) == 1


async def queue(tx: Transaction, webhook_id: str, told: Sequence[Event], position: int, at: int) -> None:
    """Queue events for an endpoint, and note up to which number it has been looked at."""
    await tx.executemany(
        f"insert into deliveries ({_DELIVERY}) values ({','.join('?' * len(Delivery._fields))}) on conflict do nothing",
        [
            Delivery(webhook_id, each.seq, each.id, each.type, each.facts.id, WAITING, 0, 0, at)
            for each in told
        ],
    )
    await tx.execute("update webhooks set position = ? where id = ? and position < ?", (position, webhook_id, position))


async def waiting(db: Database | Transaction, webhook_id: str, limit: int) -> list[Delivery]:
    """The oldest events that wait for an endpoint, in order."""
    rows = await db.fetch(
        f"select {_DELIVERY} from deliveries where webhook = ? and state = 'waiting' order by seq limit ?",
        (webhook_id, limit),
    )
    return [Delivery(*row) for row in rows]


async def counts(db: Database | Transaction) -> dict[str, dict[str, int]]:
    """How many events wait for each endpoint, and how many were given up."""
    found: dict[str, dict[str, int]] = {}
    # One query for each state, and the state in its text, so that the index of that state is used.
    for state in (WAITING, DEAD):
        rows = await db.fetch(
            f"select webhook, count(*) from deliveries where state = '{state}' group by webhook"
        )
        for webhook, count in rows:
            found.setdefault(webhook, {})[state] = int(count)
    return found


async def log(
    db: Database | Transaction, webhook_id: str, before: int | None, limit: int, state: str | None = None
) -> list[Delivery]:
    """Newest first: at most `limit` deliveries of events numbered below `before`, of any state or of one."""
    rows = await db.fetch(
        f"select {_DELIVERY} from deliveries where webhook = ? and seq < ?{' and state = ?' if state else ''}"
        " order by seq desc limit ?",
        (webhook_id, 2**62 if before is None else before, *((state,) if state else ()), limit),
    )
    return [Delivery(*row) for row in rows]


async def settle(
    tx: Transaction, row: Delivery, *, state: str, next_attempt: int, at: int, status: int | None, code: str | None
) -> None:
    """Write how a try ended."""
    await tx.execute(
        "update deliveries set state = ?, attempts = attempts + 1, next_attempt = ?, tried_at = ?, status = ?, code = ?"
        " where webhook = ? and seq = ? and state = 'waiting'",
        (state, next_attempt, at, status, code, row.webhook, row.seq),
    )


async def bury(tx: Transaction, webhook_id: str, code: str, queued_before: int | None = None) -> int:
    """Give up what waits for an endpoint, or what was queued before a time; how many were given up."""
    return await tx.execute(
        "update deliveries set state = 'dead', code = coalesce(code, ?) where webhook = ? and state = 'waiting'"
        " and queued_at < ?",
        (code, webhook_id, 2**62 if queued_before is None else queued_before),
    )


_AGAIN = "state = 'waiting', attempts = 0, next_attempt = 0, status = null, code = null, queued_at = ?"


async def again(tx: Transaction, webhook_id: str, event_ids: Iterable[str], at: int) -> int:
    """Queue these events once more, whatever became of them; how many there were."""
    return await tx.executemany(
        f"update deliveries set {_AGAIN} where webhook = ? and event_id = ?",
        [(at, webhook_id, each) for each in event_ids],
    )


async def raise_dead(tx: Transaction, webhook_id: str, at: int) -> int:
    """Queue once more all that was given up; how many."""
    return await tx.execute(
        f"update deliveries set {_AGAIN} where webhook = ? and state = 'dead'", (at, webhook_id)
    )


async def again_since(tx: Transaction, webhook_id: str, seq: int, at: int) -> int:
    """Queue once more every event numbered above `seq` that was queued before; how many."""
    return await tx.execute(
        f"update deliveries set {_AGAIN} where webhook = ? and seq > ?", (at, webhook_id, seq)
    )


class Keys:
    """The secrets of every endpoint, in the keystore: pairs of an HMAC key and an Ed25519 seed, numbered from 1."""

    def __init__(self, keystore: Keystore, random: Callable[[int], bytes]) -> None:
        self._keystore = keystore
        self._random = random

    def of(self, webhook_id: str, now: datetime) -> list[Secret]:
        """The pairs that sign now, newest first: more than one while a change of keys is under way."""
        rows = {
            (row.kid.rsplit("-", 1)[0], row.alg): row
            for row in self._keystore.keys(_purpose(webhook_id))
            if row.seed and (row.not_after is None or now < row.not_after)
        }
        names = sorted({name for name, _ in rows}, key=lambda name: int(name.rsplit("-", 1)[1]), reverse=True)
        return [
            Secret(rows[name, HMAC].seed, rows[name, ED25519].seed)
            for name in names
            if (name, HMAC) in rows and (name, ED25519) in rows
        ]

    async def make(self, webhook_id: str, now: datetime) -> Secret:
        """Make a new pair, durable when it is returned."""
        before = self._keystore.keys(_purpose(webhook_id), (ACTIVE, "retired", DESTROYED))
        number = max((int(row.kid.rsplit("-", 2)[1]) for row in before), default=0) + 1
        shared, seed = self._random(SECRET_LENGTH), self._random(SECRET_LENGTH)
        name = f"{_purpose(webhook_id)}-{number}"
        await self._keystore.add_keys(
            KeyRow(f"{name}-hmac", _purpose(webhook_id), HMAC, shared, b"", now),
            KeyRow(f"{name}-ed25519", _purpose(webhook_id), ED25519, seed, public_of(seed), now),
        )
        return Secret(shared, seed)

    async def retire(self, webhook_id: str, until: datetime) -> None:
        """Let the newest pair sign until a time, and what is older not at all any more."""
        rows = self._keystore.keys(_purpose(webhook_id))
        for row in rows:
            if row.state == ACTIVE:
                await self._keystore.retire_key(row.kid, not_after=until, destroy_after=until)
            else:
                await self._keystore.destroy_key(row.kid)

    async def destroy(self, webhook_id: str) -> None:
        """Destroy every pair of an endpoint."""
        for row in self._keystore.keys(_purpose(webhook_id)):
            await self._keystore.destroy_key(row.kid)


def _purpose(webhook_id: str) -> str:
    return f"webhook-{webhook_id}"
