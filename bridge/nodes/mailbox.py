"""Mailboxes: how a system that polls MESH, the NHS's message exchange, is known to this node.

Such a system proves itself with each request by an HMAC over its mailbox, a nonce, a count and the time, made with a
password and a shared key (NHS MESH API, authorization header). The node must make the same HMAC, so it keeps both: in the
keystore, sealed like every other secret, and shown once. A proof is good for two hours and for one request; the same
request sent again with it, as HTTP libraries do when a connection breaks, is the same request.
"""

import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from bridge import vocabulary
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.errors import Rejected
from bridge.nodes.admit import Actor
from bridge.storage import audit
from bridge.storage.database import Database
from bridge.storage.keystore import KeyRow, Keystore

PSEUDONYM: Final = "mailbox:"
RECEIVES: Final = ("alerts:read", "alerts:act", "receipts:read")
SENDS: Final = "alerts:send"
TOLERANCE: Final = timedelta(hours=2)
MOST: Final = 50
MOST_PROOFS: Final = 100_000

_PURPOSE: Final = "mailbox"
_ID: Final = re.compile(r"[A-Z0-9]{4,20}")
_NOBODY: Final = bytes(32)


class Mailbox(msgspec.Struct, frozen=True):
    """A mailbox as it is kept; its `repr` shows its id alone."""

    id: str
    label: str
    team: str | None
    sends: bool
    password: str
    shared_key: str

    def __repr__(self) -> str:
        return f"Mailbox({self.id})"


class Presented(msgspec.Struct, frozen=True):
    """What an authorization header says: `at` to the minute, as the client's clock shows it."""

    mailbox: str
    nonce: str
    count: str
    at: str
    proof: str

    def __repr__(self) -> str:
        return f"Presented({self.mailbox})"


def parse(header: str) -> Presented | None:
    """An authorization header in the form of MESH; None for any other."""
    scheme, _, rest = header.strip().partition(" ")
    parts = rest.strip().split(":")
    if scheme.upper() != "NHSMESH" or len(parts) != 5 or len(rest) > 400 or not rest.isascii():
        return None
    return Presented(parts[0], parts[1], parts[2], parts[3], parts[4].lower())


def proof(shared_key: str, password: str, presented: Presented) -> str:
    """The HMAC that must stand at the end of the header."""
    said = f"{presented.mailbox}:{presented.nonce}:{presented.count}:{password}:{presented.at}"
    return hmac.new(shared_key.encode(), said.encode(), hashlib.sha256).hexdigest()


def on_time(at: str, now: datetime) -> bool:
    """Whether the time of a header is near enough to ours."""
    said = _minute(at)
    return said is not None and abs(now - said) <= TOLERANCE


