"""Who may be the same person, and who is not taken for it: what is common, alike or alone never is enough."""

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import matching
from bridge.alerts import Alert, Carried, CarriedHome, CarriedRetention, CarriedStep, Sender
from bridge.clock import moment
from bridge.matching import CAP, Known, Likeness

CROYDON = "E09000008"


def person(
    name: str = "", born: str = "", nick: str = "", *, year: int | None = None, band: str | None = None, sex: str | None = None,
    phone: str = "", number: str = "", kind: str = "known", district: str | None = CROYDON,
) -> Known:  # fmt: skip
    """A person as an alert about one tells of them."""
    names = [{"text": each, "kind": how} for each, how in ((name, kind), (nick, "street")) if each]
    subject = {"names": names, "dob": born or None, "birth_year": year, "age_band": band, "sex": sex,
               "identifiers": [{"scheme": "nhs_no", "value": number}] if number else []}  # fmt: skip
    things = [{"kind": "phone", "value": phone}] if phone else []
    alert = msgspec.convert({"subjects": [subject], "objects": things}, Alert, strict=False)
    return matching.known(alert, carried(district=district))[0]


def carried(area: str = CROYDON, district: str | None = CROYDON, node: str = "hub") -> Carried:
    step = CarriedStep(node=node, name="Hub", function="MASH", area=area)
    return Carried(
        v=1, id="0", reference="BR-0000-0000", created=moment(1_764_000_000_000), status="actual", urgent=False,
        sender=Sender("jobcentre", "Jobcentre"), home=CarriedHome(code=district, district=district, force="E23000001"), route=(step,),
        retention=CarriedRetention("UNADOPTED", date(2027, 1, 1)), body=msgspec.Raw(b"{}"),
    )  # fmt: skip


SAME: dict[str, tuple[Known, Known, str]] = {
    "spellings differ and the month of birth is one off": (
        person("Kieran Walsh", "2009-03-02"), person("Ciaran Walsh", "2009-04-02"), "possible"),
    "the same name and date of birth": (person("Tariq Osei", "2009-03-02"), person("Tariq Osei", "2009-03-02"), "likely"),
    "a common name, but the same date of birth": (
        person("Mohammed Khan", "2009-03-02"), person("Muhammad Khan", "2009-03-02"), "likely"),
    "a rare name alone": (person("Tariq Osei"), person("Tariq Osei"), "possible"),
    "names turned about": (person("Osei Tariq"), person("Tariq Osei"), "possible"),
    "a middle name more": (person("Tariq Kofi Osei"), person("Tariq Osei"), "possible"),
    "a short form": (person("Bob Okonjo", year=2008), person("Robert Okonjo", year=2008), "possible"),
    "sounds alike": (person("Shivaun Oduya", "2010-07-09"), person("Siobhan Oduya", "2010-07-09"), "likely"),
    "Yusuf and Joseph": (person("Yusuf Adebayo", year=2008), person("Joseph Adebayo", year=2009), "possible"),
    "an apostrophe": (person("Liam O'Brien", "2008-01-05"), person("liam obrien", "2008-01-05"), "likely"),
    "accents": (person("Zoë Żółkiewska", year=2007), person("Zoe Zolkiewska", year=2007), "possible"),
    "Cyrillic and Latin": (person("Юлия Кравец", "2008-05-06"), person("Yuliya Kravets", "2008-05-06"), "likely"),
    "day and month exchanged": (person("Ann Quaye", "2008-05-06"), person("Ann Quaye", "2008-06-05"), "possible"),
    "a nickname and a telephone": (
        person(nick="Kez", phone="07700 900123"), person(nick="KEZ", phone="+44 7700 900 123"), "possible"),
    "a number in another system and a name": (
        person("Ann Bo", number="943 476 5919"), person("Anne Bo", number="9434765919"), "likely"),
    "married since": (person("Ann Quaye", "1999-05-06"), person("Ann Fofana", "1999-05-06"), "possible"),
}  # fmt: skip

