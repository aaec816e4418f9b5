"""`bridge retention`, and what the command line says of withdrawn, corrected, held and expiring alerts."""

import csv
import io
import json
from typing import Any

import pytest
from test_cli import ENTRY, Told, node

from bridge.cli.retention import COLUMNS
from bridge.storage.retention import MONTH

__all__ = ["node"]  # a fixture

BRAKE = {"since": "2026-11-22T10:00:00Z", "reason": "step", "votes": ["kent-jcp"]}
PREVIEW: dict[str, Any] = {
    "now": "2026-11-22T10:00:00Z",
    "braked": None,
    "soon_days": [3, 14, 30],
    "classes": [{"side": "received", "class": "UNADOPTED", "kept": 12, "held": 1, "due": 2, "soon": [3, 5, 9]}],
    "unread_ending": 0,
    "overdue": 0,
    "holds": [],
}
HOLD = {
    "reference": "BR-7KQ2-M9XT", "side": "inbox", "state": "asked", "authority": "IOPC 2026/4471", "review": "2027-03-31",
    "asked_by": "A. First", "confirmed_by": None, "release_by": None, "released_by": None,
}  # fmt: skip
CHANGE = {**PREVIEW, "change": {"class": "ADOPTED", "days": 14, "received": 40, "sent": 1}}
Out = pytest.CaptureFixture[str]


def test_a_preview_counts_what_is_due_and_what_will_be(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention", PREVIEW)
    assert node.bridge("retention", "preview") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[-3:] == ["In", "30", "days"]
    assert row.split() == ["received", "Soft", "information", "12", "1", "2", "1", "3", "7"]


def test_a_preview_says_what_nobody_has_read_and_what_is_late(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention", {**PREVIEW, "unread_ending": 3, "overdue": 1, "holds": [{**HOLD, "review_due": True}]})
    assert node.bridge("retention", "preview") == 0
    told = capsys.readouterr().out
    assert "NOT READ: 3 alerts will be deleted within 14 days" in told
    assert "OVERDUE: 1 alert should" in told
    assert "2027-03-31 (due)" in told


def test_a_brake_is_told_with_who_agrees_and_how_to_release_it(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention", {**PREVIEW, "braked": BRAKE})
    assert node.bridge("retention", "preview") == 0
    told = capsys.readouterr().out
    assert "jumped while the node was running" in told
    assert "So far kent-jcp agrees" in told
    assert "bridge retention release --clock" in told


def test_a_change_is_counted_before_it_is_made(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention?class=ADOPTED&days=14", CHANGE)
    node.says("POST /control/retention/apply", {"received": 40, "sent": 1})
    assert node.bridge("retention", "apply", "--class", "adopted", "--days", "14") == 2
    assert [each[0] for each in node.asked] == ["GET"]
    assert "40 alerts received and 1 alert sent" in capsys.readouterr().err
    assert node.bridge("retention", "apply", "--class", "adopted", "--days", "14", "--yes") == 0
    assert json.loads(node.asked[-1][3]) == {"class": "ADOPTED", "days": 14}
    assert "Shortened: 40 alerts received, 1 alert sent." in capsys.readouterr().out


def test_a_run_goes_on_until_nothing_is_left(node: Told, capsys: Out) -> None:
    rounds = iter([{"received": 500, "sent": 0, "days": 2, "left": True}, {"received": 20, "sent": 1, "days": 0}])
    node.says("POST /control/retention/run", {})
    first = node.answers["POST /control/retention/run"]

    def answer(request: Any, body: bytes) -> Any:
        node.says("POST /control/retention/run", next(rounds))
        made = node.answers["POST /control/retention/run"](request, body)
        node.answers["POST /control/retention/run"] = answer
        return made

    assert first is not answer
    node.answers["POST /control/retention/run"] = answer
    assert node.bridge("retention", "run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "Deleted: 520 alerts received, 1 alert sent.", "The keys of 2 days are destroyed."
    ]  # fmt: skip


def test_a_run_that_is_braked_is_status_3(node: Told, capsys: Out) -> None:
    node.says("POST /control/retention/run", {"received": 0, "sent": 0, "days": 0, "braked": True})
    assert node.bridge("retention", "run") == 3
    assert "the clock is in doubt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, "A. First asks to keep it. Nothing is held yet."),
        ({"state": "held", "confirmed_by": "B. Second"}, "is held, by IOPC 2026/4471"),
    ],
    ids=["the first", "the second"],
)
def test_a_hold_says_whether_a_second_person_is_wanted(state: dict[str, str], told: str, node: Told, capsys: Out) -> None:
    node.says("POST /control/retention/hold", {**HOLD, **state})
    given = ["--authority", "IOPC 2026/4471", "--review", "2027-03-31", "--admin", "A. First"]
    assert node.bridge("retention", "hold", "BR-7KQ2-M9XT", *given) == 0
    assert told in capsys.readouterr().out
    assert json.loads(node.asked[-1][3]) == {
        "ref": "BR-7KQ2-M9XT", "authority": "IOPC 2026/4471", "review": "2027-03-31", "admin": "A. First",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"state": "released"}, "what was asked is dropped"),
        ({"state": "leaving", "confirmed_by": "B", "release_by": "A. First"}, "It is still held."),
        ({"state": "released", "confirmed_by": "B", "released_by": "B"}, "is not held any more"),
    ],
    ids=["what was only asked", "the first", "the second"],
)
def test_a_release_says_what_it_came_to(state: dict[str, str], told: str, node: Told, capsys: Out) -> None:
    node.says("POST /control/retention/release", {**HOLD, **state})
    assert node.bridge("retention", "release", "BR-7KQ2-M9XT", "--admin", "A. First") == 0
    assert told in capsys.readouterr().out


