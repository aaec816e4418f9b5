"""When content goes, what is said before, when deleting waits, and the clock that does not follow a jump."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import vocabulary
from bridge.alerts import Alert, CarriedRetention
from bridge.clock import SteadyClock
from bridge.retention import (
    AGREE,
    Brake,
    days_left,
    doubt,
    kept_here,
    shortened,
    shorter,
    told_before,
    voted,
    warning_due,
    withdrawn_until,
)
from bridge.vocabulary import RetentionClass
from bridge.withdrawals import REASONS, reason_of

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
TODAY = NOW.date()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CLASSES = {each.code: each for each in vocabulary.TABLES["retention"].terms if isinstance(each, RetentionClass)}

# ── The classes ──


def test_the_classes_are_those_of_the_domain() -> None:
    assert {code: each.days for code, each in CLASSES.items()} == {
        "UNADOPTED": 365, "ADOPTED": 30, "EXERCISE": 7, "MISROUTED": 14, "MISTAKEN": 14, "WITHHELD": 730, "HOLD": None,
        "AUDIT": 2192,
    }  # fmt: skip


def test_other_days_replace_those_of_the_classes_they_name() -> None:
    other = shortened(CLASSES, {"ADOPTED": 5, "NEW": 1})
    assert other["ADOPTED"].days == 5
    assert {**other, "ADOPTED": CLASSES["ADOPTED"]} == CLASSES


# ── Until when a receiver keeps ──


def alert(observed: datetime | None = NOW, code: str = "UNADOPTED") -> Alert:
    event = {"observed_from": observed.isoformat()} if observed else {}
    body = {"v": 1, "status": "actual", "subjects": [{"local_ref": "s1"}], "event": event, "retention": {"class": code}}
    return msgspec.json.decode(msgspec.json.encode(body), type=Alert)


@pytest.mark.parametrize(
    ("code", "asked", "differing", "ceiling", "observed", "expected"),
    [
        ("UNADOPTED", 365, {}, 730, NOW, 365),
        ("UNADOPTED", 365, {"UNADOPTED": 180}, 730, NOW, 180),
        ("UNADOPTED", 100, {"UNADOPTED": 180}, 730, NOW, 100),
        ("UNADOPTED", 365, {"UNADOPTED": 180}, 730, NOW - 100 * DAY, 80),
        ("UNADOPTED", 365, {"UNADOPTED": 180}, 730, NOW - 300 * DAY, 30),
        ("UNADOPTED", 365, {}, 90, NOW, 90),
        ("ADOPTED", 365, {"ADOPTED": 5}, 730, NOW, 365),
        ("MISTAKEN", 14, {"MISTAKEN": 3}, 730, NOW, 3),
        ("EXERCISE", 5000, {}, 5000, NOW, 7),
        ("A_NEWER_CLASS", 200, {}, 730, NOW, 200),
        ("HOLD", 200, {}, 100, None, 100),
    ],
    ids=["as asked", "ours is shorter", "theirs is shorter", "from the observation", "never less than a month",
         "our ceiling", "counted from acknowledgement", "from when it came", "the ceiling of the class",
         "a class we do not know", "a class without a time"],
)  # fmt: skip
def test_a_receiver_keeps_for_the_shortest_of_what_is_asked_and_its_own(
    code: str, asked: int, differing: dict[str, int], ceiling: int, observed: datetime | None, expected: int
) -> None:
    until = kept_here(
        alert(observed),
        CarriedRetention(code, TODAY + asked * DAY),
        NOW,
        TODAY,
        classes=shortened(CLASSES, differing),
        ceiling_days=ceiling,
    )
    assert until == TODAY + expected * DAY


@given(
    st.sampled_from([*CLASSES, "UNKNOWN"]),
    st.integers(0, 4000),
    st.dictionaries(st.sampled_from([*CLASSES]), st.integers(1, 730)),
    st.integers(1, 3653),
    st.integers(-1000, 0),
)
def test_a_receiver_never_keeps_longer_than_it_is_asked(
    code: str, asked: int, differing: dict[str, int], ceiling: int, observed: int
) -> None:
    until = TODAY + asked * DAY
    found = kept_here(
        alert(NOW + observed * DAY),
        CarriedRetention(code, until),
        NOW,
        TODAY,
        classes=shortened(CLASSES, differing),
        ceiling_days=ceiling,
    )
    assert found <= min(until, TODAY + ceiling * DAY)


# ── Steps that shorten ──

FAR = TODAY + 300 * DAY


@pytest.mark.parametrize(
    ("code", "step", "until", "expected"),
    [
        ("ADOPTED", "collected", FAR, 30),
        ("ADOPTED", "closed", FAR, 30),
        ("ADOPTED", "closed", TODAY + 30 * DAY, None),
        ("ADOPTED", "closed", TODAY + 3 * DAY, None),
        ("ADOPTED", "opened", FAR, None),
        ("ADOPTED", "taken", FAR, None),
        ("UNADOPTED", "collected", FAR, None),
        ("UNADOPTED", "closed", FAR, None),
        ("UNADOPTED", "not_ours", FAR, 14),
        ("ADOPTED", "not_ours", FAR, 14),
        ("NEW", "closed", FAR, None),
        ("NEW", "not_ours", TODAY + 3 * DAY, None),
    ],
)
def test_a_step_at_the_receiving_end_only_ever_shortens(code: str, step: str, until: date, expected: int | None) -> None:
    day = None if expected is None else TODAY + expected * DAY
    assert shorter(code, step, TODAY, until, CLASSES) == day


@pytest.mark.parametrize(
    ("until", "expected"), [(FAR, TODAY + 14 * DAY), (TODAY + 14 * DAY, None), (TODAY, None)], ids=["far", "then", "today"]
)
def test_a_sender_keeps_what_it_withdrew_for_two_weeks_at_most(until: date, expected: date | None) -> None:
    assert withdrawn_until(TODAY, until, CLASSES) == expected
    assert withdrawn_until(TODAY, until, {}) is None


# ── Warnings ──


@pytest.mark.parametrize(
    ("left", "warned", "due"),
    [
        (15 * DAY, None, None), (14 * DAY, None, 14), (13 * DAY, 14, None), (4 * DAY, None, 14), (3 * DAY, 14, 3),
        (2 * DAY, 3, None), (2 * DAY, None, 3), (timedelta(seconds=1), 14, 3), (timedelta(0), None, None),
        (-DAY, None, None),
    ],
    ids=str,
)  # fmt: skip
def test_a_warning_is_given_14_and_3_days_before_once_each(left: timedelta, warned: int | None, due: int | None) -> None:
    assert warning_due(left, warned) == due


@pytest.mark.parametrize(("kept", "told"), [(365 * DAY, None), (15 * DAY, None), (14 * DAY, 14), (7 * DAY, 14)])
def test_what_is_kept_for_two_weeks_is_not_warned_of_when_it_comes(kept: timedelta, told: int | None) -> None:
    assert told_before(kept) == told


@pytest.mark.parametrize(("left", "days"), [(2 * DAY, 2), (2 * DAY - HOUR, 1), (HOUR, 0), (-DAY, 0)])
def test_days_left_are_whole(left: timedelta, days: int) -> None:
    assert days_left(NOW + left, NOW) == days


# ── The clock in doubt ──


@pytest.mark.parametrize(
    ("away", "reason"),
    [
        (0 * DAY, None), (23 * HOUR, None), (DAY, None), (DAY + HOUR, "ahead"), (400 * DAY, "ahead"), (-HOUR, None),
        (-HOUR - timedelta(seconds=1), "behind"), (-400 * DAY, "behind"),
    ],
    ids=str,
)  # fmt: skip
def test_a_stop_explains_a_day_and_nothing_explains_time_that_went_back(away: timedelta, reason: str | None) -> None:
    assert doubt(NOW + away, NOW, step=HOUR, gap=DAY) == reason
    assert doubt(NOW + away, None, step=HOUR, gap=DAY) is None


def test_two_different_partners_that_agree_with_the_wall_release_the_brake() -> None:
    brake = Brake(NOW, "step")
    one = voted(brake, "kent", NOW + AGREE, NOW)
    assert one == Brake(NOW, "step", ("kent",))
    assert voted(one, "kent", NOW, NOW) == one
    assert voted(one, "surrey", NOW + AGREE + timedelta(seconds=1), NOW) == one
    assert voted(one, "surrey", NOW - AGREE, NOW) is None


class Hands:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.wall = NOW
        self.mono = 5.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def move(self, by: timedelta, mono: timedelta | None = None) -> None:
        self.wall += by
        self.mono += (by if mono is None else mono).total_seconds()


def test_a_steady_clock_follows_the_wall_within_its_step() -> None:
    hands = Hands()
    clock = SteadyClock(hands)
    for by, mono in ((DAY, DAY), (HOUR, HOUR - timedelta(minutes=30)), (-HOUR / 2, timedelta(0))):
        hands.move(by, mono)
        assert (clock.now(), clock.stepped) == (hands.wall, False)


@pytest.mark.parametrize("jump", [40 * DAY, -400 * DAY, HOUR + timedelta(seconds=1)], ids=str)
def test_a_steady_clock_goes_on_by_itself_through_a_jump_until_it_is_told_to_trust(jump: timedelta) -> None:
    hands = Hands()
    clock = SteadyClock(hands)
    hands.move(jump, timedelta(0))
    assert clock.now() == NOW
    hands.move(10 * timedelta(minutes=1))
    assert (clock.now(), clock.stepped) == (NOW + timedelta(minutes=10), True)
    hands.move(-jump, timedelta(0))  # it comes back by itself: somebody has to look all the same
    assert (clock.now(), clock.stepped) == (hands.wall, True)
    clock.trust()
    assert (clock.now(), clock.stepped) == (hands.wall, False)


def test_a_steady_clock_resumes_from_the_newest_time_known_when_the_wall_lies_before_it() -> None:
    hands = Hands()
    clock = SteadyClock(hands)
    clock.resume(NOW - DAY)
    clock.resume(NOW + HOUR)
    assert (clock.now(), clock.stepped) == (NOW, False)
    clock.resume(NOW + 2 * DAY)
    hands.move(HOUR)
    assert (clock.now(), clock.stepped) == (NOW + 2 * DAY + HOUR, True)
    clock.trust()
    assert clock.now() == NOW + HOUR


# ── Reasons ──


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        *((code, code) for code in REASONS), *((words, code) for code, words in REASONS.items()),
        ("  Mistaken-IDENTITY ", "mistaken_identity"), ("not needed", "not_needed"), ("Kieran moved house", "other"),
        ("", "other"),
    ],
)  # fmt: skip
def test_a_reason_is_a_code_or_its_words_and_anything_else_is_other(typed: str, code: str) -> None:
    assert reason_of(typed) == code
