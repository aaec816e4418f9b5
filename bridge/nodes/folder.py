"""A shared folder for a system without an interface: alerts out, alerts in, receipts as files (docs/folder.md).

Out. A file is sealed, written under a hidden name and made durable; then one unit records it; then it gets its name. From
then on the system may take it, and that it is gone is its acknowledgement. Since a rename either has happened or has not,
a stop anywhere leaves one of: a hidden file that nobody recorded, which is removed; a recorded one that is hidden, which
gets its name; a recorded one that is nowhere, which was taken. So nothing is lost and nothing is handed out twice.

In. A file is opened, its alerts are sent under keys made of what they say, its receipt is written, and then it is removed.
A stop anywhere does the same again: what was sent before is answered with its first reference.

Nothing here logs or repeats a name of a file that the system chose, nor anything that is in it.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from bridge import files
from bridge.clock import Clock, millis
from bridge.crypto import age
from bridge.errors import BridgeError, Malformed, Rejected, Unavailable
from bridge.events import Event
from bridge.mapping import inward
from bridge.storage import events, folder
from bridge.storage.database import Database
from bridge.storage.folder import Put
from bridge.storage.sent import LEDGER

log = structlog.get_logger()

SEALED: Final = ".age"
IN_LIMIT: Final = 4 * 1024 * 1024
AT_ONCE: Final = 50
SETTLE_SECONDS: Final = 30
"""A file that cannot be read is refused only when it has not changed for so long: it may be on its way still."""

MOST_WAITING: Final = 2000
"""Files in `out` beyond which no more are put there."""

HELD_AGAIN_MS: Final = 3600 * 1000
REFUSED_DAYS: Final = 30
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".writing", ".crdownload")
_ENDED: Final = re.compile(r"destroyed-([0-9a-f]{16})(?:\..*)?")
_KINDS: Final = {".json": "json", ".csv": "csv", ".ndjson": "ndjson"}


class Arrangement(msgspec.Struct, frozen=True):
    """How one folder is set up. `recipient` is the system's key; None: files are put there as they are, by opt-in."""

    path: Path
    recipient: str | None
    plain_in: bool
    format: str | None
    profile_out: str | None
    profile_in: str | None
    team: str | None
    shared: bool


class Made(msgspec.Struct, frozen=True):
    """A file of one alert, before it is sealed: what comes behind the dot of its name, its content, and its copy."""

    suffix: str
    body: bytes
    copy: str

    def __repr__(self) -> str:
        return f"Made({self.copy})"


class Sent(msgspec.Struct, frozen=True):
    """An alert that was sent from a file."""

    id: str
    reference: str
    repeated: bool


class Verbs(msgspec.Struct, frozen=True):
    """What the folder asks of the node; wired in `bridge.nodes.app`."""

    export: Callable[[str, Arrangement], Awaitable[Made]]
    collect: Callable[[str], Awaitable[None]]
    send: Callable[[bytes, str], Awaitable[Sent]]
    records: Callable[[Sequence[tuple[int, dict[str, str]]], str], Awaitable[Any]]
    status: Callable[[str], Awaitable[Any]]
    ended: Callable[[str], Awaitable[None]]