def test_the_clock_is_confirmed_by_name(node: Told, capsys: Out) -> None:
    node.says("POST /control/retention/release", {"brake_released": True})
    assert node.bridge("retention", "release", "--clock", "--admin", "A. First") == 0
    assert capsys.readouterr().out == "Deleting goes on.\n"
    assert json.loads(node.asked[-1][3]) == {"admin": "A. First"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["release", "--admin", "A"],
        ["release", "X", "--clock", "--admin", "A"],
        ["preview", "--class", "ADOPTED"],
        ["preview", "--days", "3"],
        ["hold", "X", "--authority", "A", "--review", "soon", "--admin", "A"],
        ["hold", "X", "--review", "2027-03-31", "--admin", "A"],
        ["apply", "--class", "ADOPTED", "--days", "0", "--yes"],
        ["statement"],
    ],
    ids=" ".join,
)
def test_what_is_not_whole_is_status_2_and_asks_nothing(arguments: list[str], node: Told) -> None:
    assert node.bridge("retention", *arguments) == 2
    assert node.asked == []


STATEMENT: dict[str, Any] = {
    "month": "2026-11", "made": "2026-12-01T09:00:00Z", "node": "croydon-mash", "name": "Croydon MASH",
    "partners": [
        {"node": "kent-jcp", "name": "=cmd|' /C calc'!A0", **{name: number for number, name in enumerate(COLUMNS)}},
        {"node": "met-police", "name": "Met\x1b[2J", **dict.fromkeys(COLUMNS, 1)},
    ],
    "now": {"received": 12, "sent": 3, "held": 1, "overdue": 0, "braked": False},
    "kept_by_class": {"ADOPTED": {"days": 30, "from": "acknowledged", "ceiling_days": 365}},
}  # fmt: skip


