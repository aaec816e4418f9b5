"""Deleting, warning, previews and statements read no more than they need: every query's plan, in a database with rows."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.storage import inbox, open_database, remarks, retention, seen, sent
from bridge.storage.contents import HELD_UNTIL
from bridge.storage.database import Database, Parameters, Row

NOW = 1_800_000_000_000
DAY = 86_400_000


class Recorded:
    """A database, or a unit, that remembers what it was asked."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.asked: list[tuple[str, Parameters]] = []

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        self.asked.append((sql, parameters))
        return await self._inner.fetch(sql, parameters)  # type: ignore[no-any-return]

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None

    async def fetch_each(self, queries: Any) -> list[list[Row]]:
        self.asked += queries
        return await self._inner.fetch_each(queries)  # type: ignore[no-any-return]

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        self.asked.append((sql, parameters))
        return await self._inner.execute(sql, parameters)  # type: ignore[no-any-return]

    async def executemany(self, sql: str, rows: Any) -> int:
        rows = list(rows)
        self.asked += [(sql, row) for row in rows[:1]]
        return await self._inner.executemany(sql, rows)  # type: ignore[no-any-return]

    def later(self, sql: str, rows: Any) -> None:
        rows = list(rows)
        self.asked += [(sql, row) for row in rows[:1]]
        self._inner.later(sql, rows)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = await open_database("sqlite:data.db", tmp_path, "data", at=datetime(2027, 1, 1, tzinfo=UTC), version="1")
    async with made.transaction() as tx:
        await inbox.add(tx, [_item(number) for number in range(200)])
        await sent.add_alerts(tx, [_alert(number) for number in range(200)])
        await sent.add_messages(tx, [_message(number) for number in range(200)])
        await remarks.add(
            tx, remarks.Line("sent", bytes(16), "a1", bytes(16), "p", "question", None, 1, NOW, "x", b"c")
        )
        await seen.add(tx, [seen.Seen(bytes([number]), "p", b"", "received", None, NOW) for number in range(100)])
    yield made
    await made.close()


def _item(number: int) -> inbox.Item:
    return inbox.Item(
        number, number.to_bytes(16, "big"), f"i{number}", f"BR-{number}", "partner", "alert", number.to_bytes(16, "big"), 0,
        0, NOW - 100 * DAY, "received", NOW, 1, None, None, "UNADOPTED", NOW + (number - 100) * DAY, "2027-01-01", b"w", b"c" * 9000,
    )  # fmt: skip


def _alert(number: int) -> sent.Alert:
    return sent.Alert(
        number, f"a{number}", f"BR-A{number}", NOW - 100 * DAY, "x", 0, 0, "UNADOPTED", NOW + (number - 100) * DAY,
        "2027-01-01", b"w", b"c" * 9000,
    )  # fmt: skip


def _message(number: int) -> sent.Message:
    return sent.Message(
        number.to_bytes(16, "big"), "alert", f"a{number}", "partner", 0, "{}", None, 0, NOW, NOW, number.to_bytes(16, "big"),
        "received", NOW,
    )  # fmt: skip


Ask = Callable[[Any], Awaitable[Any]]
QUESTIONS: dict[str, Ask] = {
    "due, received": lambda db: retention.due_inbox(db, NOW, 50),
    "due still": lambda db: db.fetch(*retention.still_due(list(range(1, 26)), NOW)),
    "due, sent": lambda db: retention.due_sent(db, NOW, 50),
    "overdue": lambda db: retention.overdue(db, NOW),
    "to warn": lambda db: retention.to_warn(db, NOW, NOW + 14 * DAY, 14, 500),
    "unread": lambda db: retention.unread(db, NOW, NOW + 14 * DAY),
    "later than": lambda db: retention.later_than(db, "received", "UNADOPTED", 31 * DAY, HELD_UNTIL, (0, 0), 50),
    "later than, sent": lambda db: retention.later_than(db, "sent", "UNADOPTED", 31 * DAY, HELD_UNTIL, (0, 0), 50),
    "holds": retention.holds,
    "holds on": lambda db: retention.holds_on(db, "i1", "inbox"),
    "corrections": lambda db: sent.corrections_of(db, "a1"),
    "withdrawals": lambda db: sent.withdrawals_of(db, "a1"),
    "remarks about": lambda db: remarks.about(db, remarks.RECEIVED, "i1"),
    "remarks that wait": lambda db: remarks.waiting(db, remarks.SENT, ["a1", "a2"]),
    "late": lambda db: inbox.late(db, NOW, 100),
    "newest": lambda db: inbox.newest(db, ("MASH",), 100),
    "between": lambda db: inbox.between(db, ("MASH",), 10, 100, 50),
    "half over": lambda db: inbox.half_over(db, NOW, 28 * DAY, 200),
    "count to review": lambda db: inbox.count_review(db, ()),
    "to review": lambda db: inbox.to_review(db, inbox.Sought((), ("MASH",)), 10, 50),
    "inbox of": lambda db: retention.inbox_of(db, "i1", "partner"),
}
FROM_THE_INDEX_ALONE: dict[str, Ask] = {
    "preview": lambda db: retention.preview(db, NOW, HELD_UNTIL, [NOW + DAY, NOW + 14 * DAY]),
    "what a change touches, received": lambda db: retention.count_later(db, "received", "UNADOPTED", 31 * DAY, HELD_UNTIL),
    "what a change touches, sent": lambda db: retention.count_later(db, "sent", "UNADOPTED", 31 * DAY, HELD_UNTIL),
    "overdue": lambda db: retention.overdue(db, NOW),
    "unread": lambda db: retention.unread(db, NOW, NOW + 14 * DAY),
}
MONTH: Ask = lambda db: retention.month(db, (NOW - 30 * DAY, NOW), ("0198", "0199"))  # noqa: E731  a row like the others


