"""Mapping profiles: strict in what they take, and nothing that passes through them is lost without a word.

`BRIDGE_GOLDEN=write pytest tests/test_mapping.py` writes the golden files anew.
"""

import csv
import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_canary import full
from test_formats import COPIES, HOSTILE, alert_of, copy_of

from bridge.errors import BridgeError, Malformed, Misconfigured, Rejected
from bridge.formats import FORMATS, Copy
from bridge.mapping import inward, outward, times
from bridge.mapping.profile import BINDING, Profile, read
from bridge.mapping.shelf import Shelf

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "configs" / "profiles"
GOLDEN = Path(__file__).parent / "golden"


def shipped(name: str) -> Profile:
    return read((PROFILES / f"{name}.toml").read_text(), name)


OUT = shipped("northborough-children")
IN = shipped("castlehill-housing")
LEAST_OUT = 'profile = "least"\ntitle = "Least"\ndirection = "out"\nrest = "Rest"\n[[field]]\nto = "Ref"\nfrom = "reference"\n'
LEAST_IN = (
    'profile = "least"\ntitle = "Least"\ndirection = "in"\n[[field]]\nto = "event.narrative"\nfrom = "What"\n'
)


def golden(name: str, made: bytes) -> bytes:
    path = GOLDEN / name
    if os.environ.get("BRIDGE_GOLDEN") == "write":
        path.write_bytes(made)
    return path.read_bytes()


# --- What a profile may say ------------------------------------------------------------------------------------


def test_the_worked_profiles_are_in_order() -> None:
    assert sorted(each.stem for each in PROFILES.glob("*.toml")) == [
        "castlehill-housing",
        "northborough-children",
    ]
    assert (OUT.direction, IN.direction) == ("out", "in")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (LEAST_OUT + 'colour = "red"\n', "field[0].colour"),
        ('colour = 1\n' + LEAST_OUT, "colour"),
        (LEAST_OUT.replace('to = "Ref"', "to = 3"), "field"),
        (LEAST_OUT.replace('direction = "out"', 'direction = "sideways"'), "direction"),
        (LEAST_OUT.replace('title = "Least"\n', ""), "title"),
        (LEAST_OUT.replace('profile = "least"', 'profile = "Not A Name"'), "profile"),
        (LEAST_OUT + 'codes = "none"\n', "field[0].codes"),
        (LEAST_OUT + 'otherwise = "keep"\n', "field[0].otherwise"),
        (LEAST_OUT + 'date = "%Q"\n', "field[0].date"),
        (LEAST_OUT + 'date = "no date"\n', "field[0].date"),
        (LEAST_OUT + 'split = ";"\n', "field[0].split"),
        (LEAST_OUT + 'value = "both"\n', "field[0]"),
        (LEAST_OUT + '[[field]]\nto = "Ref"\nfrom = "id"\n', "field[1].to"),
        (LEAST_OUT + '[[field]]\nto = "X"\nfrom = "a..b"\n', "field[1].from"),
        (LEAST_OUT.replace('rest = "Rest"', 'rest = "Ref"'), "rest"),
        (LEAST_OUT.replace('rest = "Rest"', 'leave_out = ["retain_until"]'), "leave_out"),
        (LEAST_OUT.replace('rest = "Rest"', 'leave_out = ["handling"]'), "leave_out"),
        (LEAST_OUT.replace('rest = "Rest"', 'key = "x"'), "key"),
        (LEAST_IN.replace("[[field]]", 'rest = "x"\n[[field]]', 1), "rest"),
        (LEAST_IN + 'part = "given"\n', "field[0]"),
        (LEAST_IN.replace("event.narrative", "Event Narrative"), "field[0].to"),
        (LEAST_IN.replace("event.narrative", "event.narative"), "field[0].to"),
        (LEAST_IN.replace("event.narrative", "event"), "field[0].to"),
        (LEAST_IN.replace("event.narrative", "subjects"), "field[0].to"),
        (LEAST_IN.replace("event.narrative", "subjects.names.0.text"), "field[0].to"),
        (LEAST_IN + '[[field]]\nto = "event.kinds"\nfrom = "K"\n[[field]]\nto = "event.kinds.0"\nfrom = "L"\n', "field[1].to"),
        ("profile = \n", "line 1"),
        ("[[[", "line 1"),
    ],
    ids=lambda each: each[-30:] if "\n" in each else each,
)  # fmt: skip
def test_a_mistake_in_a_profile_is_named_with_its_place(text: str, path: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        read(text)
    assert path in wrong.value.sentence


def test_a_profile_is_called_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(LEAST_OUT)
    (tmp_path / "least.toml").write_text(LEAST_OUT)
    shelf = Shelf(tmp_path)
    assert [(each.name, bool(each.fault)) for each in shelf.every()] == [("least", False), ("other", True)]
    assert shelf.get("least", "out").title == "Least"
    for name, code in (
        ("other", "usage"),
        ("none", "not-found"),
        ("../least", "not-found"),
        ("", "not-found"),
    ):
        with pytest.raises(Rejected) as refused:
            shelf.get(name, "out")
        assert refused.value.code == code
    with pytest.raises(Rejected):
        shelf.get("least", "in")


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_whatever_a_file_holds_it_is_a_profile_or_a_mistake(text: str) -> None:
    with pytest.raises(Misconfigured):
        read(text)


# --- Outward ---------------------------------------------------------------------------------------------------


def test_the_worked_outward_profile_gives_its_golden_file() -> None:
    table = outward.records(OUT, [outward.mapped(OUT, each) for each in COPIES])
    form = FORMATS[OUT.format].table
    assert form is not None
    made = form(table)
    assert made == golden("northborough-children.csv", made)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inside in value.values() for leaf in leaves(inside)]
    if isinstance(value, list):
        return [leaf for inside in value for leaf in leaves(inside)]
    return [] if value in (None, "") else [str(value).lower() if isinstance(value, bool) else str(value)]


