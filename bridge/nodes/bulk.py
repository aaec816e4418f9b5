"""Many records of a case system as alerts: checked each by itself, sent each by itself, and none of them twice.

Each record is sent under a key made of the profile and of what the profile says a record is known by (or, without that, of
the alert itself). The key is stored in the unit that stores the alert, so whoever is killed in the middle asks again for all
of it, and what was sent before is answered with its first reference.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from bridge.errors import BridgeError, Rejected
from bridge.mapping import inward
from bridge.mapping.profile import Profile
from bridge.nodes.address import Plan
from bridge.storage.sent import LEDGER

Records = Iterable[tuple[int, Mapping[str, str]]]
PREVIEWS: Final = 3


class WrongField(msgspec.Struct, frozen=True):
    """What is wrong with a record: the column, as a JSON pointer (empty: all of it), and a sentence."""

    pointer: str
    message: str


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one record; `row` counts from 1. Nothing of what it says, but in a preview."""

    row: int
    outcome: Literal["accepted", "repeated", "refused", "ready"]
    code: str | None = None
    sentence: str | None = None
    errors: tuple[WrongField, ...] = ()
    id: str | None = None
    reference: str | None = None
    goes_to: tuple[str, ...] = ()
    preview: tuple[inward.Filled, ...] = ()

    def __repr__(self) -> str:
        return f"Record({self.row}, {self.outcome})"


class Report(msgspec.Struct, frozen=True):
    """What became of all records. `sent` is false when nothing was to be sent, or one bad record stopped all."""

    sent: bool
    accepted: int
    repeated: int
    refused: int
    ready: int
    rows: tuple[Record, ...]


class Sent(msgspec.Struct, frozen=True):
    """What an alert that is sent is known by."""

    id: str
    reference: str
    goes_to: tuple[str, ...]
    repeated: bool


class Bulk:
    """Takes records in. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        plan: Callable[[bytes], Plan],
        send: Callable[[bytes, str, str, str | None], Awaitable[Sent]],
        before: Callable[[str, str], Awaitable[Sent | None]],
        secret: bytes,
    ) -> None:
        self._plan = plan
        self._send = send
        self._before = before
        self._secret = secret

    async def take(
        self,
        records: Records,
        profile: Profile,
        actor: str,
        team: str | None = None,
        *,
        dry_run: bool = False,
        all_or_nothing: bool = False,
    ) -> Report:
        """Send each record that makes an alert; with `dry_run` none, with `all_or_nothing` none unless all can be."""
        checked: list[tuple[Record, inward.Made | None]] = []
        for row, record in records:
            made: inward.Made | None = None
            try:
                made = inward.made(profile, record)
                told = await self._checked(row, made, profile, actor, preview=dry_run and row <= PREVIEWS)
            except Rejected as error:
                told = _refused(row, error)
            checked.append((told, made))
        stopped = all_or_nothing and any(told.outcome == "refused" for told, _ in checked)
        if dry_run or stopped:
            return _report([told for told, _ in checked], sent=False)
        done: list[Record] = []
        for told, made in checked:
            done.append(
                told
                if told.outcome == "refused" or made is None
                else await self._sent(told.row, made, profile, actor, team)
            )
        return _report(done, sent=True)

    def key(self, profile: Profile, made: inward.Made) -> str:
        """What a record is known by, as a key that says nothing of it."""
        told = made.key.encode() if made.key else made.alert
        return (
            LEDGER
            + hmac.digest(
                self._secret, b"\x1f".join((b"record", profile.profile.encode(), told)), hashlib.sha256
            ).hex()[:40]
        )

    async def _checked(
        self, row: int, made: inward.Made, profile: Profile, actor: str, *, preview: bool
    ) -> Record:
        plan = self._plan(made.alert)
        try:
            before = await self._before(actor, self.key(profile, made))
        except Rejected as error:
            if error.code != "gone":
                raise
            return Record(row, "repeated", error.code, "It was sent before, and is deleted since.")
        return Record(
            row,
            "ready" if before is None else "repeated",
            id=None if before is None else before.id,
            reference=None if before is None else before.reference,
            goes_to=tuple(leg.name or "held here: nobody serves it yet" for leg in plan.legs),
            preview=made.sides if preview else (),
        )

    async def _sent(
        self, row: int, made: inward.Made, profile: Profile, actor: str, team: str | None
    ) -> Record:
        try:
            sent = await self._send(made.alert, actor, self.key(profile, made), team)
        except Rejected as error:
            if error.code == "gone":
                return Record(row, "repeated", error.code, "It was sent before, and is deleted since.")
            return _refused(row, error)
        return Record(
            row,
            "repeated" if sent.repeated else "accepted",
            id=sent.id,
            reference=sent.reference,
            goes_to=sent.goes_to,
        )


def _refused(row: int, error: BridgeError) -> Record:
    facts: dict[str, Any] = error.facts
    errors = tuple(WrongField(each["pointer"], each["message"]) for each in facts.get("errors", ()))
    if not errors and facts.get("pointer"):
        errors = (WrongField(str(facts["pointer"]), error.sentence),)
    sentence = error.sentence
    if error.code == "idempotency-conflict":
        sentence = "This record was sent before and says something else now: send a correction instead."
    return Record(row, "refused", error.code, sentence, errors)


def _report(rows: list[Record], *, sent: bool) -> Report:
    counts = {
        name: sum(each.outcome == name for each in rows)
        for name in ("accepted", "repeated", "refused", "ready")
    }
    return Report(sent, **counts, rows=tuple(rows))
