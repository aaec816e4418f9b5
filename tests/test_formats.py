"""The formats in which alerts leave a node: each against a golden file, under hostile text, and with what binds the reader.

`BRIDGE_GOLDEN=write pytest tests/test_formats.py` writes the golden files anew; the diff is the change of the formats.
"""

# ruff: noqa: S314  # the XML that is read here was made here

import asyncio
import csv
import datetime as dt
import io
import json
import os
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from test_canary import full

from bridge import formats, vocabulary
from bridge.alerts import Alert, CarriedHome, CarriedRetention, CarriedStep, Desk, Sender, reference
from bridge.api.exports import Form
from bridge.errors import Rejected
from bridge.formats import FORMATS, Copy, csv_, handling_of, html_, sar, stix
from bridge.formats.form import Records
from bridge.formats.people import COLUMNS
from bridge.nodes.export import apart

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"
UNTIL = dt.date(2027, 10, 21)
HOSTILE = "=cmd|' /C'!A0<script>alert(1)</script>]]>&amp;\"'\ufffe\U0001f9ff\r\n\t{{7}}"


def alert_of(scenario: str) -> dict[str, Any]:
    (path,) = (ROOT / "configs" / "scenarios").glob(f"{scenario}-*.json")
    found: dict[str, Any] = json.loads(path.read_text())["alert"]
    return found


def copy_of(alert: dict[str, Any], *, number: int = 1, **more: Any) -> Copy:
    raw = msgspec.json.encode(alert)
    said = msgspec.json.decode(raw, type=Alert)
    alert_id = f"{number:08x}-0000-7000-8000-00000000c0de"
    created = dt.datetime(2026, 10, 22, 9, 14, 5, tzinfo=dt.UTC)
    facts: dict[str, Any] = {
        "reference": reference(alert_id), "id": alert_id, "retain_until": UNTIL, "handling": handling_of(said),
        "origin": Sender("hastings-housing", "Castle Hill Homes", "HOUSING", Desk("Duty desk", "01424 000000", "Mon-Fri 9-5")),
        "sender": "Castle Hill Homes", "partner": "hastings-housing", "received": created + dt.timedelta(seconds=2),
        "created": created, "state": "received", "state_at": created, "status": said.status, "priority": said.priority,
        "kinds": said.event.kinds, "sar_codes": sar.codes(said),
        "home": CarriedHome(code="E09000022", level="district", name="Lambeth", force="E23000001", method="name", share=1.0),
        "route": (CarriedStep("lambeth-mash", "Lambeth MASH", "MASH", "E09000022"),),
        "retention": CarriedRetention("UNADOPTED", UNTIL), "kept_until": dt.datetime(2027, 10, 22, tzinfo=dt.UTC),
        "alert": msgspec.Raw(raw),
    }  # fmt: skip
    return Copy(**{**facts, **more})


COPIES = (
    copy_of(alert_of("03"), withheld=("/objects/5",)),
    copy_of({**alert_of("01"), "from_a_newer_sender": {"note": "kept"}}, number=2, corrects="an-earlier-one"),
    copy_of({**alert_of("09"), "subjects": []}, number=3, withdrawn=True),
)
NAMES = {
    "json": "json",
    "ndjson": "ndjson",
    "csv": "csv",
    "xlsx": "xlsx.json",
    "stix": "stix.json",
    "cap": "cap.xml",
    "html": "html",
}


def given(form: str) -> tuple[Copy, ...]:
    return COPIES if FORMATS[form].many else COPIES[:1]


