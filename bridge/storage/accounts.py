"""People, their sessions, passkeys, set-up links and wrong guesses. Names are tags and ciphertexts here."""

from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Account(NamedTuple):
    """A row of `accounts`; see the migration for the columns."""

    id: str
    handle: bytes
    profile: bytes
    roles: str
    teams: str
    state: str
    password: str | None
    totp: bytes | None
    totp_step: int | None
    subject: bytes | None
    created_at: int
    created_by: str
    last_sign_in: int | None


class Passkey(NamedTuple):
    """A row of `passkeys`."""

    id: bytes
    account: str
    public: bytes
    counter: int
    detail: bytes
    created_at: int
    last_used: int | None


class Session(NamedTuple):
    """A row of `sessions`."""

    digest: bytes
    id: str
    account: str
    stage: str
    method: str
    started_at: int
    seen_at: int
    expires_at: int
    locked_at: int | None
    held: str | None


class Link(NamedTuple):
    """A row of `setup_links`."""

    digest: bytes
    account: str | None
    created_at: int
    created_by: str
    expires_at: int


_ACCOUNT = ",".join(Account._fields)
_PASSKEY = ",".join(Passkey._fields)
_SESSION = ",".join(Session._fields)
_LINK = ",".join(Link._fields)


def _marks(fields: tuple[str, ...]) -> str:
    return ",".join("?" * len(fields))


# Accounts


async def add(tx: Transaction, row: Account) -> None:
    """A new account. Raises Conflict when the sign-in name or the subject is taken."""
    await tx.execute(f"insert into accounts ({_ACCOUNT}) values ({_marks(Account._fields)})", row)


async def save(tx: Transaction, row: Account) -> None:
    """An account as it is now; its id, and when and by whom it was made, stay. Raises Conflict as `add` does."""
    await tx.execute(
        "update accounts set handle = ?, profile = ?, roles = ?, teams = ?, state = ?, password = ?, totp = ?,"
        " totp_step = ?, subject = ?, last_sign_in = ? where id = ?",
        (row.handle, row.profile, row.roles, row.teams, row.state, row.password, row.totp, row.totp_step,
         row.subject, row.last_sign_in, row.id),
    )  # fmt: skip


async def find(db: Database | Transaction, account_id: str) -> Account | None:
    """One account by its id."""
    row = await db.fetch_one(f"select {_ACCOUNT} from accounts where id = ?", (account_id,))
    return None if row is None else Account(*row)


async def by_handle(db: Database | Transaction, handle: bytes) -> Account | None:
    """One account by the tag of its sign-in name."""
    row = await db.fetch_one(f"select {_ACCOUNT} from accounts where handle = ?", (handle,))
    return None if row is None else Account(*row)


async def by_subject(db: Database | Transaction, subject: bytes) -> Account | None:
    """One account by the tag of who it is to the organisation's sign-in."""
    row = await db.fetch_one(f"select {_ACCOUNT} from accounts where subject = ?", (subject,))
    return None if row is None else Account(*row)


async def every(db: Database | Transaction) -> list[Account]:
    """All accounts, oldest first."""
    return [Account(*row) for row in await db.fetch(f"select {_ACCOUNT} from accounts order by created_at, id")]


async def use_code(tx: Transaction, account_id: str, step: int) -> bool:
    """Note that a code of the authenticator app was used; False when it, or a later one, was used before."""
    changed = await tx.execute(
        "update accounts set totp_step = ? where id = ? and (totp_step is null or totp_step < ?)",
        (step, account_id, step),
    )
    return changed == 1


async def signed_in(tx: Transaction, account_id: str, now: int) -> None:
    """Note when somebody signed in."""
    await tx.execute("update accounts set last_sign_in = ? where id = ?", (now, account_id))


# Passkeys


async def add_passkey(tx: Transaction, row: Passkey) -> None:
    """A new passkey. Raises Conflict when it is registered already."""
    await tx.execute(f"insert into passkeys ({_PASSKEY}) values ({_marks(Passkey._fields)})", row)


async def passkey(db: Database | Transaction, credential: bytes) -> Passkey | None:
    """One passkey by its credential id."""
    row = await db.fetch_one(f"select {_PASSKEY} from passkeys where id = ?", (credential,))
    return None if row is None else Passkey(*row)


async def passkeys(db: Database | Transaction, account_id: str | None = None) -> list[Passkey]:
    """The passkeys of an account, or all; oldest first."""
    rows = await db.fetch(
        f"select {_PASSKEY} from passkeys where account = coalesce(?, account) order by created_at, id", (account_id,)
    )
    return [Passkey(*row) for row in rows]


async def use_passkey(tx: Transaction, credential: bytes, counter: int, now: int) -> None:
    """Note a passkey's newest counter and when it was used."""
    await tx.execute("update passkeys set counter = ?, last_used = ? where id = ?", (counter, now, credential))