@pytest.mark.parametrize("number", ["01", "02", "03", "04", "05", "09", "12", "16", "hostile"])
def test_every_leaf_of_an_alert_is_in_the_row_or_in_the_account(number: str) -> None:
    alert = (
        full(HOSTILE)
        if number == "hostile"
        else json.loads(next((ROOT / "configs" / "scenarios").glob(f"{number}-*.json")).read_text())["alert"]
    )
    text = LEAST_OUT.replace('rest = "Rest"', 'rest = "Rest"\nleave_out = ["provenance"]')
    copy = copy_of(alert)
    made = outward.mapped(read(text), copy)
    said = "\n".join(cell for row in made.rows for cell in row)
    missing = [
        leaf
        for name, value in alert.items()
        if name != "provenance"
        for leaf in leaves(value)
        if leaf not in said
    ]
    assert missing == []
    assert copy.reference in said
    assert "2027-10-21" in said
    dropped = [note for note in made.notes if note.how == "left out"]
    assert len(dropped) == len(leaves(alert.get("provenance", {})))


def test_without_a_place_for_everything_else_such_an_alert_is_in_the_way() -> None:
    made = outward.mapped(read(LEAST_OUT.replace('rest = "Rest"\n', "")), COPIES[0])
    assert {note.pointer for note in made.problems} >= {
        "/event/narrative",
        "/handling/marking",
        "/retain_until",
        "/subjects/0/names/0/text",
    }
    assert "Maureen" not in repr(made.problems)


def test_names_of_fields_that_a_newer_sender_made_up_are_not_repeated_in_the_account() -> None:
    copy = copy_of({**alert_of("01"), "Zoë Secretname": {"Zoë": "x"}})
    made = outward.mapped(read(LEAST_OUT.replace('rest = "Rest"\n', "")), copy)
    assert "/*/*" in {note.pointer for note in made.problems}
    assert "Zoë" not in "".join(f"{note.pointer} {note.sentence}" for note in made.notes)


def test_what_binds_the_reader_is_in_every_row() -> None:
    made = outward.mapped(read(LEAST_OUT), COPIES[0])
    assert len(made.rows) == 3
    for row in made.rows:
        rest = row[1]
        assert "handling marking: OFFICIAL-SENSITIVE" in rest
        assert "retain until: 2027-10-21" in rest
        assert "S2" in rest
    assert all(path.split(".")[0] in outward.BOUND for path in BINDING)