def sheets(content: bytes) -> dict[str, list[list[str]]]:
    """The cells of a workbook, read without a library: names of sheets to rows."""
    space = {"s": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert book.testzip() is None
        texts = [
            "".join(each.itertext())
            for each in ET.fromstring(book.read("xl/sharedStrings.xml")).findall("s:si", space)
        ]
        titles = [
            each.get("name", "")
            for each in ET.fromstring(book.read("xl/workbook.xml")).findall(".//s:sheet", space)
        ]
        found = {}
        for number, title in enumerate(titles, 1):
            sheet = ET.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
            assert sheet.findall(".//s:f", space) == []  # a formula
            assert sheet.findall(".//s:hyperlink", space) == []
            found[title] = [
                [
                    texts[int(cell.findtext("s:v", namespaces=space) or 0)]
                    for cell in row.findall("s:c", space)
                    if cell.get("t") == "s"
                ]
                for row in sheet.findall(".//s:row", space)
            ]
        return found


def as_text(form: str, content: bytes) -> str:
    """A file as the golden holds it; a workbook by its cells, since its packing is the library's."""
    return (
        json.dumps(sheets(content), indent=1, ensure_ascii=False) + "\n"
        if form == "xlsx"
        else content.decode()
    )


def test_the_contract_names_every_format() -> None:
    assert get_args(Form) == tuple(FORMATS)


def test_every_format_has_a_golden_file_or_is_made_from_one_that_has() -> None:
    assert set(NAMES) == {each.name for each in FORMATS.values() if not each.apart}
    assert all(FORMATS["pdf"].render is each for each in (html_.render,))


@pytest.mark.parametrize("form", NAMES)
def test_a_format_is_what_its_golden_file_says(form: str) -> None:
    made = as_text(form, FORMATS[form].render(given(form)))
    path = GOLDEN / f"alerts.{NAMES[form]}"
    if os.environ.get("BRIDGE_GOLDEN") == "write":
        path.write_text(made, newline="")
    with path.open(newline="") as file:
        assert made == file.read()


@pytest.mark.parametrize("form", NAMES)
def test_the_same_copies_give_the_same_bytes(form: str) -> None:
    assert FORMATS[form].render(given(form)) == FORMATS[form].render(given(form))


@pytest.mark.parametrize("form", NAMES)
def test_every_form_carries_what_binds_whoever_has_it(form: str) -> None:
    told = as_text(form, FORMATS[form].render(COPIES[:1]))
    assert COPIES[0].reference in told
    assert "2027-10-21" in told or "21 October 2027" in told
    assert "OFFICIAL-SENSITIVE" in told
    assert "S2" in told
    assert "Consult the originator" in told
    assert "ask us before it is used in any other way" in told
    assert "/objects/5" in told


# Hostile text: the whole alert, every field that takes text


@pytest.fixture(scope="module")
def hostile() -> Copy:
    return copy_of(full(HOSTILE))


def test_no_cell_of_a_csv_is_a_formula_and_rows_stay_rows(hostile: Copy) -> None:
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render([hostile]).decode(), newline="")))
    assert [len(row) for row in rows] == [len(COLUMNS)] * (1 + len(hostile.said.subjects))
    for row in rows:
        assert not any(cell.startswith(csv_.RUN_BY_SPREADSHEETS) for cell in row)
    assert sum(HOSTILE in cell for cell in rows[1]) > 15


def test_a_workbook_holds_text_alone(hostile: Copy) -> None:
    cells = [
        cell for rows in sheets(FORMATS["xlsx"].render([hostile])).values() for row in rows for cell in row
    ]
    # Two characters of the text cannot stand in XML; the library keeps them under names, which readers undo.
    assert sum(cell.startswith("=cmd|' /C'!A0<script>") for cell in cells) > 10


def test_a_text_that_no_cell_holds_is_refused_and_not_cut() -> None:
    with pytest.raises(Rejected) as refused:
        FORMATS["xlsx"].table(Records(("a",), (("x" * 32_768,),)))  # type: ignore[misc]  # it has one
    assert refused.value.code == "too-large"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def tags_of(page: bytes) -> Tags:
    tags = Tags()
    tags.feed(page.decode())
    return tags


def test_a_page_has_no_tag_that_the_text_brought(hostile: Copy) -> None:
    page = FORMATS["html"].render([hostile])
    tags = tags_of(page)
    assert set(tags.tags) == set(tags_of(FORMATS["html"].render(COPIES)).tags)
    assert tags.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "scope"}
    assert b"<script" not in page
    assert page.count(b"&lt;script&gt;") > 15


def test_a_page_asks_nobody_for_anything() -> None:
    page = FORMATS["html"].render(COPIES)
    assert b"default-src &#x27;none&#x27;" in page
    assert not re.search(rb"(?:href|src|url)\s*[=(]", page)