NOT_SAME: dict[str, tuple[Known, Known]] = {
    "nothing is known of one": (person(), person("Tariq Osei", "2009-03-02")),
    "nothing is known of both": (person(), person()),
    "twins": (person("Adam Walsh", "2009-03-02"), person("Ben Walsh", "2009-03-02")),
    "twins whose names begin alike": (
        person("Jamie Walsh", "2009-03-02"),
        person("Jayden Walsh", "2009-03-02"),
    ),
    "brothers with one telephone": (
        person("Adam Walsh", phone="07700900123"),
        person("Ben Walsh", phone="07700900123"),
    ),
    "father and son of one name": (person("Tariq Osei", "1979-03-02"), person("Tariq Osei", "2009-03-02")),
    "one name, a child and a man": (person("Tariq Osei", band="14_15"), person("Tariq Osei", band="25p")),
    "a common name alone": (person("Mohammed Khan"), person("Muhammad Khan")),
    "a common English name alone": (person("Jack Smith"), person("Jack Smith")),
    "a first name alone": (person("Kieran"), person("Kieran")),
    "a nickname alone": (person(nick="Ghost"), person(nick="Ghost")),
    "a telephone alone": (person(phone="07700900123"), person(phone="07700900123")),
    "a date of birth alone": (person(born="2009-03-02"), person(born="2009-03-02")),
    "a year and a sex": (person(year=2009, sex="male"), person(year=2009, sex="male")),
    "girl and boy of one name": (person("Robin Fox", sex="female"), person("Robin Fox", sex="male")),
    "other numbers in one system": (
        person("Tariq Osei", number="9434765919"),
        person("Tariq Osei", number="9434765870"),
    ),
    "Robert and Rupert, who only sound alike": (person("Robert Okonjo"), person("Rupert Okonjo")),
    "an alias is no first and last name": (
        person("Tariq Osei", kind="alias"),
        person("Tariq Bah", kind="alias"),
    ),
}


@pytest.mark.parametrize(("one", "other", "strength"), SAME.values(), ids=SAME)
def test_one_person_told_of_twice_is_suggested(one: Known, other: Known, strength: str) -> None:
    found = matching.likeness(one, other, {}, 50)
    assert found.strength == strength
    assert len(found.reasons) >= matching.FEWEST and set(found.reasons) <= matching.REASONS.keys()


@pytest.mark.parametrize(("one", "other"), NOT_SAME.values(), ids=NOT_SAME)
def test_two_people_are_not_taken_for_one(one: Known, other: Known) -> None:
    assert matching.likeness(one, other, {}, 50).strength is None


@pytest.mark.parametrize(("one", "other", "_strength"), SAME.values(), ids=SAME)
def test_who_is_suggested_is_also_found_by_what_is_kept(one: Known, other: Known, _strength: str) -> None:
    held = frozenset(text for key in matching.keys(other) for text in key)
    assert matching.leads([one], {7: held}, {}, 50, 5) == [7]


def test_what_many_have_counts_little() -> None:
    one, other = person("Tariq Osei", year=2009), person("Tariq Osei", year=2009)
    assert matching.likeness(one, other, {}, 6000).strength == "possible"
    common = {text: 5000 for key in matching.keys(one) for text in key}
    assert matching.likeness(one, other, common, 6000).strength is None


def test_two_keys_must_stand_in_one_alert_and_the_rarest_comes_first() -> None:
    mine = [person("Tariq Osei", "2009-03-02"), person("Ann Quaye")]
    held = {
        1: frozenset({"sound:t620", "sound:o200"}),
        2: frozenset({"born:2009-03-02", "name:osei"}),
        3: frozenset({"name:tariq"}),
        4: frozenset({"name:tariq", "name:quaye"}),  # of two persons: one key of each
    }
    counts = {"sound:t620": 150, "sound:o200": 150, "born:2009-03-02": 1, "name:osei": 3}
    assert matching.leads(mine, held, counts, 1000, 5) == [2, 1]
    assert matching.leads(mine, held, counts, 1000, 1) == [2]