def field(text: str) -> tuple[outward.Mapped, str]:
    made = outward.mapped(read(LEAST_OUT + "[[field]]\nto = 'X'\n" + text), COPIES[0])
    return made, made.rows[0][1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from = 'person.name'", "Maureen Tillotson-Hale"),
        ("from = 'person.name'\npart = 'given'", "Maureen"),
        ("from = 'person.name'\npart = 'family'", "Tillotson-Hale"),
        ("from = 'person.roles'\njoin = ' + '", "householder_cuckooed + at_risk"),
        ("from = 'person.roles'\npick = 'first'", "householder_cuckooed"),
        ("from = 'person.names[kind=known].text'", "Maureen Tillotson-Hale"),
        ("from = 'person.names[kind=street].text'", ""),
        ("from = 'objects[kind=vehicle].value'", "ZZ19 QKT"),
        ("from = ['person.sex', 'person.birth_year']\njoin = '/'", "female/1968"),
        ("from = 'event.observed_from'\ndate = '%d %b %y, %H.%M'", "21 Oct 26, 16.00"),
        ("from = 'retain_until'\ndate = '%d/%m/%Y'", "21/10/2027"),
        ("from = 'handling.conditions.code'", "S2"),
        ("from = 'reporter.identity_protected'", "true"),
        ("from = 'home.name'", "Lambeth"),
        ("from = 'typed_home.raw_text'", "Lambeth"),
        ("value = 'fixed'", "fixed"),
        ("from = 'nothing.of.the.kind'", ""),
    ],
    ids=lambda each: each[:60],
)  # fmt: skip
def test_a_field_takes_what_it_names(text: str, expected: str) -> None:
    made, value = field(text)
    assert value == expected
    assert made.problems == ()


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("from = 'person.sex'\ncodes = 't'\n[codes.t]\nmale = 'M'", "problem"),
        ("from = 'person.sex'\ncodes = 't'\notherwise = 'keep'\n[codes.t]\nmale = 'M'", "kept"),
        ("from = 'person.sex'\ncodes = 't'\notherwise = 'U'\n[codes.t]\nmale = 'M'", "replaced"),
        ("from = 'event.narrative'\nmax = 20", "shortened"),
        ("from = 'event.narrative'\ndate = '%d'", "problem"),
        ("from = 'retain_until'\ndate = '%H:%M'", "problem"),
        ("from = 'person.dob'\nrequired = true", "problem"),
    ],
    ids=["refused code", "kept code", "replaced code", "too long", "no date", "no time of day", "required"],
)
def test_what_does_not_fit_is_said_and_nothing_of_it_is_lost(text: str, how: str) -> None:
    made, value = field(text)
    side = next(each for each in made.sides[0] if each.to == "X")
    assert side.how == how
    assert bool(made.problems) == (how == "problem")
    if how in {"replaced", "shortened"}:
        assert side.ours in made.rows[0][-1]
    if how == "shortened":
        assert len(value) == 20


def test_a_name_of_which_only_a_part_is_taken_goes_whole_into_the_rest() -> None:
    made, _ = field("from = 'person.name'\npart = 'family'")
    assert "Maureen Tillotson-Hale" in made.rows[0][-1]


@pytest.mark.parametrize(
    ("name", "given", "family"),
    [
        ("Maureen Tillotson-Hale", "Maureen", "Tillotson-Hale"), ("Jay", "", "Jay"), ("Juan de la Cruz", "Juan", "de la Cruz"),
        ("Mary Anne O'Brien", "Mary Anne", "O'Brien"), ("van Dyke", "van", "Dyke"), ("", "", ""), ("Omar bin Said", "Omar", "bin Said"),
    ],
)  # fmt: skip
def test_a_name_is_divided_as_most_systems_do(name: str, given: str, family: str) -> None:
    assert outward.split_name(name) == (given, family)


def test_a_row_an_alert_holds_all_its_persons() -> None:
    made = outward.mapped(
        read(
            LEAST_OUT.replace('rest = "Rest"', 'rest = "Rest"\nrows = "alert"')
            + "[[field]]\nto = 'X'\nfrom = 'subjects.names.text'\njoin = '|'\n"
        ),
        COPIES[0],
    )
    assert [row[1] for row in made.rows] == ["Maureen Tillotson-Hale|Jay|Mitch"]