def test_the_xml_is_well_formed_whatever_the_text(hostile: Copy) -> None:
    root = ET.fromstring(FORMATS["cap"].render([hostile]))
    texts = [each.text or "" for each in root.iter()]
    shown = HOSTILE.replace("\ufffe", "\ufffd")
    assert sum(shown in text for text in texts) > 15
    assert "{urn:oasis:names:tc:emergency:cap:1.2}script" not in {each.tag for each in root.iter()}


@pytest.mark.parametrize("form", ["json", "ndjson", "stix"])
def test_json_forms_stay_json_and_lines_stay_lines(form: str, hostile: Copy) -> None:
    made = FORMATS[form].render([hostile, COPIES[0]])
    found = [json.loads(line) for line in made.splitlines()] if form == "ndjson" else [json.loads(made)]
    assert len(found) == (2 if form == "ndjson" else 1)
    assert json.dumps(found).count(json.dumps("<script>alert(1)</script>")[1:-1]) > 15


def test_an_alert_stays_what_was_written_in_the_json_forms() -> None:
    for form in ("json", "ndjson"):
        made = FORMATS[form].render([COPIES[1]])
        found = json.loads(made)["items"][0] if form == "json" else json.loads(made)
        assert found["alert"] == {**alert_of("01"), "from_a_newer_sender": {"note": "kept"}}


@pytest.mark.parametrize("form", ["csv", "xlsx", "cap", "html", "stix"])
def test_what_a_form_cannot_show_is_named_in_it(form: str) -> None:
    assert "/from_a_newer_sender" in as_text(form, FORMATS[form].render([COPIES[1]]))


def test_unknown_fields_are_found_at_every_depth() -> None:
    alert = alert_of("03")
    alert["subjects"][1]["shoe/size"] = 9
    alert["event"]["place"]["floor"] = 2
    assert copy_of(alert).unknown == ("/subjects/1/shoe~1size", "/event/place/floor")


# CAP


def cap_texts(copy: Copy) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in ET.fromstring(FORMATS["cap"].render([copy])).iter():
        found.setdefault(each.tag.partition("}")[2], []).append((each.text or "").strip())
    return found


ALERT_ORDER = [
    "identifier",
    "sender",
    "sent",
    "status",
    "msgType",
    "source",
    "scope",
    "restriction",
    "addresses",
    "code",
    "note",
    "references",
    "incidents",
    "info",
]
INFO_ORDER = ["language", "category", "event", "responseType", "urgency", "severity", "certainty", "audience", "eventCode", "effective", "onset", "expires", "senderName", "headline", "description", "instruction", "web", "contact", "parameter", "resource", "area"]  # fmt: skip


