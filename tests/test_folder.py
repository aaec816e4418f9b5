"""A shared folder: alerts out and in, sealed, with receipts; nothing lost or doubled wherever it is stopped; no word of it in clear."""

import json
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pyrage
import pytest
from api_desk import CANARY, Desk, desk, template
from hypothesis import given, settings
from hypothesis import strategies as st
from test_canary import found_in
from test_exports import arrived, ended, register
from test_formats import alert_of

from bridge.config import FolderSection, Settings
from bridge.crypto import age
from bridge.errors import Malformed, Misconfigured
from bridge.nodes.folder import SETTLE_SECONDS, Disk

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = pyrage.x25519.Identity.generate()
ALERT = {
    "v": 1,
    "subjects": [{"names": [{"text": CANARY}], "roles": ["exploited"]}],
    "home": {"district": "E06000032"},
    "event": {"narrative": f"{CANARY} came with two older men."},
}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with TemporaryDirectory(prefix="folder-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


class Drop:
    """A desk with a folder, and the hands of the system on the other side."""

    def __init__(self, at: Desk, path: Path) -> None:
        self.at = at
        self.path = path

    async def round(self) -> None:
        await self.at.node.folder.work()
        assert self.at.node.folder.trouble is None

    def names(self, room: str) -> list[str]:
        return sorted(os.listdir(self.path / room))  # noqa: PTH208  hidden names too

    def json(self, room: str, name: str) -> Any:
        return json.loads((self.path / room / name).read_bytes())

    def drop(self, name: str, content: bytes, *, seal: bool = True) -> None:
        """As docs/folder.md says: under another name first."""
        if seal:
            name, content = (
                f"{name}.age",
                pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(self.at.node.folder.recipient)]),
            )
        (self.path / "in" / f".{name}.tmp").write_bytes(content)
        (self.path / "in" / f".{name}.tmp").rename(self.path / "in" / name)

    def take(self) -> list[Any]:
        """Open every file of `out` as the system does, and take it away."""
        found = []
        for name in self.names("out"):
            if not name.startswith("."):
                found.append(
                    json.loads(pyrage.decrypt((self.path / "out" / name).read_bytes(), [SYSTEM]))["items"][0]
                )
                (self.path / "out" / name).unlink()
        return found

    async def sent(self) -> int:
        return len((await self.at.ask("GET", "/v1/alerts?limit=200", await self.at.token()))[1]["items"])


def section(path: Path, **more: Any) -> FolderSection:
    return FolderSection(**{"path": str(path), "key": str(SYSTEM.to_public()), **more})


@pytest.fixture
async def make(ground: Path) -> AsyncIterator[Any]:
    opened = []

    async def made(**more: Any) -> Drop:
        place = Path(mkdtemp(dir=ground))
        (place / "shared").mkdir()
        context = desk(
            await template(ground / "template"), place / "node", folder=section(place / "shared", **more)
        )
        at = await context.__aenter__()
        opened.append(context)
        drop = Drop(at, place / "shared")
        await drop.round()
        return drop

    yield made
    for context in opened:
        await context.__aexit__(None, None, None)


@pytest.fixture
async def drop(make: Any) -> Drop:
    made: Drop = await make()
    return made


# --- Sealed files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_sealed_files_are_those_of_the_public_age_library_both_ways(size: int) -> None:
    ours, content = age.Identity(os.urandom(32)), os.urandom(size)
    theirs = pyrage.x25519.Identity.generate()
    assert ours.open(pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(ours.recipient)])) == content
    assert pyrage.decrypt(age.seal(content, str(theirs.to_public())), [theirs]) == content
    several = [theirs.to_public(), pyrage.x25519.Recipient.from_str(ours.recipient)]
    assert ours.open(pyrage.encrypt(content, several)) == content


def test_what_is_altered_anywhere_is_not_opened() -> None:
    identity = age.Identity(bytes(range(32)))
    sealed = age.seal(b"x" * 70_000, identity.recipient)
    for place in (*range(0, 260, 3), 66_000, len(sealed) - 1):
        broken = bytearray(sealed)
        broken[place] ^= 1
        with pytest.raises(Malformed):
            identity.open(bytes(broken))
    for cut in (0, 20, 150, 250, 65_000, len(sealed) - 1, len(sealed) - 17):
        with pytest.raises(Malformed):
            identity.open(sealed[:cut])
    with pytest.raises(Malformed):
        identity.open(sealed + b"x")
    with pytest.raises(Malformed):
        age.Identity(os.urandom(32)).open(sealed)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_bytes_from_outside_are_opened_or_refused(data: bytes) -> None:
    identity = age.Identity(bytes(range(32)))
    for each in (data, age.INTRO + data, age.INTRO + b"-> X25519 " + data):
        with pytest.raises(Malformed):
            identity.open(each)


