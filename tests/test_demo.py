"""`bridge demo` as a person runs it: every scenario ends as it says, nothing is left behind, nothing personal is shown."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from bridge.demo import scenarios
from bridge.demo.scenarios import Expect, as_of, unanswered
from bridge.demo.stage import free_ports
from bridge.demo.verdict import Copy, Question, Receipt, Seen, differences
from bridge.errors import Misconfigured

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ROOT / "configs" / "scenarios"
FILES = sorted(path.name for path in SCENARIOS.glob("[0-9][0-9]-*.json"))
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PATIENCE = 150.0


class Shown(NamedTuple):
    """One run of the demo: its exit status, what it wrote, and the folder it was given for its files."""

    status: int
    out: str
    err: str
    folder: Path


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, "-m", "bridge", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "BRIDGE_LISTEN__PORT": "1"},  # the port is for another node
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shown(folder: Path, *arguments: str) -> Shown:
    with started(folder, *arguments) as demo:
        out, err = demo.communicate(timeout=PATIENCE)
    return Shown(demo.returncode, out, err, folder)


def alive(folder: Path) -> list[int]:
    """Processes that were given this folder for their files: the demo, and whatever it started."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={folder}\0".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:  # gone, or another user's
            continue
    return found


def nothing_left(folder: Path) -> bool:
    return alive(folder) == [] and list(folder.iterdir()) == []


# The whole demo, once


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return shown(tmp_path_factory.mktemp("whole") / "files", "--json")


@pytest.fixture(scope="module")
def told(whole: Shown) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(whole.out)
    return found


def test_the_demo_ends_well_and_leaves_nothing(whole: Shown) -> None:
    assert (whole.status, whole.err) == (0, "")
    assert nothing_left(whole.folder)


@pytest.mark.parametrize("file", FILES)
def test_a_scenario_ends_as_it_says(told: dict[str, Any], file: str) -> None:
    (scenario,) = [each for each in told["scenarios"] if each["file"] == file]
    assert (scenario["ok"], scenario["differences"]) == (True, [])
    assert scenario["reference"].startswith("BR-")


def test_every_alert_crosses_from_one_process_to_another(told: dict[str, Any]) -> None:
    process = {node: name for name, nodes in told["processes"].items() for node in nodes}
    assert len(told["processes"]) >= 3
    for scenario in told["scenarios"]:
        reached = {process[copy["node"]] for copy in scenario["copies"]}
        assert reached
        assert process[scenario["sender"]] not in reached


def test_the_nodes_that_were_killed_were_in_processes_of_their_own(told: dict[str, Any]) -> None:
    assert set(told["restarted"]) == {"met-police", "flintshire-mash"}
    assert all(told["processes"][node] == [node] for node in told["restarted"])


def test_the_counts_are_those_of_the_scenarios(told: dict[str, Any]) -> None:
    rows = [
        row for name in FILES for row in json.loads((SCENARIOS / name).read_bytes())["expect"]["recipients"]
    ]
    assert told["alerts"] == len(FILES)
    assert told["recipients"] == len(rows) + 1  # and the one that took over from another
    assert told["receipts"] == sum(
        len(copy["receipts"]) for scenario in told["scenarios"] for copy in scenario["copies"]
    )


def test_nothing_of_a_person_is_shown(told: dict[str, Any]) -> None:
    said = json.dumps(
        [
            {name: value for name, value in each.items() if name not in {"title", "file"}}
            for each in told["scenarios"]
        ]
    )
    for name in FILES:
        alert = json.loads((SCENARIOS / name).read_bytes())["alert"]
        texts = [alert["event"]["narrative"], alert["legal"]["reasons_text"]]
        for subject in alert["subjects"]:
            texts += [each["text"] for each in subject.get("names", ())] + [subject.get("description") or ""]
        for thing in alert.get("objects", ()):
            texts += [thing.get("value") or "", thing.get("description") or ""]
        for text in filter(None, texts):
            assert text not in said