@functools.lru_cache(maxsize=64)
def _minute(at: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{12}", at):
        return None
    try:
        return datetime.strptime(at, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


class Mailboxes:
    """Keeps and checks mailboxes. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        keystore: Keystore,
        clock: Clock,
        functions: Sequence[str] = (),
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keystore = keystore
        self._clock = clock
        self._functions = tuple(functions)
        self._random = random
        self._kept: dict[str, Mailbox] = {}
        self._kids: dict[str, str] = {}
        self._used: dict[tuple[str, str, str], bytes] = {}
        self._older: dict[tuple[str, str, str], bytes] = {}
        self._turned = clock.now()
        for row in keystore.keys(_PURPOSE):
            self._keep(row)

    def _keep(self, row: KeyRow) -> None:
        mailbox = msgspec.json.decode(row.seed, type=Mailbox)
        self._kept[mailbox.id] = mailbox
        self._kids[mailbox.id] = row.kid

    async def create(
        self, name: str, label: str, team: str | None, sends: bool, by: str
    ) -> dict[str, Any]:
        """Make a mailbox; the answer alone holds its password and shared key. Raises Rejected `usage`, `conflict`."""
        mailbox_id = name.strip().upper()
        if not _ID.fullmatch(mailbox_id):
            raise Rejected("usage", "A mailbox id has 4 to 20 letters and digits.", "For example KENTMASH01.")
        if not 0 < len(label.strip()) <= 100:
            raise Rejected("usage", "A mailbox needs a label of at most 100 characters.")
        function = None if team is None else vocabulary.function(team)
        if team is not None and function not in self._functions:
            known = ", ".join(self._functions)
            raise Rejected(
                "usage", "A mailbox's team is one of the node's functions.", f"Use one of {known}."
            )
        if mailbox_id in self._kept:
            raise Rejected(
                "conflict", "There is a mailbox of this id already.", "Remove it first, or choose another id."
            )
        if len(self._kept) >= MOST:
            raise Rejected("usage", f"There are {MOST} mailboxes already.", "Remove one that is not needed.")
        made = Mailbox(
            mailbox_id, label.strip(), function, sends, secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        )
        now = self._clock.now()
        kid = f"{_PURPOSE}-{self._random(8).hex()}"
        row = KeyRow(kid, _PURPOSE, "nhsmesh", msgspec.json.encode(made), b"", now)
        # If we stop after this, the mailbox exists and nobody knows its password: it is removed and made anew.
        await self._keystore.add_keys(row)
        self._keep(row)
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event("mailbox:created", by, mailbox_id)], millis(now))
        return {**_shown(made, now), "password": made.password, "shared_key": made.shared_key}

    def every(self) -> list[dict[str, Any]]:
        """All mailboxes, without their secrets."""
        return [_shown(self._kept[name], self._made(name)) for name in sorted(self._kept)]

    def _made(self, name: str) -> datetime | None:
        row = self._keystore.key(self._kids[name])
        return None if row is None else row.not_before

    async def remove(self, name: str, by: str) -> None:
        """End a mailbox at once. Raises Rejected `not-found`."""
        mailbox_id = name.upper()
        if self._kept.pop(mailbox_id, None) is None:
            raise Rejected("not-found", "There is no such mailbox.")
        await self._keystore.destroy_key(self._kids.pop(mailbox_id))
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event("mailbox:removed", by, mailbox_id)], millis(self._clock.now()))

    def actor(self, mailbox: str, header: str, request: str) -> Actor:
        """Who asks for a mailbox with this header. Raises Rejected `unauthenticated`.

        `request` is the method and the path: what the proof is used up for.
        """
        presented = parse(header)
        now = self._clock.now()
        known = None if presented is None else self._kept.get(presented.mailbox.upper())
        if presented is None or known is None or known.id != mailbox.upper():
            hmac.compare_digest(hmac.digest(_NOBODY, header.encode(), "sha256"), _NOBODY)
            raise _no()
        expected = proof(known.shared_key, known.password, presented)
        if not hmac.compare_digest(expected, presented.proof) or not on_time(presented.at, now):
            raise _no()
        self._use(
            (known.id, presented.nonce, presented.count), hashlib.sha256(request.encode()).digest(), now
        )
        scopes = (*RECEIVES, SENDS) if known.sends else RECEIVES
        return Actor(f"{PSEUDONYM}{known.id}", frozenset(scopes), known.team)

    def _use(self, name: tuple[str, str, str], request: bytes, now: datetime) -> None:
        """Note what a proof was used for. Two halves, each of the whole time that proofs are good for."""
        if len(self._used) >= MOST_PROOFS or not timedelta(0) <= now - self._turned <= 2 * TOLERANCE:
            self._used, self._older, self._turned = {}, self._used, now
        before = self._used.get(name) or self._older.get(name)
        if before is not None and before != request:
            raise _no()
        self._used[name] = request


def _shown(mailbox: Mailbox, created: datetime | None) -> dict[str, Any]:
    return {
        "id": mailbox.id,
        "label": mailbox.label,
        "team": mailbox.team,
        "sends": mailbox.sends,
        "created": created,
    }


def _no() -> Rejected:
    return Rejected("unauthenticated", "The mailbox, its password, its shared key or the time is not right.")
