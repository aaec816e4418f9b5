import importlib
import re
from pathlib import Path

import pytest

from bridge import receipts, vocabulary
from bridge.vocabulary import Gateway, RetentionClass, Table


@pytest.mark.parametrize("table", vocabulary.TABLES.values(), ids=lambda table: table.name)
class TestEveryTable:
    def test_gives_each_code_once(self, table: Table) -> None:
        assert len(set(table.codes)) == len(table.terms) > 0

    def test_says_for_each_code_what_it_is_called_what_it_means_and_where_it_comes_from(
        self, table: Table
    ) -> None:
        for term in table.terms:
            assert term.label and term.meaning.endswith(".") and term.source and term.since == "1", term.code

    def test_finds_its_own_codes_and_no_other(self, table: Table) -> None:
        assert all(term.code in table and table.get(term.code) is term for term in table.terms)
        assert "no-such-code" not in table
        assert table.get("no-such-code") is None

    def test_shows_a_label_for_a_known_code_and_an_unknown_code_as_it_is(self, table: Table) -> None:
        assert table.label(table.terms[0].code) == table.terms[0].label
        assert table.label("from-a-newer-list") == "from-a-newer-list"


def test_tables_are_found_by_their_own_name() -> None:
    assert all(name == table.name for name, table in vocabulary.TABLES.items())
    assert len(vocabulary.TABLES) == 39


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("MASH", "MASH"), ("mash", "MASH"), (" Mash ", "MASH"), ("LA_CSC", "MASH"), ("la-csc", "MASH"),
        ("la csc", "MASH"), ("children", "MASH"), ("Children's services", "MASH"),
        ("children\N{RIGHT SINGLE QUOTATION MARK}s-services", "MASH"), ("adults", "LA_ASC"),
        ("Adult Services", "LA_ASC"), ("community safety", "LA_CSP"), ("youth justice", "YJS"), ("YOT", "YJS"),
        ("police", "POLICE"), ("regional-desk", "ROCU"), ("A&E", "AE"), ("jobcentre", "JCP"),
        ("", None), ("parking", None), ("MASH2", None), ("x" * 65, None), ("_", None), ("\x00", None),
    ],
)  # fmt: skip
def test_a_function_is_read_as_people_write_it(text: str, code: str | None) -> None:
    assert vocabulary.function(text) == code


def test_every_alias_of_a_function_leads_to_one_and_hides_none() -> None:
    for alias, code in vocabulary.FUNCTION_ALIASES.items():
        assert code in vocabulary.FUNCTION
        assert alias not in vocabulary.FUNCTION
        assert vocabulary.function(alias.lower()) == code


@pytest.mark.parametrize(
    ("source_eval", "info_assess", "grade"),
    [("1", "A", "B2"), ("2", "C", "F3"), ("3", "E", "E5"), ("2", "D", "F6"), ("1", "B", "B2"),
     (None, None, "F6"), ("9", "Z", "F6"), ("1", None, "B6")],
)  # fmt: skip
def test_a_grading_is_exported_on_the_admiralty_scale(
    source_eval: str | None, info_assess: str | None, grade: str
) -> None:
    assert vocabulary.admiralty(source_eval, info_assess) == grade


def test_every_way_of_knowing_suggests_an_assessment() -> None:
    assert set(vocabulary.HOW_KNOWN_ASSESSMENT) == set(vocabulary.HOW_KNOWN.codes)
    assert set(vocabulary.HOW_KNOWN_ASSESSMENT.values()) <= set(vocabulary.INFO_ASSESS.codes)


@pytest.mark.parametrize("table", [vocabulary.GATEWAY, vocabulary.SPECIAL_CATEGORY, vocabulary.RESTRICTION])
def test_every_legal_ground_says_where_it_is_law_and_who_may_use_it(table: Table) -> None:
    for term in table.terms:
        assert isinstance(term, Gateway)
        assert term.jurisdictions and set(term.jurisdictions) <= set(vocabulary.UK)
        assert term.who.endswith(".")
        assert set(term.senders) | set(term.not_for) <= set(vocabulary.FUNCTION.codes)


