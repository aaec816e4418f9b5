"""Who may use the API: tokens with scopes, made and ended by administrators. Only hashes are stored."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from bridge import vocabulary
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.storage import audit, tokens
from bridge.storage.database import Database

SCOPES: dict[str, str] = {
    "alerts:send": "send alerts",
    "alerts:read": "read the alerts sent from here, and received alerts",
    "alerts:act": "acknowledge, take, close and refer received alerts",
    "receipts:read": "read receipts and timelines",
    "areas:read": "look up areas and routes",
    "partners:admin": "read and manage partners",
    "audit:read": "read the audit log",
    "metrics:read": "read metrics",
    "webhooks:admin": "add and change the systems that are told of events",
}
"""Every scope a token may have, with what it allows in words."""

ALIASES = {"inbox:read": "alerts:read", "inbox:act": "alerts:act", "send": "alerts:send", "read": "alerts:read"}
_TOKEN = re.compile(r"brg_(live|test)_([0-9a-z]{12})_([0-9A-Za-z_-]{43})")
_SEEN_EVERY_MS = 60_000


@dataclass(frozen=True)
class Actor:
    """Who makes a request: a pseudonym for the audit log, and what it may do.

    `team` is the function of this node that it acts for (None: all of them), `rate` its requests a minute where it has
    a limit of its own.
    """

    name: str
    scopes: frozenset[str]
    team: str | None = None
    rate: int | None = None


OPERATOR = Actor("operator", frozenset(SCOPES) | {"control"})
"""Whoever may open the control socket: the operating system has checked that already."""


class Admit:
    """Checks and keeps tokens. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        exercise: bool,
        functions: Sequence[str] = (),
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._clock = clock
        self._kind = "test" if exercise else "live"
        self._functions = tuple(functions)
        self._random = random
        self._known: dict[str, tokens.Token] = {}

    async def create(
        self,
        label: str,
        scopes: Sequence[str],
        days: int | None,
        admin: str,
        *,
        team: str | None = None,
        rate: int | None = None,
    ) -> dict[str, Any]:
        """Make a token; the answer alone holds its secret.

        `team` is one of the node's functions, to whose alerts it is bound; `rate` its requests a minute, where the
        node's setting does not fit. Raises Rejected `usage` for what is unknown or out of bounds.
        """
        chosen = sorted({ALIASES.get(scope, scope) for scope in scopes})
        if not chosen or any(scope not in SCOPES for scope in chosen):
            raise Rejected("usage", "A token needs scopes that exist.", f"Use some of: {', '.join(SCOPES)}.")
        if not 0 < len(label.strip()) <= 100:
            raise Rejected("usage", "A token needs a label of at most 100 characters.")
        if days is not None and not 0 < days <= 3660:
            raise Rejected("usage", "A token lives between 1 and 3660 days.")
        function = None if team is None else vocabulary.function(team)
        if team is not None and function not in self._functions:
            raise Rejected(
                "usage", "A token's team is one of the node's functions.", f"Use one of {', '.join(self._functions)}."
            )
        if rate is not None and not 1 <= rate <= 1_000_000:
            raise Rejected("usage", "A token may make between 1 and 1000000 requests a minute.")
        now = self._clock.now()
        token_id = "".join(_ID[byte % 32] for byte in self._random(12))
        secret = secrets.token_urlsafe(32)
        row = tokens.Token(
            id=token_id,
            label=label.strip(),
            scopes=msgspec.json.encode(chosen).decode(),
            secret_hash=hashlib.sha256(secret.encode()).digest(),
            created_at=millis(now),
            expires_at=None if days is None else millis(now + timedelta(days=days)),
            last_used=None,
            revoked_at=None,
            team=function,
            rate=rate,
        )
        async with self._db.transaction() as tx:
            await tokens.add(tx, row)
            await audit.append(tx, [Event("token:created", admin, token_id)], millis(now))
        return {**shown(row), "token": f"brg_{self._kind}_{token_id}_{secret}"}

    async def every(self) -> list[dict[str, Any]]:
        """All tokens, without their secrets."""
        return [shown(row) for row in await tokens.every(self._db)]

    async def revoke(self, token_id: str, admin: str) -> None:
        """End a token at once. Raises Rejected `not-found`."""
        now = millis(self._clock.now())
        async with self._db.transaction() as tx:
            if not await tokens.revoke(tx, token_id, now):
                raise Rejected("not-found", "There is no such token, or it was ended before.")
            await audit.append(tx, [Event("token:revoked", admin, token_id)], now)
        self._known.pop(token_id, None)

    async def actor(self, presented: str) -> Actor:
        """Who presents this token. Raises Rejected `unauthenticated` for any that is not in force."""
        match = _TOKEN.fullmatch(presented)
        if match is None:
            raise _no()
        token_id = match[2]
        row = self._known.get(token_id) or await tokens.find(self._db, token_id)
        given = hashlib.sha256(match[3].encode()).digest()
        now = millis(self._clock.now())
        if (
            row is None
            or not hmac.compare_digest(row.secret_hash, given)
            or row.revoked_at is not None
            or (row.expires_at is not None and row.expires_at <= now)
        ):
            raise _no()
        if row.last_used is None or now - row.last_used > _SEEN_EVERY_MS:
            row = row._replace(last_used=now)
            async with self._db.transaction() as tx:
                await tokens.used(tx, token_id, now)
        if len(self._known) > 1000:
            self._known.clear()
        self._known[token_id] = row
        scopes = frozenset(msgspec.json.decode(row.scopes, type=list[str]))
        return Actor(f"token:{token_id}", scopes, row.team, row.rate)


_ID = "0123456789abcdefghjkmnpqrstvwxyz"


def shown(row: tokens.Token) -> dict[str, Any]:
    """A token as lists show it."""
    return {
        "id": row.id,
        "label": row.label,
        "scopes": msgspec.json.decode(row.scopes),
        "created": moment(row.created_at),
        "expires": None if row.expires_at is None else moment(row.expires_at),
        "last_used": None if row.last_used is None else moment(row.last_used),
        "revoked": None if row.revoked_at is None else moment(row.revoked_at),
        "team": row.team,
        "rate": row.rate,
    }


def _no() -> Rejected:
    return Rejected("unauthenticated", "No valid token was given.", "Send it as: Authorization: Bearer brg_…")
