"""Backups of a running node, and back: whole, encrypted, bounded, and nothing that was deleted ever returns."""

import asyncio
import base64
import contextlib
import gzip
import shutil
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config import Node as NodeSection
from bridge.config import Settings
from bridge.crypto import archive
from bridge.errors import BridgeError, Malformed, Misconfigured, Rejected
from bridge.nodes import aside, backup
from bridge.nodes.app import Node
from bridge.nodes.backup import read_header, unpack
from bridge.nodes.create import make
from bridge.nodes.restore import restore
from bridge.storage.contents import Contents
from bridge.storage.sent import Alert
from bridge.storage.sent import alert as alert_row

SCENARIOS = Path(__file__).parents[1] / "configs" / "scenarios"
CANARY = "Zebediah Quillfeather"
START = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.wall = START
        self.mono = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def on(self, **by: float) -> None:
        step = timedelta(**by)
        self.wall += step
        self.mono += step.total_seconds()


def nobody(_step: str, _done: int, _of: int) -> None:
    """Nobody looks at how far it is."""


def alert(**changes: Any) -> bytes:
    whole = msgspec.json.decode((SCENARIOS / "16-two-reports-jobcentre.json").read_bytes())["alert"]
    whole["event"] = {**whole["event"], "narrative": CANARY}
    return msgspec.json.encode({**whole, **changes})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    made = tmp_path / "passphrase"
    made.write_text("correct horse battery staple\n")
    made.chmod(0o600)
    return made


def settings_of() -> Settings:
    return Settings.first(
        NodeSection(
            id="kent-mash",
            name="Kent front door",
            agency="MASH",
            areas=("E10000016",),
            functions=("MASH", "POLICE"),
            url="http://127.0.0.1:18443",
        ),
        port=0,
    )


@pytest.fixture
async def node(tmp_path: Path, clock: Clock) -> AsyncIterator[Node]:
    directory = tmp_path / "D"
    directory.mkdir(mode=0o700)
    await make(directory, settings_of(), None, clock)
    made = await Node.open(directory, settings_of(), clock=clock, call=unreachable)
    yield made
    await made.close()


async def unreachable(*_: Any, **__: Any) -> Any:
    raise BridgeError("unreachable", "Nobody is there.")


async def again(directory: Path, clock: Clock) -> Node:
    return await Node.open(directory, Settings.load(directory, {}), clock=clock, call=unreachable)


async def test_a_backup_holds_what_the_node_held_and_a_new_folder_becomes_that_node(
    node: Node, clock: Clock, place: Path, secret: Path, tmp_path: Path
) -> None:
    sent = await node.submit.send(alert(), "operator")
    profiles = node.directory / "profiles"
    profiles.mkdir()
    (profiles / "housing.toml").write_bytes(b'title = "as \xff it stands"')
    made = await node.backup.make(place / "kent", secret, ["data", "keystore"], "operator", nobody)
    assert [Path(each.file).name for each in made] == ["kent.data", "kent.keystore"]
    assert all(Path(each.file).stat().st_mode & 0o777 == 0o600 for each in made)
    assert made[1].warning == backup.KEYSTORE_WARNING
    facts = await restore(
        tmp_path / "new", place / "kent.data", place / "kent.keystore", secret, clock=clock, progress=nobody
    )
    assert facts["purge"] == {"from": facts["purge"]["from"], "deleted": 0, "days": 0, "ended_early": 0}
    back = await again(tmp_path / "new", clock)
    try:
        row = await back.follow.show(sent.id)
        assert row.alert is not None
        assert CANARY in bytes(row.alert).decode()
        assert back.rotate.identity().seq > node.rotate.identity().seq + 900, "no number of a descriptor twice"
        assert [each.ok for each in await back.checkpoint.verify(nobody)] == [True, True]
        actions = [msgspec.json.decode(each[0])["action"] for each in await back.database.fetch("select record from audit")]
        assert "node:restored" in actions
    finally:
        await back.close()
    modes = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "new").iterdir()}
    assert {modes["data.db"], modes["keystore.db"], modes["node.toml"]} == {0o600}
    assert modes["node.key"] == 0o400
    assert list((tmp_path / "new" / "run").glob("restore-*")) == []
    assert {each.name: each.read_bytes() for each in (tmp_path / "new" / "profiles").iterdir()} == {
        "housing.toml": b'title = "as \xff it stands"'
    }
    assert not (tmp_path / "new" / "profiles.json").exists()


