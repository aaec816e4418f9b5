"""Records of a case system as alerts, over a real socket and by the command line: each once, whatever stops in the middle."""

# ruff: noqa: S603  # the program is started here as people start it

import csv
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pyrage
import pytest
from api_desk import Desk, desk, template
from test_canary import found_in, request

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "measure"))
import pair  # noqa: E402  # the programs that measure start real nodes, too

sys.path.pop(0)

PROFILE = ROOT / "configs" / "profiles" / "castlehill-housing.toml"
OUTWARD = ROOT / "configs" / "profiles" / "northborough-children.toml"
INCIDENTS = (Path(__file__).parent / "golden" / "incidents.csv").read_bytes()
HEAD, *LINES = INCIDENTS.decode().splitlines(keepends=True)
BULK = "/v1/alerts/bulk?profile=castlehill-housing"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with TemporaryDirectory(prefix="bulk-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture
async def at(ground: Path) -> AsyncIterator[Desk]:
    made = await template(ground / "template")
    async with desk(made, Path(mkdtemp(dir=ground)) / "node") as opened:
        folder = opened.node.directory / "profiles"
        folder.mkdir()
        for each in (PROFILE, OUTWARD):
            (folder / each.name).write_bytes(each.read_bytes())
        yield opened


async def bulk(at: Desk, token: dict[str, str], data: bytes | str, more: str = "", **headers: str) -> Any:
    status, report, _ = await at.ask("POST", BULK + more, token, data=data, headers=headers or CSV)
    assert status == 200, report
    return report


async def sent(at: Desk, token: dict[str, str]) -> int:
    return len((await at.ask("GET", "/v1/alerts?limit=200", token))[1]["items"])


def outcomes(report: Any) -> list[str]:
    return [each["outcome"] for each in report["rows"]]


async def test_each_record_becomes_an_alert_and_twice_is_the_same_as_once(at: Desk) -> None:
    token = await at.token()
    first = await bulk(at, token, INCIDENTS)
    assert (outcomes(first), first["sent"]) == (["accepted"] * 3, True)
    again = await bulk(at, token, INCIDENTS)
    assert outcomes(again) == ["repeated"] * 3
    assert [each["reference"] for each in again["rows"]] == [each["reference"] for each in first["rows"]]
    assert await sent(at, token) == 3


async def test_a_bad_record_stops_no_good_one_and_is_refused_by_row_and_column(at: Desk) -> None:
    token = await at.token()
    report = await bulk(at, token, INCIDENTS.replace(b";Red;", b";Purple Secretword;"))
    assert outcomes(report) == ["accepted", "refused", "accepted"]
    bad = report["rows"][1]
    assert (bad["row"], bad["code"], bad["errors"][0]["pointer"]) == (2, "unmapped", "/Risk")
    assert "Secretword" not in json.dumps(report)
    assert await sent(at, token) == 2


async def test_all_or_nothing_is_nothing_when_one_is_bad(at: Desk) -> None:
    token = await at.token()
    bad = INCIDENTS.replace(b";Red;", b";Purple;")
    report = await bulk(at, token, bad, "&all_or_nothing=true")
    assert (outcomes(report), report["sent"]) == (["ready", "refused", "ready"], False)
    assert await sent(at, token) == 0
    report = await bulk(at, token, INCIDENTS, "&all_or_nothing=true")
    assert (outcomes(report), report["sent"]) == (["accepted"] * 3, True)


async def test_a_dry_run_shows_both_sides_and_sends_nothing(at: Desk) -> None:
    token = await at.token()
    report = await bulk(at, token, INCIDENTS, "&dry_run=true")
    assert (outcomes(report), report["sent"]) == (["ready"] * 3, False)
    shown = {
        each["to"]: (each["source"], each["theirs"], each["ours"]) for each in report["rows"][0]["preview"]
    }
    assert shown["event.kinds"] == ("Category", "Drug running", "carrying_or_running")
    assert shown["reporter.agency_code"] == ("the profile", "", "HOUSING")
    assert report["rows"][0]["goes_to"]
    assert await sent(at, token) == 0
    await bulk(at, token, INCIDENTS)
    assert outcomes(await bulk(at, token, INCIDENTS, "&dry_run=true")) == ["repeated"] * 3


async def test_a_record_that_says_something_else_under_its_key_is_not_sent_again(at: Desk) -> None:
    token = await at.token()
    await bulk(at, token, INCIDENTS)
    report = await bulk(at, token, INCIDENTS.replace(b"every night", b"every day"))
    assert outcomes(report) == ["repeated", "refused", "repeated"]
    assert report["rows"][1]["code"] == "idempotency-conflict"
    assert "correction" in report["rows"][1]["sentence"]
    assert await sent(at, token) == 3


async def test_a_record_stays_known_for_longer_than_a_day(at: Desk) -> None:
    token = await at.token()
    await bulk(at, token, INCIDENTS)
    at.clock.move(days=300)
    at.node.clock.trust()
    await at.node._forget()
    # Under another token, for tokens end; too long after it was seen, a new alert would be refused, an old one is known.
    assert outcomes(await bulk(at, await at.token(), INCIDENTS)) == ["repeated"] * 3
    assert await sent(at, await at.token()) == 3


async def test_records_come_as_json_lines_as_well(at: Desk) -> None:
    token = await at.token()
    record = {
        "First name": "Ayo",
        "Last name": "Wells",
        "Home town or postcode": "Luton",
        "What happened": "Seen.",
        "Risk": "Green",
    }
    lines = "\n".join(json.dumps(each) for each in (record, {**record, "What happened": ""}))
    report = await bulk(at, token, lines, **{"Content-Type": "application/x-ndjson"})
    assert outcomes(report) == ["accepted", "refused"]
    listed = json.dumps({"records": [record, {**record, "Risk": "?"}]})
    report = await bulk(at, token, listed, **{"Content-Type": "application/json"})
    assert outcomes(report) == ["repeated", "refused"]


@pytest.mark.parametrize(
    ("query", "headers", "data", "code"),
    [
        ("profile=none-such", CSV, INCIDENTS, "not-found"),
        ("profile=northborough-children", CSV, INCIDENTS, "usage"),
        ("", CSV, INCIDENTS, "usage"),
        ("profile=castlehill-housing", {"Content-Type": "text/plain"}, b"{}", "not-supported"),
        ("profile=castlehill-housing", {"Content-Type": "application/json"}, b"{}", "malformed"),
        ("profile=castlehill-housing", {"Content-Type": "application/json"}, b'{"records":[3]}', "malformed"),
        ("profile=castlehill-housing", CSV, b"\xff", "malformed"),
        ("profile=castlehill-housing", CSV, b"A\n" + b"x\n" * 1001, "too-large"),
        ("profile=castlehill-housing", {"Content-Type": "application/x-ndjson"}, b"{}\n[", "malformed"),
        ("profile=castlehill-housing&dry_run=perhaps", CSV, INCIDENTS, "usage"),
    ],
)
async def test_what_cannot_be_read_is_refused_as_a_whole(
    query: str, headers: dict[str, str], data: bytes, code: str, at: Desk
) -> None:
    token = await at.token()
    status, problem, _ = await at.ask("POST", f"/v1/alerts/bulk?{query}", token, data=data, headers=headers)
    assert (status >= 400, problem["code"]) == (True, code)
    assert await sent(at, token) == 0


async def test_whoever_may_not_send_sends_no_records(at: Desk) -> None:
    reader = await at.token("alerts:read")
    assert (await at.ask("POST", BULK, reader, data=INCIDENTS, headers=CSV))[0] == 403


async def test_a_system_sends_one_alert_in_its_own_words(at: Desk) -> None:
    token = await at.token()
    record = {
        "First name": "Ayo",
        "Home town or postcode": "Luton",
        "What happened": "Seen with a bag.",
        "Risk": "Red",
        "Category": ["Drug running"],
    }
    path = "/v1/alerts?profile=castlehill-housing"
    status, made, _ = await at.ask("POST", path, token, json=record, headers={"Idempotency-Key": "k1"})
    assert status == 202
    _, shown, _ = await at.ask("GET", f"/v1/alerts/{made['id']}", token)
    assert shown["alert"]["event"]["kinds"] == ["carrying_or_running"]
    assert shown["alert"]["priority"] == "HIGH"
    again = await at.ask("POST", path, token, json=record, headers={"Idempotency-Key": "k1"})
    assert again[1]["id"] == made["id"]
    status, problem, _ = await at.ask("POST", path, token, json={**record, "Risk": "Blue"})
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (422, "unmapped", "/Risk")
    assert (await at.ask("POST", "/v1/alerts?profile=x&colour=red", token, json=record))[1]["code"] == "usage"


async def test_no_word_of_a_record_or_a_copy_is_in_a_file_of_the_node_a_log_or_a_refusal(
    at: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    word = "Zxqvkestrel"
    token = await at.token()
    said = INCIDENTS.replace(b"Ayaan", word.encode()).replace(b";Red;", f";{word};".encode())
    told = [await bulk(at, token, said), await bulk(at, token, said.replace(b"every night", word.encode()))]
    (ref,) = await at.arrive(name=f"{word} Moor")
    for query in (
        "format=csv",
        "format=html",
        "profile=northborough-children",
        f"format={word}",
        f"profile={word}",
        f"{word}=1",
    ):
        status, body, headers = await at.ask("GET", f"/v1/inbox/{ref}/export?{query}", token)
        told += [] if status == 200 else [body]
        assert word not in str(headers)
    for data in (b"\xff" + said, f'"{word}'.encode(), f"{word},{word}\n".encode()):
        status, problem, _ = await at.ask("POST", BULK, token, data=data, headers=CSV)
        told.append(problem)
    _, calls, _ = await at.ask("GET", "/v1/calls", token)
    _, copies, _ = await at.ask("GET", "/v1/copies", token)
    await at.node.meter.flush()
    assert len(copies["items"]) == 3
    assert found_in(json.dumps([told, calls, copies]).encode(), word) == []
    for path in at.node.directory.rglob("*"):
        if path.is_file():
            assert found_in(path.read_bytes(), word) == [], path.name
    logged = capfd.readouterr()
    assert found_in((logged.out + logged.err).encode(), word) == []


# --- Out, under a profile --------------------------------------------------------------------------------------


async def test_an_alert_is_exported_as_a_profile_says(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive(name="Zoe Kestrelmoor")
    status, body, headers = await at.ask(
        "GET", f"/v1/inbox/{ref}/export?profile=northborough-children", token
    )
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/csv")
    (row,) = csv.DictReader(body.decode().splitlines())
    assert (row["Surname"], row["Forenames"], row["Home authority"]) == ("Kestrelmoor", "Zoe", "E06000032")
    (copy,) = (await at.ask("GET", "/v1/copies", token))[1]["items"]
    assert (copy["profile"], copy["format"]) == ("northborough-children", "csv")
    _, book, headers = await at.ask(
        "GET", f"/v1/inbox/{ref}/export?profile=northborough-children&format=json", token
    )
    assert book["items"][0]["Surname"] == "Kestrelmoor"
    assert (await at.ask("GET", f"/v1/inbox/{ref}/export?profile=northborough-children&format=cap", token))[
        1
    ]["code"] == "usage"


async def test_a_preview_shows_both_sides_and_makes_no_copy(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    _, made, _ = await at.ask("GET", f"/v1/inbox/{ref}/export/preview?profile=northborough-children", token)
    assert made["complete"]
    sides = {each["to"]: each for each in made["rows"][0]}
    assert sides["Surname"]["how"] == "guessed"
    assert sides["Surname"]["ours"].endswith(sides["Surname"]["theirs"])
    assert {each["how"] for each in made["notes"]} >= {"guessed", "rest"}
    assert (await at.ask("GET", "/v1/copies", token))[1]["items"] == []


async def test_an_alert_that_does_not_map_is_refused_alone_and_left_out_of_many(at: Desk) -> None:
    token = await at.token()
    (ref,) = await at.arrive()
    strict = OUTWARD.read_text().replace('rest = "Further details"\n', "")
    (at.node.directory / "profiles" / OUTWARD.name).write_text(strict)
    status, problem, _ = await at.ask("GET", f"/v1/inbox/{ref}/export?profile=northborough-children", token)
    assert (status, problem["code"]) == (422, "unmapped")
    assert "/event/kinds/0" in {each["pointer"] for each in problem["errors"]}
    _, _, headers = await at.ask("GET", "/v1/export?profile=northborough-children", token)
    assert headers["Bridge-Left-Out"].endswith(";unmapped")
    assert (await at.ask("GET", "/v1/copies", token))[1]["items"] == []


async def test_a_faulty_profile_is_listed_with_its_fault_and_not_used(at: Desk) -> None:
    token = await at.token()
    (at.node.directory / "profiles" / "broken.toml").write_text('profile = "broken"\n')
    _, listed, _ = await at.ask("GET", "/v1/profiles", token)
    assert {each["name"]: bool(each["fault"]) for each in listed["items"]} == {
        "broken": True, "castlehill-housing": False, "northborough-children": False,
    }  # fmt: skip
    assert (await at.ask("GET", "/v1/export?profile=broken", token))[1]["code"] == "usage"


# --- By the command line, killed in the middle -----------------------------------------------------------------


def command(place: pair.Place, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bridge", *arguments, "--dir", str(place.directory)]


def run(place: pair.Place, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(place, *arguments), capture_output=True, check=False, timeout=60)


class Running:
    """The node that the commands talk to."""

    node: pair.Process
    token: str


@pytest.fixture(scope="module")
def luton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pair.Place]:
    place = pair.make(
        tmp_path_factory.mktemp("bulk") / "luton", "luton-mash", "Luton MASH", "E06000032", ("MASH",)
    )
    Running.token = pair.token(place)
    Running.node = pair.Process(place)
    try:
        Running.node.wait_ready()
        assert run(place, "profile", "add", str(PROFILE)).returncode == 0
        yield place
    finally:
        Running.node.stop()


def counted(place: pair.Place) -> int:
    """How many alerts the node has sent."""
    return len(json.loads(request(place, Running.token, "GET", "/v1/alerts?limit=200")[2])["items"])


def test_the_command_line_says_what_became_of_each_record(luton: pair.Place, tmp_path: Path) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(INCIDENTS.replace(b";Red;", b";Purple;"))
    imported = ("alert", "import", str(file), "--profile", "castlehill-housing")
    dry = run(luton, *imported, "--dry-run")
    assert dry.returncode == 1
    assert "2 would be sent" in dry.stdout.decode()
    assert "carrying_or_running" in dry.stdout.decode()
    none = run(luton, *imported, "--all-or-nothing")
    assert (none.returncode, "Nothing was sent" in none.stdout.decode()) == (1, True)
    report = tmp_path / "report.csv"
    done = run(luton, *imported, "--report", str(report))
    assert done.returncode == 1
    assert "2 sent, 0 sent before, 1 refused." in done.stdout.decode()
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert [(each["row"], each["outcome"], each["field"]) for each in rows] == [
        ("1", "accepted", ""),
        ("2", "refused", "Risk"),
        ("3", "accepted", ""),
    ]
    assert report.stat().st_mode & 0o777 == 0o600
    file.write_bytes(INCIDENTS)
    again = run(luton, *imported, "--json")
    assert (again.returncode, json.loads(again.stdout)["accepted"], json.loads(again.stdout)["repeated"]) == (
        0,
        1,
        2,
    )


def test_an_import_that_is_killed_with_its_node_sends_each_record_once_when_it_is_run_again(
    luton: pair.Place, tmp_path: Path
) -> None:
    many = 60
    file = tmp_path / "many.csv"
    file.write_text(HEAD + "".join(LINES[0].replace("CH-1001", f"K-{number}") for number in range(many)))
    before = counted(luton)
    first = subprocess.Popen(
        command(luton, "alert", "import", str(file), "--profile", "castlehill-housing"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while first.poll() is None and time.monotonic() < until:
        count = counted(luton)
        time.sleep(0.01)
        if count > before:
            break
    first.kill()
    first.wait()
    Running.node.kill()
    Running.node = pair.Process(luton)
    Running.node.wait_ready()
    again = run(luton, "alert", "import", str(file), "--profile", "castlehill-housing", "--json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert (told["accepted"] + told["repeated"], told["refused"]) == (many, 0)
    assert told["repeated"] > 0
    assert counted(luton) == before + many


def test_a_node_killed_over_its_folder_sends_each_file_once(tmp_path: Path) -> None:
    place = pair.make(tmp_path / "node", "luton-mash", "Luton MASH", "E06000032", ("MASH",))
    shared = tmp_path / "shared"
    shared.mkdir()
    key = pyrage.x25519.Identity.generate().to_public()
    with (place.directory / "node.toml").open("a") as file:
        file.write(f'\n[folder]\npath = "{shared}"\nkey = "{key}"\nplain_in = true\nseconds = 0.05\n')
    alert = {"v": 1, "home": {"district": "E06000032"}, "subjects": [{"description": "someone"}]}
    (shared / "in").mkdir()
    many, token = 24, pair.token(place)
    for number in range(many):
        (shared / "in" / f"{number}.json").write_text(
            json.dumps({**alert, "event": {"narrative": f"Seen {number} times."}})
        )
    receipts = shared / "receipts"
    for life in range(2):
        node = pair.Process(place)
        try:
            node.wait_ready()
            until = time.monotonic() + 20
            wanted = (life + 1) * many // 2
            while time.monotonic() < until and len(list(receipts.glob("*.receipt.json"))) < wanted:
                time.sleep(0.005)
            if life == 1:
                listed = json.loads(request(place, token, "GET", "/v1/alerts?limit=200")[2])["items"]
        finally:
            node.kill()
    assert (len(listed), len(list(receipts.glob("*.receipt.json"))), list((shared / "in").iterdir())) == (
        many,
        many,
        [],
    )
    assert (
        len(
            {
                json.loads(path.read_bytes())["rows"][0]["reference"]
                for path in receipts.glob("*.receipt.json")
            }
        )
        == many
    )