class Folder:
    """One folder at work. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        setting: Arrangement,
        identity: age.Identity,
        verbs: Verbs,
        database: Database,
        secret: bytes,
        clock: Clock,
    ) -> None:
        self._set = setting
        self._identity = identity
        self._verbs = verbs
        self._db = database
        self._secret = secret
        self._clock = clock
        self._disk = Disk(setting.path, shared=setting.shared)
        self._troubled = False
        self._stuck: dict[str, float] = {}
        self.trouble: str | None = None

    @property
    def recipient(self) -> str:
        """The key to which the system seals what it puts into `in`."""
        return self._identity.recipient

    async def work(self) -> None:
        """One round: take what is in `in`, see what was taken from `out`, put what is new there, tell what happened."""
        try:
            await asyncio.to_thread(self._disk.ready)
            await self._take_in()
            await self._settle_out()
            await self._put_out()
            await self._tell()
            last = self._clock.now().timestamp() - REFUSED_DAYS * 86_400
            await asyncio.to_thread(self._disk.empty_refused, last)
        except OSError:
            self.trouble = "the folder cannot be read or written"
            if not self._troubled:
                log.error("folder-unavailable", code="unavailable")
            self._troubled = True
            return
        self._troubled, self.trouble = False, None

    # Out

    async def _settle_out(self) -> None:
        """Give hidden files their names, and acknowledge what was taken."""
        rows = await folder.waiting(self._db)
        names = await asyncio.to_thread(self._disk.listed, "out")
        known = {row.name for row in rows}
        for name in names:
            if name.startswith(".") and name[1:].removesuffix(".tmp") not in known:
                await asyncio.to_thread(self._disk.remove, "out", name)  # a stop came before it was recorded
        for row in rows:
            name = row.name or ""
            if f".{name}.tmp" in names:
                await asyncio.to_thread(self._disk.reveal, "out", name)
            elif name not in names:
                await self._taken(row)

    async def _taken(self, row: Put) -> None:
        with contextlib.suppress(Rejected):  # it is deleted here meanwhile: there is nothing to acknowledge
            await self._verbs.collect(row.alert_id)
        # If we stop here, the same is found again, and said again, which changes nothing.
        async with self._db.transaction() as tx:
            await folder.end(tx, row.inbox_seq, millis(self._clock.now()), "taken")

    async def _put_out(self) -> None:
        now = millis(self._clock.now())
        if len(await folder.waiting(self._db)) >= MOST_WAITING:
            return  # the system takes nothing: what is here is safer in the node
        again = await folder.held(self._db, now - HELD_AGAIN_MS, AT_ONCE)
        for seq, alert_id in [*again, *await folder.fresh(self._db, self._set.team, AT_ONCE)]:
            try:
                made = await self._verbs.export(alert_id, self._set)
            except Rejected as error:
                await self._hold(seq, alert_id, error)
                continue
            name = f"{alert_id}-{seq}.{made.suffix}"
            body = made.body
            if self._set.recipient is not None:
                name, body = name + SEALED, age.seal(body, self._set.recipient)
            await asyncio.to_thread(self._disk.hide, "out", name, body)
            # If we stop here, a hidden file is there that nobody recorded: the next round removes it.
            async with self._db.transaction() as tx:
                await folder.put(tx, Put(seq, alert_id, name, made.copy, None, now))
            # If we stop here, it is recorded and hidden: the next round gives it its name.
            await asyncio.to_thread(self._disk.reveal, "out", name)
            if (seq, alert_id) in again:
                await asyncio.to_thread(self._disk.remove, "receipts", f"{alert_id}.held.json")

    async def _hold(self, seq: int, alert_id: str, error: Rejected) -> None:
        if error.code == "gone":
            async with self._db.transaction() as tx:
                await folder.end(tx, seq, millis(self._clock.now()), "removed")
            return
        told = {
            "alert": alert_id,
            "at": self._now(),
            "code": error.code,
            "sentence": error.sentence,
            "hint": error.hint,
        }
        await asyncio.to_thread(self._disk.write, "receipts", f"{alert_id}.held.json", _json(told))
        async with self._db.transaction() as tx:
            await folder.put(tx, Put(seq, alert_id, None, None, error.code, millis(self._clock.now())))

    # In

    async def _take_in(self) -> None:
        for name in (await asyncio.to_thread(self._disk.listed, "in"))[:AT_ONCE]:
            if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                continue
            match = _ENDED.fullmatch(name)
            if match is not None:
                with contextlib.suppress(Rejected):
                    await self._verbs.ended(match[1])
                await asyncio.to_thread(self._disk.remove, "in", name)
                continue
            await self._take(name)

    async def _take(self, name: str) -> None:
        try:
            data, changed = await asyncio.to_thread(self._disk.read, "in", name, IN_LIMIT)
        except FileNotFoundError:
            return
        except Rejected as error:
            await self._refuse(name, error)
            return
        try:
            plain, kind = self._opened(name, data)
            rows = await self._sent(plain, kind)
        except Unavailable:
            return  # the node's own trouble: the file waits
        except Rejected as error:
            if error.code in {"malformed", "damaged"} and self._may_grow(name, changed):
                return
            await self._refuse(name, error)
            return
        self._stuck.pop(name, None)
        receipt = {"file": name, "at": self._now(), "rows": rows}
        await asyncio.to_thread(self._disk.write, "receipts", f"{name}.receipt.json", _json(receipt))
        # If we stop here, the file is read again, and its receipt says the same but for the time.
        if any(row["outcome"] == "refused" for row in rows):
            await self._set_aside(
                name,
                {
                    "file": name,
                    "at": self._now(),
                    "code": "unmapped",
                    "sentence": "Some of its records were refused; the rest is sent.",
                    "rows": rows,
                },
            )
        else:
            await asyncio.to_thread(self._disk.remove, "in", name)

    def _may_grow(self, name: str, changed: float) -> bool:
        """Whether a file that cannot be read may still be on its way: it changed since it was seen first, or lately."""
        seen = self._stuck.setdefault(name, self._clock.monotonic())
        if len(self._stuck) > 10_000:
            self._stuck.clear()
        return (
            self._clock.monotonic() - seen < SETTLE_SECONDS
            and self._clock.now().timestamp() - changed < SETTLE_SECONDS
        )

    def _opened(self, name: str, data: bytes) -> tuple[bytes, str]:
        """What a file holds, and of which kind it is by its name. Raises Rejected."""
        inner = name
        if name.endswith(SEALED):
            inner, data = name[: -len(SEALED)], self._identity.open(data)
        elif not self._set.plain_in:
            raise Rejected(
                "policy",
                "Only sealed files are taken.",
                "Seal it with age to the key that `bridge folder key` shows, and name it .age.",
            )
        kind = _KINDS.get(Path(inner).suffix.lower())
        if kind is None or (kind != "json" and self._set.profile_in is None):
            what = "json" if self._set.profile_in is None else "json, csv or ndjson"
            raise Rejected(
                "not-supported", f"A file in this folder is {what} by its name, sealed or not.", "Rename it."
            )
        return data, kind

    async def _sent(self, plain: bytes, kind: str) -> list[dict[str, Any]]:
        if self._set.profile_in is None:
            sent = await self._verbs.send(plain, self._key(plain))
            await self._remember([sent.id])
            return [
                {
                    "row": 1,
                    "outcome": "repeated" if sent.repeated else "accepted",
                    "id": sent.id,
                    "reference": sent.reference,
                }
            ]
        if kind == "csv":
            records = list(inward.from_csv(plain))
        else:
            lines = [plain] if kind == "json" else [line for line in plain.split(b"\n") if line.strip()]
            records = [(number, inward.from_json(line)) for number, line in enumerate(lines, 1)]
        if not records or len(records) > inward.MOST_RECORDS:
            raise Rejected("too-large", f"A file holds 1 to {inward.MOST_RECORDS} records.", "Divide it.")
        report = await self._verbs.records(records, self._set.profile_in)
        rows = msgspec.to_builtins(report.rows)
        if kind == "json" and rows[0]["outcome"] == "refused":
            raise Rejected(
                "unmapped", rows[0].get("sentence") or "It was refused.", "", errors=rows[0].get("errors", [])
            )
        await self._remember([row["id"] for row in rows if row.get("id")])
        return list(rows)

    async def _remember(self, alert_ids: Sequence[str]) -> None:
        async with self._db.transaction() as tx:
            await folder.came(tx, alert_ids, millis(self._clock.now()))

    def _key(self, plain: bytes) -> str:
        return LEDGER + hmac.digest(self._secret, b"file\x1f" + plain, hashlib.sha256).hex()[:40]

    async def _refuse(self, name: str, error: BridgeError) -> None:
        self._stuck.pop(name, None)
        pointer = error.facts.get("pointer")
        errors = error.facts.get("errors") or (
            [{"pointer": pointer, "message": error.sentence}] if pointer else []
        )
        reason = {
            "file": name,
            "at": self._now(),
            "code": error.code,
            "sentence": error.sentence,
            "hint": error.hint,
            "errors": errors,
        }
        await self._set_aside(name, reason)

    async def _set_aside(self, name: str, reason: dict[str, Any]) -> None:
        await asyncio.to_thread(self._disk.write, "refused", f"{name}.reason.json", _json(reason))
        # If we stop here, the reason is there and the file is refused again.
        await asyncio.to_thread(self._disk.move, "in", "refused", name)

    # What happens to alerts that came or went through here

    async def _tell(self) -> None:
        place = await folder.place(self._db)
        if place is None:
            place = await events.newest(self._db)
            async with self._db.transaction() as tx:
                await folder.move(tx, place)
        found = await events.after(self._db, place, 500)
        for each in found:
            await self._told(each)
        if found:
            # If we stop here, the same files are written again with the same content.
            async with self._db.transaction() as tx:
                await folder.move(tx, found[-1].seq)

    async def _told(self, event: Event) -> None:
        facts = event.facts
        if event.type == "copy.due" and facts.copy is not None:
            row = await folder.of_copy(self._db, facts.copy)
            if row is not None:
                await self._destroy(row, event)
        elif (
            facts.id is not None
            and event.type.startswith(("receipt.", "delivery."))
            and await folder.is_from_here(self._db, facts.id)
        ):
            with contextlib.suppress(Rejected):
                told = await self._verbs.status(facts.id)
                await asyncio.to_thread(
                    self._disk.write, "receipts", f"{facts.reference}.status.json", _json(told)
                )

    async def _destroy(self, row: Put, event: Event) -> None:
        """Remove a file whose alert is deleted; where it is taken already, tell the system to destroy its copy."""
        name = row.name or ""
        removed = await asyncio.to_thread(
            self._disk.remove, "out", f".{name}.tmp"
        ) or await asyncio.to_thread(self._disk.remove, "out", name)
        if removed:
            await self._verbs.ended(row.copy_id or "")
        else:
            told = {
                "destroy": event.facts.reference,
                "copy": row.copy_id,
                "alert": row.alert_id,
                "because": event.facts.code,
                "at": event.at,
            }
            await asyncio.to_thread(self._disk.write, "receipts", f"{row.copy_id}.destroy.json", _json(told))
        async with self._db.transaction() as tx:
            await folder.end(tx, row.inbox_seq, millis(self._clock.now()), "removed" if removed else "taken")

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


class Disk:
    """The folder itself: every file appears whole under its name, and every change is durable before the next step."""

    ROOMS = ("in", "out", "receipts", "refused")

    def __init__(self, path: Path, *, shared: bool) -> None:
        self._path = path
        self._mode = 0o660 if shared else 0o600
        self._folder_mode = 0o770 if shared else 0o700

    def ready(self) -> None:
        """Make what is missing. Raises OSError while the folder itself is not there: a share that is not mounted stays empty."""
        if not self._path.is_dir():
            raise FileNotFoundError
        for room in self.ROOMS:
            here = self._path / room
            if not here.is_dir():
                here.mkdir()
                here.chmod(self._folder_mode)

    def listed(self, room: str) -> list[str]:
        """The names of regular files, oldest name first; links and other things are not seen."""
        with os.scandir(self._path / room) as found:
            return sorted(each.name for each in found if each.is_file(follow_symlinks=False))

    def read(self, room: str, name: str, limit: int) -> tuple[bytes, float]:
        """A file's content and when it changed last (seconds since 1970). Raises Rejected `too-large`."""
        handle = os.open(self._path / room / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise Malformed("file")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Rejected("too-large", f"The file is larger than {limit // 1024 // 1024} MiB.", "Divide it.")
        return data, about.st_mtime

    def hide(self, room: str, name: str, content: bytes) -> None:
        """Write a file under its hidden name, durably."""
        path = self._path / room / f".{name}.tmp"
        path.unlink(missing_ok=True)
        files.write(path, content, self._mode)

    def reveal(self, room: str, name: str) -> None:
        """Give a hidden file its name, at once and durably."""
        (self._path / room / f".{name}.tmp").replace(self._path / room / name)
        self._sync(room)

    def write(self, room: str, name: str, content: bytes) -> None:
        """A whole file, in the place of one of the same name."""
        self.hide(room, name, content)
        self.reveal(room, name)

    def move(self, origin: str, room: str, name: str) -> None:
        """A file into another room, in the place of one of the same name."""
        with contextlib.suppress(FileNotFoundError):
            (self._path / origin / name).replace(self._path / room / name)
        self._sync(origin)
        self._sync(room)

    def remove(self, room: str, name: str) -> bool:
        """Remove a file, durably; False when it is not there."""
        try:
            (self._path / room / name).unlink()
        except FileNotFoundError:
            return False
        self._sync(room)
        return True

    def empty_refused(self, last: float) -> None:
        """Remove what has lain in `refused` since before a time (seconds since 1970)."""
        with os.scandir(self._path / "refused") as found:
            old = [
                each.name
                for each in found
                if each.is_file(follow_symlinks=False) and each.stat(follow_symlinks=False).st_mtime < last
            ]
        for name in old:
            self.remove("refused", name)

    def _sync(self, room: str) -> None:
        files.sync_names(self._path / room)
