"""The scenario files say what the code does: each alert decodes, passes, resolves, routes and is redacted as expected."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import alerts, areas, receipts, routing, vocabulary, wire
from bridge.alerts import Alert
from bridge.errors import CODES

SCENARIOS = Path(__file__).parent.parent / "configs" / "scenarios"
FILES = sorted(SCENARIOS.glob("[0-9][0-9]-*.json"))
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
STEPS = {"open": "opened", "take": "taken", "ack": "collected", "close": "closed", "not-ours": "not_ours"}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    sender: dict[str, str]
    alert: msgspec.Raw
    expect: dict[str, Any]

    @property
    def body(self) -> bytes:
        return bytes(self.alert)

    @property
    def read(self) -> Alert:
        return wire.decode_json(self.body, Alert, limit=64 * 1024, what="alert")

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.expect["sent"]) if "sent" in self.expect else NOW


def load(path: Path) -> Scenario:
    return msgspec.json.decode(path.read_bytes(), type=Scenario)


def nodes() -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in tomllib.loads((SCENARIOS / "nodes.toml").read_text("utf-8"))["node"]}


def coverages() -> list[routing.Coverage]:
    return [
        routing.Coverage(
            node=node["id"], name=node["name"], area=area, function=function,
            valid_from=node.get("valid_from"), valid_to=node.get("valid_to"), exercise=node.get("exercise", False),
        )
        for node in nodes().values() for area in node["areas"] for function in node["functions"]
    ]  # fmt: skip


def legs(scenario: Scenario, on: date) -> list[tuple[str, str, str | None, str]]:
    alert = scenario.read
    where = {
        "home": scenario.expect["home"]["code"],
        "place": alert.event.place and alert.event.place.district,
    }
    needs = [
        routing.Need(want.function, where.get(want.area, want.area), want.why)
        for want in alerts.audience(alert, scenario.now)
    ]
    routed = routing.route(
        needs,
        areas.shipped(),
        coverages(),
        on,
        own_area=scenario.sender["area"],
        exercise=alert.status == "exercise",
    )
    return [(leg.function, leg.area, leg.node, leg.step) for leg in routed]


def expected(rows: list[dict[str, Any]]) -> list[tuple[str, str, str | None, str]]:
    return [(row["function"], row["area"], row["node"], row["step"]) for row in rows]


each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_every_sending_scenario_has_a_file() -> None:
    assert {int(path.name[:2]) for path in FILES} == {*range(1, 15), 16, 18, 20}


@each_file
def test_the_alert_decodes_passes_the_rules_for_entry_and_uses_known_codes(path: Path) -> None:
    scenario = load(path)
    alert = scenario.read
    alerts.check(alert, scenario.now)
    cautions = [caution.pointer for caution in alerts.warnings(alert)]
    assert cautions == (["/legal/gateways"] if alert.status == "exercise" else [])


@each_file
def test_every_field_of_the_alert_is_one_that_we_know(path: Path) -> None:
    # Unknown fields are tolerated, so a misspelt one would pass in silence.
    def strangers(given: Any, read: Any, pointer: str = "") -> Iterator[str]:
        if isinstance(given, list):
            for index, (one, other) in enumerate(zip(given, read, strict=True)):
                yield from strangers(one, other, f"{pointer}/{index}")
        elif isinstance(given, dict):
            fields = dict(zip(read.__struct_encode_fields__, read.__struct_fields__, strict=True))
            for key, value in given.items():
                if key not in fields:
                    yield f"{pointer}/{key}"
                else:
                    yield from strangers(value, getattr(read, fields[key]), f"{pointer}/{key}")

    scenario = load(path)
    assert list(strangers(msgspec.json.decode(scenario.body), scenario.read)) == []


@each_file
def test_every_area_of_a_scenario_exists(path: Path) -> None:
    scenario, known = load(path), areas.shipped()
    alert = scenario.read
    place = alert.event.place or alerts.Place()
    codes = [
        scenario.sender["area"],
        scenario.expect["home"]["code"],
        alert.home.district,
        place.district,
        place.pfa,
    ]
    codes += [row["area"] for row in (*scenario.expect["recipients"], *scenario.expect.get("then", ()))]
    assert [code for code in codes if code is not None and known.area(code) is None] == []


def test_every_area_and_function_of_a_node_exists() -> None:
    for node in nodes().values():
        assert all(areas.shipped().area(code) for code in node["areas"]), node["id"]
        assert all(code in vocabulary.FUNCTION for code in (node["agency"], *node["functions"])), node["id"]


@each_file
def test_the_sender_is_a_node_of_its_agency_and_area(path: Path) -> None:
    scenario = load(path)
    node = nodes()[scenario.sender["node"]]
    assert scenario.sender["agency_code"] == node["agency"]
    assert scenario.sender["area"] in node["areas"]
    assert vocabulary.function(scenario.read.reporter.agency_code or "") == node["agency"]


@each_file
def test_what_the_worker_typed_resolves_as_expected(path: Path) -> None:
    scenario = load(path)
    home, says = scenario.read.home, scenario.expect["home"]
    resolution = areas.shipped().resolve(home.raw_text or "", scenario.now.date())
    if home.not_known:
        assert says == {"code": None, "certain": False}
    elif home.district:
        assert (home.district, home.method) == (says["code"], says["method"])
        assert resolution.certain is None, "the answer was not needed"
    else:
        assert says["certain"] is True
        assert resolution.certain is not None
        assert (resolution.certain.area.code, resolution.method) == (says["code"], says["method"])


def test_without_the_workers_answer_da1_is_a_question_with_two_candidates() -> None:
    scenario = load(SCENARIOS / "13-postcode-da1.json")
    assert scenario.expect["ambiguous"] is True
    assert "ambiguous-area" in CODES
    resolution = areas.shipped().resolve(scenario.read.home.raw_text or "", NOW.date())
    assert [
        {"area": candidate.area.code, "permille": candidate.permille} for candidate in resolution.candidates
    ] == scenario.expect["candidates"]


@each_file
def test_the_alert_goes_to_the_recipients_that_the_scenario_names_in_order(path: Path) -> None:
    scenario = load(path)
    assert legs(scenario, scenario.now.date()) == expected(scenario.expect["recipients"])


def test_after_the_hand_over_the_same_alert_goes_to_the_successor() -> None:
    scenario = load(SCENARIOS / "14-handover-west-surrey.json")
    read = datetime.fromisoformat(scenario.expect["read"]).date()
    assert legs(scenario, read) == expected(scenario.expect["then"])


def test_an_exercise_meets_no_live_node_and_nothing_live_meets_an_exercise_node() -> None:
    training = {node["id"] for node in nodes().values() if node.get("exercise")}
    for path in FILES:
        scenario = load(path)
        reached = {row["node"] for row in scenario.expect["recipients"]} | {scenario.sender["node"]}
        assert reached <= training if scenario.read.status == "exercise" else not reached & training, (
            path.name
        )
    live = load(SCENARIOS / "18-exercise-dorset.json").expect["live"]
    assert live["node"] in nodes()
    assert live["code"] in CODES


@each_file
def test_each_copy_withholds_what_the_scenario_says_and_nothing_else(path: Path) -> None:
    scenario = load(path)
    for row in scenario.expect["recipients"]:
        copy, withheld = alerts.redact(scenario.body, row["function"])
        assert withheld == row.get("withheld", [])
        assert (copy == scenario.body) is (not withheld)


@each_file
def test_the_law_notices_are_those_that_the_scenario_expects(path: Path) -> None:
    scenario = load(path)
    found = alerts.notices(scenario.read, scenario.sender["area"], scenario.expect["home"]["code"])
    assert [notice.code for notice in found] == scenario.expect["notices"]


@each_file
def test_what_each_recipient_does_gives_the_receipts_expected_of_it(path: Path) -> None:
    expect = load(path).expect
    rows = {row["node"]: row for row in (*expect["recipients"], *expect.get("then", ()))}
    did = {each["node"]: each["do"] for each in expect["action"]}
    assert set(did) <= set(rows)
    for node, row in rows.items():
        assert row["receipts"] == ["received", *(STEPS[step.partition(":")[0]] for step in did.get(node, ()))]
        state = receipts.Status.QUEUED
        for status in row["receipts"]:
            assert state in receipts.STATUSES[receipts.Status(status)].after
            state = receipts.advance(state, status)
    outcomes = [
        step.partition(":")[2] for steps in did.values() for step in steps if step.startswith("close:")
    ]
    assert all(outcome in vocabulary.OUTCOME for outcome in outcomes)
    assert expect.get("outcome") == (outcomes[0] if outcomes else None)


@each_file
def test_free_text_names_no_worker_and_every_narrative_is_written_out(path: Path) -> None:
    alert = load(path).read
    assert len(alert.event.narrative or "") > 120
    assert not hasattr(alert.reporter, "name")
