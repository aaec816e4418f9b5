"""The keystore: durable before it answers, destroyed for good, opened by its own key alone."""

import asyncio
import itertools
import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from bridge.crypto.vault import NodeKey
from bridge.errors import Misconfigured, Rejected
from bridge.storage.database import Conflict
from bridge.storage.keystore import (
    DESTROYED,
    RETIRED,
    KeyRow,
    KeySource,
    Keystore,
    make_key_file,
    read_secret,
)
from bridge.storage.sqlite import Sqlite

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
DAY = date(2026, 12, 1)
SEED = b"CANARY-SEED-" + bytes(20)


class StandingClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


CLOCK = StandingClock()


def row(kid: str = "aa01", purpose: str = "message", **more: object) -> KeyRow:
    return KeyRow(
        kid=kid, purpose=purpose, alg="ed25519", seed=SEED, public=b"public", not_before=NOW, **more
    )  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> KeySource:
    make_key_file(tmp_path / "node.key")
    return KeySource(tmp_path / "node.key")


@pytest.fixture
async def keystore(tmp_path: Path, source: KeySource) -> AsyncIterator[Keystore]:
    keystore = await Keystore.create(tmp_path / "keystore.db", "kent-mash", source, clock=CLOCK, version="1")
    yield keystore
    await keystore.close()


async def reopened(keystore: Keystore, tmp_path: Path, source: KeySource) -> Keystore:
    await keystore.close()
    return await Keystore.open(tmp_path / "keystore.db", source, clock=CLOCK, version="1")


def on_disk(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("keystore.db"))


