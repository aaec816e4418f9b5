"""Who is at the screen: accounts, one-time set-up links, passwords and codes, and sessions that the node can end.

A session is a row here and 256 random bits in a cookie; only the hash of the bits is stored. Its secret changes with
every step that gains something (password, code), so that a value planted before signing in is worth nothing after.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from bridge import accounts, vocabulary
from bridge.accounts import ROLES, May
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto import passwords
from bridge.crypto.vault import NodeKey, search_tag
from bridge.errors import Misconfigured, Rejected
from bridge.storage import accounts as rows
from bridge.storage import audit
from bridge.storage.database import Conflict, Database, Transaction

log = structlog.get_logger()

FULL: Final = "full"
CODE: Final = "code"
ENROL: Final = "enrol"
ACTIVE: Final = "active"
INVITED: Final = "invited"
DISABLED: Final = "disabled"

_HASHES_AT_ONCE: Final = 2
_HASHES_WAITING: Final = 24
_SEEN_EVERY_MS: Final = 60_000
_ID: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Profile(msgspec.Struct, frozen=True):
    """What is known of a person by name; encrypted at rest."""

    name: str
    sign_in: str

    def __repr__(self) -> str:
        return "Profile()"


class Person(msgspec.Struct, frozen=True):
    """An account as administrators see it."""

    id: str
    name: str
    sign_in: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    state: str
    password: bool
    code: bool
    passkeys: int
    organisation: bool
    created: datetime
    created_by: str
    last_sign_in: datetime | None = None

    def __repr__(self) -> str:
        return f"Person({self.id})"


ADMINISTRATOR = "administrator"
"""The one role that no organisation gives or takes: those who have it are chosen by each other."""


class Visitor(msgspec.Struct, frozen=True):
    """Who makes a request, by a session in force. `stage` is `full` once every factor is given."""

    id: str
    name: str
    sign_in: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    may: frozenset[May]
    stage: str
    method: str
    session: str
    digest: bytes
    csrf: str
    locked: bool
    idle_until: datetime
    expires: datetime
    held: dict[str, Any]

    @property
    def actor(self) -> str:
        """The pseudonym by which verbs and the audit log know the person."""
        return f"person:{self.id}"

    def __repr__(self) -> str:
        return f"Visitor({self.id})"


class Opened(msgspec.Struct, frozen=True):
    """A session that has just begun: the secret for its cookie, and what is still missing."""

    secret: str
    stage: str
    account: str

    def __repr__(self) -> str:
        return f"Opened({self.account})"


class SignIn:
    """Accounts and sessions. Everything it needs comes in as an argument; `key` is 32 bytes from the keystore."""

    def __init__(
        self,
        *,
        database: Database,
        key: bytes,
        clock: Clock,
        issuer: str,
        second_factor: bool,
        typed: Callable[[], Mapping[str, str]] = dict,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._key = key
        self._vault = NodeKey(hmac.digest(key, b"accounts", "sha256"))
        self._clock = clock
        self._issuer = issuer
        self.second_factor = second_factor
        self._typed = typed
        self._random = random
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._hashes = 0
        self._nobody: str | None = None

    # Accounts

    async def people(self) -> list[Person]:
        """Everybody, in the order of their names."""
        keys: dict[str, int] = {}
        for passkey in await rows.passkeys(self._db):
            keys[passkey.account] = keys.get(passkey.account, 0) + 1
        found = [self._person(row, keys.get(row.id, 0)) for row in await rows.every(self._db)]
        return sorted(found, key=lambda person: (person.name.casefold(), person.id))

    async def person(self, account_id: str) -> Person:
        """One account by its id. Raises Rejected `not-found`."""
        row = await self._row(account_id)
        return self._person(row, len(await rows.passkeys(self._db, row.id)))

    async def find(self, sign_in: str) -> Person:
        """One account by its sign-in name. Raises Rejected `not-found`."""
        row = await rows.by_handle(self._db, self._tag("handle", accounts.sign_in_name(sign_in)))
        if row is None:
            raise _no_account()
        return await self.person(row.id)

    async def names(self) -> dict[str, str]:
        """What people are called, by the pseudonym that the audit log, holds and approvals have; also who typed a name."""
        return {**self._typed(), **{f"person:{row.id}": self._profile(row).name for row in await rows.every(self._db)}}

    async def administrators(self) -> int:
        """How many people can administer the node now."""
        return sum(_administers(row) and row.state == ACTIVE for row in await rows.every(self._db))

    async def first_link(self) -> str | None:
        """A new link that makes the first administrator, or None when there is an administrator already.

        Earlier ones end with it: whoever starts the node has the only one.
        """
        if any(_administers(row) and row.state != DISABLED for row in await rows.every(self._db)):
            return None
        return await self._link(None, "node")

    async def invite(
        self, name: str, sign_in: str, roles: Sequence[str], teams: Sequence[str], by: str
    ) -> tuple[Person, str]:
        """A new account and the secret of the link with which its owner sets it up.

        Raises Rejected `usage` for names, roles or teams that cannot be, and `conflict` for a sign-in name in use.
        """
        row = self._new(name, sign_in, _roles(roles), _teams(teams), by)
        secret = _secret(self._random)
        now = millis(self._clock.now())
        try:
            async with self._db.transaction() as tx:
                await rows.add(tx, row)
                await rows.add_link(tx, self._link_row(secret, row.id, by))
                await audit.append(tx, [Event("person:invited", by, row.id)], now)
        except Conflict:
            raise Rejected(
                "conflict", "Somebody has this sign-in name already.", "Choose another, or reset that account."
            ) from None
        return self._person(row, 0), secret

    async def reset(self, account_id: str, by: str) -> str:
        """Take away an account's password, codes and passkeys and end its sessions; the secret of a new set-up link."""
        row = await self._row(account_id)
        if row.state == DISABLED:
            raise Rejected("wrong-state", "This account is switched off.", "Switch it on first.")
        secret = _secret(self._random)
        changed = row._replace(password=None, totp=None, totp_step=None, subject=None, state=INVITED)
        async with self._db.transaction() as tx:
            await rows.save(tx, changed)
            await rows.drop_passkeys(tx, row.id)
            await rows.end_all(tx, row.id)
            await rows.add_link(tx, self._link_row(secret, row.id, by))
            await audit.append(tx, [Event("person:reset", by, row.id)], millis(self._clock.now()))
        return secret

    async def disable(self, account_id: str, by: str) -> None:
        """Switch an account off and end its sessions. Raises Rejected `wrong-state` for the last administrator."""
        row = await self._row(account_id)
        if await self._last(row):
            raise _last_administrator()
        async with self._db.transaction() as tx:
            await rows.save(tx, row._replace(state=DISABLED))
            await rows.end_all(tx, row.id)
            await rows.drop_links(tx, row.id)
            await audit.append(tx, [Event("person:disabled", by, row.id)], millis(self._clock.now()))

    async def enable(self, account_id: str, by: str) -> None:
        """Switch an account on again as it was."""
        row = await self._row(account_id)
        if row.state != DISABLED:
            raise Rejected("wrong-state", "This account is not switched off.")
        ready = row.password is not None or row.subject is not None or await rows.passkeys(self._db, row.id)
        async with self._db.transaction() as tx:
            await rows.save(tx, row._replace(state=ACTIVE if ready else INVITED))
            await audit.append(tx, [Event("person:enabled", by, row.id)], millis(self._clock.now()))

    async def change_roles(self, account_id: str, roles: Sequence[str], teams: Sequence[str], by: str) -> None:
        """Give an account other roles and teams. Raises Rejected `wrong-state` for the last administrator."""
        row = await self._row(account_id)
        chosen = _roles(roles)
        if "administrator" not in chosen and await self._last(row):
            raise _last_administrator()
        changed = row._replace(roles=_text(chosen), teams=_text(_teams(teams)))
        async with self._db.transaction() as tx:
            await rows.save(tx, changed)
            await audit.append(
                tx, [Event("person:roles", by, row.id, outcome=",".join(chosen))], millis(self._clock.now())
            )

    async def _last(self, row: rows.Account) -> bool:
        """Whether the node would have no administrator without this account."""
        if not _administers(row) or row.state != ACTIVE:
            return False
        return await self.administrators() <= 1

    # Setting an account up

    async def link_for(self, secret: str) -> Person | None:
        """Whose set-up link this is; None for the first administrator's. Raises Rejected `not-found`."""
        link = await self._found_link(secret)
        return None if link.account is None else await self.person(link.account)

    async def set_up(self, secret: str, password: str, name: str = "", sign_in: str = "") -> Opened:
        """Use a set-up link: the password is set and its owner signed in as far as the second factor.

        `name` and `sign_in` are for the first administrator alone. Raises Rejected `not-found` for a link that is
        used or over, and `usage` for what cannot be; then the link stays.
        """
        link = await self._found_link(secret)
        if link.account is None:
            row = self._new(name, sign_in, ("administrator",), (), "node")
        else:
            row = await self._row(link.account)
        profile = self._profile(row)
        weak = accounts.weakness(password, profile.name, profile.sign_in, self._issuer)
        if weak is not None:
            raise Rejected("usage", weak, pointer="/password")
        row = row._replace(password=await self._hash(password), state=ACTIVE)
        opened, session = self._session(row, CODE if row.totp else self._stage_without_code(), "link")
        now = millis(self._clock.now())
        try:
            async with self._db.transaction() as tx:
                if not await rows.use_link(tx, link.digest):
                    raise _no_link()
                if link.account is None:
                    await rows.add(tx, row)
                else:
                    await rows.save(tx, row)
                await rows.start(tx, session)
                await rows.signed_in(tx, row.id, now)
                await audit.append(tx, [Event("person:set-up", f"person:{row.id}", row.id)], now)
        except Conflict:
            raise Rejected(
                "conflict", "Somebody has this sign-in name already.", "Choose another.", pointer="/sign_in"
            ) from None
        return opened

    def pending_code(self, visitor: Visitor) -> tuple[bytes, str]:
        """The secret that an authenticator app is to be given in this session, and its address for the QR code."""
        secret = hmac.digest(self._key, b"authenticator " + visitor.digest, "sha256")[: passwords.TOTP_SECRET_LENGTH]
        return secret, passwords.totp_uri(secret, visitor.sign_in, self._issuer)

    async def confirm_code(self, visitor: Visitor, code: str) -> Opened:
        """The authenticator app works: from now on its codes are asked for. Raises Rejected `unauthenticated`."""
        secret, _ = self.pending_code(visitor)
        now = self._clock.now()
        step = passwords.verify_totp(secret, code, now)
        if step is None:
            raise _wrong_code()
        row = await self._row(visitor.id)
        changed = row._replace(totp=self._vault.wrap(f"totp/{row.id}", secret), totp_step=step)
        opened, session = self._session(row, FULL, visitor.method)
        async with self._db.transaction() as tx:
            await rows.save(tx, changed)
            await rows.end(tx, visitor.digest)
            await rows.start(tx, session)
            await audit.append(tx, [Event("person:code-app", visitor.actor, row.id)], millis(now))
        return opened

    async def change_password(self, visitor: Visitor, old: str, new: str) -> Opened:
        """Another password; every other session of the account ends. Raises Rejected `unauthenticated`, `usage`."""
        row = await self._row(visitor.id)
        if not await self._verify(old, row.password):
            raise Rejected("unauthenticated", "Enter the password that you use now.", pointer="/old")
        weak = accounts.weakness(new, visitor.name, visitor.sign_in, self._issuer)
        if weak is not None:
            raise Rejected("usage", weak, pointer="/new")
        changed = row._replace(password=await self._hash(new))
        opened, session = self._session(row, FULL, visitor.method)
        async with self._db.transaction() as tx:
            await rows.save(tx, changed)
            await rows.end_all(tx, row.id)
            await rows.start(tx, session)
            await audit.append(tx, [Event("person:password", visitor.actor, row.id)], millis(self._clock.now()))
        return opened

    # Signing in

    async def with_password(self, sign_in: str, password: str, device: str = "") -> Opened:
        """The password step. `device` is the cookie of a browser that was signed in with before, or nothing.

        Raises Rejected `unauthenticated` in the same words whatever is wrong, and `too-many` while guesses wait.
        """
        try:
            plain = accounts.sign_in_name(sign_in)
        except Rejected:
            raise _wrong_password() from None
        handle = self._tag("handle", plain)
        row = await rows.by_handle(self._db, handle)
        known = row is not None and self.knows(device, row.id)
        subject = self._tag("device", device) if known else handle
        await self._guess(subject)
        right = await self._verify(password, row.password if row is not None and row.state == ACTIVE else None)
        if row is None or not right:
            raise _wrong_password()
        if row.password is not None and passwords.needs_new_hash(row.password):
            row = row._replace(password=await self._hash(password))
        opened, session = self._session(row, CODE if row.totp else self._stage_without_code(), "password")
        now = millis(self._clock.now())
        async with self._db.transaction() as tx:
            await rows.save(tx, row)
            if session.stage == FULL:
                await rows.right(tx, subject)
                await self._entered(tx, row, now)
            await rows.start(tx, session)
        return opened

    async def with_code(self, visitor: Visitor, code: str) -> Opened:
        """The code step. Raises Rejected `unauthenticated` and, while guesses wait, `too-many`."""
        row = await self._row(visitor.id)
        subject = self._tag("code", row.id)
        await self._guess(subject)
        now = self._clock.now()
        secret = self._vault.unwrap(f"totp/{row.id}", row.totp) if row.totp else None
        step = passwords.verify_totp(secret, code, now, row.totp_step) if secret else None
        if step is None:
            raise _wrong_code()
        opened, session = self._session(row, FULL, visitor.method)
        async with self._db.transaction() as tx:
            if not await rows.use_code(tx, row.id, step):
                raise _wrong_code()
            await rows.right(tx, subject)
            await rows.right(tx, self._tag("handle", accounts.sign_in_name(visitor.sign_in)))
            await rows.end(tx, visitor.digest)
            await rows.start(tx, session)
            await self._entered(tx, row, millis(now))
        return opened

    async def enter(self, account_id: str, method: str) -> Opened:
        """Begin a session for somebody whom a passkey or the organisation has proved. Raises Rejected `unauthenticated`."""
        row = await rows.find(self._db, account_id)
        if row is None or row.state != ACTIVE:
            raise Rejected("unauthenticated", "This account cannot be used.", "Ask an administrator of this node.")
        opened, session = self._session(row, FULL, method)
        async with self._db.transaction() as tx:
            await rows.start(tx, session)
            await self._entered(tx, row, millis(self._clock.now()))
        return opened

    async def _entered(self, tx: Transaction, row: rows.Account, now: int) -> None:
        await rows.signed_in(tx, row.id, now)
        await audit.append(tx, [Event("person:signed-in", f"person:{row.id}", row.id)], now)

    async def _guess(self, subject: bytes) -> None:
        """Count a guess before it is heard, so that many at once are no way around the wait."""
        now = self._clock.now()
        at = millis(now)
        async with self._db.transaction() as tx:
            failures, next_try = await rows.guesses(tx, subject)
            if next_try > at:
                seconds = -(-(next_try - at) // 1000)
                raise Rejected(
                    "too-many",
                    "Too many wrong tries for this name.",
                    f"Wait {seconds} seconds, then try again.",
                    seconds=seconds,
                )
            wait = accounts.wait_after(failures + 1)
            await rows.guessed(tx, subject, failures + 1, millis(now + wait), at)

    # Sessions

    async def visitor(self, secret: str, *, use: bool = True) -> Visitor | None:
        """Whose session a cookie is, or None when it is over or was never one. Without `use` it does not count as use."""
        if not 20 <= len(secret) <= 100:
            return None
        digest = hashlib.sha256(secret.encode()).digest()
        found = await rows.session(self._db, digest)
        if found is None:
            return None
        session, row = found
        now = self._clock.now()
        at = millis(now)
        seen, expires = moment(session.seen_at), moment(session.expires_at)
        half = session.stage != FULL and now - moment(session.started_at) >= accounts.HALFWAY
        if accounts.over(now, seen=seen, expires=expires) or half or row.state != ACTIVE:
            async with self._db.transaction() as tx:
                await rows.end(tx, digest)
            return None
        if use and at - session.seen_at >= _SEEN_EVERY_MS:
            async with self._db.transaction() as tx:
                await rows.seen(tx, digest, at)
            seen = now
        profile = self._profile(row)
        roles = _read(row.roles)
        return Visitor(
            id=row.id,
            name=profile.name,
            sign_in=profile.sign_in,
            roles=roles,
            teams=_read(row.teams),
            may=accounts.permissions(roles),
            stage=session.stage,
            method=session.method,
            session=session.id,
            digest=digest,
            csrf=token_of(secret),
            locked=session.locked_at is not None,
            idle_until=min(seen + accounts.IDLE, expires),
            expires=expires,
            held=msgspec.json.decode(session.held, type=dict[str, Any]) if session.held else {},
        )

    async def still(self, visitor: Visitor, may: May) -> bool:
        """Whether a session is in force, unlocked, and its account still has a permission. It does not count as use."""
        found = await rows.session(self._db, visitor.digest)
        if found is None:
            return False
        session, row = found
        over = accounts.over(self._clock.now(), seen=moment(session.seen_at), expires=moment(session.expires_at))
        allowed = may in accounts.permissions(_read(row.roles))
        return not over and row.state == ACTIVE and session.locked_at is None and allowed

    async def hold(self, visitor: Visitor, held: dict[str, Any]) -> None:
        """Keep a few words with the session until the next page: never anything that people wrote."""
        async with self._db.transaction() as tx:
            await rows.hold(tx, visitor.digest, msgspec.json.encode(held).decode() if held else None)

    async def sign_out(self, visitor: Visitor) -> None:
        """End this session."""
        async with self._db.transaction() as tx:
            await rows.end(tx, visitor.digest)
            await audit.append(tx, [Event("person:signed-out", visitor.actor, visitor.id)], millis(self._clock.now()))

    async def end_sessions(self, account_id: str, by: str, besides: bytes = b"") -> int:
        """End every session of an account, but for the one named; how many ended."""
        async with self._db.transaction() as tx:
            ended = await rows.end_all(tx, account_id, besides)
            await audit.append(tx, [Event("person:sessions-ended", by, account_id)], millis(self._clock.now()))
        return ended

    async def end_session(self, account_id: str, session_id: str, by: str) -> None:
        """End one session of an account. Raises Rejected `not-found`."""
        async with self._db.transaction() as tx:
            if not await rows.end_one(tx, account_id, session_id):
                raise Rejected("not-found", "This session has ended already.")
            await audit.append(tx, [Event("person:session-ended", by, account_id)], millis(self._clock.now()))

    async def sessions(self, account_id: str) -> list[dict[str, Any]]:
        """The sessions of an account that are in force, newest first."""
        now = self._clock.now()
        return [
            {
                "id": row.id,
                "method": row.method,
                "started": moment(row.started_at),
                "seen": moment(row.seen_at),
                "locked": row.locked_at is not None,
            }
            for row in await rows.sessions(self._db, account_id)
            if row.stage == FULL and not accounts.over(now, seen=moment(row.seen_at), expires=moment(row.expires_at))
        ]

    async def shield(self, visitor: Visitor) -> None:
        """Lock the session: nothing is shown until its owner proves again who they are."""
        async with self._db.transaction() as tx:
            await rows.lock(tx, visitor.digest, millis(self._clock.now()))

    async def lift(self, visitor: Visitor, password: str) -> None:
        """Unlock with the password. Raises Rejected `unauthenticated` and, while guesses wait, `too-many`."""
        row = await self._row(visitor.id)
        subject = self._tag("lift", row.id)
        await self._guess(subject)
        if not await self._verify(password, row.password):
            raise _wrong_password("Enter the password that you signed in with.")
        async with self._db.transaction() as tx:
            await rows.right(tx, subject)
            await rows.lock(tx, visitor.digest, None)

    async def lifted(self, visitor: Visitor) -> None:
        """Unlock for somebody whom a passkey has proved."""
        async with self._db.transaction() as tx:
            await rows.lock(tx, visitor.digest, None)

    def word(self) -> str:
        """A random word that nobody can guess, for a cookie or a challenge."""
        return _secret(self._random)

    async def forget(self) -> None:
        """Delete what is over: sessions, links, guesses."""
        now = self._clock.now()
        async with self._db.transaction() as tx:
            await rows.forget(
                tx, millis(now - accounts.IDLE), millis(now), millis(now - accounts.FORGET_GUESSES)
            )

    # Browsers that were signed in with before

    def device(self, account_id: str) -> str:
        """A cookie by which this browser is known as one that the account's owner has used."""
        until = millis(self._clock.now() + accounts.KNOWN_DEVICE)
        body = f"{until:x}.{_secret(self._random, 12)}"
        return f"{body}.{self._mark(account_id, body)}"

    def knows(self, device: str, account_id: str) -> bool:
        """Whether this is such a cookie, of this account and still good."""
        body, _, mark = device.rpartition(".")
        if len(device) > 200 or not hmac.compare_digest(mark.encode(), self._mark(account_id, body).encode()):
            return False
        return int(body.partition(".")[0], 16) > millis(self._clock.now())

    def _mark(self, account_id: str, body: str) -> str:
        return self._tag("known", f"{account_id} {body}").hex()

    # Passkeys and the organisation's sign-in

    async def passkey_owner(self, credential: bytes) -> rows.Passkey | None:
        """The registered passkey with this credential id."""
        return await rows.passkey(self._db, credential)

    async def passkeys(self, account_id: str) -> list[dict[str, Any]]:
        """An account's passkeys: what they are called and when they were used."""
        return [
            {
                "id": base64.urlsafe_b64encode(row.id).decode().rstrip("="),
                "credential": row.id,
                "public": row.public,
                "name": self._vault.unwrap(f"passkey/{row.account}", row.detail).decode(),
                "created": moment(row.created_at),
                "last_used": None if row.last_used is None else moment(row.last_used),
            }
            for row in await rows.passkeys(self._db, account_id)
        ]

    async def add_passkey(self, visitor: Visitor, credential: bytes, public: bytes, counter: int, name: str) -> Opened:
        """A passkey that its owner has just proved to hold; completes a set-up that waits for a second factor."""
        now = millis(self._clock.now())
        row = rows.Passkey(
            credential, visitor.id, public, counter, self._vault.wrap(f"passkey/{visitor.id}", name.encode()), now, None
        )
        account = await self._row(visitor.id)
        opened, session = self._session(account, FULL, visitor.method)
        async with self._db.transaction() as tx:
            await rows.add_passkey(tx, row)
            await rows.end(tx, visitor.digest)
            await rows.start(tx, session)
            await audit.append(tx, [Event("person:passkey-added", visitor.actor, visitor.id)], now)
        return opened

    async def drop_passkey(self, visitor: Visitor, credential: bytes) -> None:
        """Remove one of one's own passkeys. Raises Rejected `not-found`, and `wrong-state` for the last way in."""
        account = await self._row(visitor.id)
        others = [row for row in await rows.passkeys(self._db, visitor.id) if row.id != credential]
        if not others and account.totp is None and self.second_factor:
            raise Rejected(
                "wrong-state", "This is your only second factor.", "Set up another before you remove it."
            )
        async with self._db.transaction() as tx:
            if not await rows.drop_passkey(tx, visitor.id, credential):
                raise Rejected("not-found", "There is no such passkey.")
            await audit.append(
                tx, [Event("person:passkey-removed", visitor.actor, visitor.id)], millis(self._clock.now())
            )

    async def used_passkey(self, credential: bytes, counter: int) -> None:
        """Note a passkey's counter."""
        async with self._db.transaction() as tx:
            await rows.use_passkey(tx, credential, counter, millis(self._clock.now()))

    async def with_subject(
        self, issuer: str, subject: str, sign_in: str | None, roles: Sequence[str] | None = None
    ) -> Opened:
        """Somebody whom the organisation's sign-in has proved; with `roles`, what it says that they may do here.

        What it says stands over what was chosen here, but for administrators: nobody becomes one, or ceases to be, by it.

        Known by `subject` from the second time on. The first time, an invited account with this verified `sign_in`
        is theirs. Raises Rejected `unauthenticated` when there is none: nobody gets an account by having a work
        account.
        """
        tag = self._tag("subject", f"{issuer} {subject}")
        row = await rows.by_subject(self._db, tag)
        if row is None and sign_in:
            row = await rows.by_handle(self._db, self._tag("handle", accounts.sign_in_name(sign_in)))
            if row is not None and (row.subject is not None or row.state != INVITED):
                row = None
            if row is not None:
                self._by_organisation(row, roles)
                row = row._replace(subject=tag, state=ACTIVE)
                async with self._db.transaction() as tx:
                    await rows.save(tx, row)
                    await rows.drop_links(tx, row.id)
                    await audit.append(
                        tx, [Event("person:set-up", f"person:{row.id}", row.id)], millis(self._clock.now())
                    )
        if row is None:
            raise Rejected(
                "unauthenticated",
                "Your organisation knows you, but you have no account here.",
                "Ask an administrator of this node to invite you.",
            )
        wanted = self._by_organisation(row, roles)
        if wanted is not None and set(wanted) != set(_read(row.roles)) and row.state == ACTIVE:
            await self.change_roles(row.id, wanted, _read(row.teams), "organisation")
        return await self.enter(row.id, "organisation")

    def _by_organisation(self, row: rows.Account, roles: Sequence[str] | None) -> tuple[str, ...] | None:
        """The roles of an account by the organisation's word; None where it is not asked. Raises Rejected `unauthenticated`."""
        if roles is None:
            return None
        kept = [each for each in _read(row.roles) if each == ADMINISTRATOR]
        wanted = tuple(dict.fromkeys([*kept, *(each for each in roles if each != ADMINISTRATOR)]))
        if not wanted:
            raise Rejected(
                "unauthenticated",
                "Your organisation has not given you a role here.",
                "Ask whoever gives out roles in your organisation.",
            )
        return wanted

    # Small parts

    def _stage_without_code(self) -> str:
        return ENROL if self.second_factor else FULL

    def _session(self, row: rows.Account, stage: str, method: str) -> tuple[Opened, rows.Session]:
        secret = _secret(self._random)
        now = self._clock.now()
        at = millis(now)
        session = rows.Session(
            digest=hashlib.sha256(secret.encode()).digest(),
            id=_short(self._random),
            account=row.id,
            stage=stage,
            method=method,
            started_at=at,
            seen_at=at,
            expires_at=millis(now + accounts.ABSOLUTE),
            locked_at=None,
            held=None,
        )
        return Opened(secret, stage, row.id), session

    def _new(
        self, name: str, sign_in: str, roles: Sequence[str], teams: Sequence[str], by: str
    ) -> rows.Account:
        shown = " ".join(name.split())
        if not shown or len(shown) > accounts.LONGEST_NAME or not shown.isprintable():
            raise Rejected("usage", "A name has 1 to 100 characters.", pointer="/name")
        plain = accounts.sign_in_name(sign_in)
        account_id = _short(self._random)
        return rows.Account(
            id=account_id,
            handle=self._tag("handle", plain),
            profile=self._vault.wrap(f"profile/{account_id}", msgspec.json.encode(Profile(shown, plain))),
            roles=_text(roles),
            teams=_text(teams),
            state=INVITED,
            password=None,
            totp=None,
            totp_step=None,
            subject=None,
            created_at=millis(self._clock.now()),
            created_by=by,
            last_sign_in=None,
        )

    async def _row(self, account_id: str) -> rows.Account:
        row = await rows.find(self._db, account_id)
        if row is None:
            raise _no_account()
        return row

    def _profile(self, row: rows.Account) -> Profile:
        return msgspec.json.decode(self._vault.unwrap(f"profile/{row.id}", row.profile), type=Profile)

    def _person(self, row: rows.Account, passkeys: int) -> Person:
        profile = self._profile(row)
        return Person(
            id=row.id,
            name=profile.name,
            sign_in=profile.sign_in,
            roles=_read(row.roles),
            teams=_read(row.teams),
            state=row.state,
            password=row.password is not None,
            code=row.totp is not None,
            passkeys=passkeys,
            organisation=row.subject is not None,
            created=moment(row.created_at),
            created_by=row.created_by,
            last_sign_in=None if row.last_sign_in is None else moment(row.last_sign_in),
        )

    async def _link(self, account_id: str | None, by: str) -> str:
        secret = _secret(self._random)
        async with self._db.transaction() as tx:
            await rows.add_link(tx, self._link_row(secret, account_id, by))
        return secret

    def _link_row(self, secret: str, account_id: str | None, by: str) -> rows.Link:
        now = self._clock.now()
        return rows.Link(_digest(secret), account_id, millis(now), by, millis(now + accounts.LINK_LIFE))

    async def _found_link(self, secret: str) -> rows.Link:
        link = await rows.link(self._db, _digest(secret)) if 20 <= len(secret) <= 100 else None
        if link is None or link.expires_at <= millis(self._clock.now()):
            raise _no_link()
        return link

    def _tag(self, kind: str, text: str) -> bytes:
        return search_tag(self._key, f"{kind}:{text}")

    async def _hash(self, password: str) -> str:
        hashed: str = await self._thread(passwords.hash_password, password, self._random)
        return hashed

    async def _verify(self, password: str, phc: str | None) -> bool:
        """Whether the password fits; the same work is done when there is none to fit."""
        if phc is None:
            if self._nobody is None:
                self._nobody = await self._hash(_secret(self._random))
            await self._thread(passwords.verify_password, password, self._nobody)
            return False
        right: bool = await self._thread(passwords.verify_password, password, phc)
        return right

    async def _thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Hashing takes 64 MiB and a core: a few at a time, and not too many waiting."""
        if self._hashes >= _HASHES_WAITING:
            raise Rejected("too-many", "Too many people are signing in at this moment.", "Try again in a few seconds.")
        self._hashes += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._hashes -= 1


def token_of(secret: str) -> str:
    """The token that a form must carry, made from the cookie's secret and worth nothing without it."""
    return _b64(hmac.digest(secret.encode(), b"form token", "sha256"))


def account_key(seed: bytes) -> bytes:
    """The key over accounts as it lies in the keystore. Raises Misconfigured when it is not there."""
    if len(seed) < 32:
        raise Misconfigured("The keystore lacks the key of the accounts.", "Restore it from its backup.")
    return seed


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _secret(random: Callable[[int], bytes], length: int = 32) -> str:
    return _b64(random(length))


def _short(random: Callable[[int], bytes]) -> str:
    return "".join(_ID[byte % 32] for byte in random(12))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(b"set-up " + secret.encode()).digest()


def _text(codes: Sequence[str]) -> str:
    return msgspec.json.encode(list(codes)).decode()


def _read(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _administers(row: rows.Account) -> bool:
    return May.ADMINISTER in accounts.permissions(_read(row.roles))


def _roles(codes: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(code for code in ROLES if code in set(codes))
    if not chosen or len(chosen) != len(set(codes)):
        raise Rejected("usage", "An account needs roles that exist.", f"Use some of: {', '.join(ROLES)}.", pointer="/roles")
    return chosen


def _teams(codes: Sequence[str]) -> tuple[str, ...]:
    found = [vocabulary.function(code) for code in codes]
    if None in found:
        raise Rejected("usage", "One of the teams is not a function that bridge knows.", pointer="/teams")
    return tuple(sorted({code for code in found if code}))


def _no_account() -> Rejected:
    return Rejected("not-found", "There is no such account.")


def _no_link() -> Rejected:
    return Rejected(
        "not-found",
        "This link has been used, has been replaced by a newer one, or is more than 3 days old.",
        "Ask an administrator for a new one. For the first administrator, start the node again.",
    )


def _last_administrator() -> Rejected:
    return Rejected(
        "wrong-state",
        "This is the only administrator.",
        "Make somebody else an administrator first.",
    )


def _wrong_password(sentence: str = "Check your sign-in name and password.") -> Rejected:
    return Rejected("unauthenticated", sentence)


def _wrong_code() -> Rejected:
    return Rejected("unauthenticated", "Check the code: it has 6 digits, and each works once.")