@pytest.mark.parametrize("number", range(len(COPIES)))
def test_cap_keeps_the_order_the_codes_and_the_times_of_the_standard(number: int) -> None:
    root = ET.fromstring(FORMATS["cap"].render([COPIES[number]]))
    assert root.tag == "{urn:oasis:names:tc:emergency:cap:1.2}alert"
    names = [each.tag.partition("}")[2] for each in root]
    assert sorted(names, key=ALERT_ORDER.index) == names
    info = [each.tag.partition("}")[2] for each in root[-1]]
    assert sorted(info, key=INFO_ORDER.index) == info
    said = cap_texts(COPIES[number])
    assert not re.search(r"[\s,<&]", said["identifier"][0] + said["sender"][0])
    assert said["scope"] == ["Restricted"]
    assert said["restriction"][0]
    for name in ("sent", "effective", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-00:00", said[name][0])
    assert said["urgency"][0] in {"Immediate", "Expected", "Future", "Past", "Unknown"}
    assert said["severity"][0] in {"Extreme", "Severe", "Moderate", "Minor", "Unknown"}
    assert said["certainty"][0] in {"Observed", "Likely", "Possible", "Unlikely", "Unknown"}
    assert said["expires"] == ["2027-10-22T00:00:00-00:00"]
    assert said["msgType"] == [("Alert", "Update", "Cancel")[number]]


def test_a_file_of_cap_holds_one_alert() -> None:
    assert not FORMATS["cap"].many


# NIEM's codes


def test_codes_of_suspicious_activity_are_given_where_they_map_and_nowhere_else() -> None:
    assert [each.sar_codes for each in COPIES] == [(), ("RECRUT",), ("WPNS",)]
    assert "RECRUT" in cap_texts(COPIES[1])["value"]
    for table, codes in (("kind", sar.OF_KIND), ("harm", sar.OF_HARM), ("indicator", sar.OF_INDICATOR)):
        assert set(codes) <= set(vocabulary.TABLES[table].codes)
        assert set(codes.values()) <= set(sar.CODES)
    assert len(set(sar.CODES)) == 16


# STIX


@pytest.fixture(scope="module")
def validator() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as here:  # the validator's own libraries warn of each other
        here.setenv("PYTHONWARNINGS", "ignore")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import stix2validator

            yield stix2validator


@pytest.mark.parametrize("which", ["three alerts", "hostile text", "no person and no home", "every scenario"])
def test_the_public_validator_accepts_our_stix(which: str, validator: Any, hostile: Copy) -> None:
    scenarios = sorted((ROOT / "configs" / "scenarios").glob("*-*.json"))
    copies = {
        "three alerts": COPIES,
        "hostile text": (hostile,),
        "no person and no home": (
            copy_of({"v": 1, "objects": [{"value": "07700 900000", "kind": "phone"}]}, home=None),
        ),
        "every scenario": tuple(
            copy_of(json.loads(path.read_text())["alert"], number=number)
            for number, path in enumerate(scenarios)
        ),
    }[which]
    # Ids that follow from their alert are names (UUIDv5), which 103 advises against for objects that change.
    options = validator.ValidationOptions(version="2.1", strict=True, disabled="103", enforce_refs=True)
    results = validator.validate_string(FORMATS["stix"].render(copies).decode(), options)
    assert sorted({str(error.message) for error in results.errors}) == []
    assert sorted({str(warning.message) for warning in results.warnings}) == []
    assert results.is_valid


def test_the_same_alert_imported_twice_is_one_in_stix() -> None:
    once = json.loads(FORMATS["stix"].render(COPIES[:1]))
    both = json.loads(FORMATS["stix"].render(COPIES[:2]))
    ids = [each["id"] for each in both["objects"]]
    assert {each["id"] for each in once["objects"]} < set(ids)
    assert len(ids) == len(set(ids))
    assert all(
        each.get("object_marking_refs")
        or each["type"] == "marking-definition"
        or each.get("identity_class") == "organization"
        for each in both["objects"]
    )
    assert stix.IDS.version == 5


# PDF


@pytest.fixture(scope="module")
def pdf() -> bytes:
    if not FORMATS["pdf"].ready():
        pytest.skip("weasyprint is not installed: scripts/setup --tests")
    page = FORMATS["pdf"].render(COPIES)
    try:
        return asyncio.run(apart(FORMATS["pdf"].apart, page, asyncio.Lock()))
    except Exception as error:  # noqa: BLE001  Pango is the system's
        pytest.skip(
            f"no PDF was made ({type(error).__name__}): apt-get install libpango-1.0-0 libpangoft2-1.0-0"
        )


def test_a_pdf_is_made_in_a_process_of_its_own_and_says_that_it_can_be_read_aloud(pdf: bytes) -> None:
    assert pdf.startswith(b"%PDF-1.")
    assert pdf.rstrip().endswith(b"%%EOF")
    inside = pdf + b"".join(
        zlib.decompressobj().decompress(each)
        for each in re.findall(rb"stream\r?\n(\x78.*?)endstream", pdf, re.DOTALL)
    )
    assert b"pdfuaid:part" in inside
    assert b"/Lang" in inside
    assert b"/MarkInfo" in inside
    assert len(re.findall(rb"/Type ?/Page\b", inside)) >= len(COPIES)
    assert b"/JavaScript" not in inside
    assert b"/URI" not in inside


# What is missing


@pytest.mark.parametrize("form", ["xlsx", "pdf"])
def test_a_form_whose_packages_are_missing_says_what_to_install(form: str) -> None:
    error = formats.missing(FORMATS[form].extra, f"The format {form}")
    assert error.code == "not-supported"
    assert f"pip install 'bridge-alerts[{form}]'" in error.hint