async def test_keys_come_back_as_they_were_stored(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    later = row("bb02", not_after=NOW + timedelta(days=30), destroy_after=NOW + timedelta(days=61))
    await keystore.add_keys(row(), later, row("cc03", "tls"))
    again = await reopened(keystore, tmp_path, source)
    try:
        assert again.node_id == "kent-mash"
        assert again.keys("message") == [row(), later]
        assert again.keys("tls") == [row("cc03", "tls")]
        assert again.keys("sealing") == []
        assert again.key("bb02") == later
        assert again.due(NOW + timedelta(days=61)) == [later]
        assert again.due(NOW + timedelta(days=60)) == []
    finally:
        await again.close()


async def test_no_seed_stands_in_clear_on_disk_or_in_a_repr(keystore: Keystore, tmp_path: Path) -> None:
    await keystore.add_keys(row())
    assert b"CANARY" not in on_disk(tmp_path)
    assert repr(row()) == "KeyRow(aa01)"


async def test_keys_are_added_all_or_none(keystore: Keystore, tmp_path: Path, source: KeySource) -> None:
    await keystore.add_keys(row())
    with pytest.raises(Conflict):
        await keystore.add_keys(row("bb02"), row("aa01"))
    assert keystore.key("bb02") is None
    again = await reopened(keystore, tmp_path, source)
    assert [key.kid for key in again.keys("message")] == ["aa01"]
    await again.close()


async def test_a_retired_key_is_kept_until_its_destruction(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    await keystore.add_keys(row())
    await keystore.retire_key("aa01", not_after=NOW, destroy_after=NOW + timedelta(days=31))
    again = await reopened(keystore, tmp_path, source)
    try:
        (key,) = again.keys("message", [RETIRED])
        assert (key.seed, key.not_after, key.destroy_after) == (SEED, NOW, NOW + timedelta(days=31))
        with pytest.raises(Rejected):
            await again.retire_key("unknown", not_after=NOW, destroy_after=None)
    finally:
        await again.close()


async def test_a_destroyed_key_is_in_no_byte_of_the_file_and_its_past_use_can_be_explained(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    await keystore.add_keys(*(row(f"{number:04x}") for number in range(40)))
    path = tmp_path / "keystore.db"
    wrapped = await _wrapped(path, "select seed from keys where kid = '0007'")
    assert wrapped in on_disk(tmp_path)
    await keystore.destroy_key("0007")
    await keystore.destroy_key("0007")
    assert wrapped not in on_disk(tmp_path)
    assert [key.seed for key in keystore.keys("message", [DESTROYED])] == [b""]
    assert len(keystore.keys("message")) == 39
    again = await reopened(keystore, tmp_path, source)
    try:
        (key,) = again.keys("message", [DESTROYED])
        assert (key.kid, key.seed, key.public) == ("0007", b"", b"public")
        with pytest.raises(Rejected):
            await again.retire_key("0007", not_after=NOW, destroy_after=None)
        with pytest.raises(Rejected):
            await again.destroy_key("unknown")
    finally:
        await again.close()


async def _wrapped(path: Path, sql: str) -> bytes:
    other = await Sqlite.open(path)
    try:
        found = await other.fetch_one(sql)
        assert found is not None
        value: bytes = found[0]
        return value
    finally:
        await other.close()


async def test_a_days_key_is_durable_before_it_is_given(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    assert keystore.bucket(DAY) is None
    bucket = await keystore.ensure_bucket(DAY)
    data_key, wrapped = bucket.new_data_key("an-alert", os.urandom)
    sealed = data_key.seal("content", b"text")
    assert keystore.bucket(DAY) is bucket
    assert await keystore.ensure_bucket(DAY) is bucket
    again = await reopened(keystore, tmp_path, source)
    try:
        found = again.bucket(DAY)
        assert found is not None
        assert found.unwrap("an-alert", wrapped).open("content", sealed) == b"text"
    finally:
        await again.close()


async def test_many_tasks_that_need_the_same_day_get_the_same_key(keystore: Keystore) -> None:
    found = await asyncio.gather(*(keystore.ensure_bucket(DAY) for _ in range(20)))
    assert len({id(key) for key in found}) == 1


async def test_a_task_cancelled_while_a_days_key_is_made_leaves_it_usable(keystore: Keystore) -> None:
    for number in range(20):
        day = DAY + timedelta(days=number)
        task = asyncio.create_task(keystore.ensure_bucket(day))
        await asyncio.sleep(number * 0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bucket = await keystore.ensure_bucket(day)
        assert keystore.bucket(day) is bucket
    assert len(keystore.days()) == 20


async def test_destroyed_days_are_noise_for_good(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    buckets = [await keystore.ensure_bucket(day) for day in days]
    kept = [
        await _wrapped(tmp_path / "keystore.db", f"select wrapped from buckets where day = '{day}'")
        for day in days
    ]
    assert await keystore.destroy_buckets(days[3]) == days[:3]
    assert await keystore.destroy_buckets(days[3]) == []
    disk = on_disk(tmp_path)
    assert [wrapped in disk for wrapped in kept] == [False, False, False, True, True]
    with pytest.raises(Rejected, match="no longer"):
        buckets[0].new_data_key("an-alert", os.urandom)
    again = await reopened(keystore, tmp_path, source)
    try:
        assert again.days() == days[3:]
        assert again.bucket(days[0]) is None
        with pytest.raises(Rejected) as caught:
            await again.ensure_bucket(days[0])
        assert caught.value.code == "gone"
    finally:
        await again.close()


async def test_a_cancelled_destruction_is_completed_by_the_next(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    for number in range(20):
        day = DAY + timedelta(days=number)
        bucket = await keystore.ensure_bucket(day)
        wrapped = await _wrapped(tmp_path / "keystore.db", f"select wrapped from buckets where day = '{day}'")
        task = asyncio.create_task(keystore.destroy_buckets(day + timedelta(days=1)))
        await asyncio.sleep(number * 0.0004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keystore.destroy_buckets(day + timedelta(days=1))
        assert keystore.bucket(day) is None
        assert wrapped not in on_disk(tmp_path)
        with pytest.raises(Rejected):
            bucket.new_data_key("an-alert", os.urandom)


async def test_opening_finishes_a_destruction_that_a_crash_cut_short(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    for number in range(30):
        await keystore.ensure_bucket(DAY + timedelta(days=number))
    await keystore.close()
    before = (tmp_path / "keystore.db").stat().st_size
    other = await Sqlite.open(tmp_path / "keystore.db")
    async with other.transaction() as unit:
        await unit.execute("create table filler (body blob)")
        await unit.executemany("insert into filler values (?)", [(bytes(4000),)] * 50)
    async with other.transaction() as unit:
        await unit.execute("drop table filler")
    await other.close()
    assert (tmp_path / "keystore.db").stat().st_size > before
    again = await Keystore.open(tmp_path / "keystore.db", source, clock=CLOCK, version="1")
    await again.close()
    assert (tmp_path / "keystore.db").stat().st_size == before


# Who may open it.


async def test_a_passphrase_opens_what_it_made_with_or_without_a_line_end(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_bytes(b"correct horse\r\n")
    phrase.chmod(0o400)
    source = KeySource(passphrase_file=phrase)
    keystore = await Keystore.create(tmp_path / "keystore.db", "kent-mash", source, clock=CLOCK, version="1")
    await keystore.add_keys(row())
    phrase.chmod(0o600)
    phrase.write_bytes(b"correct horse")
    again = await reopened(keystore, tmp_path, source)
    assert again.keys("message") == [row()]
    await again.close()
    phrase.write_bytes(b"wrong horse")
    with pytest.raises(Misconfigured, match="does not open"):
        await Keystore.open(tmp_path / "keystore.db", source, clock=CLOCK, version="1")


async def test_another_key_another_source_and_a_missing_file_are_told_apart(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    await keystore.close()
    make_key_file(tmp_path / "other.key")
    path = tmp_path / "keystore.db"
    with pytest.raises(Misconfigured, match="does not open"):
        await Keystore.open(path, KeySource(tmp_path / "other.key"), clock=CLOCK, version="1")
    with pytest.raises(Misconfigured, match="made with a key file"):
        await Keystore.open(path, KeySource(passphrase_file=tmp_path / "other.key"), clock=CLOCK, version="1")
    with pytest.raises(Misconfigured, match="keystore is missing"):
        await Keystore.open(tmp_path / "none.db", source, clock=CLOCK, version="1")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(Misconfigured, match="already"):
        await Keystore.create(path, "kent-mash", source, clock=CLOCK, version="1")


async def test_wrapped_keys_moved_to_another_row_do_not_open(
    keystore: Keystore, tmp_path: Path, source: KeySource
) -> None:
    await keystore.add_keys(row("aa01", "message"), row("bb02", "sealing"))
    await keystore.close()
    other = await Sqlite.open(tmp_path / "keystore.db")
    async with other.transaction() as unit:
        await unit.execute(
            "update keys set seed = (select seed from keys where kid = 'aa01') where kid = 'bb02'"
        )
    await other.close()
    with pytest.raises(Misconfigured):
        await Keystore.open(tmp_path / "keystore.db", source, clock=CLOCK, version="1")


def test_a_key_file_is_made_private_and_never_over_another(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_key_file(tmp_path / "node.key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o400
    content = read_secret(tmp_path / "node.key", "key file")
    NodeKey.from_key_file(content)
    with pytest.raises(Misconfigured):
        make_key_file(tmp_path / "node.key")
    assert read_secret(tmp_path / "node.key", "key file") == content
    with pytest.raises(Misconfigured):
        make_key_file(tmp_path / "none" / "node.key")


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o604, 0o644, 0o410, 0o777], ids=oct)
def test_a_key_file_open_to_others_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(b"CANARY")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 0400") as caught:
        read_secret(path, "key file")
    assert "CANARY" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("kind", ["missing", "link", "directory", "pipe", "too long"])
def test_what_is_not_a_plain_small_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "node.key"
    real = tmp_path / "real.key"
    make_key_file(real)
    if kind == "link":
        path.symlink_to(real)
    elif kind == "directory":
        path.mkdir(mode=0o700)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "too long":
        path.write_bytes(bytes(4097))
        path.chmod(0o600)
    with pytest.raises(Misconfigured):
        read_secret(path, "key file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_account_is_refused(tmp_path: Path) -> None:
    make_key_file(tmp_path / "node.key")
    os.chown(tmp_path / "node.key", 65534, 65534)
    with pytest.raises(Misconfigured, match="another account"):
        read_secret(tmp_path / "node.key", "key file")


async def test_files_that_hold_no_key_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate([b"", b"short", b"0" * 64, bytes(32)]):
        path = tmp_path / f"{number}.key"
        path.write_bytes(content)
        path.chmod(0o400)
        with pytest.raises(Misconfigured):
            await Keystore.create(
                tmp_path / "keystore.db", "kent-mash", KeySource(path), clock=CLOCK, version="1"
            )
        assert not (tmp_path / "keystore.db").exists()
    with pytest.raises(Misconfigured, match="Nothing is named"):
        KeySource().node_key(b"")


async def test_the_keystore_draws_its_keys_from_the_randomness_it_is_given(
    tmp_path: Path, source: KeySource
) -> None:
    counter = itertools.count(1)

    def random(length: int) -> bytes:
        return next(counter).to_bytes(length, "big")

    keystore = await Keystore.create(
        tmp_path / "keystore.db", "kent-mash", source, clock=CLOCK, version="1", random=random
    )
    try:
        await keystore.ensure_bucket(DAY)
        await keystore.ensure_bucket(DAY)
        await keystore.ensure_bucket(DAY + timedelta(days=1))
        assert next(counter) == 3
    finally:
        await keystore.close()
