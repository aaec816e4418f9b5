from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import agreements
from bridge.agreements import Agreement, Party
from bridge.errors import CODES, Misconfigured

EXAMPLE = Path(__file__).parent.parent / "configs" / "agreements.example.toml"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)

BASE = Agreement(
    id="kent-croydon",
    title="Kent and Croydon",
    purpose="To protect people who cross the boundary.",
    parties=(Party(node="kent-mash", name="Kent"), Party(node="croydon-mash", name="Croydon")),
    valid_from=date(2026, 4, 1),
    review_by=date(2027, 3, 31),
    max_retention_days=365,
)


def agreement(**changes: Any) -> Agreement:
    return msgspec.structs.replace(BASE, **changes)


def ask(given: Agreement | None, **changes: Any) -> tuple[str, str] | None:
    asked: dict[str, Any] = {
        "sender": "kent-mash", "recipient": "croydon-mash", "function": "MASH", "kinds": ("sighting_out_of_area",),
        "marking": "OFFICIAL-SENSITIVE", "keep_until": date(2027, 11, 22), "urgent": False, "now": NOW, **changes,
    }  # fmt: skip
    return agreements.refusal(given, **asked)


def emergency(given: Agreement | None, **changes: Any) -> bool:
    asked: dict[str, Any] = {
        "sender": "kent-mash", "recipient": "croydon-mash", "function": "MASH", "kinds": ("sighting_out_of_area",),
        "urgent": True, "now": NOW, **changes,
    }  # fmt: skip
    return agreements.emergency_share(given, **asked)


ANYONE = (Party(node="*", name="Every partner"),)

ROUTINE: list[tuple[str, Agreement | None, dict[str, Any], str | None]] = [
    ("in force", agreement(), {}, None),
    ("the other way round", agreement(), {"sender": "croydon-mash", "recipient": "kent-mash"}, None),
    ("none", None, {}, "no-agreement"),
    ("not begun", agreement(valid_from=date(2026, 11, 23)), {}, "no-agreement"),
    ("first day", agreement(valid_from=date(2026, 11, 22)), {}, None),
    ("last day", agreement(ends=date(2026, 11, 22)), {}, None),
    ("ended", agreement(ends=date(2026, 11, 21)), {}, "no-agreement"),
    ("review late", agreement(review_by=date(2026, 8, 24)), {}, None),
    ("review 91 days late", agreement(review_by=date(2026, 8, 23)), {}, "no-agreement"),
    ("other parties", agreement(), {"recipient": "lambeth-mash"}, "no-agreement"),
    ("every partner", agreement(parties=ANYONE), {"recipient": "lambeth-mash"}, None),
    ("function named", agreement(functions=("MASH", "YJS")), {}, None),
    ("function not named", agreement(functions=("YJS",)), {}, "policy"),
    ("kind named", agreement(kinds=("sighting_out_of_area", "other")), {}, None),
    ("kind not named", agreement(kinds=("other",)), {}, "policy"),
    (
        "one of two kinds not named",
        agreement(kinds=("other",)),
        {"kinds": ("other", "debt_or_threat")},
        "policy",
    ),
    ("no kind at all", agreement(kinds=("other",)), {"kinds": ()}, None),
    ("kept as long as agreed", agreement(max_retention_days=365), {}, None),
    ("kept longer, across midnight", agreement(max_retention_days=364), {}, None),
    ("kept too long", agreement(max_retention_days=363), {}, "policy"),
    ("lower ceiling", agreement(marking_ceiling="OFFICIAL"), {}, "marking"),
    ("at the lower ceiling", agreement(marking_ceiling="OFFICIAL"), {"marking": "official"}, None),
]


@pytest.mark.parametrize(
    ("given", "changes", "code"), [row[1:] for row in ROUTINE], ids=[row[0] for row in ROUTINE]
)
def test_a_routine_alert_passes_under_an_agreement_that_covers_it_and_else_not(
    given: Agreement | None, changes: dict[str, Any], code: str | None
) -> None:
    refused = ask(given, **changes)
    assert (refused and refused[0]) == code
    if refused is not None:
        assert refused[0] in CODES
        assert refused[1].endswith(".")


@pytest.mark.parametrize(
    ("given", "changes", "code"), [row[1:] for row in ROUTINE], ids=[row[0] for row in ROUTINE]
)
def test_an_urgent_alert_passes_all_the_same_but_for_marking_and_keeping(
    given: Agreement | None, changes: dict[str, Any], code: str | None
) -> None:
    refused = ask(given, urgent=True, **changes)
    binding = code == "marking" or (given is not None and given.max_retention_days == 363)
    assert (refused is not None) is binding


@pytest.mark.parametrize(
    ("given", "changes", "recorded"),
    [
        (None, {}, True),
        (None, {"urgent": False}, False),
        (agreement(), {}, False),
        (agreement(ends=date(2026, 11, 21)), {}, True),
        (agreement(), {"recipient": "lambeth-mash"}, True),
        (agreement(functions=("YJS",)), {}, True),
        (agreement(kinds=("other",)), {}, True),
    ],
)
def test_what_passes_only_for_its_urgency_is_an_emergency_share(
    given: Agreement | None, changes: dict[str, Any], recorded: bool
) -> None:
    assert emergency(given, **changes) is recorded


