"""The keystore: every private key of a node and the key of each expiry day, in a file of its own (PROTOCOL section 8).

All of it is wrapped by the node key, which is made from a passphrase or a key file and stored nowhere. Destroying a
key here is what deletes: the wrapped bytes are overwritten, the file is rewritten without its free space, and what
the key sealed is noise from then on, in every backup too. What was to end before its day stands here as well, by its
id, for data that is restored knows nothing of it.
"""

import asyncio
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from bridge import files
from bridge.clock import Clock, millis, moment
from bridge.crypto.keys import Random
from bridge.crypto.vault import KEY_LENGTH, SALT_LENGTH, BucketKey, NodeKey
from bridge.errors import Misconfigured, Rejected
from bridge.storage.database import Database, Row, Value
from bridge.storage.early import Early, all_kept, keep, sooner
from bridge.storage.migrate import migrate, packaged
from bridge.storage.sqlite import Sqlite

ACTIVE: Final = "active"
RETIRED: Final = "retired"
DESTROYED: Final = "destroyed"

_LONGEST_SECRET: Final = 4096
_CHECK: Final = b"bridge keystore"


@dataclass(frozen=True)
class KeySource:
    """Where the node key comes from: a passphrase file if one is named, else a key file."""

    key_file: Path | None = None
    passphrase_file: Path | None = None

    @property
    def name(self) -> str:
        """What the keystore remembers of it: `passphrase` or `file`."""
        return "file" if self.passphrase_file is None else "passphrase"

    def node_key(self, salt: bytes) -> NodeKey:
        """Read the file and make the key; with a passphrase it takes some 0.1 s and 64 MiB.

        Raises Misconfigured when the file is not there, is not private, or holds no key.
        """
        if self.passphrase_file is not None:
            passphrase = read_secret(self.passphrase_file, "passphrase file").rstrip(b"\r\n")
            return NodeKey.from_passphrase(passphrase, salt)
        if self.key_file is not None:
            return NodeKey.from_key_file(read_secret(self.key_file, "key file"))
        raise Misconfigured(
            "Nothing is named that opens the keystore.", "Set keys.passphrase_file or keys.key_file."
        )


class KeyRow(msgspec.Struct, frozen=True):
    """One private key. `seed` is the secret, empty once destroyed; its `repr` shows the kid alone."""

    kid: str
    purpose: str
    alg: str
    seed: bytes
    public: bytes
    not_before: datetime
    not_after: datetime | None = None
    destroy_after: datetime | None = None
    state: str = ACTIVE

    def __repr__(self) -> str:
        return f"KeyRow({self.kid})"


