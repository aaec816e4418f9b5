"""Received alerts as files for people and other systems: who may have them, in which form, and that each copy is known.

A copy is entered in the register, durably, before anybody gets it; when the alert is deleted here, a notice says that the
copy has to go as well, and it stays in the list until somebody says that it is gone. What the reader may not see
(`only_for`) is out of the copy before a format sees it; an alert whose sender wants to be asked first (condition S2, or
one that this version does not know) leaves only when whoever asks says that this was done, which the register keeps.
"""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Final, Literal

import msgspec

from bridge import formats, vocabulary
from bridge.answers import CopyEntry, Offered
from bridge.audit import Event
from bridge.clock import Clock, end_of, millis, moment
from bridge.errors import BridgeError, Rejected, Unavailable
from bridge.formats import Copy, Format
from bridge.mapping import outward
from bridge.mapping.outward import Mapped, Note, Side
from bridge.mapping.profile import Profile
from bridge.mapping.shelf import Shelf
from bridge.metrics import Metrics
from bridge.storage import audit, copies, inbox, sent
from bridge.storage.copies import Copied
from bridge.storage.database import Database

FREE: Final = frozenset({"A1", "A2", "A3", "S1"})
"""Conditions of handling under which a copy may be made without asking: the copy carries them."""

PAPER: Final = "paper"
"""What stands for the format of a copy that somebody printed."""

APART_SECONDS: Final = 60
APART_BYTES: Final = 32 * 1024 * 1024

How = Literal["destroyed", "adopted"]
"""What became of a copy: destroyed, or part of a record of the case system, whose own schedule holds from then on."""

Fetch = Callable[[str, str, str | None], Awaitable[Copy]]
"""A copy of a received alert by reference, for an actor and a team; the look is recorded. Raises Rejected."""


class File(msgspec.Struct, frozen=True):
    """A file of copies. `left_out`: reference and code of what was asked for and is not in it."""

    name: str
    media: str
    body: bytes
    copies: tuple[str, ...]
    retain_until: date | None
    left_out: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"File({len(self.body)} bytes)"


class Page(msgspec.Struct, frozen=True):
    """Copies, newest first, and the number of the last of them."""

    items: tuple[CopyEntry, ...]
    last: int | None


class Shape(msgspec.Struct, frozen=True):
    """In which form a file is made: a format, and the mapping profile that makes its rows if there is one."""

    format: Format
    profile: Profile | None = None


class Preview(msgspec.Struct, frozen=True):
    """What a profile makes of an alert: each row's fields beside what they are made of, and what became of all the rest.

    `complete` is false when something stands in the way: then no file is made of this alert.
    """

    profile: str
    format: str
    reference: str
    rows: tuple[tuple[Side, ...], ...]
    notes: tuple[Note, ...]
    complete: bool

    def __repr__(self) -> str:
        return f"Preview({self.reference})"