@pytest.mark.parametrize(
    ("grading", "subjects", "may"),
    [
        ({}, [{}], True),
        ({"handling": "C", "conditions": ["A3"]}, [{}], True),
        ({"handling": "C", "conditions": ["S2"]}, [{}], False),
        ({"caveat_text": "For the named officer"}, [{}], False),
        ({}, [], False),
    ],
    ids=["free", "conditions", "ask the sender first", "caveat in words", "nobody"],
)
def test_what_binds_an_alert_decides_whether_it_is_compared(grading: Any, subjects: Any, may: bool) -> None:
    alert = msgspec.convert({"grading": grading, "subjects": subjects}, Alert)
    assert matching.comparable(alert) is may


@pytest.mark.parametrize(
    ("area", "node", "home"),
    [
        (CROYDON, "hub", True),
        ("E23000001", "hub", True),
        ("E07000110", "hub", False),
        (CROYDON, "kent", False),
    ],
    ids=["its district", "its force", "where it was seen", "another node's copy"],
)
def test_only_what_came_as_the_home_areas_is_compared(area: str, node: str, home: bool) -> None:
    assert matching.of_home(carried(area, node=node), "hub") is home


def test_what_is_only_for_some_or_handled_more_strictly_is_no_key() -> None:
    alert = msgspec.convert(
        {"subjects": [{"names": [{"text": "Kez"}]}],
         "objects": [{"kind": "phone", "value": "07700 900123", "only_for": ["POLICE"]},
                     {"kind": "vehicle", "value": "AB12 CDE", "handling": "C"}, {"kind": "line", "value": "Tommy line"}]},
        Alert,
    )  # fmt: skip
    assert matching.traces(alert, carried()) == {"called:kez", "name:kez", "sound:k200", "line:tommyline"}


def test_a_thing_is_of_the_person_that_it_is_said_to_belong_to() -> None:
    alert = msgspec.convert(
        {"subjects": [{"local_ref": "a"}, {"local_ref": "b"}], "objects": [{"local_ref": "o", "kind": "phone", "value": "07700900123"}],
         "relations": [{"from": "a", "to": "o", "verb": "uses"}]},
        Alert,
    )  # fmt: skip
    assert [bool(each.things) for each in matching.known(alert, carried())] == [True, False]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("mohammed", "m530"),
        ("muhammad", "m530"),
        ("tymczak", "t522"),
        ("pfister", "p236"),
        ("ashcraft", "a261"),
        ("ng", "n200"),
        ("李", ""),
    ],
)
def test_soundex_is_that_of_the_archives(word: str, code: str) -> None:
    assert matching.sound(word) == code


@pytest.mark.parametrize(
    ("one", "other", "like"),
    [("martha", "marhta", 0.961), ("dixon", "dicksonx", 0.813), ("a", "b", 0.0), ("kieran", "kieran", 1.0)],
)
def test_jaro_winkler_is_that_of_its_authors(one: str, other: str, like: float) -> None:
    assert round(matching.alike(one, other), 3) == like == round(matching.alike(other, one), 3)


_names = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=0, max_size=30)


@given(
    _names,
    _names,
    st.none() | st.dates(date(1950, 1, 1), date(2026, 1, 1)),
    st.none() | st.integers(1950, 2026),
)
def test_any_two_persons_are_compared_the_same_way_round_and_back(
    one: str, other: str, born: date | None, year: int | None
) -> None:
    left, right = person(one or "x y", str(born or ""), year=year), person(other or "x y", year=year)
    there, back = matching.likeness(left, right, {}, 50), matching.likeness(right, left, {}, 50)
    assert 0 <= there.score <= 1
    assert abs(there.score - back.score) < 0.2 and (there.strength is None) == (back.strength is None)
    assert matching.likeness(left, left, {}, 50).strength is None or len(left.names) or left.nicknames


@given(st.text(max_size=60))
def test_a_text_in_its_one_form_stays_as_it_is(text: str) -> None:
    assert matching.plain(matching.plain(text)) == matching.plain(text)


def test_what_is_said_of_somebody_names_nobody() -> None:
    assert "Osei" not in repr(person("Tariq Osei")) + repr(Likeness(1.0, ("born",)))
    assert CAP == 200