class Keystore:
    """An open keystore. Reads are answered from memory; every change is durable before it is answered."""

    def __init__(
        self, database: Database, node_id: str, node_key: NodeKey, clock: Clock, random: Random
    ) -> None:
        self.node_id = node_id
        self._database = database
        self._node_key = node_key
        self._clock = clock
        self._random = random
        self._keys: dict[str, KeyRow] = {}
        self._buckets: dict[date, BucketKey] = {}
        self._early: dict[tuple[str, str], Early] = {}
        self._making = asyncio.Lock()
        self._slack = False

    @classmethod
    async def create(
        cls,
        path: Path,
        node_id: str,
        source: KeySource,
        *,
        clock: Clock,
        version: str,
        random: Random = secrets.token_bytes,
    ) -> "Keystore":
        """Make the keystore of a new node. Raises Misconfigured when the file is there already."""
        _must_be_new(path)
        salt = random(SALT_LENGTH) if source.name == "passphrase" else b""
        node_key = await asyncio.to_thread(source.node_key, salt)
        database = await Sqlite.open(path)
        try:
            await migrate(database, packaged("keystore"), at=clock.now(), version=version)
            async with database.transaction() as unit:
                await unit.execute(
                    "insert into meta (id, node_id, source, salt, check_value, created_at) values (1, ?, ?, ?, ?, ?)",
                    (node_id, source.name, salt, node_key.wrap("check", _CHECK), millis(clock.now())),
                )
        except BaseException:
            await database.close()
            raise
        return cls(database, node_id, node_key, clock, random)

    @classmethod
    async def open(
        cls,
        path: Path,
        source: KeySource,
        *,
        clock: Clock,
        version: str,
        random: Random = secrets.token_bytes,
    ) -> "Keystore":
        """Open a node's keystore and unwrap all of it into memory.

        Raises Misconfigured when there is none, the source is another one or holds another key, or a row is damaged.
        """
        _must_be_there(path)
        database = await Sqlite.open(path)
        try:
            await migrate(database, packaged("keystore"), at=clock.now(), version=version)
            node_id, made_with, salt, check = _whole(
                await database.fetch_one("select node_id, source, salt, check_value from meta")
            )
            _same_source(made_with, source)
            node_key = await asyncio.to_thread(source.node_key, salt)
            node_key.unwrap("check", check)
            keystore = cls(database, node_id, node_key, clock, random)
            await keystore._load()
        except BaseException:
            await database.close()
            raise
        return keystore

    async def _load(self) -> None:
        for row in await self._database.fetch(f"select {_COLUMNS} from keys order by not_before, kid"):
            key = self._unwrapped(row)
            self._keys[key.kid] = key
        for day, wrapped in await self._database.fetch(
            "select day, wrapped from buckets where wrapped is not null"
        ):
            on = date.fromisoformat(day)
            self._buckets[on] = BucketKey.unwrapped(on, wrapped, self._node_key)
        self._early = {(row.side, row.id): row for row in await all_kept(self._database)}
        # A node that stopped between destroying a key and rewriting the file makes up for it here.
        await self._database.vacuum()

    # Keys.

    def keys(self, purpose: str, states: Iterable[str] = (ACTIVE, RETIRED)) -> list[KeyRow]:
        """The keys for a purpose that are not destroyed, or in the given states; the newest last."""
        wanted = frozenset(states)
        found = [key for key in self._keys.values() if key.purpose == purpose and key.state in wanted]
        return sorted(found, key=lambda key: (key.not_before, key.kid))

    def key(self, kid: str) -> KeyRow | None:
        """One key by its kid, whatever its state."""
        return self._keys.get(kid)

    def due(self, now: datetime) -> list[KeyRow]:
        """The keys whose time of destruction has come."""
        return [
            key
            for key in self._keys.values()
            if key.state != DESTROYED and key.destroy_after is not None and key.destroy_after <= now
        ]

    async def add_keys(self, *rows: KeyRow) -> None:
        """Store new keys, all or none. Raises Conflict when a kid is there already."""
        at = millis(self._clock.now())
        # If we stop here, none of them is stored, and nothing was published with them yet.
        async with self._database.transaction() as unit:
            await unit.executemany(
                f"insert into keys ({_COLUMNS}, changed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*self._wrapped(row), at) for row in rows],
            )
        self._keys |= {row.kid: row for row in rows}

    async def retire_key(self, kid: str, *, not_after: datetime, destroy_after: datetime | None) -> KeyRow:
        """Use a key no longer for anything new, and say when its seed goes. Raises Rejected `not-found`."""
        old = self._held(kid)
        new = msgspec.structs.replace(old, state=RETIRED, not_after=not_after, destroy_after=destroy_after)
        async with self._database.transaction() as unit:
            await unit.execute(
                "update keys set state = ?, not_after = ?, destroy_after = ?, changed_at = ? where kid = ?",
                (RETIRED, _ms(not_after), _ms(destroy_after), millis(self._clock.now()), kid),
            )
        self._keys[kid] = new
        return new

    async def succeed(
        self, rows: Iterable[KeyRow], old: Iterable[str], *, not_after: datetime, destroy_after: datetime
    ) -> None:
        """Put new keys in the place of old ones, all or none: those are retired as :meth:`retire_key` does.

        Raises Rejected `not-found`, and Conflict when a new kid is there already.
        """
        at = millis(self._clock.now())
        fresh = list(rows)
        over = [
            msgspec.structs.replace(self._held(kid), state=RETIRED, not_after=not_after, destroy_after=destroy_after)
            for kid in old
        ]
        # If we stop here, the old ones are in use still.
        async with self._database.transaction() as unit:
            await unit.executemany(
                f"insert into keys ({_COLUMNS}, changed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*self._wrapped(row), at) for row in fresh],
            )
            await unit.executemany(
                "update keys set state = ?, not_after = ?, destroy_after = ?, changed_at = ? where kid = ?",
                [(RETIRED, millis(not_after), millis(destroy_after), at, row.kid) for row in over],
            )
        self._keys |= {row.kid: row for row in (*fresh, *over)}

    async def destroy_key(self, kid: str) -> None:
        """Delete the seed for good, from the file and from memory; the row stays to explain past use.

        Doing it again is harmless. Raises Rejected `not-found`.
        """
        old = self._keys.get(kid)
        if old is None:
            raise _not_found()
        self._slack = True
        # If we stop here, the seed is gone from its row; opening the keystore rewrites the file.
        async with self._database.transaction() as unit:
            await unit.execute(
                "update keys set seed = null, state = ?, changed_at = ? where kid = ? and seed is not null",
                (DESTROYED, millis(self._clock.now()), kid),
            )
        self._keys[kid] = msgspec.structs.replace(old, seed=b"", state=DESTROYED)
        await self._wipe()

    # The keys of days.

    def bucket(self, day: date) -> BucketKey | None:
        """The key of an expiry day (UTC), or None once it is destroyed or was never made."""
        return self._buckets.get(day)

    def buckets(self) -> list[BucketKey]:
        """The keys of every expiry day that is not over."""
        return list(self._buckets.values())

    async def ensure_bucket(self, day: date) -> BucketKey:
        """The key of a day; made, and durable before it is returned, if it is the first use of the day.

        Raises Rejected `gone` for a day whose key was destroyed: nothing may be kept until then any more.
        """
        async with self._making:
            if (known := self._buckets.get(day)) is not None:
                return known
            # If we stop here, the day has a key that nothing uses yet; the next caller finds it.
            async with self._database.transaction() as unit:
                row = await unit.fetch_one("select wrapped from buckets where day = ?", (day.isoformat(),))
                if row is None:
                    key = BucketKey.generate(day, self._random)
                    await unit.execute(
                        "insert into buckets (day, wrapped, created_at) values (?, ?, ?)",
                        (day.isoformat(), key.wrapped(self._node_key), millis(self._clock.now())),
                    )
                elif row[0] is None:
                    raise Rejected(
                        "gone", "The time for which this could be kept is over.", "Check the machine's date; else nothing is to be done."
                    )
                else:
                    key = BucketKey.unwrapped(day, row[0], self._node_key)
            self._buckets[day] = key
            return key

    async def destroy_buckets(self, before: date) -> list[date]:
        """Destroy the keys of all days before `before`; the days, in order. Their content is gone everywhere."""
        async with self._making:
            # If we stop here, the keys are gone from their rows; opening the keystore rewrites the file.
            async with self._database.transaction() as unit:
                rows = await unit.fetch(
                    "select day from buckets where day < ? and wrapped is not null order by day",
                    (before.isoformat(),),
                )
                if rows:
                    self._slack = True
                    await unit.execute(
                        "update buckets set wrapped = null, destroyed_at = ? where day < ? and wrapped is not null",
                        (millis(self._clock.now()), before.isoformat()),
                    )
                await unit.execute("delete from early where day < ?", (before.isoformat(),))
            self._early = {name: row for name, row in self._early.items() if row.day >= before.isoformat()}
            # By the days in memory, not by the rows: a call that was cancelled here is completed by the next.
            for day in [day for day in self._buckets if day < before]:
                self._buckets.pop(day).destroy()
            await self._wipe()
            return [date.fromisoformat(day) for (day,) in rows]

    # What ends before its day.

    async def end_early(self, rows: Iterable[Early]) -> None:
        """Remember, until their days are over, what ends sooner; what is known of one is joined to what is new."""
        async with self._making:
            fresh = list(rows)
            # If we stop here, nothing is remembered, and the data still says that it is to be.
            async with self._database.transaction() as unit:
                await keep(unit, fresh)
            for row in fresh:
                self._early[row.side, row.id] = sooner(self._early.get((row.side, row.id)), row)

    def ended(self, side: str, name: str) -> Early | None:
        """Whether, and when, something was to end before its day."""
        return self._early.get((side, name))

    def ended_early(self) -> list[Early]:
        """All that was to end before its day, as long as that day is not over."""
        return list(self._early.values())

    def days(self) -> list[date]:
        """The days that have a key, in order."""
        return sorted(self._buckets)

    async def snapshot(self, to: Path, progress: Callable[[int, int], None]) -> None:
        """Copy the file as it is, everything in it wrapped; see :meth:`bridge.storage.database.Database.snapshot`."""
        await self._database.snapshot(to, progress)

    async def close(self) -> None:
        """Let go of the file and of the keys in memory. Twice is fine."""
        self._keys = {}
        self._buckets = {}
        self._early = {}
        await self._database.close()

    async def _wipe(self) -> None:
        """Rewrite the file without its free space. If it fails, the next destruction or start does it."""
        if self._slack:
            await self._database.vacuum()
            self._slack = False

    def _held(self, kid: str) -> KeyRow:
        key = self._keys.get(kid)
        if key is None or key.state == DESTROYED:
            raise _not_found()
        return key

    def _wrapped(self, row: KeyRow) -> tuple[Value, ...]:
        return (
            row.kid,
            row.purpose,
            row.alg,
            self._node_key.wrap(_place(row.purpose, row.kid), row.seed),
            row.public,
            millis(row.not_before),
            _ms(row.not_after),
            _ms(row.destroy_after),
            row.state,
        )

    def _unwrapped(self, row: Row) -> KeyRow:
        kid, purpose, alg, seed, public, not_before, not_after, destroy_after, state = row
        return KeyRow(
            kid=kid,
            purpose=purpose,
            alg=alg,
            seed=b"" if seed is None else self._node_key.unwrap(_place(purpose, kid), seed),
            public=public,
            not_before=moment(not_before),
            not_after=None if not_after is None else moment(not_after),
            destroy_after=None if destroy_after is None else moment(destroy_after),
            state=state,
        )


