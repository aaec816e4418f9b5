"""Questions about alerts and their answers, on both sides: rows in order, their text under the alert's own key."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from bridge.clock import moment
from bridge.crypto.vault import DataKey
from bridge.remarks import Answer, Question, Remark
from bridge.storage import outbox
from bridge.storage.contents import payload_label
from bridge.storage.database import Database, Parameters, Row, Transaction

RECEIVED, SENT = "received", "sent"
"""Sides: about an alert in the inbox, or about one that was sent from here."""


class Line(NamedTuple):
    """A row of `remarks`; see the migration for the columns."""

    side: str
    id: bytes
    alert_id: str
    message: bytes
    partner: str
    kind: str
    question: bytes | None
    ours: int
    at: int
    actor: str | None
    content: bytes | None


class Told(NamedTuple):
    """A remark, and how the message that carries ours stands: its status and code, None for theirs."""

    line: Line
    status: str | None
    code: str | None


_LINE = ",".join(Line._fields)


def _among(count: int) -> str:
    return ",".join("?" * count)


async def add(tx: Transaction, row: Line) -> None:
    """Keep a remark, at once; a Conflict when it is there already."""
    await tx.execute(f"insert into remarks ({_LINE}) values ({_among(len(Line._fields))})", row)


async def find(db: Database | Transaction, side: str, remark_id: bytes) -> Line | None:
    """One remark."""
    row = await db.fetch_one(f"select {_LINE} from remarks where side = ? and id = ?", (side, remark_id))
    return None if row is None else Line(*row)


async def about(db: Database | Transaction, side: str, alert_id: str) -> list[Told]:
    """All that was asked and answered about an alert, oldest first."""
    return [told(row) for row in await db.fetch(*telling(side, [alert_id]))]


def telling(side: str, alert_ids: Sequence[str]) -> tuple[str, Parameters]:
    """The query for all that was asked and answered about alerts, oldest first; :func:`told` reads its rows."""
    columns = ",".join(f"r.{name}" for name in Line._fields)
    sql = (
        f"select {columns}, m.status, m.code from remarks r left join messages m on m.id = r.id and r.ours = 1"
        f" where r.side = ? and r.alert_id in ({_among(len(alert_ids))})"
        " order by r.at, r.kind desc"  # what is asked and answered in one moment
    )
    return sql, (side, *alert_ids)


def told(row: Row) -> Told:
    """A row of :func:`telling`."""
    return Told(Line(*row[:-2]), row[-2], row[-1])


def text_of(line: Line, key: DataKey) -> str:
    """What was written."""
    payload = key.open(payload_label(line.id), line.content or b"")
    if line.kind == "question":
        return msgspec.json.decode(payload, type=Question).text
    return msgspec.json.decode(payload, type=Answer).text


def shown(lines: Sequence[Told], key: DataKey | None, name_of: Callable[[str], str]) -> tuple[Remark, ...]:
    """Remarks as they are shown, in their order; without `key` only that they were made."""
    answered = {each.line.question for each in lines}
    return tuple(
        Remark(
            id=line.id.hex(),
            kind=line.kind,
            at=moment(line.at),
            node=line.partner,
            name=name_of(line.partner),
            ours=bool(line.ours),
            text=None if key is None or line.content is None else text_of(line, key),
            question=None if line.question is None else line.question.hex(),
            answered=line.id in answered,
            actor=line.actor,
            status=status,
            code=code,
        )
        for line, status, code in lines
    )


def unanswered(said: Sequence[Remark]) -> int:
    """How many of these are questions that still wait for an answer."""
    return sum(each.kind == "question" and each.text is not None and not each.answered for each in said)


async def waiting(
    db: Database | Transaction, side: str, alert_ids: Sequence[str]
) -> dict[tuple[str, bytes], int]:
    """How many questions about these alerts have no answer yet: by alert and by the message that it came in."""
    if not alert_ids:
        return {}
    rows = await db.fetch(
        f"select q.alert_id, q.message, count(*) from remarks q where q.side = ? and q.alert_id in ({_among(len(alert_ids))})"
        " and q.kind = 'question' and q.content is not null"
        " and not exists (select 1 from remarks a where a.side = q.side and a.alert_id = q.alert_id and a.question = q.id)"
        " group by q.alert_id, q.message",
        (side, *alert_ids),
    )
    return {(row[0], row[1]): int(row[2]) for row in rows}


async def purge(
    tx: Transaction, side: str, alert_ids: Sequence[str], now: int, messages: Iterable[bytes] = ()
) -> None:
    """Delete what was asked and answered about these alerts, or those copies of them; what is on its way goes too."""
    if alert_ids:
        await purge_found(tx, side, await tx.fetch(*made_about(side, alert_ids)), now, messages)


def made_about(side: str, alert_ids: Sequence[str]) -> tuple[str, Parameters]:
    """The query for what :func:`purge_found` deletes."""
    sql = f"select id, message, ours from remarks where side = ? and alert_id in ({_among(len(alert_ids))})"
    return sql, (side, *alert_ids)


async def purge_found(
    tx: Transaction, side: str, rows: Iterable[Row], now: int, messages: Iterable[bytes] = ()
) -> None:
    """As :func:`purge`, of the rows that :func:`made_about` asks for."""
    mine = set(messages)
    gone = [(row[0], row[2]) for row in rows if not mine or row[1] in mine]
    if not gone:
        return
    await tx.executemany(
        "update remarks set content = null where side = ? and id = ?", [(side, each) for each, _ in gone]
    )
    ours = [each for each, is_ours in gone if is_ours]
    flying = []
    for start in range(0, len(ours), 200):
        some = ours[start : start + 200]
        flying += await tx.fetch(
            "select envelope_id from messages where envelope_id is not null and settled_at is null"
            f" and id in ({_among(len(some))})",
            tuple(some),
        )
    await tx.executemany(
        "update messages set settled_at = ? where id = ? and settled_at is null",
        [(now, each) for each in ours],
    )
    await outbox.abandon(tx, list({row[0] for row in flying}), now)


async def forget(tx: Transaction, side: str, alert_ids: Sequence[str]) -> None:
    """Drop the stubs of what was said about these alerts."""
    await tx.executemany(
        "delete from remarks where side = ? and alert_id = ?", [(side, each) for each in alert_ids]
    )
