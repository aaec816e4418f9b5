"""What people have begun to write and not sent: one draft of each kind for an account, encrypted, for a short time."""

from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Draft(NamedTuple):
    """A row of `drafts`; see the migration for the columns."""

    id: str
    account: str
    purpose: str
    once: str
    saved_at: int
    expires_at: int
    bucket_day: str
    wrapped_key: bytes
    content: bytes


_DRAFT = ",".join(Draft._fields)


async def save(tx: Transaction, row: Draft) -> None:
    """Keep a draft in place of the one before of the same account and purpose."""
    await drop(tx, row.account, row.purpose)
    await tx.execute(f"insert into drafts ({_DRAFT}) values ({','.join('?' * len(row))})", row)


async def find(db: Database | Transaction, account: str, purpose: str, now: int) -> Draft | None:
    """An account's draft for a purpose, unless its time is over."""
    row = await db.fetch_one(
        f"select {_DRAFT} from drafts where account = ? and purpose = ? and expires_at > ?",
        (account, purpose, now),
    )
    return None if row is None else Draft(*row)


async def drop(tx: Transaction, account: str, purpose: str, once: str | None = None) -> int:
    """Delete a draft; with `once`, only if it is still that one. How many went."""
    return await tx.execute(
        "delete from drafts where account = ? and purpose = ? and once = coalesce(?, once)",
        (account, purpose, once),
    )


async def forget(tx: Transaction, now: int) -> int:
    """Delete every draft whose time is over; how many."""
    return await tx.execute("delete from drafts where expires_at <= ?", (now,))


async def over(db: Database | Transaction, now: int) -> bool:
    """Whether there is any draft whose time is over."""
    return await db.fetch_one("select 1 from drafts where expires_at <= ? limit 1", (now,)) is not None