def test_an_alert_without_persons_is_one_row() -> None:
    assert len(outward.mapped(OUT, COPIES[2]).rows) == 1


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 12, 30)))  # noqa: DTZ001  zones are added below
def test_times_of_the_united_kingdom_are_those_of_the_tables(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC, microsecond=0)
    london = ZoneInfo("Europe/London")
    form = "%d/%m/%Y %H:%M:%S"
    told = times.shown(f"{at:%Y-%m-%dT%H:%M:%SZ}", form, "uk")
    assert told == f"{at.astimezone(london):{form}}"
    assert told is not None
    back = times.read(told, form, "uk")
    expected = naive.replace(microsecond=0, tzinfo=None)
    # In the hour that there is twice, the later one is taken.
    assert back in {f"{expected:%Y-%m-%dT%H:%M:%SZ}", f"{expected + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}


# --- Inward ----------------------------------------------------------------------------------------------------


def records() -> list[tuple[int, dict[str, str]]]:
    return list(inward.from_csv((GOLDEN / "incidents.csv").read_bytes()))


def test_the_worked_inward_profile_gives_its_golden_alerts() -> None:
    made = b"".join(inward.made(IN, record).alert + b"\n" for _, record in records())
    assert made == golden("castlehill-housing.ndjson", made)


def test_a_record_is_known_by_its_key() -> None:
    assert [inward.made(IN, record).key for _, record in records()] == ["CH-1001", "CH-1002", "CH-1003"]


def test_a_constant_stands_only_where_a_record_filled_something() -> None:
    first, second, _ = (json.loads(inward.made(IN, record).alert) for _, record in records())
    assert first["objects"] == [{"kind": "vehicle", "value": "ZZ19 QKT"}]
    assert "objects" not in second
    assert second["reporter"]["agency_code"] == "HOUSING"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"Risk": "Purple Secretword"}, "/Risk"),
        ({"Risk": ""}, "/Risk"),
        ({"Date of birth": "2010-03-04 Secretword"}, "/Date of birth"),
        ({"Seen on": "yesterday Secretword"}, "/Seen on"),
        ({"What happened": "Secretword" * 500}, "/What happened"),
        ({"Secretword column": "x"}, ""),
        ({"First name": "Secretword" * 60}, "/First name"),
        ({"Category": "Cuckooing; Secretword"}, "/Category"),
    ],
    ids=["code", "required", "date", "time", "too long", "column", "bounds", "one of several codes"],
)
def test_a_bad_record_is_refused_by_its_column_and_never_quoted(change: dict[str, str], pointer: str) -> None:
    record = {**records()[0][1], **change}
    with pytest.raises(Rejected) as refused:
        inward.made(IN, record)
    assert refused.value.code == "unmapped"
    assert [each["pointer"] for each in refused.value.facts["errors"]] == [pointer]
    assert "Secretword" not in f"{refused.value} {refused.value.facts}"


def test_every_fault_of_a_record_is_said_at_once() -> None:
    with pytest.raises(Rejected) as refused:
        inward.made(IN, {**records()[0][1], "Risk": "?", "Seen on": "?", "Home town or postcode": " "})
    assert len(refused.value.facts["errors"]) == 3


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"\xff\xfe", b'a,b\n"open', b"a,a\n1,2\n", b",\n1,2\n", b"x" * 10 + b"," * 400],
    ids=["empty", "blank", "not UTF-8", "open quote", "twice", "no names", "too many columns"],
)
def test_what_is_no_csv_is_refused_without_a_word_of_it(data: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        list(inward.from_csv(data))
    assert "open" not in str(refused.value).replace("not closed", "")


def test_a_csv_of_a_spreadsheet_is_read_whatever_its_separator_and_mark() -> None:
    for separator in (",", ";", "\t"):
        data = f"\ufeffA{separator}B\r\n1{separator}'=2\r\n\r\n3\r\n".encode()
        assert list(inward.from_csv(data)) == [(1, {"A": "1", "B": "=2"}), (2, {})]


def test_our_own_csv_can_be_read_back() -> None:
    made = FORMATS["csv"].render(COPIES)
    (_, first), *_ = inward.from_csv(made)
    assert first["narrative"] == COPIES[0].said.event.narrative
    assert next(iter(csv.DictReader(io.StringIO(made.decode(), newline="")))).keys() == first.keys()


def test_a_json_record_is_flat_by_dots() -> None:
    found = inward.from_json(b'{"a":{"b":1,"c":[true,"x"]},"d":null,"e":[{"f":"g"}]}')
    assert found == {"a.b": "1", "a.c": "true;x", "e.0.f": "g"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=20))  # fmt: skip
@settings(max_examples=100)
def test_whatever_a_system_sends_becomes_an_alert_or_an_error_of_ours(value: Any) -> None:
    try:
        inward.made(IN, inward.from_json(json.dumps(value).encode()))
    except BridgeError as error:
        assert error.code in {"malformed", "unmapped"}


def test_personal_structs_show_nothing_of_what_they_hold() -> None:
    made = outward.mapped(OUT, COPIES[0])
    told = repr((COPIES[0], made, made.sides, made.notes, inward.made(IN, records()[0][1])))
    assert "Tillotson" not in told
    assert "Okafor" not in told
    assert isinstance(COPIES[0], Copy)