class Export:
    """Makes copies and keeps their register. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        copy: Fetch,
        shelf: Shelf,
        clock: Clock,
        metrics: Metrics,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._copy = copy
        self._shelf = shelf
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._one_apart = asyncio.Lock()

    def offered(self) -> tuple[Offered, ...]:
        """Every format there is."""
        return tuple(
            Offered(
                each.name, each.label, each.media, each.suffix, each.many, each.ready(), each.extra or None
            )
            for each in formats.FORMATS.values()
        )

    async def one(
        self,
        ref: str,
        form: str | None,
        actor: str,
        *,
        team: str | None = None,
        consulted: bool = False,
        profile: str | None = None,
    ) -> File:
        """One received alert as a file, in a format or as a mapping profile says.

        Raises Rejected `not-found`, `gone`, `policy`, `usage`, `not-supported`, and `unmapped` with each thing that the
        profile has no place for.
        """
        shape = self._shape(form, profile)
        copy = await self._fit(ref, shape, actor, team, consulted)
        return await self._made([copy], shape, actor, team, consulted, copy.reference)

    async def _fit(self, ref: str, shape: Shape, actor: str, team: str | None, consulted: bool) -> Copy:
        """A copy that may be given out in this form. Raises Rejected for one that may not, or does not map."""
        copy = await self._copy(ref, actor, team)
        if not consulted:
            must_consult(copy)
        if shape.profile is not None:
            must_map(outward.mapped(shape.profile, copy))
        return copy

    async def preview(self, ref: str, profile: str, actor: str, *, team: str | None = None) -> Preview:
        """What a profile would make of one alert, side by side with what it is made of. No copy is made of it."""
        chosen = self._shelf.get(profile, "out")
        mapped = outward.mapped(chosen, await self._copy(ref, actor, team))
        return Preview(
            profile, chosen.format, mapped.reference, mapped.sides, mapped.notes, not mapped.problems
        )

    def _shape(self, form: str | None, profile: str | None) -> Shape:
        """The format and the profile asked for. Raises Rejected `usage`, `not-found`, `not-supported`."""
        if profile is None:
            if form is None:
                raise Rejected("usage", "Say in which format, or under which profile.", parameter="format")
            return Shape(format_of(form))
        chosen = self._shelf.get(profile, "out")
        made = format_of(form or chosen.format)
        if made.table is None:
            raise Rejected(
                "usage",
                f"A profile cannot be used with the format {made.name}.",
                "Use csv, xlsx, json, ndjson or html.",
                parameter="format",
            )
        return Shape(made, chosen)

    async def paper(self, ref: str, actor: str, *, team: str | None = None, consulted: bool = False) -> Copy:
        """A copy for paper: it is in the register before a page is made of it. Raises as :meth:`one` does."""
        copy = await self._copy(ref, actor, team)
        if not consulted:
            must_consult(copy)
        await self._entered([copy], PAPER, None, actor, team, consulted)
        return copy

    async def many(
        self,
        refs: Sequence[str],
        form: str | None,
        actor: str,
        *,
        team: str | None = None,
        consulted: bool = False,
        profile: str | None = None,
    ) -> File:
        """Several received alerts as one file, in order; what may not leave, does not map or is gone is left out and named."""
        shape = self._shape(form, profile)
        if not shape.format.many and len(refs) > 1:
            raise Rejected(
                "usage",
                f"A file of the format {shape.format.name} holds one alert.",
                "Export them one by one.",
            )
        found: list[Copy] = []
        left: list[tuple[str, str]] = []
        for ref in refs:
            try:
                copy = await self._fit(ref, shape, actor, team, consulted)
            except Rejected as error:
                left.append((str(error.facts.get("reference", ref)), error.code))
                continue
            found.append(copy)
        name = f"alerts-{self._clock.now():%Y%m%d-%H%M%S}"
        made = await self._made(found, shape, actor, team, consulted, name)
        return msgspec.structs.replace(made, left_out=tuple(left))

    async def _made(
        self, found: Sequence[Copy], shape: Shape, actor: str, team: str | None, consulted: bool, name: str
    ) -> File:
        chosen, profile = shape.format, shape.profile
        if not chosen.many and not found:
            raise Rejected("usage", f"There is no alert for a file of the format {chosen.name}.")
        # In a thread: two hundred alerts take a fifth of a second, for which nobody else should have to wait.
        body = await self._rendered(chosen, await asyncio.to_thread(_laid_out, found, shape))
        ids = await self._entered(
            found, chosen.name, profile.profile if profile else None, actor, team, consulted
        )
        until = min((each.retain_until for each in found), default=None)
        return File(f"{name}.{chosen.suffix}", chosen.media, body, ids, until)

    async def _rendered(self, chosen: Format, body: bytes) -> bytes:
        """What `render` gave, made into the file by a process of its own where that is slow."""
        if not chosen.ready():
            raise formats.missing(chosen.extra, f"The format {chosen.name}")
        return await apart(chosen.apart, body, self._one_apart) if chosen.apart else body

    async def _entered(
        self,
        found: Sequence[Copy],
        form: str,
        profile: str | None,
        actor: str,
        team: str | None,
        consulted: bool,
    ) -> tuple[str, ...]:
        """Enter copies in the register; their ids. Raises Rejected `gone` when one was deleted meanwhile."""
        if not found:
            return ()
        at = millis(self._clock.now())
        rows = [
            Copied(
                id=self._random(8).hex(), seq=0, alert_id=each.id, reference=each.reference, at=at, actor=actor, team=team,
                format=form, profile=profile, consulted=int(consulted), retain_until=millis(end_of(each.retain_until)),
            )
            for each in found
        ]  # fmt: skip
        # If we stop here, nobody has the copies; after it, the register knows copies that nobody got, which is safe.
        async with self._db.transaction() as tx:
            if not await copies.add(tx, rows):
                raise Rejected(
                    "gone", "An alert was deleted a moment ago, so no copy was made.", "Ask again."
                )
            events = [Event("copy:made", actor, row.id, alert=row.alert_id, outcome=form) for row in rows]
            await audit.append(tx, events, at)
        for _ in rows:
            self._metrics.inc("bridge_copies_total", format=form)
        return tuple(row.id for row in rows)

    async def noted(
        self, ref: str, actor: str, team: str | None = None, side: str | None = None
    ) -> None:
        """Enter an evidence file that another part of the node made of an alert, while its content is kept.

        `side` is received or sent, where the alert is both. Raises Rejected `gone` when it was deleted meanwhile.
        """
        found: Sequence[inbox.Item | sent.Alert] = () if side == "sent" else await inbox.find(self._db, ref)
        mine = None if found or side == "received" else await sent.alert(self._db, ref)
        kept = [each for each in (found or (mine,)) if each is not None and each.purged_at is None]
        if not kept:
            return
        at, alert = millis(self._clock.now()), kept[-1]
        row = Copied(
            self._random(8).hex(),
            0,
            alert.id if isinstance(alert, sent.Alert) else alert.alert_id,
            alert.reference,
            at,
            actor,
            team,
            copies.EVIDENCE,
            None,
            0,
            alert.retain_until,
        )
        # If we stop here, nobody has the file; after it, the register knows a copy that nobody got, which is safe.
        async with self._db.transaction() as tx:
            if not await copies.add(tx, [row], sent=mine is not None):
                raise Rejected(
                    "gone", "The alert was deleted a moment ago, so no copy was made.", "Ask again."
                )
            await audit.append(tx, [Event("copy:made", actor, row.id, alert=row.alert_id, outcome=row.format)], at)

    # The register

    async def page(
        self, before: int | None, limit: int, *, state: str | None = None, team: str | None = None
    ) -> Page:
        """Copies, newest first; for a team those that its own tokens made."""
        rows = await copies.page(self._db, before, limit, state, team)
        return Page(tuple(map(entry, rows)), rows[-1].seq if rows else None)

    async def of_alert(self, ref: str, team: str | None = None) -> tuple[CopyEntry, ...]:
        """Every copy of one alert."""
        return tuple(map(entry, await copies.of_alert(self._db, ref, team)))

    async def entry(self, copy_id: str, team: str | None = None) -> CopyEntry:
        """One copy. Raises Rejected `not-found`."""
        return entry(await self._found(copy_id, team))

    async def ended(self, copy_id: str, how: How, actor: str, team: str | None = None) -> CopyEntry:
        """Somebody says that a copy is gone. Twice is the same as once. Raises Rejected `not-found`."""
        row = await self._found(copy_id, team)
        at = millis(self._clock.now())
        # If we stop here, nothing was said and the copy stays in the list.
        async with self._db.transaction() as tx:
            if await copies.end(tx, row.id, at, actor, how):
                await audit.append(
                    tx, [Event(f"copy:{how}", actor, row.id, alert=row.alert_id, outcome=row.format)], at
                )
        return entry(await self._found(copy_id, team))

    async def _found(self, copy_id: str, team: str | None) -> Copied:
        row = await copies.find(self._db, copy_id, team)
        if row is None:
            raise Rejected("not-found", "There is no copy with this id.", "`bridge export list` shows them.")
        return row


def _laid_out(found: Sequence[Copy], shape: Shape) -> bytes:
    """Copies in a format, or as a profile makes rows of them."""
    if shape.profile is None or shape.format.table is None:
        return shape.format.render(found)
    profile = shape.profile
    return shape.format.table(outward.records(profile, [outward.mapped(profile, each) for each in found]))


def format_of(name: str) -> Format:
    """The format of this name. Raises Rejected `usage`."""
    found = formats.FORMATS.get(name)
    if found is None:
        raise Rejected(
            "usage",
            "There is no format of this name.",
            f"One of: {', '.join(formats.FORMATS)}.",
            parameter="format",
        )
    return found


def must_map(mapped: Mapped) -> None:
    """Raise Rejected `unmapped` when a profile has no place for something in an alert."""
    problems = mapped.problems
    if problems:
        raise Rejected(
            "unmapped",
            "The profile has no place for something in this alert, so nothing was made of it.",
            "See all of it with a preview (--dry-run), then add to the profile: a field, a code, or `rest`.",
            reference=mapped.reference,
            errors=[{"pointer": each.pointer, "message": each.sentence} for each in problems[:50]],
        )


def must_consult(copy: Copy) -> None:
    """Raise Rejected `policy` when the sender wants to be asked before anything else is done with the alert."""
    for each in copy.handling.conditions:
        if each.code in FREE:
            continue
        known = vocabulary.CONDITION.get(each.code)
        what = (
            f"condition {each.code}, {known.label.lower()}"
            if known
            else "a condition that this version does not know"
        )
        raise Rejected(
            "policy",
            f"The sender must be asked before a copy is made ({what}).",
            "Ask the sender, then export it with consulted=true (--consulted); that you asked is kept in the register.",
            reference=copy.reference,
        )


def entry(row: Copied) -> CopyEntry:
    """A row of the register as it is shown."""
    return CopyEntry(
        id=row.id,
        alert=row.alert_id,
        reference=row.reference,
        made=moment(row.at),
        by=row.actor,
        team=row.team,
        format=row.format,
        profile=row.profile,
        consulted=bool(row.consulted),
        retain_until=moment(row.retain_until - 1).date(),
        state="ended" if row.ended_at is not None else "due" if row.noticed_at is not None else "kept",
        noticed=None if row.noticed_at is None else moment(row.noticed_at),
        notice=row.notice,
        ended=None if row.ended_at is None else moment(row.ended_at),
        ended_by=row.ended_by,
        ended_as=row.ended,
    )


async def apart(module: str, body: bytes, turn: asyncio.Lock) -> bytes:
    """What `python -m module` makes of `body`, through pipes, one at a time. Raises Unavailable when it fails."""
    async with turn:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(APART_SECONDS):
                made, _ = await process.communicate(body)
        except TimeoutError:
            made = b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode or not made or len(made) > APART_BYTES:
        raise _not_made()
    return made


def _not_made() -> BridgeError:
    return Unavailable(
        "not-made",
        "The file could not be made in this format.",
        "Is everything it needs installed? Try the format html.",
    )