async def test_traffic_goes_on_while_a_backup_is_made_and_all_of_its_moment_is_in_it(
    node: Node, place: Path, secret: Path, tmp_path: Path
) -> None:
    async with node.database.transaction() as tx:
        await tx.executemany("insert into facts (name, value) values (?, ?)", [(f"f{i}", "x" * 3000) for i in range(2000)])
    done = asyncio.Event()
    count = 0

    async def traffic() -> None:
        nonlocal count
        while not done.is_set():
            async with node.database.transaction() as tx:
                await tx.execute("update facts set value = ? where name in ('f1', 'f1999')", (f"{count}",))
            count += 1

    busy = asyncio.create_task(traffic())
    await asyncio.sleep(0.05)
    before = count
    await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    during = count - before
    done.set()
    await busy
    assert during > 10, "nobody waited for the backup to end"
    await unpack(place / "kent.data", secret, tmp_path / "out", nobody)
    found = await again_fetch(tmp_path / "out", "select value from facts where name in ('f1', 'f1999') order by name")
    assert found[0] == found[1], "both halves of every change, or neither"
    assert int(found[0][0]) >= before


async def again_fetch(directory: Path, sql: str) -> list[Any]:
    from bridge.storage import open_database

    database = await open_database("sqlite:data.db", directory, "data", at=START, version="1")
    try:
        return await database.fetch(sql)
    finally:
        await database.close()


# ── Nothing that was deleted comes back ──


def forms(text: str) -> list[bytes]:
    """What a canary may look like in bytes."""
    raw = text.encode()
    whole = [raw, raw.upper(), raw.lower(), text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode(), raw.hex().upper().encode()]
    # The middle of its base64, wherever it stands.
    return [*whole, *(base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3))]


def bytes_under(*places: Path) -> dict[str, bytes]:
    found = {}
    for each in places:
        for file in sorted(each.rglob("*")):
            if file.is_file():
                found[str(file)] = file.read_bytes()
    return found


def spread(data: bytes) -> list[bytes]:
    """The bytes of a file, and what unpacks from them."""
    out = [data]
    for marker in (b"\x78\x9c", b"\x78\xda", b"\x1f\x8b"):
        at = data.find(marker)
        while at >= 0:
            with contextlib.suppress(zlib.error, OSError, EOFError):
                piece = data[at : at + 65_536]
                out.append(gzip.decompress(piece) if marker[0] == 0x1F else zlib.decompressobj().decompress(piece))
            at = data.find(marker, at + 1)
    return out


def seen(*places: Path) -> list[str]:
    return [
        name
        for name, data in bytes_under(*places).items()
        if any(form in piece for piece in spread(data) for form in forms(CANARY))
    ]


async def test_a_restored_backup_from_before_the_end_of_its_time_shows_nothing_of_a_person(
    node: Node, clock: Clock, place: Path, secret: Path, tmp_path: Path
) -> None:
    until = (START.date() + timedelta(days=5)).isoformat()
    sent = await node.submit.send(alert(retention={"class": "UNADOPTED", "until": until}), "operator")
    await node.backup.make(place / "early", secret, ["data"], "operator", nobody)
    for _ in range(7 * 24):
        clock.on(hours=1)
        await node.brake.tick()
    swept = await node.retain.run()
    assert (swept.sent, swept.braked) == (1, False)
    directory = node.directory
    await node.close()
    facts = await restore(directory, place / "early.data", None, secret, clock=clock, progress=nobody)
    assert facts["purge"]["deleted"] == 1, "it was there again, and goes again before anything is served"
    await unpack(place / "early.data", secret, tmp_path / "opened", nobody)
    back = await again(directory, clock)
    try:
        row = await back.follow.show(sent.id)
        assert (row.alert, row.row.deleted) == (None, True)
    finally:
        await back.close()
    assert seen(directory, place, tmp_path / "opened") == []


