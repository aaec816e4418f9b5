"""Files that pages refer to, the words in templates, lists for machines, forms, and what came from outside."""

import csv
import hashlib
import io
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from house import House, Quarry, settings_of

from bridge.errors import Malformed
from bridge.nodes.app import Node
from bridge.web import look, words
from bridge.web.forms import Form, checked
from bridge.web.shell import Table, as_csv, local

WEB = Path(look.__file__).parent
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
FORBIDDEN = re.compile(rb"GDS Transport|crest|crown|1d70b8|@font-face|sourceMappingURL", re.IGNORECASE)


# Files


def test_nothing_that_is_shipped_looks_like_gov_uk_itself() -> None:
    looked = [path for path in WEB.rglob("*") if path.is_file() and path.suffix in {".css", ".js", ".html", ".svg", ".json"}]
    assert len(looked) > 40
    assert [path.name for path in looked if FORBIDDEN.search(path.read_bytes())] == []


def test_every_fetched_file_is_what_the_manifest_says_and_has_its_licence_beside_it() -> None:
    manifest = msgspec.json.decode((WEB / "static" / "manifest.json").read_bytes(), type=dict[str, dict[str, str]])
    assert {row["file"] for row in manifest.values()} == {
        path.name for path in (WEB / "static").iterdir() if path.suffix in {".css", ".js"}
    }
    for row in manifest.values():
        raw = (WEB / "static" / row["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == row["sha256"]
        assert row["sha256"][:12] in row["file"]
        assert "MIT" in (WEB / "static" / f"{row['package']}.licence.txt").read_text() or row["licence"] == "MIT"


def test_every_rule_of_our_styles_is_for_something_on_a_page() -> None:
    styles = (WEB / "own" / "bridge.css").read_text("utf-8")
    pages = "".join(path.read_text("utf-8") for path in [*TEMPLATES, *WEB.rglob("*.py"), *(WEB / "own").glob("*.js")])
    ours = {name.split("--")[0] for name in re.findall(r"\.(bridge-[a-z0-9_-]+)", styles)}
    assert len(ours) > 40
    assert {name for name in ours if name not in pages} == set()


async def test_a_first_visit_is_small_and_later_ones_fetch_nothing_again(house: House) -> None:
    stranger = house.stranger()
    page = await stranger.get("/sign-in")
    addresses = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text))
    size = len(page.text.encode())
    for address in {*addresses, look.address("govuk-frontend.js")}:
        async with stranger.session.get(f"{house.base}{address}", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            size += int(answer.headers["Content-Length"])
    assert size <= 60 * 1024


async def test_a_page_is_packed_only_when_nothing_in_it_came_with_the_request(house: House) -> None:
    ada = await house.someone("administrator")
    packed = [(await ada.get(path)).headers.get("Content-Encoding") for path in ("/admin/areas", "/admin/areas?q=kent")]
    assert packed == ["gzip", None]


async def test_every_answer_to_a_person_tells_the_browser_what_to_refuse(house: House) -> None:
    sam = await house.someone("administrator")
    for path in ("/sign-in", "/admin", "/admin/team.json", "/admin/team.csv", "/nowhere", "/admin/partners/nobody"):
        headers = (await sam.get(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


# Words


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_word_of_a_template_goes_past_the_one_function_for_texts(path: Path) -> None:
    text = re.sub(r"\{% block (width|body_class) %\}.*?\{% endblock %\}", "", path.read_text("utf-8"))
    shown = "".join(value for _line, kind, value in look.environment().lex(text) if kind == "data")
    shown = re.sub(r"<(svg|script|style)\b.*?</\1>", " ", shown, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", " ", shown)
    assert re.findall(r"[A-Za-z]{2,}", shown) == []
    named = re.findall(r'\b(?:aria-label|title|alt|placeholder)="([^"{]+)"', text)
    assert named == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_style_or_a_script_of_its_own(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.search(r"\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*src=)|<style|\|\s*safe", text) is None


NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TIMES = [
    (datetime(2026, 11, 22, 9, 14, tzinfo=UTC), "22 November 2026 at 9:14am", "today at 9:14am"),
    (datetime(2026, 11, 21, 17, 0, tzinfo=UTC), "21 November 2026 at 5pm", "yesterday at 5pm"),
    (datetime(2026, 7, 1, 11, 0, tzinfo=UTC), "1 July 2026 at midday", "1 July 2026 at midday"),
    (datetime(2026, 6, 30, 23, 0, tzinfo=UTC), "1 July 2026 at midnight", "1 July 2026 at midnight"),
]


@pytest.mark.parametrize(("when", "full", "soon"), TIMES, ids=[full for _when, full, _soon in TIMES])
def test_times_are_as_people_say_them_on_the_wall_clock(when: datetime, full: str, soon: str) -> None:
    assert words.moment(when) == full
    assert words.recent(when, NOW) == soon


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 second"), (119, "1 minute"), (7200, "2 hours"), (172_800, "2 days"), (-5, "0 seconds")]
)
def test_a_length_of_time_is_told_in_one_unit(seconds: int, text: str) -> None:
    assert words.lasting(timedelta(seconds=seconds)) == text


# Lists


FORMULAS = ["=1+1", "+44 20", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =HYPERLINK(1)", "\n@x", "\u202e=1"]


@pytest.mark.parametrize("cell", FORMULAS, ids=range(len(FORMULAS)))
def test_no_cell_of_a_spreadsheet_is_a_formula(cell: str) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(Table((("a", "A"),), [{"a": cell}])))))
    assert rows[1][0].startswith("'")


def test_a_list_for_machines_has_the_same_rows_as_one_for_spreadsheets() -> None:
    table = Table((("n", "Number"), ("t", "Time"), ("l", "List"), ("b", "Yes")), [{"n": -3, "t": NOW, "l": ["a", "b"], "b": True}])
    assert list(csv.reader(io.StringIO(as_csv(table))))[1] == ["-3", "2026-11-22T12:00:00Z", "a, b", "yes"]


async def test_the_twins_of_a_list_hold_what_it_shows(house: House) -> None:
    ada = await house.someone("administrator", name="Ada Admin")
    listed = msgspec.json.decode((await ada.get("/admin/team.json")).text)
    assert [row["name"] for row in listed["items"]] == ["Ada Admin"]
    answer = await ada.get("/admin/team.csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "Ada Admin" in answer.text
    for path in ("/admin/areas", "/admin/audit", "/admin/keeping", "/admin/settings", "/admin/keys", "/admin/tokens"):
        assert (await ada.get(f"{path}.json")).status == 200, path
        assert (await ada.get(f"{path}.csv")).status == 200, path


# What came from outside

HOSTILE = "<script>alert(1)</script>{{7*7}}=ecilA"


async def test_a_partner_with_a_hostile_name_is_inert_on_every_page(house: House, quarry: Quarry, tmp_path: Path) -> None:
    evil = settings_of("evil-police", HOSTILE, "E23000028", ("POLICE",))
    await quarry.copy(evil, tmp_path / "evil")
    node = await Node.open(tmp_path / "evil", evil)
    try:
        invite = node.enrol.invite()
    finally:
        await node.close()
    ada = await house.someone("administrator", name="Ada Admin")
    await ada.get("/admin/partners/add")
    seen = await ada.post("/admin/partners/add", {"invitation": invite.decode()})
    assert seen.url == "/admin/partners/evil-police"
    for path in ("/admin/partners", "/admin/partners/evil-police", "/admin/partners/evil-police/approve", "/admin",
                 "/admin/partners/evil-police/revoke", "/admin/audit"):  # fmt: skip
        text = (await ada.get(path)).text
        assert "<script>alert" not in text
        assert "49=ecilA" not in text


def test_characters_that_turn_the_text_around_them_are_not_written() -> None:
    template = look.environment().from_string("{{ name }}")
    assert template.render(name="a\u202eb\u2066c") == "abc"


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "/a\r\nSet-Cookie: x=1"]
)
def test_a_way_on_that_leads_out_of_the_house_leads_home(path: str) -> None:
    assert local(path) == "/"


# Forms


def test_a_form_tells_all_mistakes_in_the_order_of_the_page() -> None:
    form = Form({"name": ("",), "text": ("x" * 11,), "seen-day": ("3",), "seen-year": ("2026",)})
    form.text("name", "Enter a name")
    form.text("text", longest=10, label="Text")
    form.day("seen", "Date you saw this")
    assert [(each.target, each.text) for each in form.errors] == [
        ("name", "Enter a name"),
        ("text", "Text must be 10 characters or less"),
        ("seen-month", "Date you saw this must include a month"),
    ]
    assert form.value("text") == "x" * 11


DAYS = [
    (("31", "2", "2026"), "Date you saw this must be a real date"),
    (("1", "1", "1899"), "Date you saw this must be a real date"),
    (("1", "x", "2026"), "Date you saw this must be a real date"),
    (("23", "11", "2026"), "Date you saw this must be today or in the past"),
]


@pytest.mark.parametrize(("parts", "told"), DAYS, ids=["no such day", "too long ago", "no number", "to come"])
def test_a_day_that_cannot_be_is_told(parts: tuple[str, str, str], told: str) -> None:
    form = Form({f"seen-{part}": (value,) for part, value in zip(("day", "month", "year"), parts, strict=True)})
    assert form.day("seen", "Date you saw this", latest=date(2026, 11, 22)) is None
    assert form.wrong("seen") == told


def test_what_cannot_be_seen_is_left_out_of_what_was_typed() -> None:
    assert Form({"name": ("A\x00d\u202ea\r\nB",)}).value("name") == "Ada\nB"


def test_a_form_with_a_field_that_the_page_does_not_have_is_malformed() -> None:
    with pytest.raises(Malformed):
        checked({"name": ("a",), "admin": ("yes",)}, {"name"}, ())