# One scenario, in other ways


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with one scenario of four nodes."""
    folder = tmp_path / "scenarios"
    folder.mkdir()
    for name in ("nodes.toml", "13-postcode-da1.json"):
        shutil.copy(SCENARIOS / name, folder)
    return folder


def changed(folder: Path, name: str, **expect: Any) -> None:
    path = folder / name
    scenario = json.loads(path.read_bytes())
    scenario["expect"] |= expect
    path.write_text(json.dumps(scenario))


def test_an_alert_that_ends_otherwise_fails_the_demo_and_is_told(small: Path, tmp_path: Path) -> None:
    changed(small, "13-postcode-da1.json", outcome="no_further_action")
    ended = shown(tmp_path / "files", "--scenarios", str(small))
    assert (ended.status, ended.err) == (1, "")
    assert "FAILED  13" in ended.out
    assert (
        "not as the scenario says: the outcome is safeguarding_referral instead of no_further_action"
        in ended.out
    )
    assert "1 of 1 scenarios did not end as they say." in ended.out
    assert nothing_left(ended.folder)


def lines_until(demo: subprocess.Popen[str], last: str) -> Iterator[str]:
    if demo.stdout is None:
        raise AssertionError("standard output was asked for")
    for line in demo.stdout:
        yield line
        if last in line:
            return


def gone(folder: Path, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while alive(folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def asked(url: str, token: str) -> Any:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  our own node
    with urllib.request.urlopen(request, context=trusting, timeout=10) as answer:  # noqa: S310  as above
        return json.load(answer)


def signed_in(access: dict[str, Any]) -> str:
    """Where somebody comes who types what the demo prints for them into the sign-in page."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(), urllib.request.HTTPSHandler(context=trusting)
    )
    with browser.open(f"{access['url']}/sign-in", timeout=10) as page:
        token = page.read().decode().split('name="csrf" value="')[1].split('"')[0]
    form = {"csrf": token, "sign_in": access["sign_in"], "password": access["password"]}
    with browser.open(f"{access['url']}/sign-in", urllib.parse.urlencode(form).encode(), timeout=10) as page:
        return str(urllib.parse.urlsplit(page.url).path)


def test_with_keep_the_nodes_stay_until_a_signal_and_then_leave_nothing(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    with started(folder, "--keep", "--json", "--scenarios", str(small)) as demo:
        access = {each["role"]: each for each in json.loads(next(lines_until(demo, "}")))["access"]}
        worker, desk = access["A worker, who sends"], access["A duty desk, which receives"]
        sent = asked(f"{worker['url']}/v1/alerts", worker["token"])["items"]
        received = asked(f"{desk['url']}/v1/inbox", desk["token"])["items"]
        assert [each["id"] for each in sent] == [each["id"] for each in received]
        administrator = access["The administrator of that desk's node"]
        assert administrator["token"] is None
        listed = subprocess.run(  # noqa: S603  our own command
            [sys.executable, "-m", "bridge", "partner", "list", "--dir", administrator["dir"], "--json"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        assert [each["node_id"] for each in json.loads(listed.stdout)["items"]] == [worker["node"]]
        places = {each["role"]: signed_in(each) for each in access.values()}
        assert places["A worker, who sends"] == "/send"
        assert places["The administrator of that desk's node"] == "/admin"
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(PATIENCE) == 0
    assert nothing_left(folder)


def test_ctrl_c_in_the_middle_leaves_nothing(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    with started(folder, "--scenarios", str(small)) as demo:
        assert list(lines_until(demo, "Introducing"))
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE) == 128 + signal.SIGINT
    assert nothing_left(folder)


def test_no_node_outlives_a_demo_that_is_killed(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    with started(folder, "--keep", "--scenarios", str(small)) as demo:
        assert list(lines_until(demo, "Ctrl-C"))
        assert len(alive(folder)) >= 4
        demo.kill()
        assert gone(folder, 20)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        pytest.param(shutil.rmtree, "There are no scenarios in", id="no folder"),
        pytest.param(
            lambda folder: (folder / "nodes.toml").write_text("[["), "nodes.toml is not", id="not toml"
        ),
        pytest.param(
            lambda folder: (folder / "nodes.toml").write_text(""), "names a node that", id="no nodes"
        ),
        pytest.param(
            lambda folder: (folder / "13-postcode-da1.json").write_text("{"),
            "13-postcode-da1.json is not",
            id="not json",
        ),
        pytest.param(
            lambda folder: (folder / "13-postcode-da1.json").unlink(), "There are no scenarios", id="no files"
        ),
    ],
)
def test_a_folder_that_cannot_be_played_is_refused_in_one_sentence(
    small: Path, spoil: Any, sentence: str
) -> None:
    spoil(small)
    with pytest.raises(Misconfigured, match=sentence):
        scenarios.load(small)


# What ends as it says: pure


def read(name: str) -> scenarios.Scenario:
    (found,) = [each for each in scenarios.load(SCENARIOS).scenarios if f"{each.name}.json" == name]
    return found


def as_expected(expect: Expect) -> Seen:
    """What must be seen of a scenario that ends as it says."""
    outcomes = {deed.node: step.partition(":")[2] for deed in expect.action for step in deed.do}
    copies = tuple(
        Copy(
            node=row.node,
            name="",
            function=row.function,
            area=row.area,
            step=row.step,
            because="",
            receipts=tuple(
                Receipt(status, NOW, outcome=outcomes.get(row.node or "") if status == "closed" else None)
                for status in row.receipts
            ),
            withheld=row.withheld,
            inbox=1 if row.node else 0,
        )
        for row in expect.rows
    )
    candidates = tuple((each.area, each.permille) for each in expect.candidates)
    return Seen(
        id="1",
        home=expect.home.code,
        method=expect.home.method or "unknown",
        notices=expect.notices,
        copies=copies,
        question=Question("ambiguous-area", candidates) if expect.ambiguous else None,
        live_code=expect.live.code if expect.live else None,
        offered=expect.offer.node if expect.offer else None,
        waited=True if expect.dark else None,
        back_seconds=0.4 if expect.dark else None,
    )


@pytest.mark.parametrize("file", FILES)
def test_what_is_as_the_scenario_says_has_no_differences(file: str) -> None:
    expect = read(file).expect
    assert differences(expect, as_expected(expect)) == ()


def first_copy(seen: Seen, **changes: Any) -> Seen:
    one, *others = seen.copies
    return msgspec.structs.replace(seen, copies=(msgspec.structs.replace(one, **changes), *others))


def fewer(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    return tuple(receipts[:-1])


CHANGES = [
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, refused="policy"), "refused with the code policy"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, home="E09000008"), "the home area is E09000008"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, home=None), "the home area is none"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, method="partial"), "by the method partial"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, notices=("no-ground",)), "the notices are"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, copies=s.copies[:-1]), "it went to"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, copies=s.copies[::-1]), "it went to"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, node=None), "it went to held"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, step="fallback-force"), "the step is fallback-force"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, area="E07000062"), "the area is E07000062"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, function="MASH"), "the function is MASH"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, receipts=fewer(s.copies[0].receipts)), "the receipts are"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, receipts=s.copies[0].receipts[::-1]), "the receipts are"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, withheld=("/objects/0",)), "withheld is /objects/0"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, leaks=("/objects/0",)), "should be withheld is in the copy"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, inbox=2), "stands 2 times in the inbox"),
    ("03-housing-cuckooing.json", lambda s: first_copy(s, inbox=0), "stands 0 times in the inbox"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, elsewhere=("kent-mash",)), "also reached kent-mash"),
    ("03-housing-cuckooing.json", lambda s: msgspec.structs.replace(s, unverified=1), "not signed by the recipient's"),
    ("13-postcode-da1.json", lambda s: msgspec.structs.replace(s, question=None), "not refused as ambiguous"),
    ("13-postcode-da1.json", lambda s: msgspec.structs.replace(s, question=Question("sent")), "not refused as ambiguous"),
    (
        "13-postcode-da1.json",
        lambda s: msgspec.structs.replace(s, question=Question("ambiguous-area", (("E07000107", 831),))),
        "the areas to choose from are others",
    ),
    ("18-exercise-dorset.json", lambda s: msgspec.structs.replace(s, live_code=None), "answered an exercise with none"),
    ("20-flintshire-dark.json", lambda s: msgspec.structs.replace(s, offered=None), "is offered none instead of"),
    ("20-flintshire-dark.json", lambda s: msgspec.structs.replace(s, waited=False), "did not wait"),
    ("20-flintshire-dark.json", lambda s: msgspec.structs.replace(s, back_seconds=None), "got it never"),
    ("20-flintshire-dark.json", lambda s: msgspec.structs.replace(s, back_seconds=5.1), "5.1 s after its return"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "sentence"), CHANGES, ids=[f"{f[:2]} {s}" for f, _, s in CHANGES])