async def test_what_a_restore_put_aside_goes_on_time_and_shows_nothing_meanwhile(
    node: Node, clock: Clock, place: Path, secret: Path, tmp_path: Path
) -> None:
    until = (START.date() + timedelta(days=2)).isoformat()
    await node.submit.send(alert(retention={"class": "UNADOPTED", "until": until}), "operator")
    await node.backup.make(place / "early", secret, ["data", "keystore"], "operator", nobody)
    directory = node.directory
    await node.close()
    (directory / "keystore.db").write_bytes(b"damaged, with keys in it")
    await restore(directory, place / "early.data", place / "early.keystore", secret, clock=clock, progress=nobody)
    kept = {each.name for each in directory.glob("*.before*")}
    assert {"data.db.before", "keystore.db.before"} <= kept
    assert aside.end(directory, clock.now()) == 0
    clock.on(days=1)
    assert aside.end(directory, clock.now()) >= 1
    assert {each.name for each in directory.glob("*.before*")} == {each for each in kept if each.startswith("data")}
    for _ in range(4 * 24):
        clock.on(hours=1)
    back = await again(directory, clock)
    await back.brake.release("A. Osei")
    await back.retain.run()
    assert (directory / "data.db.before").exists()
    opened = tmp_path / "opened"
    opened.mkdir(mode=0o700)
    await back.close()
    for name in ("data.db.before", "data.db.before-wal"):
        if (directory / name).exists():
            shutil.copy(directory / name, opened / name.replace(".before", ""))
    shutil.copy(directory / "keystore.db", opened / "keystore.db")
    for name in ("node.key", "node.toml"):
        shutil.copy(directory / name, opened / name)
    early = await again(opened, clock)
    row = (await early.database.fetch("select id, bucket_day, wrapped_key, content from alerts"))[0]
    assert row[3] is not None, "the content is there, and nothing opens it"
    with pytest.raises(Rejected):
        Contents(early.keystore).open(*row)
    await early.close()
    assert seen(directory, opened) == []
    clock.on(days=3)
    aside.end(directory, clock.now())
    assert not list(directory.glob("*.before*"))


async def test_a_restore_that_was_stopped_half_way_never_costs_the_database_in_its_place(node: Node, clock: Clock) -> None:
    directory = node.directory
    await node.close()
    before = (directory / "data.db").read_bytes()
    aside.put(directory / "data.db", clock.now())
    clock.on(days=9)
    assert aside.end(directory, clock.now()) >= 1
    assert not (directory / "data.db.before").exists()
    assert (directory / "data.db").read_bytes() == before


async def test_what_a_killed_backup_or_restore_left_is_gone_before_it_can_be_taken_for_anything(
    node: Node, clock: Clock, place: Path, secret: Path
) -> None:
    sent = await node.submit.send(alert(), "operator")
    await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    directory = node.directory
    await node.close()
    for name in ("restore-0011", "backup-0011"):
        (directory / "run" / name).mkdir(mode=0o700)
        (directory / "run" / name / "data.db").write_bytes(b"of another restore")
    await restore(directory, place / "kent.data", None, secret, clock=clock, progress=nobody)
    assert [each.name for each in (directory / "run").glob("*-*")] == []
    back = await again(directory, clock)
    try:
        assert (await back.follow.show(sent.id)).alert is not None
        (directory / "run" / "backup-0022").mkdir(mode=0o700)
        await back.start()
        assert not (directory / "run" / "backup-0022").exists()
    finally:
        await back.close()


@pytest.mark.parametrize("way", ["withdrawn", "shortened"])
async def test_what_was_ended_before_its_day_is_ended_again_and_that_is_said(
    node: Node, clock: Clock, place: Path, secret: Path, tmp_path: Path, way: str
) -> None:
    sent = await node.submit.send(alert(), "operator")
    whole = await row_of(node, sent.id)
    await node.backup.make(place / "early", secret, ["data", "keystore"], "operator", nobody)
    if way == "withdrawn":
        await node.withdraw.withdraw(sent.id, "mistaken_identity", "operator")
    else:
        await node.retain.apply(whole.retention, 2, "operator")
    ended = await row_of(node, sent.id)
    assert ended.retain_until < whole.retain_until
    directory = node.directory
    await node.close()
    facts = await restore(directory, place / "early.data", None, secret, clock=clock, progress=nobody)
    assert facts["purge"]["ended_early"] == 1
    back = await again(directory, clock)
    try:
        found = await row_of(back, sent.id)
        assert (found.retain_until, found.withdrawn_at is not None) == (ended.retain_until, way == "withdrawn")
    finally:
        await back.close()
    # Of a keystore that is from before too, nothing could know it: the promise ends there, and docs/backup.md says so.
    lost = await restore(
        tmp_path / "new", place / "early.data", place / "early.keystore", secret, clock=clock, progress=nobody
    )
    assert lost["purge"]["ended_early"] == 0