@pytest.mark.parametrize("text", ["", "age1", "age1" + "q" * 58, "AGE1QQ", "x" * 62])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        age.public_of(text)


# --- Settings --------------------------------------------------------------------------------------------------


NODE = '[node]\nid = "kent-mash"\nname = "Kent"\nagency = "MASH"\nareas = ["E10000016"]\nfunctions = ["MASH"]\nurl = "https://kent.example"\n'


@pytest.mark.parametrize(
    "text", ['[folder]\npath = "x"\n', '[folder]\npath = "x"\nkey = "age1q"\nteam = "YJS"\n']
)
def test_a_folder_without_protection_or_for_nobody_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.read(NODE + text)
    assert "folder" in refused.value.sentence


async def test_a_key_that_is_none_stops_the_start(ground: Path) -> None:
    place = Path(mkdtemp(dir=ground))
    with pytest.raises(Misconfigured):
        async with desk(
            await template(ground / "template"), place / "node", folder=section(place, key="age1nonsense")
        ):
            pass


async def test_a_folder_that_is_not_there_is_trouble_and_nothing_is_made_in_its_place(ground: Path) -> None:
    place = Path(mkdtemp(dir=ground))
    async with desk(
        await template(ground / "template"), place / "node", folder=section(place / "not-mounted")
    ) as at:
        await at.arrive()
        await at.node.folder.work()
        assert at.node.folder.trouble
        assert not (place / "not-mounted").exists()
        assert [each.detail for each in (await at.node.check())["steps"] if each.step == "folder"] == [
            at.node.folder.trouble
        ]


# --- Out -------------------------------------------------------------------------------------------------------


async def test_an_alert_is_put_there_sealed_and_taking_it_away_acknowledges_it(drop: Drop) -> None:
    (ref,) = await drop.at.arrive()
    await drop.round()
    (name,) = drop.names("out")
    assert name.startswith(ref)
    assert name.endswith(".json.age")
    assert (drop.path / "out" / name).stat().st_mode & 0o777 == 0o600
    token = await drop.at.token()
    (copy,) = await register(drop.at, token)
    assert (copy["by"], copy["alert"]) == ("folder", ref)
    await drop.round()
    assert (await drop.at.ask("GET", f"/v1/inbox/{ref}", token))[1]["state"] == "received"
    (alert,) = drop.take()
    assert (alert["id"], alert["retain_until"]) == (ref, "2027-06-01")
    await drop.round()
    assert (await drop.at.ask("GET", f"/v1/inbox/{ref}", token))[1]["state"] == "collected"
    await drop.round()
    assert drop.names("out") == []


async def test_alerts_come_in_the_form_of_a_profile(make: Any) -> None:
    drop = await make(profile_out="northborough-children")
    profiles = drop.at.node.directory / "profiles"
    profiles.mkdir()
    shutil.copy(ROOT / "configs" / "profiles" / "northborough-children.toml", profiles)
    await drop.at.arrive()
    await drop.round()
    (name,) = drop.names("out")
    assert name.endswith(".csv.age")
    assert b"Contact reference" in pyrage.decrypt((drop.path / "out" / name).read_bytes(), [SYSTEM])


async def test_an_alert_that_may_not_leave_is_held_back_and_said_to_be(drop: Drop) -> None:
    ref = await arrived(drop.at, alert_of("03"))
    await drop.round()
    await drop.round()
    assert drop.names("out") == []
    assert drop.names("receipts") == [f"{ref}.held.json"]
    assert drop.json("receipts", f"{ref}.held.json")["code"] == "policy"
    rows = await drop.at.node.database.fetch("select held from folder_out")
    assert rows == [("policy",)]
    async with drop.at.node.database.transaction() as tx:
        await tx.execute("update folder_out set at = 0")
    await drop.round()
    assert (await drop.at.node.database.fetch("select at > 0 from folder_out")) == [(1,)]
    await ended(drop.at, ref, "expired")
    async with drop.at.node.database.transaction() as tx:
        await tx.execute("update folder_out set at = 0")
    await drop.round()
    assert (await drop.at.node.database.fetch("select ended from folder_out")) == [("removed",)]


