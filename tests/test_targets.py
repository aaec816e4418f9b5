"""By when somebody should have taken an alert: the clock of one working day, over weekends, holidays and summer time."""

from datetime import UTC, date, datetime

import pytest

from bridge.targets import bank_holidays, due, promise, working


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("priority", "received", "expected"),
    [
        ("HIGH", "2026-11-22T03:00", "2026-11-22T07:00"),
        ("MEDIUM", "2026-11-23T16:00", "2026-11-23T23:59"),
        ("MEDIUM", "2026-11-22T16:00", "2026-11-23T23:59"),
        ("MEDIUM", "2026-07-01T16:00", "2026-07-01T22:59"),
        ("LOW", "2026-11-23T10:15", "2026-11-24T10:15"),
        ("LOW", "2026-11-27T15:00", "2026-11-30T15:00"),
        ("LOW", "2026-11-28T12:00", "2026-11-30T23:59"),
        ("LOW", "2026-12-24T15:00", "2026-12-29T15:00"),
        ("LOW", "2026-12-25T15:00", "2026-12-29T23:59"),
        ("LOW", "2026-10-23T10:00", "2026-10-26T11:00"),
        ("anything", "2026-11-23T10:15", "2026-11-24T10:15"),
    ],
    ids=[
        "urgent-by-night", "same-day", "sunday-is-monday", "summer-midnight", "next-day", "over-a-weekend",
        "saturday-begins-on-monday", "over-christmas", "on-christmas-day", "over-the-change-of-the-clocks", "unknown",
    ],
)  # fmt: skip
def test_a_target_counts_working_days_alone_but_for_what_is_urgent(priority: str, received: str, expected: str) -> None:
    assert due(at(received), priority) == at(expected)


@pytest.mark.parametrize(
    ("year", "days"),
    [
        (2021, "01-01 04-02 04-05 05-03 05-31 08-30 12-27 12-28"),
        (2022, "01-03 04-15 04-18 05-02 05-30 08-29 12-26 12-27"),
        (2024, "01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26"),
        (2026, "01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-28"),
        (2027, "01-01 03-26 03-29 05-03 05-31 08-30 12-27 12-28"),
    ],
)
def test_the_bank_holidays_of_a_year_are_those_of_the_rule(year: int, days: str) -> None:
    assert sorted(bank_holidays(year)) == [date.fromisoformat(f"{year}-{each}") for each in days.split()]


@pytest.mark.parametrize(
    ("nation", "year", "days"),
    [
        ("S", 2023, "01-02 01-03 04-07 05-01 05-29 08-07 11-30 12-25 12-26"),
        ("S", 2026, "01-01 01-02 04-03 05-04 05-25 08-03 11-30 12-25 12-28"),
        ("S", 2027, "01-01 01-04 03-26 05-03 05-31 08-02 11-30 12-27 12-28"),
        ("N", 2026, "01-01 03-17 04-03 04-06 05-04 05-25 07-13 08-31 12-25 12-28"),
    ],
)
def test_scotland_and_northern_ireland_have_holidays_of_their_own(nation: str, year: int, days: str) -> None:
    assert sorted(bank_holidays(year, nation)) == [date.fromisoformat(f"{year}-{each}") for each in days.split()]


@pytest.mark.parametrize(
    ("area", "sent", "by"),
    [
        ("E09000008", "2026-04-02T10:00", "2026-04-07T10:00"),
        ("W06000015", "2026-04-02T10:00", "2026-04-07T10:00"),
        ("S12000049", "2026-04-02T10:00", "2026-04-06T10:00"),
        ("S12000049", "2026-11-27T10:00", "2026-12-01T10:00"),
        ("E09000008", "2026-11-27T10:00", "2026-11-30T10:00"),
        ("N09000003", "2026-07-10T10:00", "2026-07-14T10:00"),
        ("unknown", "2026-07-10T10:00", "2026-07-13T10:00"),
    ],
    ids=["Easter", "Easter in Wales", "Easter in Scotland", "St Andrew", "no St Andrew", "the Twelfth", "no area"],
)
def test_what_the_sender_is_promised_is_the_target_of_whoever_receives_it(area: str, sent: str, by: str) -> None:
    assert promise(at(sent), "LOW", area) == at(by) == due(at(sent), "LOW", area)


def test_the_sender_of_something_urgent_rings_before_the_target_is_over() -> None:
    assert promise(at("2026-11-22T03:00"), "HIGH") == at("2026-11-22T04:00") < due(at("2026-11-22T03:00"), "HIGH")


def test_a_weekend_is_no_working_day() -> None:
    assert [working(date(2026, 11, day)) for day in range(20, 24)] == [True, False, False, True]