def test_whatever_differs_from_the_scenario_is_told(file: str, change: Any, sentence: str) -> None:
    expect = read(file).expect
    found = differences(expect, change(as_expected(expect)))
    assert any(sentence in each for each in found), found


# Dates, answers, ports


def test_an_alert_observed_before_now_is_sent_as_it_is() -> None:
    body = read("01-jobcentre-recruiter.json").body
    assert as_of(body, NOW) == body


def test_on_a_machine_whose_clock_is_behind_all_dates_of_an_alert_are_earlier_by_the_same_days() -> None:
    body = read("02-btp-repeat-trips.json").body
    before, after = json.loads(body), json.loads(as_of(body, NOW - timedelta(days=365)))
    seen, moved = (datetime.fromisoformat(alert["event"]["observed_from"]) for alert in (before, after))
    assert moved <= NOW - timedelta(days=365)
    assert (seen - moved).seconds == 0
    valid, earlier = (datetime.fromisoformat(alert["home"]["valid_on"]) for alert in (before, after))
    assert valid - earlier == seen - moved
    assert after["event"]["narrative"] == before["event"]["narrative"]


def test_without_the_answer_an_alert_holds_what_was_typed_and_no_district() -> None:
    home = json.loads(unanswered(read("13-postcode-da1.json").body))["home"]
    assert home["raw_text"] == "DA1"
    assert not {"district", "method"} & home.keys()


def test_the_ports_of_the_nodes_differ_and_are_none_that_the_system_gives_away() -> None:
    ports = free_ports(60)
    assert len(set(ports)) == 60
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < first