async def test_what_a_person_has_opened_is_put_there_too_and_what_another_system_took_is_not(
    drop: Drop,
) -> None:
    token = await drop.at.token()
    read, collected = await drop.at.arrive(2)
    await drop.at.ask("POST", f"/v1/inbox/{read}/open", token)
    await drop.at.ask("POST", f"/v1/inbox/{collected}/ack", token)
    await drop.round()
    assert [name[:36] for name in drop.names("out")] == [read]


async def test_a_team_gets_what_is_its_own(make: Any) -> None:
    drop = await make(team="LA_ASC")
    await drop.at.arrive()
    (theirs,) = await drop.at.arrive(function="LA_ASC")
    await drop.round()
    assert [name[:36] for name in drop.names("out")] == [theirs]


@pytest.mark.parametrize("taken", [False, True], ids=["still there", "taken before"])
async def test_when_an_alert_is_deleted_its_file_goes_or_the_system_is_told(taken: bool, drop: Drop) -> None:
    (ref,) = await drop.at.arrive()
    await drop.round()
    token = await drop.at.token()
    (copy,) = await register(drop.at, token)
    if taken:
        drop.take()
        await drop.round()
    await ended(drop.at, ref, "withdrawn")
    await drop.round()
    assert drop.names("out") == []
    (after,) = await register(drop.at, token)
    if not taken:
        assert (after["state"], drop.names("receipts")) == ("ended", [])
        return
    told = drop.json("receipts", f"{copy['id']}.destroy.json")
    assert (told["destroy"], told["because"], after["state"]) == (copy["reference"], "withdrawn", "due")
    (drop.path / "in" / f"destroyed-{copy['id']}").touch()
    await drop.round()
    assert drop.names("in") == []
    assert (await register(drop.at, token))[0]["state"] == "ended"


# --- In --------------------------------------------------------------------------------------------------------


async def test_a_sealed_alert_is_sent_and_gets_its_receipt(drop: Drop) -> None:
    drop.drop("one.json", json.dumps(ALERT).encode())
    await drop.round()
    assert (drop.names("in"), drop.names("refused")) == ([], [])
    (row,) = drop.json("receipts", "one.json.age.receipt.json")["rows"]
    assert row["outcome"] == "accepted"
    status, sent, _ = await drop.at.ask("GET", f"/v1/alerts/{row['id']}", await drop.at.token())
    assert (status, sent["alert"]["event"]["narrative"]) == (200, ALERT["event"]["narrative"])


async def test_the_same_alert_dropped_again_is_sent_once(drop: Drop) -> None:
    for name in ("one.json", "two.json"):
        drop.drop(name, json.dumps(ALERT).encode())
        await drop.round()
    assert drop.json("receipts", "two.json.age.receipt.json")["rows"][0]["outcome"] == "repeated"
    assert await drop.sent() == 1


@pytest.mark.parametrize(
    ("name", "content", "seal", "code"),
    [
        ("plain.json", json.dumps(ALERT).encode(), False, "policy"),
        ("broken.json", b"{", True, "malformed"),
        ("wrong.json", json.dumps({**ALERT, "home": {}}).encode(), True, "usage"),
        ("secret.json", json.dumps({**ALERT, "grading": {"marking": "SECRET"}}).encode(), True, "marking"),
        ("list.csv", b"A,B\n1,2\n", True, "not-supported"),
        ("nothing", b"x", True, "not-supported"),
        ("noise.json.age", os.urandom(500), False, "malformed"),
        ("large.json", b" " * (4 * 1024 * 1024 + 1), False, "too-large"),
    ],
    ids=["plain", "broken", "wrong", "marked", "kind", "no kind", "noise", "large"],
)  # fmt: skip
async def test_a_bad_file_is_set_aside_with_a_reason_and_no_word_of_it(
    name: str, content: bytes, seal: bool, code: str, drop: Drop
) -> None:
    drop.drop(name, content, seal=seal)
    await drop.round()
    drop.at.clock.move(seconds=SETTLE_SECONDS + 1)
    await drop.round()
    name = f"{name}.age" if seal else name
    assert drop.names("in") == []
    assert drop.names("refused") == sorted([name, f"{name}.reason.json"])
    reason = drop.json("refused", f"{name}.reason.json")
    assert reason["code"] == code
    assert CANARY not in json.dumps(reason)
    assert await drop.sent() == 0