async def row_of(node: Node, alert_id: str) -> Alert:
    found = await alert_row(node.database, alert_id)
    assert found is not None
    return found


async def test_an_old_keystore_loses_at_once_the_days_that_are_over(
    node: Node, clock: Clock, place: Path, secret: Path, tmp_path: Path
) -> None:
    until = (START.date() + timedelta(days=5)).isoformat()
    await node.submit.send(alert(retention={"class": "UNADOPTED", "until": until}), "operator")
    await node.submit.send(alert(), "operator")
    await node.backup.make(place / "old", secret, ["data", "keystore"], "operator", nobody)
    clock.on(days=40)
    facts = await restore(
        tmp_path / "new", place / "old.data", place / "old.keystore", secret, clock=clock, progress=nobody
    )
    assert facts["keystore"]["days_destroyed"] == 1
    assert facts["purge"]["deleted"] == 1
    back = await again(tmp_path / "new", clock)
    assert len(back.keystore.days()) == 1, "only the day that is not over has a key"
    await back.close()


async def test_an_old_keystore_never_takes_the_place_of_one_that_is_whole(
    node: Node, clock: Clock, place: Path, secret: Path
) -> None:
    await node.backup.make(place / "kent", secret, ["data", "keystore"], "operator", nobody)
    directory = node.directory
    await node.close()
    before = (directory / "keystore.db").read_bytes()
    with pytest.raises(Rejected) as refused:
        await restore(directory, None, place / "kent.keystore", secret, clock=clock, progress=nobody)
    assert refused.value.code == "wrong-state"
    assert (directory / "keystore.db").read_bytes() == before
    (directory / "keystore.db").unlink()
    await restore(directory, None, place / "kent.keystore", secret, clock=clock, progress=nobody)
    await (await again(directory, clock)).close()


async def test_a_running_node_is_not_restored_under_its_feet(
    node: Node, clock: Clock, place: Path, secret: Path
) -> None:
    from bridge.nodes.lock import locked

    await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    with locked(node.directory), pytest.raises(Misconfigured, match="running already"):
        await restore(node.directory, place / "kent.data", None, secret, clock=clock, progress=nobody)


async def test_cursors_that_were_given_since_lie_below_what_comes_next(
    node: Node, clock: Clock, place: Path, secret: Path
) -> None:
    async with node.database.transaction() as tx:
        await tx.execute("insert into counters (name, value) values ('inbox', 7)")
    await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    directory = node.directory
    await node.close()
    await restore(directory, place / "kent.data", None, secret, clock=clock, progress=nobody)
    ((value,),) = await again_fetch(directory, "select value from counters where name = 'inbox'")
    assert value > 1_000_000
    assert (directory / "data.db.before").exists()


async def test_a_clock_before_the_backup_restores_nothing(node: Node, clock: Clock, place: Path, secret: Path) -> None:
    await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    clock.wall -= timedelta(days=1)
    with pytest.raises(Misconfigured, match="earlier than the backup"):
        await restore(node.directory, place / "kent.data", None, secret, clock=clock, progress=nobody)


# ── Generations and places ──


async def test_of_a_keystore_two_backups_stay_in_a_place_whatever_they_are_called(
    node: Node, clock: Clock, place: Path, secret: Path
) -> None:
    for name in ("a", "b", "b", "c"):
        made = await node.backup.make(place / name, secret, ["keystore"], "operator", nobody)
        clock.on(minutes=1)
    assert sorted(each.name for each in place.iterdir()) == ["b.keystore", "c.keystore"]
    assert made[0].removed == ("b.keystore.1",)