async def drop_passkey(tx: Transaction, account_id: str, credential: bytes) -> bool:
    """Remove a passkey of an account; False when it has none such."""
    return await tx.execute("delete from passkeys where id = ? and account = ?", (credential, account_id)) == 1


async def drop_passkeys(tx: Transaction, account_id: str) -> None:
    """Remove every passkey of an account."""
    await tx.execute("delete from passkeys where account = ?", (account_id,))


# Sessions


async def start(tx: Transaction, row: Session) -> None:
    """A new session."""
    await tx.execute(f"insert into sessions ({_SESSION}) values ({_marks(Session._fields)})", row)


async def session(db: Database | Transaction, digest: bytes) -> tuple[Session, Account] | None:
    """A session and whose it is, by the hash of its cookie."""
    fields = ",".join([*(f"s.{name}" for name in Session._fields), *(f"a.{name}" for name in Account._fields)])
    row = await db.fetch_one(
        f"select {fields} from sessions s join accounts a on a.id = s.account where s.digest = ?", (digest,)
    )
    if row is None:
        return None
    split = len(Session._fields)
    return Session(*row[:split]), Account(*row[split:])


async def seen(tx: Transaction, digest: bytes, now: int) -> None:
    """Note that a session is in use."""
    await tx.execute("update sessions set seen_at = ? where digest = ?", (now, digest))


async def lock(tx: Transaction, digest: bytes, at: int | None) -> None:
    """Lock a session at a time, or unlock it with None."""
    await tx.execute("update sessions set locked_at = ? where digest = ?", (at, digest))


async def hold(tx: Transaction, digest: bytes, held: str | None) -> None:
    """Keep a few codes with a session."""
    await tx.execute("update sessions set held = ? where digest = ?", (held, digest))


async def end(tx: Transaction, digest: bytes) -> bool:
    """End a session by the hash of its cookie; False when there is none."""
    return await tx.execute("delete from sessions where digest = ?", (digest,)) == 1


async def end_all(tx: Transaction, account_id: str, besides: bytes = b"") -> int:
    """End every session of an account but one; how many."""
    return await tx.execute("delete from sessions where account = ? and digest <> ?", (account_id, besides))


async def end_one(tx: Transaction, account_id: str, session_id: str) -> bool:
    """End one session of an account by the id that lists show; False when there is none."""
    return await tx.execute("delete from sessions where account = ? and id = ?", (account_id, session_id)) == 1


async def sessions(db: Database | Transaction, account_id: str) -> list[Session]:
    """The sessions of an account, newest first."""
    rows = await db.fetch(
        f"select {_SESSION} from sessions where account = ? order by started_at desc, id", (account_id,)
    )
    return [Session(*row) for row in rows]


async def forget(tx: Transaction, idle_since: int, now: int, guesses_before: int) -> None:
    """Delete sessions that are over, links whose time is over, and old guesses."""
    await tx.execute("delete from sessions where expires_at <= ? or seen_at <= ?", (now, idle_since))
    await tx.execute("delete from setup_links where expires_at <= ?", (now,))
    await tx.execute("delete from guesses where at <= ?", (guesses_before,))


# Links


async def add_link(tx: Transaction, row: Link) -> None:
    """A new set-up link; earlier ones for the same account are over."""
    if row.account is None:
        await tx.execute("delete from setup_links where account is null")
    else:
        await tx.execute("delete from setup_links where account = ?", (row.account,))
    await tx.execute(f"insert into setup_links ({_LINK}) values ({_marks(Link._fields)})", row)


async def link(db: Database | Transaction, digest: bytes) -> Link | None:
    """One link by the hash of its secret."""
    row = await db.fetch_one(f"select {_LINK} from setup_links where digest = ?", (digest,))
    return None if row is None else Link(*row)


async def use_link(tx: Transaction, digest: bytes) -> bool:
    """Use a link up; False when somebody was quicker."""
    return await tx.execute("delete from setup_links where digest = ?", (digest,)) == 1


async def drop_links(tx: Transaction, account_id: str) -> None:
    """Remove the links of an account."""
    await tx.execute("delete from setup_links where account = ?", (account_id,))


# Guesses


async def guesses(db: Database | Transaction, subject: bytes) -> tuple[int, int]:
    """How many wrong guesses in a row there were for a subject, and when the next is heard."""
    row = await db.fetch_one("select failures, next_try from guesses where subject = ?", (subject,))
    return (0, 0) if row is None else (row[0], row[1])


async def guessed(tx: Transaction, subject: bytes, failures: int, next_try: int, now: int) -> None:
    """Note one more wrong guess."""
    await tx.execute(
        "insert into guesses (subject, failures, next_try, at) values (?, ?, ?, ?) on conflict (subject) do update set"
        " failures = excluded.failures, next_try = excluded.next_try, at = excluded.at",
        (subject, failures, next_try, now),
    )


async def right(tx: Transaction, subject: bytes) -> None:
    """A right answer: the guesses before it do not count any more."""
    await tx.execute("delete from guesses where subject = ?", (subject,))