async def test_a_file_that_is_still_being_written_waits(drop: Drop) -> None:
    whole = pyrage.encrypt(
        json.dumps(ALERT).encode(), [pyrage.x25519.Recipient.from_str(drop.at.node.folder.recipient)]
    )
    path = drop.path / "in" / "slow.json.age"
    path.write_bytes(whole[:200])
    (drop.path / "in" / "other.json.age.part").write_bytes(whole)
    await drop.round()
    assert drop.names("refused") == []
    path.write_bytes(whole)
    await drop.round()
    assert drop.names("in") == ["other.json.age.part"]
    assert await drop.sent() == 1


async def test_records_are_sent_under_a_profile_and_bad_ones_set_the_file_aside(make: Any) -> None:
    drop = await make(profile_in="castlehill-housing", plain_in=True)
    profiles = drop.at.node.directory / "profiles"
    profiles.mkdir()
    shutil.copy(ROOT / "configs" / "profiles" / "castlehill-housing.toml", profiles)
    incidents = (ROOT / "tests" / "golden" / "incidents.csv").read_bytes()
    drop.drop("incidents.csv", incidents.replace(b";Red;", b";Purple;"), seal=False)
    await drop.round()
    outcomes = [each["outcome"] for each in drop.json("receipts", "incidents.csv.receipt.json")["rows"]]
    assert outcomes == ["accepted", "refused", "accepted"]
    assert drop.names("refused") == ["incidents.csv", "incidents.csv.reason.json"]
    drop.drop("again.csv", incidents, seal=False)
    await drop.round()
    assert [each["outcome"] for each in drop.json("receipts", "again.csv.receipt.json")["rows"]] == [
        "repeated",
        "accepted",
        "repeated",
    ]
    assert await drop.sent() == 3