_COLUMNS: Final = "kid, purpose, alg, seed, public, not_before, not_after, destroy_after, state"


def make_key_file(path: Path, random: Random = secrets.token_bytes) -> None:
    """Write a new key file, 0400, durable when this returns. Raises Misconfigured when something is there already."""
    try:
        files.write(path, random(KEY_LENGTH).hex().encode() + b"\n", 0o400)
    except OSError:
        raise Misconfigured(
            "The key file cannot be made.",
            "Its folder must exist and be yours, and no such file may be there.",
        ) from None


def read_secret(path: Path, what: str) -> bytes:
    """The bytes of a file that only its owner may read; `what` names it in errors.

    Raises Misconfigured when it is missing, a link, not a regular file, another account's, open to others, or larger
    than 4 KiB. What was checked is what is read: the file is opened first.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Misconfigured(
            f"The {what} is missing.", "Put it back, or correct [keys] in node.toml."
        ) from None
    except OSError:
        raise Misconfigured(
            f"The {what} cannot be opened.",
            "It must be a file of its own, not a link, that this account may read.",
        ) from None
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode):
            raise Misconfigured(f"The {what} is not a regular file.", "Correct [keys] in node.toml.")
        if told.st_uid not in (os.geteuid(), 0):
            raise Misconfigured(
                f"The {what} belongs to another account.",
                "Run `chown` on it for the account that the node runs as.",
            )
        if stat.S_IMODE(told.st_mode) & 0o077:
            raise Misconfigured(f"The {what} is open to others.", "Run `chmod 0400` on it.")
        content = os.read(handle, _LONGEST_SECRET + 1)
    finally:
        os.close(handle)
    if len(content) > _LONGEST_SECRET:
        raise Misconfigured(f"The {what} is too long.", f"At most {_LONGEST_SECRET} bytes.")
    return content


def _must_be_new(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise Misconfigured("There is a keystore here already.", "A node is never made over another.")


def _must_be_there(path: Path) -> None:
    if not path.exists():
        raise Misconfigured(
            "This node's keystore is missing.",
            "Restore it from its backup: without it nothing that the node holds can be read.",
        )


def _whole(meta: Row | None) -> Row:
    if meta is None:
        raise Misconfigured("The keystore was not made completely.", "Restore it from its backup. Only a node that was never used may be made anew, with `bridge init`.")
    return meta


def _same_source(made_with: str, source: KeySource) -> None:
    if made_with == source.name:
        return
    if made_with == "passphrase":
        raise Misconfigured(
            "The keystore was made with a passphrase.", "Set keys.passphrase_file in node.toml."
        )
    raise Misconfigured("The keystore was made with a key file.", "Set keys.key_file alone in node.toml.")


def _place(purpose: str, kid: str) -> str:
    return f"key/{purpose}/{kid}"


def _ms(when: datetime | None) -> int | None:
    return None if when is None else millis(when)


def _not_found() -> Rejected:
    return Rejected("not-found", "This node holds no such key.", "`bridge key show` lists those that it has.")