def test_a_statement_in_a_table_is_never_a_formula(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention/statement?month=2026-11", STATEMENT)
    assert node.bridge("retention", "statement", "--month", "2026-11", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row["partner"] for row in rows] == ["kent-jcp", "met-police"]
    assert rows[0]["partner_name"] == "'=cmd|' /C calc'!A0"
    assert [int(rows[0][name]) for name in COLUMNS] == list(range(len(COLUMNS)))
    assert "\x1b" not in rows[1]["partner_name"]


def test_a_statement_on_paper_names_every_figure_for_each_partner_and_for_all(node: Told, capsys: Out) -> None:
    node.says("GET /control/retention/statement?month=2026-11", STATEMENT)
    assert node.bridge("retention", "statement", "--month", "2026-11") == 0
    told = capsys.readouterr().out
    for words in COLUMNS.values():
        assert told.count(f"  {words}  ") == 3
    assert "All partners" in told
    assert "Under a legal hold:" in told
    assert "Taken into a case system  30    acknowledgement  365" in told
    assert "\x1b" not in told


def test_the_statement_has_a_word_for_every_figure_that_the_node_counts() -> None:
    assert [each.name for each in MONTH] == list(COLUMNS)


# --- Withdrawn, corrected, held, soon gone ---------------------------------------------------------------------


def holder(**changes: Any) -> dict[str, Any]:
    contact = {"telephone": "01632 960000", "desk": "Duty desk", "hours": "always"}
    return {"node": "met-police", "name": "Met Police", "reached": False, "deleted": False, "kept_on_hold": False,
            **contact, **changes}  # fmt: skip


WITHDRAWN = {
    "id": "0198", "reference": "BR-7KQ2-M9XT", "at": "2026-11-22T10:00:00Z", "reason": "mistaken_identity",
    "holders": [
        holder(),
        holder(name="Kent", reached=True, deleted=True, deleted_at="2026-11-22T10:00:01Z", telephone=None, desk=None, hours=None),
        holder(name="Luton", reached=True, kept_on_hold=True),
    ],
    "corrected_by": ["BR-8888-8888"],
}  # fmt: skip


@pytest.mark.parametrize("reason", ["mistaken_identity", "mistaken identity", "It is about the wrong person"])
def test_withdrawing_lists_who_has_not_answered_with_the_number_to_ring(reason: str, node: Told, capsys: Out) -> None:
    node.says("POST /v1/alerts/BR-7KQ2-M9XT/withdraw", WITHDRAWN, 202)
    assert node.bridge("alert", "withdraw", "BR-7KQ2-M9XT", "--reason", reason) == 0
    assert json.loads(node.asked[-1][3]) == {"reason": "mistaken_identity"}
    told = capsys.readouterr().out
    assert "Because:    It is about the wrong person" in told
    lines = {line.split("  ")[0]: line for line in told.splitlines()}
    assert lines["Met Police"].endswith("NOT REACHED YET                                     01632 960000, Duty desk, always")
    assert "deleted, 2026-11-22" in lines["Kent"]
    assert "01632" not in lines["Kent"]
    assert "under a legal hold, marked as withdrawn" in lines["Luton"]
    assert "Its correction BR-8888-8888 is not withdrawn by this." in told


def test_the_words_of_a_reason_stay_here(node: Told) -> None:
    node.says("POST /v1/alerts/X/withdraw", WITHDRAWN, 202)
    assert node.bridge("alert", "withdraw", "X", "--reason", "It was really Kieran") == 0
    assert json.loads(node.asked[-1][3]) == {"reason": "other"}


def test_a_correction_is_sent_byte_for_byte(node: Told, tmp_path: Any, capsys: Out) -> None:
    node.says("POST /v1/alerts/BR-7KQ2-M9XT/correct", {"reference": "BR-8888-8888", "route": []}, 202)
    file = tmp_path / "alert.json"
    file.write_bytes(b'{"v": 1,  "subjects": []}\n')
    assert node.bridge("alert", "correct", "BR-7KQ2-M9XT", str(file)) == 0
    assert node.asked[-1][3] == file.read_bytes()
    assert "Sent: BR-8888-8888, in the place of BR-7KQ2-M9XT." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "mind"),
    [
        ({"withdrawn": True}, "WITHDRAWN"),
        ({"superseded_by": "0199"}, "REPLACED by a corrected alert"),
        ({"corrects": "0197", "held": True}, "corrects another; legal hold"),
        ({"days_left": 13, "unread_ending": True}, "NOT READ, 13 days are left"),
        ({"days_left": 0}, "less than a day is left"),
        ({"days_left": 1}, "1 day is left"),
        ({"days_left": 14}, "-"),
    ],
    ids=["withdrawn", "replaced", "held", "unread", "last day", "one day", "two weeks"],
)
def test_a_list_marks_what_must_be_known_before_anybody_acts(
    changes: dict[str, Any], mind: str, node: Told, capsys: Out
) -> None:
    node.says("GET /v1/inbox", {"items": [{**ENTRY, **changes}], "next_cursor": None})
    assert node.bridge("inbox", "list") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(f"Debt or threat  {mind}")


def test_a_shown_alert_says_that_it_is_withdrawn_and_why(node: Told, capsys: Out) -> None:
    told = {**ENTRY, "withdrawn": True, "withdrawn_because": "not_accurate", "held": True, "alert": {"subjects": []}}
    node.says("GET /v1/inbox/X", told)
    assert node.bridge("inbox", "show", "X") == 0
    out = capsys.readouterr().out
    assert "withdrawn by the sender: it was not accurate" in out
    assert "two people end the legal hold on it" in out


# ── Another identity ──


def test_another_identity_is_asked_for_twice_and_tells_what_to_do(node: Told, capsys: Out) -> None:
    assert node.bridge("key", "rotate", "--identity") == 2
    assert "must be confirmed" in capsys.readouterr().err
    assert node.asked == []
    node.says(
        "POST /control/keys/rotate",
        {"items": [], "descriptor": None, "fingerprint": {"words": "abacus abdomen", "digits": "01234 56789"}},
    )
    assert node.bridge("key", "rotate", "--identity", "--yes") == 0
    assert json.loads(node.asked[0][3]) == {"identity": True}
    told = capsys.readouterr().out
    assert "This node has another identity." in told
    assert "Ring your partners" in told
    assert "abacus abdomen" in told
