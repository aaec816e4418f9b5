"""The table of statuses, what may follow what, and what a statement must and may not say."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import CODES, Rejected
from bridge.receipts import (
    LATER,
    REFUSALS,
    SAID_WITHOUT_MOVING,
    STATUSES,
    Sayer,
    Statement,
    Status,
    advance,
    check_statement,
    contradicts,
    may_follow,
    refusal,
    summary,
)

AT = datetime(2026, 11, 22, 10, 15, 3, tzinfo=UTC)
MESSAGE, ENVELOPE, DIGEST = "ab" * 16, "cd" * 16, "ef" * 32

FOLLOWS = {
    "queued": "",
    "received": "queued undelivered",
    "refused": "queued undelivered withdrawn",
    "not_ours": "queued received collected opened taken",
    "collected": "received",
    "opened": "received collected",
    "taken": "received collected opened",
    "closed": "received collected opened taken",
    "expired_unread": "received collected",
    "purged": "received collected opened taken closed not_ours expired_unread held withdrawn",
    "held": "received collected opened taken closed not_ours expired_unread withdrawn",
    "undelivered": "queued",
    "withdrawn": "queued undelivered received collected opened taken closed not_ours expired_unread held",
}


@pytest.mark.parametrize(("current", "new"), list(itertools.product(Status, Status)))
def test_each_pair_of_statuses_follows_or_not_as_the_protocol_has_it(current: Status, new: Status) -> None:
    assert may_follow(current, new) == (current in FOLLOWS[new].split())


def test_every_status_can_be_reached_from_queued() -> None:
    assert LATER[Status.QUEUED] == set(Status) - {Status.QUEUED}


@pytest.mark.parametrize("status", [row.code for row in STATUSES.values() if row.final])
def test_nothing_follows_a_final_status(status: Status) -> None:
    assert not LATER[status]
    assert not any(may_follow(status, new) for new in Status)


def test_refused_and_purged_alone_are_final() -> None:
    assert {row.code for row in STATUSES.values() if row.final} == {Status.REFUSED, Status.PURGED}
    assert {status for status in Status if not LATER[status]} == {Status.REFUSED, Status.PURGED}


def test_no_status_ever_comes_back() -> None:
    for earlier, later in itertools.product(Status, Status):
        assert not (later in LATER[earlier] and earlier in LATER[later])


def test_what_may_be_said_moves_the_state_but_for_a_recall_of_what_is_held() -> None:
    for current, new in itertools.product(Status, Status):
        if may_follow(current, new):
            moved = advance(current, new) == new
            assert moved != ((current, new) in SAID_WITHOUT_MOVING)
    assert advance("held", "withdrawn") == Status.HELD


@pytest.mark.parametrize("current", list(Status))
def test_the_same_status_again_changes_nothing(current: Status) -> None:
    assert advance(current, current) == current
    assert not contradicts(current, current)


@pytest.mark.parametrize(
    "late", [s for s in Status if STATUSES[s].said_by in {Sayer.RECIPIENT, Sayer.RECIPIENT_OR_DESK}]
)
def test_a_late_receipt_wins_over_undelivered_and_never_the_other_way(late: Status) -> None:
    assert advance("undelivered", late) == late
    assert advance(late, "undelivered") == late


@pytest.mark.parametrize(
    ("current", "new", "state"),
    [
        ("queued", "closed", "closed"),
        ("opened", "received", "opened"),
        ("closed", "taken", "closed"),
        ("withdrawn", "received", "withdrawn"),
        ("withdrawn", "refused", "refused"),
        ("refused", "withdrawn", "refused"),
        ("withdrawn", "held", "held"),
        ("not_ours", "withdrawn", "withdrawn"),
        ("received", "refused", "received"),
        ("refused", "received", "refused"),
        ("purged", "held", "purged"),
    ],
)
def test_a_later_state_moves_on_and_a_passed_one_is_history(current: str, new: str, state: str) -> None:
    assert advance(current, new) == state


UNANSWERED = {Status.QUEUED, Status.UNDELIVERED, Status.WITHDRAWN}


@st.composite
def journeys(draw: st.DrawFn) -> tuple[Status, list[Status]]:
    """A life that the table allows, as it happened, and its statements in the order in which they arrived."""
    state, said = Status.QUEUED, [Status.QUEUED]
    for _ in range(draw(st.integers(1, 8))):
        choices = sorted(s for s in Status if may_follow(state, s))
        if not UNANSWERED.issuperset(said):  # no honest recipient refuses what it has answered for otherwise
            choices = [s for s in choices if s is not Status.REFUSED]
        if not choices:
            break
        said.append(draw(st.sampled_from(choices)))
        state = advance(state, said[-1])
    repeated = said[1:] + draw(st.lists(st.sampled_from(said[1:]), max_size=3))
    return state, draw(st.permutations(repeated))


@settings(deadline=None)
@given(journeys())
def test_every_order_of_a_life_s_statements_ends_in_the_same_state(
    journey: tuple[Status, list[Status]],
) -> None:
    lived, arrived = journey
    state = Status.QUEUED
    for status in arrived:
        state = advance(state, status)
    assert state == lived


@settings(deadline=None)
@given(journeys())
def test_no_honest_life_contradicts_itself(journey: tuple[Status, list[Status]]) -> None:
    _, arrived = journey
    assert not any(contradicts(a, b) for a, b in itertools.combinations(arrived, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("refused", "received"),
        ("refused", "taken"),
        ("refused", "purged"),
        ("closed", "not_ours"),
        ("closed", "expired_unread"),
        ("opened", "expired_unread"),
    ],
)
def test_two_statements_that_no_honest_recipient_makes_both_are_seen(one: str, other: str) -> None:
    assert contradicts(one, other)
    assert contradicts(other, one)


@pytest.mark.parametrize("decide", [may_follow, advance, contradicts])
def test_an_unknown_status_is_an_error_of_the_caller(decide) -> None:
    for pair in (("queued", "eaten"), ("eaten", "queued")):
        with pytest.raises(ValueError, match="not a valid Status"):
            decide(*pair)


@pytest.mark.parametrize(
    ("statuses", "overall"),
    [
        ([], "queued"),
        (["received"], "received"),
        (["taken", "refused", "undelivered"], "refused"),
        (["taken", "undelivered", "not_ours"], "undelivered"),
        (["opened", "not_ours", "queued"], "not_ours"),
        (["opened", "expired_unread", "queued"], "expired_unread"),
        (["opened", "queued", "closed"], "queued"),
        (["closed", "taken", "opened"], "opened"),
        (["closed", "purged"], "closed"),
    ],
)
def test_the_summary_of_several_recipients_is_the_one_that_most_needs_attention(
    statuses: list[str], overall: str
) -> None:
    for order in itertools.permutations(statuses):
        assert summary(order) == overall


def test_every_status_has_a_concern_of_its_own_and_words_for_the_screen() -> None:
    assert len({row.concern for row in STATUSES.values()}) == len(Status)
    assert len({row.label for row in STATUSES.values()}) == len(Status)
    assert set(STATUSES) == set(Status)


def test_every_refusal_has_its_words_and_a_row_among_the_codes() -> None:
    for code, row in REFUSALS.items():
        assert row.code == code
        assert code in CODES
        assert all(text.endswith(".") for text in (row.sentence, row.next_step))
    assert {code for code, row in REFUSALS.items() if not row.settles_message} == {"key-retired"}


def test_a_refusal_code_from_the_future_still_has_words() -> None:
    row = refusal("out-of-cheese")
    assert row.settles_message
    assert row.sentence


VALID = [
    {"status": Status.RECEIVED},
    {"status": Status.REFUSED, "code": "policy"},
    {"status": Status.REFUSED, "code": "key-retired", "message": None},
    {"status": Status.NOT_OURS, "referral": "E09000008", "detail": "Wrong home area."},
    {"status": Status.NOT_OURS},
    {"status": Status.CLOSED, "outcome": "safeguarding_referral"},
    {"status": Status.CLOSED, "outcome": "passed_to_area", "referral": "E09000008"},
    {"status": Status.PURGED, "code": "withdrawn"},
    {"status": Status.HELD, "authority": "LEGAL/2026-17", "until": date(2027, 1, 1)},
    {"status": Status.HELD, "authority": "LEGAL/2026-17"},
    {"status": Status.UNDELIVERED},
]


def statement(**fields) -> Statement:
    return Statement(
        **{"message": MESSAGE, "envelope": ENVELOPE, "digest": DIGEST, "at": AT, **fields}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("fields", VALID)
def test_a_statement_holds_what_its_status_needs(fields) -> None:
    assert statement(**fields).status is fields["status"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": Status.REFUSED}, "code"),
        ({"status": Status.CLOSED}, "outcome"),
        ({"status": Status.OPENED, "outcome": "no_further_action"}, "outcome"),
        ({"status": Status.HELD}, "authority"),
        ({"status": Status.OPENED, "authority": "X"}, "authority"),
        ({"status": Status.PURGED, "until": date(2027, 1, 1)}, "review date"),
        ({"status": Status.OPENED, "referral": "E09000008"}, "referral"),
        ({"status": Status.RECEIVED, "message": None}, "whole envelope"),
        ({"status": Status.QUEUED}, "queued"),
        ({"status": Status.RECEIVED, "at": AT.astimezone(timezone(timedelta(hours=1)))}, "UTC"),
        ({"status": Status.RECEIVED, "at": AT.replace(tzinfo=None)}, "UTC"),
    ],
)
def test_a_statement_without_what_its_status_needs_is_refused(fields, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        statement(**fields)


def check(said: Statement, **sent) -> None:
    facts = {
        "issuer": "kent-mash",
        "recipient": "kent-mash",
        "envelope": ENVELOPE,
        "digest": DIGEST,
        "messages": {MESSAGE},
    }
    check_statement(said, **{**facts, **sent})  # type: ignore[arg-type]


def test_the_recipient_s_own_word_about_what_was_sent_is_taken() -> None:
    check(statement(status=Status.RECEIVED))
    check(statement(status=Status.REFUSED, code="key-retired", message=None))


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        pytest.param({}, {"issuer": "croydon-mash"}, id="another partner's word"),
        pytest.param({}, {"envelope": "00" * 16}, id="another envelope"),
        pytest.param({}, {"digest": "00" * 32}, id="other bytes under the same id"),
        pytest.param({}, {"messages": {"00" * 16}}, id="a message that was not in the envelope"),
        pytest.param({"status": Status.UNDELIVERED}, {}, id="undelivered is the sender's to say"),
        pytest.param({"status": Status.WITHDRAWN}, {}, id="withdrawn is the sender's to say"),
    ],
)
def test_a_forged_receipt_is_refused(said, sent) -> None:
    with pytest.raises(Rejected) as refused:
        check(statement(**{"status": Status.RECEIVED, **said}), **sent)
    assert refused.value.code == "forged-receipt"
