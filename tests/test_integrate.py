"""Every journey of docs/integrate.md, against the sandbox as an integrator starts it; and the sandbox itself.

Python and curl are run as they are written, C# where Debian's small compiler is installed. PowerShell cannot be: each
request that it shows, as that C# shows, is taken out of the text and made.
"""

# ruff: noqa: S603, S607  # the programs of the page are started here as people start them

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from bridge.client import Bridge, Problem, Unreachable, asked
from bridge.client.asked import Patience
from bridge.demo.stage import free_ports

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "measure"))
import consumer  # noqa: E402  # the script that does it for long

sys.path.pop(0)

PAGE = (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def blocks(language: str, holding: str = "") -> list[str]:
    return [text for kind, text in BLOCKS if kind == language and holding in text]


class Started:
    """`bridge sandbox` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "sandbox", "--port", "0", "--json", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.facts: dict[str, Any] = json.loads(self.process.stdout.readline())

    def control(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.facts["control"] + path, data, method=method)  # noqa: S310  our own address
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
            return json.load(answer)

    def client(self, **more: Any) -> Bridge:
        return Bridge(
            self.facts["url"],
            self.facts["token"],
            patience=Patience(tries=4, first=0.05, longest=0.2),
            **more,
        )

    def environment(self, **more: str) -> dict[str, str]:
        mesh = self.facts["mesh"]
        return {
            **os.environ,
            "BRIDGE_URL": self.facts["url"],
            "BRIDGE_TOKEN": self.facts["token"],
            "SANDBOX_CONTROL": self.facts["control"],
            "MESH_URL": mesh["url"],
            "MESH_MAILBOX": mesh["mailbox"],
            "MESH_PASSWORD": mesh["password"],
            "MESH_SHARED_KEY": mesh["shared_key"],
            **more,
        }

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=10)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Started]:
    started = Started("--alerts", "0")
    yield started
    started.end()


@pytest.fixture(autouse=True)
def mended(sandbox: Started) -> None:
    sandbox.control("DELETE", "/faults")


@pytest.fixture
def fresh(sandbox: Started) -> Started:
    sandbox.control("POST", "/reset")
    return sandbox


def arrived(sandbox: Started, count: int) -> None:
    """That so many alerts wait."""
    sandbox.control("POST", f"/alerts?count={count}")
    with sandbox.client() as client:
        until = time.monotonic() + 15
        while len(client.peek(states=["received"]).items) < count:
            assert time.monotonic() < until, "the partner's alerts did not arrive"
            time.sleep(0.05)


def run(sandbox: Started, text: str, tmp_path: Path, **more: str) -> str:
    kind = [sys.executable, "-W", "error", "-c", text]
    done = subprocess.run(
        kind,
        env=sandbox.environment(**more),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(sandbox: Started, text: str, tmp_path: Path, **more: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=sandbox.environment(**more), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- The journeys of the page ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "holding", ["Bridge.from_environment() as client:\n    for alert in client.inbox()", "AsyncBridge"]
)
def test_python_collects_what_waits(fresh: Started, tmp_path: Path, holding: str) -> None:
    arrived(fresh, 3)
    (text,) = blocks("python", holding)
    assert run(fresh, text, tmp_path).count("stored BR-") == 3
    with fresh.client() as client:
        assert [each.state for each in client.peek().items] == ["collected"] * 3


def test_curl_tries_its_token_collects_and_acknowledges(fresh: Started, tmp_path: Path) -> None:
    arrived(fresh, 2)
    (token,) = blocks("bash", "/v1/token")
    assert "alerts:read" in shell(fresh, token, tmp_path)
    (collect,) = blocks("bash", "/v1/inbox/lease")
    assert json.loads(shell(fresh, collect, tmp_path)) == {"count": 2, "until": None}
    assert len(json.loads((tmp_path / "alerts.json").read_text())["items"]) == 2
    with fresh.client() as client:
        assert [each.state for each in client.peek().items] == ["collected"] * 2


def test_python_takes_and_closes(fresh: Started, tmp_path: Path) -> None:
    arrived(fresh, 1)
    (text,) = blocks("python", "close_alert")
    assert run(fresh, text, tmp_path) == ""
    with fresh.client() as client:
        assert [each.state for each in client.peek().items] == ["closed"]


def test_a_webhook_is_added_by_curl_and_received_by_python(fresh: Started, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (add,) = blocks("bash", "/v1/webhooks")
    shell(fresh, add, tmp_path, WEBHOOK_URL=f"http://127.0.0.1:{port}/in")
    made = json.loads((tmp_path / "webhook.json").read_text())
    (text,) = blocks("python", "verify_webhook")
    environment = fresh.environment(WEBHOOK_KEY=made["secret"], PORT=str(port), PYTHONUNBUFFERED="1")
    receiver = subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with fresh.client() as client:
            until = time.monotonic() + 15
            while not client.test_webhook(made["endpoint"]["id"]).ok:
                assert time.monotonic() < until
                time.sleep(0.1)
        fresh.control("POST", "/alerts")
        assert receiver.stdout is not None
        said = [receiver.stdout.readline() for _ in range(3)]
    finally:
        receiver.kill()
        receiver.communicate()
    assert said[0] == "told of webhook.test\n"
    assert {line.split(" BR-")[0].strip() for line in said[1:]} == {"told of alert.received", "stored"}


def test_the_live_stream_is_read_by_curl_and_python(fresh: Started, tmp_path: Path) -> None:
    arrived(fresh, 1)
    (curl,) = blocks("bash", "/v1/events")
    assert "event: alert.received" in shell(fresh, curl.replace("--max-time 3", "--max-time 1"), tmp_path)
    (text,) = blocks("python", "client.events")
    assert run(fresh, text, tmp_path).startswith("alert.received BR-")


def test_an_alert_is_sent_by_python_and_its_receipts_are_followed(fresh: Started, tmp_path: Path) -> None:
    (text,) = blocks("python", "client.send(")
    said = run(fresh, text, tmp_path)
    assert "Kent (sandbox)" in said
    assert len(said.splitlines()) > 3


def test_an_alert_is_sent_by_curl_once(fresh: Started, tmp_path: Path) -> None:
    (text,) = blocks("bash", "Idempotency-Key")
    first, again = (json.loads(shell(fresh, text, tmp_path)) for _ in range(2))
    assert (first["id"], again["repeated"]) == (again["id"], True)


def test_mesh_client_collects_and_sends(fresh: Started, tmp_path: Path) -> None:
    arrived(fresh, 2)
    (text,) = blocks("python", "mesh_client")
    said = run(fresh, text, tmp_path)
    assert (said.count("stored BR-"), said.splitlines()[-1] in {"accepted", "acknowledged"}) == (2, True)


def test_the_control_does_what_the_page_says(sandbox: Started, tmp_path: Path) -> None:
    (text,) = blocks("bash", "SANDBOX_CONTROL")
    said = [json.loads(line) for line in shell(sandbox, text, tmp_path).splitlines()]
    assert said[0]["faults"]["partner"] == "down"
    assert said[1]["faults"]["api"] == "slow"
    assert len(said[2]["sent"]) == 2
    assert set(said[3]["faults"].values()) == set(said[4]["faults"].values()) == {None}


CSHARP = "System.Net.Http", "System.Runtime.Serialization", "System.Xml.Linq", "System.Core"


def compiled(tmp_path: Path, *texts: str) -> Path:
    """A program of these C# files, where there is a compiler."""
    if not (shutil.which("mcs") and shutil.which("mono")):
        pytest.skip(
            "There is no C# compiler: apt-get install -y --no-install-recommends mono-mcs mono-runtime"
            " libmono-system-net-http4.0-cil libmono-system-web-extensions4.0-cil"
        )
    files = [tmp_path / f"{place}.cs" for place in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    made = tmp_path / "program.exe"
    done = subprocess.run(
        ["mcs", "-warnaserror", f"-out:{made}", *(f"-r:{each}" for each in CSHARP), *files],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


def test_csharp_collects_what_waits(fresh: Started, tmp_path: Path) -> None:
    (text,) = blocks("csharp", "/v1/inbox/lease")
    program = compiled(tmp_path, text.replace('""wait"": 25', '""wait"": 0'))
    arrived(fresh, 3)
    done = subprocess.run(
        ["mono", program], env=fresh.environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.count("stored ")) == (0, 3), done.stderr
    with fresh.client() as client:
        found = client.peek().items
        assert [each.state for each in found] == ["collected"] * 3
        for each in found:
            # As bytes of another writer of JSON, and the same alert.
            whole = client.received(each.id)
            assert json.loads((tmp_path / f"{each.id}.json").read_text()) == json.loads(bytes(whole.alert))


def test_csharp_tells_a_webhook_from_a_forged_one(tmp_path: Path) -> None:
    (text,) = blocks("csharp", "HMACSHA256")
    entry = """static class Entry { static void Main(string[] said) {
        System.Func<string, string> header = name => said[name == "webhook-id" ? 0 : name == "webhook-timestamp" ? 1 : 2];
        for (var place = 3; place < said.Length; place += 2)
            System.Console.WriteLine(Webhook.Verified(header, System.Text.Encoding.UTF8.GetBytes(said[place]), said[place + 1]));
    } }"""
    program = compiled(tmp_path, text, entry)
    secret, other, body = "whsec_" + "QUJD" * 8, "whsec_" + "QUJE" * 8, '{"type":"alert.received"}'
    for ago, outcomes in ((0, ["True", "False", "False"]), (400, ["False"] * 3)):
        at = datetime.now(UTC) - timedelta(seconds=ago)
        signature = Webhook(secret).sign("msg_1", at, body)
        said = ["msg_1", str(int(at.timestamp())), f"v1a,AAAA {signature}", body, secret, f"{body} ", secret, body, other]
        done = subprocess.run(["mono", program, *said], capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == outcomes, done.stderr


REQUESTS = [
    *(("powershell", *each) for each in re.findall(
        r'Invoke-(?:RestMethod|WebRequest -UseBasicParsing) -Method (\w+) -Uri "\$env:BRIDGE_URL(\S+?)" -Headers \$headers -ContentType "([^"]+)" -Body \'(.*?)\'',
        "".join(blocks("powershell")),
    )),
    *(("csharp", each[0], each[1], "application/json", each[2].replace('""', '"')) for each in re.findall(
        r'Ask\(HttpMethod\.(\w+), \$?"([^"]+)", @"(.*?)"\)', "".join(blocks("csharp"))
    )),
]  # fmt: skip


def test_every_request_of_the_other_languages_is_found() -> None:
    shown = len(re.findall(r"Invoke-\w+ [^|\n]*-Method", PAGE)) + PAGE.count("await Ask(HttpMethod.")
    assert len(REQUESTS) == shown == 5


@pytest.mark.parametrize("request_", REQUESTS, ids=[f"{each[0]} {each[2]}" for each in REQUESTS])
def test_a_request_shown_in_another_language_is_one_that_the_node_takes(
    sandbox: Started, request_: tuple[str, ...]
) -> None:
    _, method, path, kind, body = request_
    if "/ack" in path:
        arrived(sandbox, 1)
        with sandbox.client() as client:
            leased = {"lease": client.ask(asked.lease(1, 60, 0)).lease}
        path = re.sub(r"\$\(\$found\.lease\)|\{lease\}", str(leased["lease"]), path)
    headers = {"Authorization": f"Bearer {sandbox.facts['token']}", "Content-Type": kind}
    body = body.replace('"wait": 25', '"wait": 0')
    url = sandbox.facts["url"] + path
    wanted = urllib.request.Request(url, body.encode(), headers, method=method.upper())  # noqa: S310  our own address
    with urllib.request.urlopen(wanted, timeout=30) as answer:  # noqa: S310  as above
        assert answer.status in {200, 202}


# --- Killed anywhere, nothing lost ----------------------------------------------------------------------------


def test_a_consumer_killed_between_lease_store_and_acknowledgement_loses_nothing(
    fresh: Started, tmp_path: Path
) -> None:
    arrived(fresh, 20)
    file = tmp_path / "stored"
    file.touch()
    kills = consumer.killed_and_restarted(fresh.environment(), file, [*consumer.POINTS, 0.5])
    with fresh.client() as client:
        found = consumer.ended(client, file, kills)
    assert found.kills >= len(consumer.POINTS)
    assert (found.lost, len(found.collected)) == ([], 20)


# --- The sandbox -----------------------------------------------------------------------------------------------


def test_it_starts_within_seconds_and_ends_at_once_leaving_nothing(tmp_path: Path) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(tmp_path)
    try:
        started = Started("--fault", "api=refuses")
        try:
            given = (started.facts["url"], started.facts["token"])
            with (
                Bridge(*given, patience=Patience(tries=1)) as client,
                pytest.raises(Problem, match="told to refuse"),
            ):
                client.whoami()
        finally:
            status, said = started.end()
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
    assert (status, said, list(tmp_path.iterdir())) == (0, "", [])
    # Of the processor's time, since others may be at work on the machine that tests.
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 5


def test_a_partner_that_is_down_gets_the_alert_when_it_is_back(fresh: Started) -> None:
    fresh.control("PUT", "/faults/partner", {"fault": "down"})
    alert = {"v": 1, "subjects": [{"names": [{"text": "Sam Example"}]}], "home": {"district": "E07000116"}, "event": {"kinds": ["criminal_exploitation"], "narrative": "Seen."}}  # fmt: skip
    with fresh.client() as client:
        sent = client.send({**alert, "recipients": [{"function": "MASH", "area": "home"}]})
        assert client.sent(sent.id).recipients[0].status == "queued"
        fresh.control("DELETE", "/faults")
        said = [each.status for each in client.follow(sent.id, every=0.2, seconds=20)]
    assert {"received", "opened"} <= set(said)


def test_a_partner_that_refuses_does_so_signed(fresh: Started) -> None:
    fresh.control("PUT", "/faults/partner", {"fault": "refuses"})
    alert = {"v": 1, "subjects": [{"names": [{"text": "Sam Example"}]}], "home": {"district": "E07000116"}, "event": {"kinds": ["criminal_exploitation"], "narrative": "Seen."}}  # fmt: skip
    with fresh.client() as client:
        sent = client.send({**alert, "recipients": [{"function": "MASH", "area": "home"}]})
        moments = list(client.follow(sent.id, every=0.1, seconds=15))
    assert [(each.status, each.code, each.signed) for each in moments if each.status == "refused"] == [
        ("refused", "no-agreement", True)
    ]


@pytest.mark.parametrize("fault", ["garbles", "down", "refuses"])
def test_what_the_line_does_to_an_answer_does_not_send_an_alert_twice(sandbox: Started, fault: str) -> None:
    alert = {"v": 1, "subjects": [{"names": [{"text": "Sam Example"}]}], "home": {"district": "E07000116"}, "event": {"kinds": ["criminal_exploitation"], "narrative": "Seen."}}  # fmt: skip
    with sandbox.client() as client:
        before = len(list(client.sent_alerts()))
    sandbox.control("PUT", "/faults/api", {"fault": fault})
    pauses = []

    def mended(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            sandbox.control("DELETE", "/faults")

    with sandbox.client(sleep=mended) as client:
        client.send(alert)
        assert len(list(client.sent_alerts())) == before + 1
    assert len(pauses) >= 2


def test_a_slow_one_is_slow_and_one_that_stays_away_is_said_to_be(fresh: Started) -> None:
    fresh.control("PUT", "/faults/api", {"fault": "slow", "seconds": 0.4})
    began = time.monotonic()
    with fresh.client() as client:
        client.whoami()
    assert time.monotonic() - began > 0.4
    fresh.control("PUT", "/faults/api", {"fault": "down"})
    with fresh.client() as client, pytest.raises(Unreachable):
        client.whoami()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [("PUT", "/faults/moon", {"fault": "down"}, 404), ("PUT", "/faults/api", {"fault": "x"}, 422), ("POST", "/alerts?count=0", None, 422), ("PUT", "/faults/api", {"down": 1}, 400)],
)  # fmt: skip
def test_a_wrong_word_to_the_control_is_refused_in_our_form(
    sandbox: Started, method: str, path: str, body: Any, status: int
) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        sandbox.control(method, path, body)
    with raised.value as answer:
        assert (answer.code, answer.headers["Content-Type"]) == (status, "application/problem+json")


def test_a_reset_brings_everything_back_under_the_same_token(fresh: Started) -> None:
    arrived(fresh, 2)
    fresh.control("POST", "/reset")
    with fresh.client() as client:
        assert client.peek().items == ()
        assert client.whoami().node == "sandbox-luton"