async def _done(_nothing: None) -> None:
    """What is put off by the call itself."""


CHANGES: dict[str, Ask] = {
    "purge, received": lambda tx: _done(retention.purge_inbox(tx, [3], NOW, "expired")),
    "purge, sent": lambda tx: retention.purge_sent(tx, ["a1", "a2"], NOW),
    "purge, remarks": lambda tx: remarks.purge(tx, remarks.SENT, ["a1", "a2"], NOW),
    "undelivered": lambda tx: retention.undelivered(tx, ["a1", "a2"]),
    "deleted": lambda tx: retention.deleted(tx, ["i1"]),
    "warned": lambda tx: retention.mark_warned(tx, [(3, 4)]),
    "withdrawn": lambda tx: retention.mark_withdrawn(tx, [4], NOW, "other"),
    "move": lambda tx: retention.move(tx, "received", 4, b"w", day="2027-01-01", until=NOW, wrapped=b"x"),
    "move, sent": lambda tx: retention.move(tx, "sent", "a4", b"w", day="2027-01-01", until=NOW, wrapped=b"x"),
    "corrected": lambda tx: retention.corrected(tx, ["i1"], "partner"),
    "supersede": lambda tx: retention.supersede(tx, "i1", "partner", "i2"),
    "known": lambda tx: inbox.known(tx, [b"1"], ["i1"], ["BR-1"]),
    "forget": lambda tx: retention.forget(tx, NOW + 1, 10),
    "forget received": lambda tx: retention.forget_received(tx, NOW + 1, 10),
    "forget sent": lambda tx: retention.forget_sent(tx, NOW + 1, 10),
    "forget papers": lambda tx: retention.forget_papers(tx, NOW + 1, 10),
}


def plan(path: Path, sql: str, parameters: Parameters) -> list[str]:
    with sqlite3.connect(path) as raw:
        found = [row[3] for row in raw.execute(f"explain query plan {sql}", tuple(parameters))]
    raw.close()
    return found


def indexed(path: Path, asked: list[tuple[str, Parameters]], *, sorts: bool = False, walks: bool = False) -> list[str]:
    """Every step of the plans, each by an index; with `walks` an index may be read from end to end."""
    assert asked
    steps = []
    for sql, parameters in asked:
        for step in plan(path, sql, parameters):
            steps.append(step)
            whole = step.startswith("SCAN") and "SUBQUERY" not in step and "late" not in step and "soon" not in step
            assert not (whole and not (walks and "COVERING INDEX" in step) and "holds_in_force" not in step), (sql, step)
            assert sorts or "TEMP B-TREE" not in step, (sql, step)
    return steps


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_is_answered_by_an_index_and_in_its_order(name: str, database: Database, tmp_path: Path) -> None:
    recorded = Recorded(database)
    await QUESTIONS[name](recorded)
    sorts = name in {"holds", "holds on", "corrections", "withdrawals", "remarks about", "remarks that wait"}  # a handful of rows
    indexed(tmp_path / "data.db", recorded.asked, sorts=sorts)


@pytest.mark.parametrize("name", FROM_THE_INDEX_ALONE)
async def test_a_count_never_touches_a_row_with_content(name: str, database: Database, tmp_path: Path) -> None:
    recorded = Recorded(database)
    await FROM_THE_INDEX_ALONE[name](recorded)
    for step in indexed(tmp_path / "data.db", recorded.asked, walks=True):
        assert "COVERING INDEX" in step or not step.startswith(("SEARCH inbox", "SEARCH alerts", "SCAN inbox", "SCAN alerts"))


async def test_a_months_statement_reads_that_month(database: Database, tmp_path: Path) -> None:
    recorded = Recorded(database)
    await MONTH(recorded)
    indexed(tmp_path / "data.db", recorded.asked, sorts=True)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_finds_its_rows_by_an_index(name: str, database: Database, tmp_path: Path) -> None:
    async with database.transaction() as tx:
        recorded = Recorded(tx)
        await CHANGES[name](recorded)
    indexed(tmp_path / "data.db", recorded.asked, sorts=name in {"corrected", "known"})


async def test_what_is_asked_of_this_database_is_what_it_holds(database: Database) -> None:
    assert len(await retention.due_inbox(database, NOW, 500)) == 101
    assert len(await retention.due_sent(database, NOW, 500)) == 101
    assert await retention.overdue(database, NOW) == 202
    assert len(await retention.to_warn(database, NOW, NOW + 14 * DAY, 14, 500)) == 14
    assert await retention.unread(database, NOW, NOW + 14 * DAY) == 14
    kept = 31 * DAY
    everything: list[Any] = []
    after = (0, 0)
    while True:
        rows, after = await retention.later_than(database, "received", "UNADOPTED", kept, HELD_UNTIL, after, 7)
        if not rows:
            break
        everything += [row.key for row in rows]
    assert everything == sorted(everything)
    assert len(everything) == await retention.count_later(database, "received", "UNADOPTED", kept, HELD_UNTIL) == 168