@pytest.mark.parametrize(
    ("out", "passphrase", "told"),
    [
        ("nowhere/kent", "correct horse battery staple", "The folder for the backup is not there."),
        ("D/kent", "correct horse battery staple", "A backup in the node's own folder is lost with it."),
        ("D/exports/kent", "correct horse battery staple", "A backup in the node's own folder is lost with it."),
        ("backups/kent", "short", "The passphrase is shorter than 12 characters."),
    ],
)
async def test_a_place_or_passphrase_that_will_not_do_is_refused(
    node: Node, place: Path, tmp_path: Path, out: str, passphrase: str, told: str
) -> None:
    secret = tmp_path / "other"
    secret.write_text(passphrase)
    secret.chmod(0o600)
    with pytest.raises(Misconfigured, match=told):
        await node.backup.make(tmp_path / out, secret, ["data"], "operator", nobody)
    assert list(place.iterdir()) == []


async def test_nothing_is_left_beside_a_backup_that_failed(node: Node, place: Path, secret: Path) -> None:
    (place / "kent.data").mkdir()
    with pytest.raises(Misconfigured, match="cannot be read or written"):
        await node.backup.make(place / "kent", secret, ["data"], "operator", nobody)
    assert [each.name for each in place.iterdir()] == ["kent.data"]
    assert list((node.directory / "run").glob("backup-*")) == []


# ── The file ──


@pytest.fixture
async def one(node: Node, place: Path, secret: Path) -> Path:
    await node.backup.make(place / "kent", secret, ["keystore"], "operator", nobody)
    return place / "kent.keystore"


async def test_a_backup_says_whose_it_is_and_nothing_else_in_clear(one: Path, node: Node) -> None:
    header = read_header(one)
    assert (header.node, header.kind) == ("kent-mash", "keystore")
    assert [each.name for each in header.parts] == ["keystore.db", "node.key"]
    body = one.read_bytes()
    assert b"SQLite format" not in body
    assert (node.directory / "node.key").read_bytes().strip() not in body


async def test_a_wrong_passphrase_opens_nothing(one: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect horse battery staple")
    wrong.chmod(0o600)
    with pytest.raises(Rejected) as refused:
        await unpack(one, wrong, tmp_path / "out", nobody)
    assert refused.value.code == "wrong-passphrase"
    assert not (tmp_path / "out").exists()


async def test_every_change_to_a_backup_is_found(one: Path, secret: Path, tmp_path: Path) -> None:
    whole = one.read_bytes()
    start = archive.START_LENGTH + archive.header_length(whole[: archive.START_LENGTH]) + archive.CHECK_LENGTH
    changes = {
        "a bit of the header": whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        "a bit of the content": whole[: start + 9] + bytes([whole[start + 9] ^ 1]) + whole[start + 10 :],
        "the last bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "the end cut off": whole[:-1],
        "something more": whole + b"\0",
        "nothing of it": b"",
        "another file": b"PK" + whole,
    }
    for name, data in changes.items():
        one.write_bytes(data)
        with pytest.raises((Malformed, Rejected)) as refused:
            await unpack(one, secret, tmp_path / "out", nobody)
        assert refused.value.code in {"malformed", "damaged", "wrong-passphrase"}, name
        assert not (tmp_path / "out").exists(), name


@pytest.fixture(scope="module")
def chunks() -> tuple[archive.Opener, list[bytes]]:
    """Four chunks of a file, and what opens them: made once, for the key takes its time."""
    sealer = archive.Sealer(b"header", bytes(16), b"a passphrase")
    full = [sealer.seal(bytes(archive.CHUNK), last=False) for _ in range(3)]
    return archive.Opener(b"header", bytes(16), b"a passphrase"), [*full, sealer.seal(b"the end", last=True)]


@settings(deadline=None)
@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_chunks_open_only_in_their_own_order(chunks: tuple[archive.Opener, list[bytes]], order: list[int]) -> None:
    opener, sealed = chunks
    opener._number = opened = 0
    try:
        for place in order:
            opener.open(sealed[place], last=place == 3)
            opened += 1
    except Rejected as error:
        assert error.code == "damaged"
        assert order[opened] != opened
    else:
        assert order == list(range(len(order)))