@pytest.mark.parametrize(
    ("code", "countries"),
    [
        ("CA2004_16LA", {"England"}),
        ("CARE_42", {"England"}),
        ("CDA_115", {"England", "Wales"}),
        ("PCSCA_16", {"England", "Wales"}),
        ("UKGDPR_6_1_e", {"England", "Wales", "Scotland", "Northern Ireland"}),
        ("SSAA_123", {"England", "Wales", "Scotland"}),
    ],
)
def test_grounds_are_law_in_these_countries(code: str, countries: set[str]) -> None:
    gateway = vocabulary.gateway(code)
    assert gateway is not None and set(gateway.jurisdictions) == countries


def test_no_ground_by_an_unknown_code() -> None:
    assert vocabulary.gateway("MAGNA_CARTA") is None


def test_every_retention_class_has_a_time_and_a_ceiling_or_neither() -> None:
    for term in vocabulary.RETENTION.terms:
        assert isinstance(term, RetentionClass)
        assert term.measured_from in ("observed", "sent", "acknowledged", "release")
        if term.code == "HOLD":
            assert term.days is term.ceiling_days is None
        else:
            assert term.days and term.ceiling_days and term.days <= term.ceiling_days
    assert vocabulary.retention_class("UNADOPTED") is vocabulary.RETENTION.get("UNADOPTED")
    assert vocabulary.retention_class("FOR_EVER") is None


def test_lists_of_codes_beside_the_tables_name_codes_of_the_tables() -> None:
    assert set(vocabulary.SUBMITTED_RETENTION) <= set(vocabulary.RETENTION.codes)
    assert set(vocabulary.SUBMITTED_STATUSES) <= set(vocabulary.ALERT_STATUS.codes)
    assert set(vocabulary.CHILD_BANDS) <= set(vocabulary.AGE_BAND.codes)
    assert set(vocabulary.ADULT_AT_RISK_COHORTS) <= set(vocabulary.COHORT.codes)
    assert {*vocabulary.HEALTH, *vocabulary.SOCIAL_CARE, *vocabulary.POLICING} <= set(
        vocabulary.FUNCTION.codes
    )


GLOSSARY = (Path(__file__).parent.parent / "docs" / "glossary.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the glossary."""
    section = GLOSSARY.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Kinds of alert", vocabulary.KIND),
        ("Harms", vocabulary.HARM),
        ("Functions", vocabulary.FUNCTION),
        ("Outcomes", vocabulary.OUTCOME),
        ("Reasons for not sharing", vocabulary.WITHHELD_REASON),
    ],
)
def test_the_glossary_shows_the_table_as_it_is(heading: str, table: Table) -> None:
    assert rows(heading) == [[term.code, term.label, term.meaning] for term in table.terms]


def test_the_glossary_shows_the_retention_classes_as_they_are() -> None:
    shown = [row[:1] + row[2:] for row in rows("Retention classes")]
    assert shown == [
        [term.code, str(term.days or "until released"), term.measured_from, str(term.ceiling_days or "-")]
        for term in vocabulary.RETENTION.terms
        if isinstance(term, RetentionClass)
    ]


def test_the_glossary_shows_the_statuses_of_a_receipt_as_they_are() -> None:
    assert [row[:2] for row in rows("Statuses of a receipt")] == [
        [status, row.label] for status, row in receipts.STATUSES.items()
    ]


def test_the_glossary_has_each_word_once_and_its_names_in_our_modules_exist() -> None:
    words = rows("Words")
    assert len({row[0] for row in words}) == len(words) > 30
    names = re.findall(
        r"`(alerts|vocabulary|areas|routing|receipts|envelopes|partners|agreements)\.(\w+)", GLOSSARY
    )
    assert len(names) > 20
    for module, name in names:
        assert hasattr(importlib.import_module(f"bridge.{module}"), name), f"{module}.{name}"
