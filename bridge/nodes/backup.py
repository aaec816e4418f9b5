"""Backups through the running node, and back: data and keystore as classes of their own (docs/backup.md).

A backup of the data may be kept for long: what it holds of people is noise once the key of its day is destroyed. A
backup of the keystore brings destroyed keys back, so there are never more than two, and what it brings back is
destroyed again before anything is served. Nothing takes its place before it was read again from the disk, decrypted
and found whole.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

import msgspec

from bridge import files, wire
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto import archive
from bridge.errors import BridgeError, Malformed, Misconfigured, Rejected, Unavailable
from bridge.mapping.shelf import PACKED
from bridge.receipts import Digest, Moment, NodeId
from bridge.storage import audit, counters
from bridge.storage.database import Database
from bridge.storage.keystore import Keystore, read_secret
from bridge.storage.restoring import examine

Class = Literal["data", "keystore"]
Progress = Callable[[str, int, int], None]
"""Told how far a long task has come: step, done, of how many."""

GENERATIONS: Final = 2
"""How many backups of a keystore stay in one folder."""

KEYSTORE_WARNING: Final = (
    "This file holds the keys of days that are not over yet. Kept beyond those days, together with an old backup of "
    "the data, it would bring back what the law says is deleted: keep it apart from the data, in this place alone, "
    "and never more than two."
)

MADE: Final = "backup-made-"
"""Fact, with the class behind it: when (ms) its last backup was made and read back whole."""

_WHAT: Final = "backup"
_WHOLE: Final = "Give a file that `bridge backup` has written, whole."
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Part(_Strict, frozen=True):
    """One file inside a backup."""

    name: Annotated[str, msgspec.Meta(pattern=_NAME)]
    size: Annotated[int, msgspec.Meta(ge=0, le=2**50)]
    sha256: Digest


class Stretch(_Strict, frozen=True):
    """How the passphrase becomes a key. Only this one way is known."""

    name: Literal["argon2id"]
    memory_kib: int
    passes: int
    lanes: int
    salt: Annotated[str, msgspec.Meta(max_length=64)]


class Header(_Strict, frozen=True, rename={"kind": "class"}):
    """What anybody may read of a backup: whose it is, of what, from when. Bound to its content by the key."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)]
    kind: Class
    node: NodeId
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    created: Moment
    version: Annotated[str, msgspec.Meta(max_length=32)]
    log_size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    parts: Annotated[tuple[Part, ...], msgspec.Meta(min_length=1, max_length=16)]
    stretch: Stretch


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """One backup file that was made and found whole."""

    kind: Class = msgspec.field(name="class")
    file: str
    bytes: int
    sha256: str
    created: datetime
    removed: tuple[str, ...] = ()
    warning: str | None = None


