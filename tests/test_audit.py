"""The audit log: a tree whose every change is found, signed heads in the common form, proofs from tiles."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from descriptors import NOW, descriptor, identity, key, signed
from hypothesis import given
from hypothesis import strategies as st

from bridge.audit import Event, Record
from bridge.clock import millis
from bridge.crypto import merkle
from bridge.crypto.identity import Identity
from bridge.crypto.keys import ED25519, MLDSA65, SigningKey
from bridge.errors import Malformed, Rejected
from bridge.evidence import note
from bridge.metrics import Metrics
from bridge.nodes.checkpoint import Checkpoint
from bridge.nodes.recall import Recall
from bridge.partners import discovered
from bridge.registry import public_keys
from bridge.storage import audit, counters, open_database
from bridge.storage.database import Database
from bridge.storage.partners import Book

ME = "kent-mash"
ALERT = "01a20329-cbb8-7ebb-a9ef-b1b4a67ad135"


class Clock:
    def __init__(self) -> None:
        self.wall = NOW
        self.mono = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def on(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds


def keys() -> Identity:
    return Identity(ME, 1, 1, identity(ME), [key(ED25519, ME, "message")], {})  # type: ignore[list-item]


def book() -> Book:
    made = Book(ME)
    text = signed(descriptor(ME))
    signatures = tuple((each.kid, each.alg, each.signature) for each in text.signatures)
    made.put(discovered(descriptor(ME), text.document, signatures, NOW))
    return made


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = await open_database("sqlite:data.db", tmp_path / "D", "data", at=NOW, version="1")
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def log_of(database: Database, clock: Clock, **more: Any) -> Checkpoint:
    return Checkpoint(
        database=database,
        identity=keys,
        identities=lambda: [tuple(key.public_key() for key in keys().identity_keys)],
        book=book(),
        kept_days=lambda: 2192,
        clock=clock,
        metrics=Metrics(),
        **more,
    )


async def write(database: Database, count: int, alert: str = "") -> None:
    async with database.transaction() as tx:
        await audit.append(tx, [Event("token:created", "operator", f"{i:x}", alert=alert) for i in range(count)], 0)


# ── Records and the tree ──


async def test_a_record_is_about_the_alert_that_it_names_or_that_is_its_subject(database: Database) -> None:
    async with database.transaction() as tx:
        events = [
            Event("alert:sent", "a", ALERT),
            Event("message:received", "b", "00" * 16, "11" * 32, alert=ALERT),
            Event("token:created", "c", "1"),
        ]
        await audit.append(tx, events, 0)
    about = [msgspec.json.decode(record, type=Record) for _, record in await audit.records_about(database, ALERT)]
    assert [(each.seq, each.action, each.alert) for each in about] == [
        (1, "alert:sent", ALERT),
        (2, "message:received", ALERT),
    ]
    assert about[0].minute == "1970-01-01T00:00Z"


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 1300])
async def test_proofs_from_tiles_are_those_of_the_whole_tree(database: Database, clock: Clock, size: int) -> None:
    log = log_of(database, clock)
    for count in (size // 3, size - size // 3):
        await write(database, count)
        await log.sign()
    every = await audit.leaves(database, 0, size)
    hashes = audit.Hashes(database, size)
    assert await hashes.root(size) == merkle.root_of_hashes(every) == note.read(log.newest() or "").root
    for place in {0, size // 2, size - 1, min(size - 1, 256), min(size - 1, 255)}:
        proof = await audit.Hashes(database, size).inclusion(place)
        assert proof == merkle.inclusion_proof(every, place)
    for old in {1, size, max(1, size // 3), max(1, size - 1), min(size, 256)}:
        proof = await audit.Hashes(database, size).consistency(old)
        assert proof == merkle.consistency_proof(every, old)
        assert await hashes.root(old) == merkle.root_of_hashes(every[:old])


async def test_a_tree_of_two_levels_of_tiles_proves_the_same(database: Database, clock: Clock) -> None:
    size = 256 * 256 + 300
    leaves = [hashlib.sha256(bytes([i % 251, i // 251 % 251, i // 63001])).digest() for i in range(size)]
    async with database.transaction() as tx:
        await tx.executemany(
            "insert into audit (seq, record, leaf) values (?, ?, ?)", [(i + 1, b"{}", each) for i, each in enumerate(leaves)]
        )
        await tx.execute("insert into counters (name, value) values ('audit', ?)", (size,))
    await log_of(database, clock).sign()
    hashes = audit.Hashes(database, size)
    assert await hashes.root(size) == merkle.root_of_hashes(leaves)
    for place in (0, 65_535, 65_536, size - 1):
        assert await hashes.inclusion(place) == merkle.inclusion_proof(leaves, place)
    assert await hashes.consistency(65_600) == merkle.consistency_proof(leaves, 65_600)


# ── Signing ──


async def test_a_head_is_signed_after_a_thousand_records_or_ten_minutes(database: Database, clock: Clock) -> None:
    log = log_of(database, clock)
    await log.work()
    assert log.newest() is None, "an empty log has no head"
    await write(database, 1)
    await log.work()
    assert log.size() == 1, "the first record does not wait"
    await write(database, 999)
    await log.work()
    assert log.size() == 1
    await write(database, 1)
    await log.work()
    assert log.size() == 1001
    await write(database, 1)
    clock.on(599)
    await log.work()
    assert log.size() == 1001
    clock.on(1)
    await log.work()
    assert log.size() == 1002
    clock.on(3600)
    await log.work()
    assert len(await audit.checkpoints(database, 0, 10)) == 3, "nothing new, no new head"


async def test_a_log_goes_on_where_it_was_left(database: Database, clock: Clock) -> None:
    await write(database, 700)
    await log_of(database, clock).sign()
    await write(database, 700)
    again = log_of(database, clock)
    await again.load()
    await again.sign()
    assert note.read(again.newest() or "").root == merkle.root_of_hashes(await audit.leaves(database, 0, 1400))
    assert again.disputes() == []


async def test_a_partner_is_given_a_head_once_and_once_a_minute(database: Database, clock: Clock) -> None:
    log = log_of(database, clock)
    assert log.give("croydon-mash") is None
    await write(database, 1)
    await log.sign()
    assert log.give("croydon-mash") == log.newest()
    assert log.give("croydon-mash") is None
    assert log.give("luton-mash") == log.newest()
    await write(database, 1)
    await log.sign()
    assert log.give("croydon-mash") is None, "not within the minute"
    clock.on(60)
    assert log.give("croydon-mash") == log.newest()


async def test_heads_of_old_days_are_thinned_to_the_last_of_each(database: Database, clock: Clock) -> None:
    log = log_of(database, clock)
    for _ in range(20):
        for _ in range(3):
            await write(database, 1)
            await log.sign()
            clock.on(8 * 3600)
    days: dict[str, int] = {}
    for row in await audit.checkpoints(database, 0, 100):
        days[row.day] = days.get(row.day, 0) + 1
    assert len(days) == 21
    assert [days[each] for each in sorted(days)][:4] == [1, 1, 1, 1]
    assert max(days.values()) == 3
    assert [each.ok for each in await log.verify(nobody)] == [True, True]


def nobody(_step: str, _done: int, _of: int) -> None:
    """Nobody looks at how far it is."""


async def test_who_saw_an_alert_is_recorded_once_a_minute(database: Database, clock: Clock) -> None:
    views = audit.Views(database, clock)
    for _ in range(3):
        await views.record("inbox:seen", "person:1", ALERT)
    await views.record("inbox:seen", "person:2", ALERT)
    clock.on(60)
    await views.record("inbox:seen", "person:1", ALERT)
    seen = [msgspec.json.decode(each[1], type=Record) for each in await audit.records(database, 0, 10)]
    assert [(each.actor, each.minute[-3:-1]) for each in seen] == [("person:1", "15"), ("person:2", "15"), ("person:1", "16")]


# ── What is done to a log, and how it is found ──


async def edit(tx: Any) -> None:
    await tx.execute("update audit set record = replace(record, 'operator', 'somebody') where seq = 300")


async def edit_with_its_hash(tx: Any) -> None:
    ((record,),) = await tx.fetch("select record from audit where seq = 300")
    changed = record.replace(b"operator", b"somebody")
    await tx.execute("update audit set record = ?, leaf = ? where seq = 300", (changed, audit.leaf(changed)))


async def drop(tx: Any) -> None:
    await tx.execute("delete from audit where seq = 300")


async def drop_and_close_the_gap(tx: Any) -> None:
    await tx.execute("delete from audit where seq = 300")
    rows = await tx.fetch("select seq from audit where seq > 300 order by seq")
    for (seq,) in rows:
        await tx.execute("update audit set seq = ? where seq = ?", (seq - 1, seq))
    await tx.execute("update counters set value = value - 1 where name = 'audit'")


async def drop_the_end(tx: Any) -> None:
    await tx.execute("delete from audit where seq > 590")


async def cut_the_end_and_the_count(tx: Any) -> None:
    await tx.execute("delete from audit where seq > 590")
    await tx.execute("update counters set value = 590 where name = 'audit'")


async def swap(tx: Any) -> None:
    await tx.execute("update audit set seq = -1 where seq = 300")
    await tx.execute("update audit set seq = 300 where seq = 301")
    await tx.execute("update audit set seq = 301 where seq = -1")


async def add(tx: Any) -> None:
    record = msgspec.json.encode(Record(601, "2026-11-22T10:15Z", "a", "b:c", "", "", "ok"))
    await tx.execute("insert into audit (seq, record, leaf) values (601, ?, ?)", (record, audit.leaf(record)))


async def other_head(tx: Any) -> None:
    stolen = [SigningKey.from_seed(alg, ME, bytes(32)) for alg in (ED25519, MLDSA65)]
    row = await tx.fetch_one("select size, root from checkpoints order by size desc")
    text = note.sign(note.Checkpoint(note.origin(ME), row[0], row[1]), stolen)
    await tx.execute("update checkpoints set text = ? where size = ?", (text, row[0]))


async def other_root(tx: Any) -> None:
    await tx.execute("update checkpoints set root = ? where size = 600", (bytes(32),))


TAMPERED: dict[str, tuple[Callable[[Any], Awaitable[None]], str]] = {
    "a record is edited": (edit, "Record 300 is not what was recorded: it was changed."),
    "a record is edited with its hash": (edit_with_its_hash, "Records 201 to 400 are not those that were signed"),
    "a record is dropped": (drop, "Record 300 is missing."),
    "a record is dropped and the gap closed": (drop_and_close_the_gap, "Record 300 says that it is number 301"),
    "the end is dropped": (drop_the_end, "Records 591 to 600 are missing."),
    "the end is dropped and the count": (cut_the_end_and_the_count, "covers 600 records, but only 590 are there."),
    "two records change places": (swap, "Record 300 says that it is number 301: the order was changed."),
    "a record is added": (add, "Records 601 to 601 were added: they were never counted."),
    "a head is signed by somebody else": (other_head, "The head of 600 records is not signed by this node."),
    "a head is given another root": (other_root, "The head of 600 records is not the one that was signed."),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_what_was_done_to_a_log_is_found_and_told(database: Database, clock: Clock, name: str) -> None:
    log = log_of(database, clock)
    for _ in range(3):
        await write(database, 200)
        await log.sign()
    assert [each.ok for each in await log.verify(nobody)] == [True, True]
    tamper, told = TAMPERED[name]
    async with database.transaction() as tx:
        await tamper(tx)
    findings = await log.verify(nobody)
    assert any(told in each.detail for each in findings if each.ok is False), findings


async def test_a_log_written_anew_with_the_keys_themselves_is_found_by_what_a_partner_keeps(
    database: Database, clock: Clock
) -> None:
    log = log_of(database, clock)
    await write(database, 600)
    await log.sign()
    kept = log.newest() or ""
    assert await log.reminded("croydon-mash", kept) == 600
    async with database.transaction() as tx:
        await edit_with_its_hash(tx)
        await tx.execute("delete from checkpoints")
        await tx.execute("delete from tiles")
    anew = log_of(database, clock)
    await anew.load()
    await anew.sign()
    assert [each.ok for each in await anew.verify(nobody)] == [True, True], "by itself it looks whole"
    assert await anew.reminded("croydon-mash", kept) is None
    assert "croydon-mash keeps a head of this node's log with 600 records that is not this log's" in anew.disputes()[0]


async def test_a_log_put_back_to_an_older_state_is_found_by_what_a_partner_keeps(
    database: Database, clock: Clock
) -> None:
    log = log_of(database, clock)
    await write(database, 600)
    await log.sign()
    kept = log.newest() or ""
    async with database.transaction() as tx:
        await cut_the_end_and_the_count(tx)
        await tx.execute("delete from checkpoints")
        await tx.execute("delete from tiles")
    older = log_of(database, clock)
    await older.load()
    assert await older.reminded("croydon-mash", kept) is None
    assert "has 590 records, but croydon-mash keeps a head of it with 600" in older.disputes()[0]


# ── Records whose own six years are over ──


async def pruned(database: Database, clock: Clock, days: int) -> tuple[Checkpoint, int]:
    """A log of 600 records, the first 300 signed long ago, of which what may go has gone."""
    log = log_of(database, clock)
    await write(database, 300)
    await log.sign()
    clock.wall += timedelta(days=days)
    await write(database, 300)
    await log.sign()
    dropped = 0
    while True:
        async with database.transaction() as tx:
            count = await audit.prune(tx, millis(clock.now() - timedelta(days=2192)), 128)
        dropped += count
        if not count:
            return log, dropped


@pytest.mark.parametrize(("days", "gone"), [(2191, 0), (2193, 300)])
async def test_records_go_when_their_time_is_over_and_the_tree_stands(
    database: Database, clock: Clock, days: int, gone: int
) -> None:
    log, dropped = await pruned(database, clock, days)
    assert dropped == gone
    findings = await log.verify(nobody)
    assert [each.ok for each in findings] == [True, True]
    assert (f"Of the first {gone} the hashes alone are kept" in findings[0].detail) == bool(gone)
    left = await database.fetch("select count(*) from audit where record = ?", (b"",))
    assert left[0][0] == gone
    page = await Recall(database=database).page(None, 1000)
    assert len(page.records) == 600 - gone
    assert await log.reminded("croydon-mash", log.newest() or "") == 600
    exported = [each async for each in log.export()]
    assert sum(each["kind"] == "dropped" for each in exported) == gone


async def test_a_record_that_is_emptied_before_its_time_is_found(database: Database, clock: Clock) -> None:
    log, _ = await pruned(database, clock, 2193)
    async with database.transaction() as tx:
        await tx.execute("update audit set record = ? where seq = 301", (b"",))
        await counters.set_fact(tx, audit.PRUNED, "301")
    findings = await log.verify(nobody)
    assert any("Record 301" in each.detail for each in findings if each.ok is False)


async def test_the_hash_of_a_dropped_record_cannot_be_another(database: Database, clock: Clock) -> None:
    log, _ = await pruned(database, clock, 2193)
    async with database.transaction() as tx:
        await tx.execute("update audit set leaf = ? where seq = 7", (bytes(32),))
        await tx.execute("delete from tiles")
    assert [each.ok for each in await log.verify(nobody)] != [True, True]


async def test_a_head_that_this_node_never_signed_accuses_nobody(database: Database, clock: Clock) -> None:
    log = log_of(database, clock)
    await write(database, 5)
    await log.sign()
    forged = note.sign(
        note.Checkpoint(note.origin(ME), 9, bytes(32)), [SigningKey.from_seed(alg, ME, bytes(32)) for alg in (ED25519, MLDSA65)]
    )
    with pytest.raises(Rejected, match="keys that are not known"):
        await log.reminded("croydon-mash", forged)
    assert log.disputes() == []


async def test_a_damaged_log_signs_nothing_more(database: Database, clock: Clock) -> None:
    log = log_of(database, clock)
    await write(database, 10)
    async with database.transaction() as tx:
        await tx.execute("delete from audit where seq = 5")
    with pytest.raises(Rejected) as refused:
        await log.sign()
    assert refused.value.code == "bad-proof"
    assert log.newest() is None
    assert log.disputes() == ["Records of the audit log are missing."]


async def test_an_export_holds_every_record_and_head_and_can_be_verified_with_them(
    database: Database, clock: Clock
) -> None:
    log = log_of(database, clock)
    await write(database, 300)
    await log.sign()
    await write(database, 7)
    lines = [each async for each in log.export()]
    assert lines[0]["size"] == 307
    tree = merkle.Tree()
    for line in lines[1:]:
        if line["kind"] == "record":
            assert json.loads(line["record"])["seq"] == line["seq"]
            tree.append(audit.leaf(line["record"].encode()))
        else:
            head = note.verify(line["note"], ME, public_keys(descriptor(ME).identity_keys))
            assert (head.size, head.root) == (tree.size, tree.root())
    assert tree.size == 307


# ── Notes ──

OFFICIAL = json.loads((Path(__file__).parent / "vectors" / "official" / "note_dsse_examples.json").read_text())
HEAD = note.Checkpoint(note.origin(ME), 5, hashlib.sha256(b"root").digest())
PUBLIC = public_keys(descriptor(ME).identity_keys)
NOTE = note.sign(HEAD, identity(ME))


def test_key_ids_are_those_of_the_c2sp_example() -> None:
    name, kid, public = OFFICIAL["signed_note"]["vkey"].split("+", 2)
    raw = note._base64(public, "key")
    assert note._key_id(name, ED25519, raw[1:]).hex() == kid
    signer, signature = note._signature(OFFICIAL["signed_note"]["note"].split("\n\n")[1].strip("\n"))
    assert (signer, signature[:4].hex()) == (name, kid)


def test_a_note_fits_where_receipts_carry_it_and_both_keys_verify() -> None:
    assert len(NOTE) < note.NOTE_LIMIT
    assert note.verify(NOTE, ME, PUBLIC) == HEAD
    others = NOTE + "\N{EM DASH} witness.example/w " + "AAAAAAAA" * 9 + "\n"
    assert note.verify(others, ME, PUBLIC) == HEAD, "lines by keys that are not known are passed over"


LINES = NOTE.split("\n")
CHANGED: dict[str, tuple[str, str]] = {
    "another size": (NOTE.replace("\n5\n", "\n6\n"), "bad-signature"),
    "another root": (NOTE.replace(LINES[2], note.sign(HEAD._replace(root=bytes(32)), ()).split("\n")[2]), "bad-signature"),
    "another log": (NOTE.replace("bridge/kent-mash", "bridge/kent-masx"), "wrong-node"),
    "a leading zero": (NOTE.replace("\n5\n", "\n05\n"), "malformed"),
    "a negative size": (NOTE.replace("\n5\n", "\n-5\n"), "malformed"),
    "no signature": ("\n".join(LINES[:3]) + "\n\n", "malformed"),
    "one signature alone": ("\n".join([*LINES[:5], ""]), "bad-signature"),
    "the other signature alone": ("\n".join([*LINES[:4], LINES[5], ""]), "bad-signature"),
    "signatures of nobody known": (note.sign(HEAD, [SigningKey.from_seed(ED25519, ME, bytes(32))]), "unknown-sender"),
    "a bit of a signature": (NOTE.replace(LINES[4][-8:], "AAAAAAA=" if LINES[4][-8:] != "AAAAAAA=" else "BBBBBBA="), "bad-signature"),
    "a control character": (NOTE.replace("\n5\n", "\n5\t\n"), "malformed"),
    "a hyphen for the dash": (NOTE.replace("\N{EM DASH}", "-"), "malformed"),
    "a line more": (NOTE.replace("\n5\n", "\n5\nmore\n"), "malformed"),
    "no end": (NOTE[:-1], "malformed"),
    "nothing": ("", "malformed"),
    "far too long": (NOTE + "\N{EM DASH} a " + "A" * note.NOTE_LIMIT, "malformed"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_note_with_one_change_is_refused(name: str) -> None:
    text, code = CHANGED[name]
    with pytest.raises(Rejected) as refused:
        note.verify(text, ME, PUBLIC)
    assert refused.value.code == code


@given(st.text(max_size=300) | st.sampled_from(sorted(text for text, _ in CHANGED.values())))
def test_anything_at_all_is_a_note_or_malformed(text: str) -> None:
    for read in (note.read, note.read_extension):
        with contextlib.suppress(Malformed):
            read(text)


@given(st.integers(0, 2**40), st.lists(st.binary(min_size=32, max_size=32), max_size=64))
def test_a_proof_and_its_note_come_back_as_they_were(size: int, proof: list[bytes]) -> None:
    assert note.read_extension(note.extension(size, proof, NOTE)) == (size, proof, NOTE)