def test_days_are_counted_in_utc() -> None:
    ended = agreement(ends=date(2026, 11, 21))
    assert agreements.in_force(ended, datetime.fromisoformat("2026-11-22T00:30:00+01:00"))
    assert not agreements.in_force(ended, datetime.fromisoformat("2026-11-22T00:30:00+00:00"))


def test_a_review_is_due_on_the_day_after_its_date() -> None:
    assert not agreements.review_due(agreement(review_by=date(2026, 11, 22)), NOW)
    assert agreements.review_due(agreement(review_by=date(2026, 11, 21)), NOW)


def test_the_sender_shortens_what_it_asks_for_to_what_is_agreed() -> None:
    assert agreements.longest_keeping(agreement(max_retention_days=30), date(2027, 11, 22), NOW) == date(
        2026, 12, 22
    )
    assert agreements.longest_keeping(agreement(), date(2026, 12, 1), NOW) == date(2026, 12, 1)
    assert agreements.longest_keeping(None, date(2027, 11, 22), NOW) == date(2027, 11, 22)


def test_what_the_sender_shortened_is_never_refused_for_its_keeping_on_the_same_or_a_later_day() -> None:
    for days in range(1, 800, 37):
        given = agreement(max_retention_days=days)
        until = agreements.longest_keeping(given, date(2030, 1, 1), NOW)
        for later in (timedelta(0), timedelta(hours=-20), timedelta(days=20)):
            assert ask(given, keep_until=until, now=NOW + later) is None


def test_of_several_agreements_the_one_that_names_the_function_goes_first_then_the_newest() -> None:
    general = agreement(id="general")
    newer = agreement(id="newer", valid_from=date(2026, 6, 1))
    named = agreement(id="named", functions=("MASH",))
    other = agreement(id="other", functions=("YJS",))
    over = agreement(id="over", functions=("MASH",), ends=date(2026, 11, 1), valid_from=date(2026, 10, 1))

    def find(*given: Agreement, function: str = "MASH", recipient: str = "croydon-mash") -> str | None:
        found = agreements.between(given, sender="kent-mash", recipient=recipient, function=function, now=NOW)
        return found and found.id

    assert find() is None
    assert find(other, over) is None
    assert find(general, newer) == find(newer, general) == "newer"
    assert find(general, newer, named, other, over) == "named"
    assert find(general, newer, named, other, over, function="YJS") == "other"
    assert find(agreement(id="b"), agreement(id="a")) == find(agreement(id="a"), agreement(id="b")) == "a"
    assert find(general, recipient="lambeth-mash") is None


# --- The file --------------------------------------------------------------------------------------------------


def test_the_example_file_can_be_used_and_uses_every_field() -> None:
    first, second = agreements.read(EXAMPLE.read_bytes())
    assert (first.id, second.id) == ("kent-croydon-2026", "national-desk")
    empty = [name for name in Agreement.__struct_fields__ if not getattr(first, name)]
    assert empty == []
    assert agreements.in_force(first, NOW)
    assert agreements.covers(second, "ipswich-youth", "nclcc-desk")
    assert repr(first) == "Agreement(kent-croydon-2026)"


def test_an_empty_file_holds_no_agreement() -> None:
    assert agreements.read(b"") == ()


LEAST = b"""
[[agreement]]
id = "a"
title = "A"
purpose = "To protect."
parties = [{ node = "*", name = "All" }]
max_retention_days = 30
valid_from = 2026-01-01
review_by = 2027-01-01
"""


@pytest.mark.parametrize(
    "text",
    [
        LEAST + b'colour = "red"\n',
        LEAST + b"[[agreements]]\n",
        LEAST + LEAST,
        LEAST + b'functions = ["PARKING"]\n',
        LEAST + b'functions = ["la csc"]\n',
        LEAST + b'kinds = ["gossip"]\n',
        LEAST + b'gateways = ["MAGNA_CARTA"]\n',
        LEAST + b'special_category = ["CDA_115"]\n',
        LEAST + b'marking_ceiling = "SECRET"\n',
        LEAST + b"ends = 2025-12-31\n",
        LEAST.replace(b"= 30", b"= 0"),
        LEAST.replace(b"= 30", b"= 99999"),
        LEAST.replace(b'"*"', b'"Kent MASH"'),
        LEAST.replace(b'"*"', b'"kent-mash\\n"'),
        LEAST.replace(b'{ node = "*", name = "All" }', b""),
        LEAST.replace(b'id = "a"', b'id = "../a"'),
        LEAST.replace(b"review_by = 2027-01-01", b""),
        b"[[agreement]\n",
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_not_right_is_refused_before_the_node_starts(text: bytes) -> None:
    assert len(agreements.read(LEAST)) == 1
    with pytest.raises(Misconfigured):
        agreements.read(text)