class Backup:
    """Makes backups. Everything it needs comes in as an argument.

    `data_files` and `key_files` are what else belongs to a class: settings and agreements, the key file; `profiles` gives
    the mapping profiles in one.
    """

    def __init__(
        self,
        *,
        directory: Path,
        node_id: str,
        database: Database,
        keystore: Keystore,
        data_files: Callable[[], Sequence[Path]],
        profiles: Callable[[], bytes | None],
        key_files: Callable[[], Sequence[Path]],
        sign_head: Callable[[], Awaitable[audit.Checkpoint | None]],
        clock: Clock,
        version: str,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._directory = directory
        self._node_id = node_id
        self._db = database
        self._keystore = keystore
        self._data_files = data_files
        self._profiles = profiles
        self._key_files = key_files
        self._sign_head = sign_head
        self._clock = clock
        self._version = version
        self._random = random
        self._making = asyncio.Lock()

    async def make(
        self, out: Path, passphrase_file: Path, classes: Sequence[Class], actor: str, progress: Progress
    ) -> list[Made]:
        """Write `out`.data and `out`.keystore, or one of them, while everything else goes on.

        Raises Misconfigured for a place or passphrase that will not do, Unavailable when the disk fails, and
        Rejected `damaged` when what was written does not read back: the file then takes nobody's place.
        """
        if self._making.locked():
            raise Rejected("in-flight", "A backup is being made already.", "Wait for it to end.")
        async with self._making:
            place = _place(out, self._directory)
            passphrase = _passphrase(passphrase_file)
            # The data first: a day whose key is made meanwhile is in the keystore that is copied after it.
            return [await self._one(kind, place, passphrase, actor, progress) for kind in sorted(set(classes))]

    async def last(self) -> dict[str, datetime | None]:
        """When the last backup of each class was made through this node; one that was restored knows those before it."""
        found = {kind: await counters.fact(self._db, f"{MADE}{kind}") for kind in ("data", "keystore")}
        return {kind: None if text is None else moment(int(text)) for kind, text in found.items()}

    async def _one(self, kind: Class, out: Path, passphrase: bytes, actor: str, progress: Progress) -> Made:
        private = self._directory / "run" / f"backup-{self._random(8).hex()}"
        with _said(), _folder(private):
            now = self._clock.now().replace(microsecond=0)
            head = await self._sign_head() if kind == "data" else None
            if kind == "data":
                copy = private / "data.db"
                await self._db.snapshot(copy, lambda done, of: progress(f"copying {kind}", done, of))
                parts = [copy, *self._data_files()]
                profiles = self._profiles()
                if profiles is not None:
                    files.write(private / PACKED, profiles)
                    parts.append(private / PACKED)
            else:
                copy = private / "keystore.db"
                await self._keystore.snapshot(copy, lambda done, of: progress(f"copying {kind}", done, of))
                parts = [copy, *self._key_files()]
            if not await examine(copy):
                raise Unavailable("storage", "The copy of the database is not whole.", "Run `bridge check`.")
            header = Header(
                v=1,
                kind=kind,
                node=self._node_id,
                id=self._random(16).hex(),
                created=now,
                version=self._version,
                log_size=head.size if head else 0,
                parts=tuple([await asyncio.to_thread(_part, each) for each in parts]),
                stretch=Stretch(
                    "argon2id",
                    archive.MEMORY_KIB,
                    archive.PASSES,
                    archive.LANES,
                    wire.encode_b64(self._random(archive.SALT_LENGTH)),
                ),
            )
            final = out.with_name(f"{out.name}.{kind}")
            fresh = final.with_name(f".{final.name}.{header.id}")
            try:
                await asyncio.to_thread(_write, fresh, header, parts, passphrase, progress)
                read, sha256 = await asyncio.to_thread(_verify, fresh, passphrase, progress)
                if read != header:
                    raise archive.damaged()
                removed = _put(fresh, final, header)
            finally:
                fresh.unlink(missing_ok=True)
            async with self._db.transaction() as tx:
                event = Event("backup:made", actor, header.id, outcome=kind)
                await audit.append(tx, [event], millis(self._clock.now()))
                await counters.set_fact(tx, f"{MADE}{kind}", str(millis(now)))
            size = final.stat().st_size
            warning = KEYSTORE_WARNING if kind == "keystore" else None
            return Made(kind, str(final), size, sha256, now, tuple(removed), warning)


# Reading


def read_header(file: Path) -> Header:
    """What a backup says of itself; nothing of it is proved yet.

    Raises Misconfigured when the file cannot be read, Malformed when it is no backup.
    """
    with _said(), file.open("rb") as reader:
        return _decoded(_start(reader)[0])


async def unpack(file: Path, passphrase_file: Path, into: Path, progress: Progress) -> Header:
    """Decrypt a backup into the new folder `into`, every part found whole.

    Raises Misconfigured, Malformed, Rejected `wrong-passphrase` and `damaged`; then `into` is empty again.
    """
    passphrase = _passphrase(passphrase_file)
    with _said():
        into.mkdir(mode=0o700)
        try:
            header, _ = await asyncio.to_thread(_verify, file, passphrase, progress, into)
            whole = [await examine(into / each.name) for each in header.parts if each.name.endswith(".db")]
            if not all(whole):
                raise archive.damaged()  # noqa: TRY301  what is unpacked goes again, whatever is wrong
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise
    return header


# The file


def _write(file: Path, header: Header, parts: Sequence[Path], passphrase: bytes, progress: Progress) -> None:
    head = msgspec.json.encode(header)
    sealer = archive.Sealer(head, _salt(header), passphrase)
    total = sum(part.size for part in header.parts)
    handle = files.create(file)
    with os.fdopen(handle, "wb") as writer:
        writer.write(sealer.start(head))
        done, waiting = 0, b""
        for part in parts:
            with part.open("rb") as reader:
                while piece := reader.read(archive.CHUNK):
                    waiting += piece
                    if len(waiting) > archive.CHUNK:
                        writer.write(sealer.seal(waiting[: archive.CHUNK], last=False))
                        waiting = waiting[archive.CHUNK :]
                    done += len(piece)
                    progress(f"writing {header.kind}", done, total)
        writer.write(sealer.seal(waiting, last=True))
        writer.flush()
        os.fsync(writer.fileno())


def _verify(
    file: Path, passphrase: bytes, progress: Progress, into: Path | None = None
) -> tuple[Header, str]:
    """Read a backup from the disk to its end, each part against its digest; write them out if `into` is given.

    The header, and SHA-256 of the file. Raises Malformed and Rejected.
    """
    whole = hashlib.sha256()
    with file.open("rb") as reader:
        with suppress(OSError):  # what comes from memory says nothing about the disk
            os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        head, check, raw = _start(reader)
        whole.update(raw)
        header = _decoded(head)
        opener = archive.Opener.of(head, check, _salt(header), passphrase)
        content = _content(reader, opener, whole)
        total = sum(part.size for part in header.parts)
        done, rest = 0, b""
        for part in header.parts:
            digest, left = hashlib.sha256(), part.size
            with _part_file(into, part) as writer:
                while left:
                    if not rest:
                        rest = next(content, b"")
                        if not rest:
                            raise archive.damaged()
                    piece, rest = rest[:left], rest[left:]
                    digest.update(piece)
                    if writer is not None:
                        writer.write(piece)
                    left -= len(piece)
                    done += len(piece)
                    progress(f"checking {header.kind}", done, total)
            if digest.hexdigest() != part.sha256:
                raise archive.damaged()
        if rest or next(content, b""):
            raise archive.damaged()
    return header, whole.hexdigest()


def _content(reader: BinaryIO, opener: archive.Opener, whole: Any) -> Iterator[bytes]:
    """The chunks of a file, decrypted; the last is known by the end of the file behind it."""
    sealed = reader.read(archive.SEALED)
    while True:
        following = reader.read(archive.SEALED)
        whole.update(sealed)
        yield opener.open(sealed, last=not following)
        if not following:
            return
        sealed = following


@contextmanager
def _part_file(into: Path | None, part: Part) -> Iterator[BinaryIO | None]:
    if into is None:
        yield None
        return
    handle = files.create(into / part.name)
    with os.fdopen(handle, "wb") as writer:
        yield writer
        writer.flush()
        os.fsync(writer.fileno())


def _start(reader: BinaryIO) -> tuple[bytes, bytes, bytes]:
    """Header, check, and all that was read of a file. Raises Malformed."""
    start = reader.read(archive.START_LENGTH)
    length = archive.header_length(start)
    rest = reader.read(length + archive.CHECK_LENGTH)
    if len(rest) != length + archive.CHECK_LENGTH:
        raise Malformed(_WHAT, _WHOLE)
    return rest[:length], rest[length:], start + rest


def _decoded(head: bytes) -> Header:
    header = wire.decode_json(head, Header, limit=archive.HEADER_LIMIT, what=_WHAT)
    wanted = ("argon2id", archive.MEMORY_KIB, archive.PASSES, archive.LANES)
    stretch = header.stretch
    if (stretch.name, stretch.memory_kib, stretch.passes, stretch.lanes) != wanted:
        raise Malformed(_WHAT, "It was made by another version of bridge.")
    if len({part.name for part in header.parts}) != len(header.parts):
        raise Malformed(_WHAT, _WHOLE)
    return header


def _salt(header: Header) -> bytes:
    salt = wire.decode_b64(header.stretch.salt, limit=archive.SALT_LENGTH, what=_WHAT)
    if len(salt) != archive.SALT_LENGTH:
        raise Malformed(_WHAT, _WHOLE)
    return salt


def _part(file: Path) -> Part:
    with file.open("rb") as reader:
        return Part(file.name, os.fstat(reader.fileno()).st_size, hashlib.file_digest(reader, "sha256").hexdigest())


# Places


def _place(out: Path, directory: Path) -> Path:
    """Where backups may go: a folder that is there, and is not the node's own."""
    try:
        folder = out.parent.resolve(strict=True)
    except OSError:
        raise Misconfigured("The folder for the backup is not there.", "Make it first, on another disk.") from None
    if not out.name or out.name.startswith("."):
        raise Misconfigured("The backup needs a name.", "For example: bridge backup /backups/kent")
    if folder == directory.resolve() or directory.resolve() in folder.parents:
        raise Misconfigured(
            "A backup in the node's own folder is lost with it.", "Choose a folder on another disk or machine."
        )
    return folder / out.name


def _passphrase(file: Path) -> bytes:
    passphrase = read_secret(file, "passphrase file").rstrip(b"\r\n")
    if len(passphrase) < archive.SHORTEST_PASSPHRASE:
        raise Misconfigured(
            f"The passphrase is shorter than {archive.SHORTEST_PASSPHRASE} characters.",
            "Use five or more words that nobody could guess together.",
        )
    return passphrase


def _put(fresh: Path, final: Path, header: Header) -> list[str]:
    """Give a checked file its name; of a keystore keep the one before it too, and no more. The names removed."""
    removed: list[str] = []
    if header.kind == "keystore" and final.exists():
        final.replace(final.with_name(f"{final.name}.1"))
    fresh.replace(final)
    if header.kind == "keystore":
        removed = _thin(final, header.node)
    files.sync_names(final.parent)
    return removed


def _thin(newest: Path, node_id: str) -> list[str]:
    """Remove all but the newest backups of this node's keystore from the folder of `newest`."""
    found: list[tuple[datetime, Path]] = []
    for each in newest.parent.iterdir():
        if each == newest or not each.is_file() or each.is_symlink():
            continue
        with suppress(BridgeError):
            header = read_header(each)
            if header.kind == "keystore" and header.node == node_id:
                found.append((header.created, each))
    over = [each for _, each in sorted(found, reverse=True)[GENERATIONS - 1 :]]
    for each in over:
        each.unlink()
    return sorted(each.name for each in over)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    path.mkdir(mode=0o700, parents=True)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _said() -> Iterator[None]:
    """What the system says about files, as a sentence of ours."""
    try:
        yield
    except OSError as error:
        about = os.strerror(error.errno).lower() if error.errno else "the system refused"
        told = f"The backup cannot be read or written: {about}."
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
            raise Unavailable("storage", told, "Make room, or use another disk.") from None
        raise Misconfigured(told, "Check the name and the permissions.") from None