async def test_links_and_folders_in_it_are_not_followed(drop: Drop, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_text(json.dumps(ALERT))
    (drop.path / "in" / "link.json").symlink_to(target)
    (drop.path / "in" / "folder.json").mkdir()
    os.mkfifo(drop.path / "in" / "pipe.json")
    await drop.round()
    assert await drop.sent() == 0
    assert drop.names("refused") == []
    assert target.exists()


async def test_what_becomes_of_an_alert_is_told_in_a_file_without_what_it_says(drop: Drop) -> None:
    from bridge.clock import millis
    from bridge.events import about
    from bridge.storage.events import New, tell

    drop.drop("one.json", json.dumps(ALERT).encode())
    await drop.round()
    (row,) = drop.json("receipts", "one.json.age.receipt.json")["rows"]
    async with drop.at.node.database.transaction() as tx:
        facts = [
            about(row["id"], partner="luton-jcp", status="opened"),
            about("0" * 36, partner="x", status="opened"),
        ]
        await tell(tx, [New("receipt.opened", each) for each in facts], millis(drop.at.clock.now()))
    await drop.round()
    told = drop.json("receipts", f"{row['reference']}.status.json")
    assert (told["id"], bool(told["recipients"])) == (row["id"], True)
    assert len(drop.names("receipts")) == 2


async def test_what_was_set_aside_goes_after_a_month(drop: Drop) -> None:
    drop.drop("plain.json", b"{}", seal=False)
    await drop.round()
    old = (drop.at.clock.now() - timedelta(days=31)).timestamp()
    for name in drop.names("refused"):
        os.utime(drop.path / "refused" / name, (old, old))
    await drop.round()
    assert drop.names("refused") == []


# --- Stopped anywhere ------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """The process ends here."""


class Failing(Disk):
    """The real disk, which ends the process before or after one of its steps."""

    steps = 0
    stop_at = 0

    def _step(self) -> None:
        type(self).steps += 1
        if type(self).steps == self.stop_at:
            raise Stopped

    def hide(self, *arguments: Any) -> None:
        self._step()
        super().hide(*arguments)
        self._step()

    def reveal(self, *arguments: Any) -> None:
        self._step()
        super().reveal(*arguments)
        self._step()

    def remove(self, *arguments: Any) -> bool:
        self._step()
        made = super().remove(*arguments)
        self._step()
        return made

    def move(self, *arguments: Any) -> None:
        self._step()
        super().move(*arguments)
        self._step()


async def played(ground: Path, stop_at: int) -> tuple[int, list[str], list[str], int, int]:
    """Three alerts out and two in, with the process ended at one step of the disk and begun again; what came of it."""
    place = Path(mkdtemp(dir=ground))
    shared = place / "shared"
    shared.mkdir()
    made = await template(ground / "template")
    got: list[str] = []
    refs: list[str] = []
    Failing.steps, Failing.stop_at = 0, stop_at
    begun = False
    for life in range(3):
        async with desk(made, place / "node", folder=section(shared)) as at:
            drop = Drop(at, shared)
            at.node.folder._disk = Failing(shared, shared=False)
            try:
                if not begun:
                    refs = await at.arrive(3)
                    Disk(shared, shared=False).ready()
                    for number in range(2):
                        drop.drop(
                            f"{number}.json",
                            json.dumps({**ALERT, "by_when": f"2026-12-0{number + 1}"}).encode(),
                        )
                    begun = True
                for _ in range(3):
                    await at.node.folder.work()
                    got += [each["id"] for each in drop.take()]
            except Stopped:
                Failing.stop_at = 0
                continue
            for _ in range(2):
                await at.node.folder.work()
                got += [each["id"] for each in drop.take()]
            token = await at.token()
            states = [(await at.ask("GET", f"/v1/inbox/{ref}", token))[1]["state"] for ref in refs]
            hidden = [name for room in Disk.ROOMS for name in drop.names(room) if name.startswith(".")]
            assert life >= (1 if stop_at else 0) or not stop_at or Failing.steps < stop_at
            assert hidden == []
            assert drop.names("in") == []
            return (
                Failing.steps,
                sorted(got),
                states,
                await drop.sent(),
                len([n for n in drop.names("receipts") if n.endswith(".receipt.json")]),
            )
    raise AssertionError("it was stopped more than once")


async def test_wherever_it_is_stopped_each_alert_passes_once_and_none_is_lost(ground: Path) -> None:
    steps, got, states, sent, receipts = await played(ground, 0)
    assert (len(got), len(set(got)), states, sent, receipts) == (3, 3, ["collected"] * 3, 2, 2)
    assert steps > 20
    chosen = sorted([*random.Random(7).sample(range(1, steps + 1), 4), 1, 2, 3, steps])  # noqa: S311  which steps are tried
    for stop_at in chosen:
        _, got, states, sent, receipts = await played(ground, stop_at)
        assert (len(got), len(set(got)), states, sent, receipts) == (3, 3, ["collected"] * 3, 2, 2), (
            f"stopped at step {stop_at}"
        )


# --- No word in clear ------------------------------------------------------------------------------------------


async def test_no_word_of_an_alert_lies_in_clear_in_the_folder_or_beside_it(
    drop: Drop, capfd: pytest.CaptureFixture[str]
) -> None:
    word = CANARY.split()[0]
    refs = await drop.at.arrive(2)
    drop.drop("good.json", json.dumps(ALERT).encode())
    drop.drop("bad.json", json.dumps({**ALERT, "status": word}).encode())
    drop.drop("worse.json", json.dumps(ALERT).encode()[:-9])
    looked: dict[str, list[str]] = {}
    for _ in range(3):
        await drop.round()
        drop.at.clock.move(seconds=SETTLE_SECONDS + 1)
        for path in drop.path.rglob("*"):
            if path.is_file() and (
                ways := [*found_in(path.read_bytes(), word), *found_in(path.name.encode(), word)]
            ):
                looked[path.name] = ways
    await ended(drop.at, refs[0], "expired")
    await drop.round()
    assert looked == {}
    assert len(drop.names("refused")) == 4
    assert len(drop.names("receipts")) >= 1
    for path in drop.at.node.directory.iterdir():
        if path.is_file():
            assert found_in(path.read_bytes(), word) == []
    told = capfd.readouterr()
    assert found_in(told.out.encode() + told.err.encode(), word) == []
