"""API tokens: labels, scopes and the hash of the secret, never the secret."""

from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Token(NamedTuple):
    """A row of `tokens`."""

    id: str
    label: str
    scopes: str
    secret_hash: bytes
    created_at: int
    expires_at: int | None
    last_used: int | None
    revoked_at: int | None
    team: str | None = None
    rate: int | None = None


_TOKEN = ",".join(Token._fields)


async def add(tx: Transaction, token: Token) -> None:
    """Store a new token."""
    await tx.execute(f"insert into tokens ({_TOKEN}) values ({','.join('?' * len(token))})", token)


async def find(db: Database | Transaction, token_id: str) -> Token | None:
    """One token by its public id."""
    row = await db.fetch_one(f"select {_TOKEN} from tokens where id = ?", (token_id,))
    return None if row is None else Token(*row)


async def every(db: Database | Transaction) -> list[Token]:
    """All tokens, oldest first."""
    return [Token(*row) for row in await db.fetch(f"select {_TOKEN} from tokens order by created_at, id")]


async def revoke(tx: Transaction, token_id: str, now: int) -> bool:
    """End a token; False when there is none or it was ended before."""
    return await tx.execute(
        "update tokens set revoked_at = ? where id = ? and revoked_at is null", (now, token_id)
    ) == 1


async def used(tx: Transaction, token_id: str, now: int) -> None:
    """Note when a token was last used."""
    await tx.execute("update tokens set last_used = ? where id = ?", (now, token_id))
