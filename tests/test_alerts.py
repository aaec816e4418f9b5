import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from bridge import alerts, vocabulary, wire
from bridge.alerts import Alert, Carried, Subject
from bridge.errors import Malformed, Rejected

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TODAY = NOW.date()
CANARY = "Quillfeather"

LEAST: dict[str, Any] = {
    "subjects": [{"names": [{"text": "Ghost"}], "age_band": "16_17"}],
    "home": {"raw_text": "Croydon"},
    "event": {"narrative": "Seen at the station."},
}


def body(**changes: Any) -> bytes:
    return msgspec.json.encode({**LEAST, **changes})


def read(data: bytes) -> Alert:
    return wire.decode_json(data, Alert, limit=64 * 1024, what="alert")


def alert(**changes: Any) -> Alert:
    return read(body(**changes))


# --- Reading ---------------------------------------------------------------------------------------------------


def test_the_least_alert_passes_with_the_cautious_defaults() -> None:
    least = alert()
    alerts.check(least, NOW)
    assert (least.v, least.type, least.status, least.priority) == (1, "alert", "actual", "LOW")
    assert least.grading.marking == "OFFICIAL-SENSITIVE"
    assert least.retention.class_ == "UNADOPTED"
    assert least.reporter.identity_protected is True
    assert least.recipients is None
    assert not alerts.urgent(least)
    assert alerts.urgent(alert(priority="HIGH"))


def test_unknown_fields_and_unknown_codes_are_tolerated_at_every_depth() -> None:
    newer = alert(
        newer={"x": 1},
        subjects=[{"names": [{"text": "Ghost", "newer": 1}], "roles": ["newer_role"], "newer": []}],
        event={"kinds": ["newer_kind"], "place": {"type": "newer_place", "newer": 2}},
        objects=[{"kind": "newer_thing", "value": "x"}],
        grading={"how_known": "newer_way"},
        legal={"gateways": ["NEWER_ACT_1"]},
    )
    alerts.check(newer, NOW)
    assert newer.event.kinds == ("newer_kind",)


def test_an_absent_value_may_be_said_as_null() -> None:
    alerts.check(
        alert(
            ask=None, by_when=None, recipients=None, subjects=[{"names": [{"text": "Ghost"}], "dob": None}]
        ),
        NOW,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"event": {"narrative": "x" * 4001}},
        {"subjects": [{"description": "x" * 2001}]},
        {"subjects": [{"names": [{"text": ""}]}]},
        {"subjects": [{"names": [{"text": "x" * 201}]}]},
        {"subjects": [{"description": "x"}] * 6},
        {"subjects": [{"names": [{"text": "x"}] * 11}]},
        {"subjects": [{"birth_year": 0}]},
        {"objects": [{"value": "x"}] * 21},
        {"relations": [{"from": "a", "to": "b", "verb": "uses"}] * 41},
        {"event": {"kinds": ["x"] * 33}},
        {"event": {"kinds": [""]}},
        {"event": {"kinds": ["x" * 65]}},
        {"event": {"observed_from": "2026-11-20T10:00:00"}},
        {"event": {"observed_from": "yesterday"}},
        {"home": {"raw_text": "x" * 201}},
        {"recipients": []},
        {"recipients": [{"function": "MASH"}] * 17},
        {"provenance": {"device_time_skew": 1e10}},
        {"priority": 1},
        {"subjects": {}},
        {"v": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_nothing_is_longer_or_more_than_its_bound(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        alert(**changes)


def test_nothing_personal_is_shown_by_repr_nor_by_rich() -> None:
    full = alert(
        subjects=[{"local_ref": CANARY, "names": [{"text": CANARY, "kind": CANARY}], "description": CANARY,
                   "identifiers": [{"scheme": CANARY, "value": CANARY}], "roles": [CANARY], "dob": "2011-02-03"}],
        home={"raw_text": CANARY}, event={"narrative": CANARY, "kinds": [CANARY], "place": {"text": CANARY}},
        objects=[{"value": CANARY, "local_ref": CANARY + "2"}],
        relations=[{"from": CANARY, "to": CANARY + "2", "verb": CANARY}], reporter={"role_title": CANARY},
        grading={"caveat_text": CANARY}, legal={"reasons_text": CANARY}, local_action={"refs": [CANARY]},
        provenance={"form_version": CANARY}, recipients=[{"function": CANARY, "why": CANARY}],
    )  # fmt: skip
    carried = msgspec.convert(
        {
            "v": 1, "id": "019aaaaa-0000-7000-8000-000000000001", "reference": "BR-0000-0000", "created": NOW,
            "status": "actual", "urgent": False, "sender": {"node_id": "kent-jcp", "name": "Maidstone Jobcentre"},
            "home": {"because": CANARY}, "route": [], "retention": {"class": "UNADOPTED", "until": TODAY},
            "body": msgspec.Raw(body(event={"narrative": CANARY})),
        },
        Carried,
    )  # fmt: skip
    parts = [getattr(full, name) for name in full.__struct_fields__]
    for shown in (full, carried, carried.home, parts, *full.subjects, *full.objects, *full.relations):
        assert CANARY not in repr(shown)
        assert CANARY not in f"{shown}"
        assert CANARY not in pretty_repr(shown)
        assert "2011" not in repr(shown)
    assert repr(carried) == "Carried(019aaaaa-0000-7000-8000-000000000001)"


def test_what_travels_keeps_the_submitted_bytes_as_they_are() -> None:
    submitted = (
        b'{"subjects" : [ {"names":[{"text":"Gh\\u00f6st"}]} ],\n "home":{"raw_text":"CR0"}, "newer": 1.50}'
    )
    read(submitted)
    carried = Carried(
        v=1, id="019aaaaa-0000-7000-8000-000000000001", reference="BR-0000-0000", created=NOW, status="actual", urgent=True,
        sender=alerts.Sender(node_id="kent-jcp", name="Maidstone Jobcentre", desk=alerts.Desk(name="Duty desk", telephone="01622 000000")),
        home=alerts.CarriedHome(code="E09000008", level="district", name="Croydon", share=1.0),
        route=(alerts.CarriedStep(node="croydon-mash", name="Croydon", function="MASH", area="E09000008"),),
        retention=alerts.CarriedRetention(class_="UNADOPTED", until=TODAY), body=msgspec.Raw(submitted),
        withheld=("/objects/0",),
    )  # fmt: skip
    travelled = wire.decode_json(wire.encode_json(carried), Carried, limit=64 * 1024, what="alert")
    assert bytes(travelled.body) == submitted
    assert (travelled.retention.class_, travelled.withheld) == ("UNADOPTED", ("/objects/0",))
    assert travelled.sender == carried.sender


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "019aaaaa-0000-4000-8000-000000000001"),
        ("id", "019aaaaa-0000-7000-8000-000000000001\n"),
        ("reference", "BR-0000-000U"),
        ("created", "2026-11-22T09:30:00"),
        ("withheld", ["/" + "x" * 64]),
    ],
)
def test_what_travels_is_bounded_too(field: str, value: Any) -> None:
    good = {
        "v": 1, "id": "019aaaaa-0000-7000-8000-000000000001", "reference": "BR-0000-0000",
        "created": "2026-11-22T09:30:00Z", "status": "actual", "urgent": False, "sender": {"node_id": "a", "name": "A"},
        "home": {}, "route": [], "retention": {"class": "UNADOPTED", "until": "2027-11-22"}, "body": {},
    }  # fmt: skip
    wire.decode_json(msgspec.json.encode(good), Carried, limit=9999, what="alert")
    with pytest.raises(Malformed):
        wire.decode_json(msgspec.json.encode({**good, field: value}), Carried, limit=9999, what="alert")


# --- Rules for entry -------------------------------------------------------------------------------------------

SOON = (NOW + timedelta(minutes=11)).isoformat()

BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("/v", {"v": 2}),
    ("/type", {"type": "cancel"}),
    ("/status", {"status": "draft"}),
    ("/status", {"status": "newer"}),
    ("/priority", {"priority": "URGENT"}),
    ("/priority", {"priority": "high"}),
    ("/subjects", {"subjects": []}),
    ("/subjects/0", {"subjects": [{}]}),
    ("/subjects/1", {"subjects": [{"description": "x"}, {"names": [{"text": "  "}], "description": " "}]}),
    ("/objects/0", {"objects": [{"kind": "phone", "value": " "}]}),
    ("/objects/0/only_for/1", {"objects": [{"value": "1", "only_for": ["MASH", "POLCE"]}]}),
    ("/subjects/1/local_ref", {"subjects": [{"local_ref": "a", "dob": "2011-01-01"}, {"local_ref": "a", "sex": "male"}]}),
    ("/objects/0/local_ref", {"subjects": [{"local_ref": "a", "sex": "male"}], "objects": [{"local_ref": "a", "value": "1"}]}),
    ("/relations/0/to", {"subjects": [{"local_ref": "a", "sex": "male"}], "relations": [{"from": "a", "to": "b", "verb": "uses"}]}),
    ("/relations/0/from", {"relations": [{"from": "a", "to": "b", "verb": "uses"}]}),
    ("/subjects/0/dob", {"subjects": [{"dob": "2026-11-23"}]}),
    ("/subjects/0/dob", {"subjects": [{"dob": "1905-01-01"}]}),
    ("/subjects/0/birth_year", {"subjects": [{"birth_year": 2027}]}),
    ("/subjects/0/birth_year", {"subjects": [{"birth_year": 1900}]}),
    ("/subjects/0/birth_year", {"subjects": [{"birth_year": 2010, "dob": "2011-01-01"}]}),
    ("/event/observed_from", {"event": {"observed_from": SOON}}),
    ("/event/observed_to", {"event": {"observed_from": "2026-11-22T09:00:00Z", "observed_to": SOON}}),
    ("/event/observed_to", {"event": {"observed_from": "2026-11-22T09:00:00Z", "observed_to": "2026-11-22T08:59:59Z"}}),
    ("/event/observed_from", {"event": {"observed_to": "2026-11-22T09:00:00Z"}}),
    ("/event/observed_from", {"event": {"observed_from": "2006-01-01T00:00:00Z"}}),
    ("/event/observed_from", {"event": {"observed_from": "0001-01-01T00:00:00+14:00"}}),
    ("/by_when", {"by_when": "2028-12-01"}),
    ("/home", {"home": {}}),
    ("/home", {"home": {"raw_text": "  "}}),
    ("/home", {"home": {}, "recipients": [{"function": "MASH", "area": "E09000008"}, {"function": "POLICE"}]}),
    ("/home/district", {"home": {"district": "Croydon"}}),
    ("/home/district", {"home": {"district": "E09000008\n"}}),
    ("/home/not_known", {"home": {"district": "E09000008", "not_known": True}}),
    ("/event/place/district", {"event": {"place": {"district": "E0900000"}}}),
    ("/event/place/pfa", {"event": {"place": {"pfa": "Kent"}}}),
    ("/recipients/0/function", {"recipients": [{"function": "PARKING"}]}),
    ("/recipients/1/area", {"recipients": [{"function": "MASH"}, {"function": "MASH", "area": "Kent"}]}),
    ("/recipients/0/area", {"recipients": [{"function": "POLICE", "area": "place"}]}),
    ("/retention/class", {"retention": {"class": "FOR_EVER"}}),
    ("/retention/class", {"retention": {"class": "HOLD"}}),
    ("/retention/until", {"retention": {"until": "2026-11-21"}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "changes"), BROKEN, ids=[f"{at}-{pointer}" for at, (pointer, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_refused_with_the_place_where_it_is_broken(
    pointer: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(Rejected) as refused:
        alerts.check(alert(**changes), NOW)
    assert refused.value.code == "usage"
    assert refused.value.facts == {"pointer": pointer}
    assert refused.value.sentence.endswith(".")


@pytest.mark.parametrize(
    "changes",
    [
        {"subjects": [], "objects": [{"kind": "phone", "value": "07700 900000"}]},
        {"subjects": [{"dob": "2026-11-22"}]},
        {"subjects": [{"description": "Grey coat."}]},
        {"event": {"observed_from": (NOW + timedelta(minutes=9)).isoformat()}},
        {"event": {"observed_from": "2026-11-22T10:30:00+01:00", "observed_to": "2026-11-22T09:30:00Z"}},
        {"event": {"observed_from": "2026-11-22T09:00:00-00:00"}},
        {"by_when": "2026-11-01"},
        {"home": {"not_known": True}},
        {"home": {"not_known": True, "raw_text": "south London"}},
        {"home": {"district": "S12000049"}},
        {"home": {}, "recipients": [{"function": "MASH", "area": "E09000008"}]},
        {"recipients": [{"function": "la csc"}, {"function": "police", "area": "place"}], "event": {"place": {"district": "E07000110"}}},
        {"retention": {"class": "EXERCISE", "until": "2026-11-22"}, "status": "exercise"},
        {"status": "test"},
        {"type": "alert", "v": 1},
    ],
)  # fmt: skip
def test_what_keeps_the_rules_passes(changes: dict[str, Any]) -> None:
    alerts.check(alert(**changes), NOW)


@pytest.mark.parametrize(
    "marking",
    ["SECRET", "secret", " Secret ", "S E C R E T", "TOP SECRET", "Top-Secret", "topsecret", "UK SECRET", "OFFICIAL SECRET",
     "SECRET//UK EYES ONLY", "\uff33\uff25\uff23\uff32\uff25\uff34", "CONFIDENTIAL", "RESTRICTED", "newer marking", "-"],
)  # fmt: skip
def test_any_marking_above_official_sensitive_is_refused_however_it_is_written(marking: str) -> None:
    with pytest.raises(Rejected) as refused:
        alerts.check(alert(grading={"marking": marking}), NOW)
    assert (refused.value.code, refused.value.facts) == ("marking", {"pointer": "/grading/marking"})


@pytest.mark.parametrize(
    "marking",
    ["OFFICIAL", "official", "OFFICIAL-SENSITIVE", "Official Sensitive", "OFFICIAL_SENSITIVE PERSONAL"],
)
def test_official_passes_however_it_is_written(marking: str) -> None:
    alerts.check(alert(grading={"marking": marking}), NOW)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("SECRET", True), ("TOP SECRET\nHe was seen.", True), ("He was seen.\nSECRET\n", True), ("UK SECRET: seen", True),
        ("*** SECRET ***", True), ("This is a TOP-SECRET paper.", True),
        ("He keeps it secret.", False), ("Secret", False), ("He wears a SECRET LIFE shirt.", False),
        ("top secret, she said", False),
    ],
)  # fmt: skip
def test_text_that_bears_a_higher_marking_is_refused_and_the_plain_word_is_not(
    text: str, refused: bool
) -> None:
    for pointer, changes in (
        ("/event/narrative", {"event": {"narrative": text}}),
        ("/grading/caveat_text", {"grading": {"caveat_text": text}}),
    ):
        if refused:
            with pytest.raises(Rejected) as error:
                alerts.check(alert(**changes), NOW)
            assert (error.value.code, error.value.facts) == ("marking", {"pointer": pointer})
        else:
            alerts.check(alert(**changes), NOW)


def test_a_refusal_never_quotes_the_alert() -> None:
    for changes in (
        {"status": CANARY}, {"priority": CANARY}, {"type": CANARY}, {"grading": {"marking": CANARY}},
        {"home": {"district": CANARY}}, {"recipients": [{"function": CANARY}]}, {"retention": {"class": CANARY}},
        {"relations": [{"from": CANARY, "to": "b", "verb": "uses"}]}, {"objects": [{"value": "1", "only_for": [CANARY]}]},
    ):  # fmt: skip
        with pytest.raises(Rejected) as refused:
            alerts.check(alert(**changes), NOW)
        assert CANARY not in f"{refused.value} {refused.value.facts} {refused.value!r}"


# --- Cautions --------------------------------------------------------------------------------------------------


def test_codes_that_we_do_not_know_are_pointed_out_and_not_quoted() -> None:
    odd = alert(
        reporter={"agency_code": CANARY, "told_person": CANARY},
        subjects=[{"names": [{"text": "G", "kind": CANARY}], "roles": ["at_risk", CANARY], "cohorts": [CANARY], "age_band": CANARY, "sex": CANARY,
                   "identifiers": [{"scheme": CANARY, "value": "1"}], "local_ref": "s"}],
        home={"raw_text": "CR0", "method": CANARY, "basis": CANARY},
        event={"kinds": [CANARY], "harms": [CANARY], "indicators": [CANARY], "precision": CANARY, "place": {"type": CANARY}},
        objects=[{"value": "1", "kind": CANARY, "handling": CANARY, "local_ref": "o"}],
        relations=[{"from": "s", "to": "o", "verb": CANARY, "certainty": CANARY}],
        grading={"how_known": CANARY, "source_eval": CANARY, "info_assess": CANARY, "handling": CANARY, "conditions": [CANARY]},
        legal={"gateways": ["CA2004_16LA", CANARY], "art9": [CANARY], "consent_state": CANARY},
        local_action={"also_reported_to": [CANARY]}, ask=CANARY,
    )  # fmt: skip
    found = alerts.warnings(odd)
    assert {caution.pointer for caution in found} == {
        "/reporter/agency_code", "/reporter/told_person", "/subjects/0/names/0/kind", "/subjects/0/roles/1", "/subjects/0/cohorts/0",
        "/subjects/0/age_band", "/subjects/0/sex", "/subjects/0/identifiers/0/scheme", "/home/method", "/home/basis", "/event/kinds/0",
        "/event/harms/0", "/event/indicators/0", "/event/precision", "/event/place/type", "/objects/0/kind", "/objects/0/handling",
        "/relations/0/verb", "/relations/0/certainty", "/grading/how_known", "/grading/source_eval", "/grading/info_assess",
        "/grading/handling", "/grading/conditions/0", "/legal/gateways/1", "/legal/art9/0", "/legal/consent_state",
        "/local_action/also_reported_to/0", "/ask",
    }  # fmt: skip
    assert CANARY not in repr(found)


@pytest.mark.parametrize(
    ("grading", "pointers"),
    [
        ({"handling": "P"}, []),
        ({"handling": "C", "conditions": ["S2"]}, []),
        ({"handling": "C", "caveat_text": "Ask us."}, []),
        ({"handling": "C"}, ["/grading/conditions"]),
        ({"handling": "P", "conditions": ["S2"]}, ["/grading/handling"]),
    ],
)
def test_gradings_that_do_not_fit_together_are_pointed_out(
    grading: dict[str, Any], pointers: list[str]
) -> None:
    found = alerts.warnings(alert(grading=grading, legal={"gateways": ["UKGDPR_6_1_e"]}))
    assert [caution.pointer for caution in found] == pointers


# --- Ages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "on", "band", "child"),
    [
        ({"dob": "2008-11-23"}, "2026-11-22", "16_17", True),
        ({"dob": "2008-11-22"}, "2026-11-22", "18_24", False),
        ({"dob": "2008-02-29"}, "2026-02-28", "16_17", True),
        ({"dob": "2008-02-29"}, "2026-03-01", "18_24", False),
        ({"dob": "2016-11-23"}, "2026-11-22", "u10", True),
        ({"dob": "2016-11-22"}, "2026-11-22", "10_13", True),
        ({"dob": "2012-11-22"}, "2026-11-22", "14_15", True),
        ({"dob": "2001-11-22"}, "2026-11-22", "25p", False),
        ({"birth_year": 2008}, "2026-11-22", "16_17", True),
        ({"birth_year": 2007}, "2026-11-22", "18_24", False),
        ({"birth_year": 2008, "age_band": "25p"}, "2026-11-22", "16_17", True),
        ({"age_band": "14_15"}, "2026-11-22", "14_15", True),
        ({"age_band": "18_24"}, "2026-11-22", "18_24", False),
        ({"age_band": "unknown"}, "2026-11-22", "unknown", None),
        ({"age_band": "newer"}, "2026-11-22", "newer", None),
        ({}, "2026-11-22", "unknown", None),
        ({"cohorts": ["child_runner"]}, "2026-11-22", "unknown", True),
        ({"cohorts": ["child_runner"], "age_band": "25p"}, "2026-11-22", "25p", False),
    ],
)
def test_age_band_and_childhood_on_a_day(
    given: dict[str, Any], on: str, band: str, child: bool | None
) -> None:
    subject = msgspec.convert(given, Subject)
    assert alerts.age_band(subject, date.fromisoformat(on)) == band
    assert alerts.is_child(subject, date.fromisoformat(on)) is child


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2026, 1, 1)), st.integers(0, 40000))
def test_whoever_has_a_date_of_birth_is_as_old_as_the_years_since(dob: date, days: int) -> None:
    on = min(dob + timedelta(days=days), date(2100, 1, 1))
    years = alerts.age(dob, on)
    assert 0 <= years <= on.year - dob.year
    assert alerts.age(dob, on + timedelta(days=367)) - years in (1, 2)


def test_ages_are_counted_on_the_day_of_the_observation() -> None:
    then = alert(event={"observed_from": "2026-03-01T00:30:00+01:00"})
    assert alerts.observed_on(then, NOW) == date(2026, 2, 28)
    assert alerts.observed_on(alert(), NOW) == TODAY
    assert alerts.observed_on(alert(event={"observed_from": "0001-01-01T00:00:00+14:00"}), NOW) == TODAY


# --- Reference -------------------------------------------------------------------------------------------------

IDS = st.uuids().map(str)


@given(IDS)
@example("019aaaaa-0000-7000-8000-000000000001")
def test_a_reference_is_read_back_however_it_is_typed(alert_id: str) -> None:
    reference = alerts.reference(alert_id)
    tight = reference.replace("-", "")
    for typed in (
        reference, reference.lower(), tight, tight[2:], reference[3:], f"  {reference} ", reference.replace("-", " "),
        reference.replace("0", "O"), reference.replace("1", "l"), reference.replace("1", "I").replace("0", "o"),
        reference.replace("-", "\N{EN DASH}"),
    ):  # fmt: skip
        assert alerts.parse_reference(typed) == reference


@given(IDS, st.integers(0, 7), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_character_is_never_taken_for_another_reference(
    alert_id: str, place: int, wrong: str
) -> None:
    eight = list(alerts.reference(alert_id)[3:].replace("-", ""))
    if eight[place] != wrong:
        eight[place] = wrong
        assert alerts.parse_reference("".join(eight)) is None


@given(st.text(max_size=50))
@example("BR-7KQ2-M9X")
@example("BR-UUUU-UUUU")
@example("")
@example("BR" * 30)
@example("\u00df" * 8)
def test_any_text_is_a_reference_or_is_not(text: str) -> None:
    found = alerts.parse_reference(text)
    assert found is None or alerts.parse_reference(found) == found


def test_the_reference_of_a_known_id_never_changes() -> None:
    assert alerts.reference("019aaaaa-0000-7000-8000-000000000001") == "BR-X5AZ-B1ET"


def test_references_are_spread_over_all_thirty_five_bits() -> None:
    seen = [alerts.reference(f"id-{number}")[3:] for number in range(2000)]
    assert len(set(seen)) == 2000
    for place in (0, 1, 2, 3, 5, 6, 7, 8):
        assert {each[place] for each in seen} == set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


# --- Redaction -------------------------------------------------------------------------------------------------

THINGS = body(
    subjects=[{"local_ref": "s1", "names": [{"text": "Ghost"}]}],
    objects=[
        {"local_ref": "o1", "value": "Flat 4", "kind": "address", "only_for": ["LA_ASC", "police"]},
        {"local_ref": "o2", "value": "07700 900000", "newer": {"kept": 1}},
        {"value": "for children's services", "only_for": ["LA_CSC"]},
        {"value": "for nobody we know", "only_for": ["NEWER"]},
    ],
    relations=[
        {"from": "s1", "to": "o1", "verb": "lives_at"},
        {"from": "s1", "to": "o2", "verb": "uses", "newer": True},
        {"from": "o1", "to": "o2", "verb": "seen_with"},
    ],
)


@pytest.mark.parametrize(
    ("function", "withheld"),
    [
        ("LA_ASC", ["/objects/2", "/objects/3"]),
        ("adults", ["/objects/2", "/objects/3"]),
        ("POLICE", ["/objects/2", "/objects/3"]),
        ("MASH", ["/objects/0", "/objects/3", "/relations/0", "/relations/2"]),
        ("YJS", ["/objects/0", "/objects/2", "/objects/3", "/relations/0", "/relations/2"]),
        ("MASH, LA_ASC", ["/objects/3"]),
        ("NEWER", ["/objects/0", "/objects/2", "/relations/0", "/relations/2"]),
        ("", ["/objects/0", "/objects/2", "/objects/3", "/relations/0", "/relations/2"]),
    ],
)
def test_a_recipient_gets_no_thing_that_is_not_for_its_function(function: str, withheld: list[str]) -> None:
    copy, pointers = alerts.redact(THINGS, function)
    assert pointers == withheld
    whole, left = msgspec.json.decode(THINGS), msgspec.json.decode(copy)
    for group in ("objects", "relations"):
        assert left[group] == [
            each for index, each in enumerate(whole[group]) if f"/{group}/{index}" not in withheld
        ]
        del whole[group], left[group]
    assert left == whole
    read(copy)


def test_bytes_stay_as_they_are_when_nothing_is_withheld() -> None:
    odd = b'{ "objects" : [ {"value": "1.0" , "only_for":["MASH"]} ], "x": 1.50 }'
    assert alerts.redact(odd, "MASH") == (odd, [])
    assert alerts.redact(body(), "POLICE") == (body(), [])


def test_what_is_left_keeps_its_exact_bytes() -> None:
    odd = (
        b'{"newer": 1.500, "objects":[{"value":"\\u0041","only_for":["MASH"]},{"value":"\\u0042", "n": 2.0}]}'
    )
    copy, withheld = alerts.redact(odd, "POLICE")
    assert withheld == ["/objects/0"]
    assert b'{"value":"\\u0042", "n": 2.0}' in copy
    assert b"1.500" in copy
    assert b"0041" not in copy


@given(
    st.lists(st.lists(st.sampled_from(["MASH", "LA_CSC", "police", "YJS", "NEWER"]), max_size=3), max_size=6),
    st.sampled_from(vocabulary.FUNCTION.codes),
)
def test_no_copy_holds_a_value_that_its_recipient_may_not_see(
    only_for: list[list[str]], function: str
) -> None:
    things = [{"value": f"value-{index}-", "only_for": codes} for index, codes in enumerate(only_for)]
    copy, withheld = alerts.redact(body(objects=things), function)
    for index, codes in enumerate(only_for):
        allowed = not codes or function in {vocabulary.function(code) for code in codes}
        assert (f"value-{index}-".encode() in copy) is allowed
        assert (f"/objects/{index}" in withheld) is not allowed


# --- Audience --------------------------------------------------------------------------------------------------

PLACE = {"place": {"district": "E07000110"}}


@pytest.mark.parametrize(
    ("subjects", "event", "wanted"),
    [
        ([{"age_band": "14_15"}], {}, ["MASH home", "POLICE home"]),
        ([{"age_band": "unknown"}], {}, ["MASH home", "POLICE home"]),
        ([{"sex": "male"}], {}, ["MASH home", "POLICE home"]),
        ([{"age_band": "25p"}], {}, ["POLICE home"]),
        ([{"age_band": "25p", "roles": ["witness"]}], {}, ["POLICE home"]),
        ([{"age_band": "25p", "roles": ["at_risk"]}], {}, ["LA_ASC home", "POLICE home"]),
        ([{"age_band": "25p", "cohorts": ["mental_health"]}], {}, ["LA_ASC home", "POLICE home"]),
        ([{"age_band": "18_24", "roles": ["gang_member"]}], {}, ["POLICE home", "LA_CSP home"]),
        ([{"age_band": "18_24", "roles": ["exploited", "suspected_exploiter"]}], {}, ["LA_ASC home", "POLICE home", "LA_CSP home"]),
        ([{"age_band": "16_17", "roles": ["gang_member"]}], {}, ["MASH home", "POLICE home"]),
        ([{"age_band": "16_17"}, {"age_band": "25p", "roles": ["suspected_exploiter"]}], {}, ["MASH home", "POLICE home", "LA_CSP home"]),
        ([{"age_band": "18_24", "roles": ["gang_member"]}], {"kinds": ["recruitment_out_of_area"], **PLACE}, ["POLICE home", "LA_CSP home", "POLICE place"]),
        ([{"age_band": "18_24", "roles": ["gang_member"]}], {"kinds": ["recruitment_out_of_area"]}, ["POLICE home", "LA_CSP home"]),
        ([{"age_band": "14_15"}], {"kinds": ["travel_pattern"], **PLACE}, ["MASH home", "POLICE home", "POLICE place"]),
        ([{"age_band": "14_15"}], {"kinds": ["missing_or_found"], **PLACE}, ["MASH home", "POLICE home", "POLICE place", "MASH place"]),
        ([{"age_band": "25p", "roles": ["householder_cuckooed"]}], {"kinds": ["cuckooing_concern"], **PLACE}, ["LA_ASC home", "POLICE home", "LA_ASC place", "POLICE place"]),
        ([{"age_band": "14_15"}], {"kinds": ["placement_in"], **PLACE}, ["MASH place", "POLICE place"]),
        ([{"age_band": "25p"}], {"kinds": ["release_in"], **PLACE}, ["LA_CSP place", "POLICE place", "POLICE home"]),
        ([{"age_band": "16_17"}], {"kinds": ["transition_18"], **PLACE}, ["LA_ASC home", "MH_TRUST home"]),
        ([{"age_band": "16_17"}], {"kinds": ["newer_kind"], **PLACE}, ["MASH home", "POLICE home"]),
        ([], {"kinds": ["line_phone_vehicle_address"], **PLACE}, ["POLICE home", "POLICE place"]),
    ],
)  # fmt: skip
def test_the_default_audience_follows_the_persons_and_the_kind(
    subjects: list[Any], event: dict[str, Any], wanted: list[str]
) -> None:
    given_alert = alert(subjects=subjects, event=event, objects=[{"value": "1"}])
    wants = alerts.audience(given_alert, NOW)
    assert [f"{want.function} {want.area}" for want in wants] == wanted
    assert all(want.why for want in wants)


def test_the_senders_recipients_stand_as_they_are_each_once_and_with_known_names() -> None:
    chosen = alert(
        recipients=[
            {"function": "police", "area": "E23000001", "why": "they know him"}, {"function": "LA_CSC"},
            {"function": "children", "area": "home", "why": "again"}, {"function": "POLICE", "area": "home"},
        ]
    )  # fmt: skip
    assert [(want.function, want.area, want.why) for want in alerts.audience(chosen, NOW)] == [
        ("POLICE", "E23000001", "they know him"),
        ("MASH", "home", "the sender named it"),
        ("POLICE", "home", "the sender named it"),
    ]


def test_every_alert_with_a_home_has_an_audience_and_never_the_same_twice() -> None:
    kinds: list[str | None] = [None, *vocabulary.KIND.codes]
    persons = itertools.product(vocabulary.AGE_BAND.codes, vocabulary.ROLE.codes)
    for (band, role), kind in itertools.product(persons, kinds):
        who = alert(
            subjects=[{"age_band": band, "roles": [role]}], event={"kinds": [kind] if kind else [], **PLACE}
        )
        wants = [(want.function, want.area) for want in alerts.audience(who, NOW)]
        assert wants
        assert len(set(wants)) == len(wants)


def test_a_placement_or_release_without_a_district_still_reaches_someone() -> None:
    for kind in ("placement_in", "release_in"):
        assert alerts.audience(alert(event={"kinds": [kind]}), NOW)


def test_every_row_of_the_audience_table_names_known_codes_and_can_be_met() -> None:
    for rule in alerts.AUDIENCE:
        assert rule.function in vocabulary.FUNCTION
        assert all(kind in vocabulary.KIND for kind in rule.kinds)
        assert rule.area in ("home", "place")
        assert rule.person in ("child", "adult", "adult_at_risk", "offender", "nobody", "any")


# --- Notices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agency", "legal", "here", "there", "codes"),
    [
        ("POLICE", {"gateways": ["UKGDPR_6_1_e"]}, "E", "E", []),
        ("POLICE", {"gateways": ["UKGDPR_6_1_e"]}, "E09000008", "S12000049", ["cross-border"]),
        ("MASH", {"gateways": ["CA2004_16LA"]}, "England", "Scotland", ["cross-border", "not-binding-there"]),
        ("MASH", {"gateways": ["CA2004_16LA"]}, "E", "W", ["cross-border", "not-binding-there"]),
        ("MASH", {"gateways": ["CDA_115"]}, "E", "W", ["cross-border"]),
        ("MASH", {"gateways": ["CDA_115"]}, "E", "N09000003", ["cross-border", "not-binding-there"]),
        ("MASH", {"gateways": ["CA2004_16LA"]}, "W", "W", ["not-law-here"]),
        ("MASH", {"gateways": ["CA2004_16LA"]}, "W", "E", ["cross-border", "not-law-here"]),
        ("MASH", {"gateways": ["SCOTS_LAW"]}, "E", "S", ["cross-border"]),
        ("MASH", {"gateways": ["UKGDPR_6_1_e"]}, "K02000001", "S", []),
        ("MASH", {"gateways": ["CA2004_16LA"]}, "E", None, []),
        ("MASH", {"gateways": ["NEWER_ACT"]}, "E", "E", []),
        ("MASH", {"gateways": []}, "E", "E", ["no-ground"]),
        ("GP", {"gateways": ["PCSCA_16"], "consent_state": "given"}, "E", "E", ["information-not-covered"]),
        ("LA_CSC", {"gateways": ["PCSCA_16"]}, "E", "E", ["information-not-covered"]),
        ("SCHOOL", {"gateways": ["PCSCA_16"]}, "E", "E", []),
        ("SCHOOL", {"gateways": ["CPPCR_13"]}, "E", "E", ["not-for-this-agency"]),
        ("SCHOOL", {"gateways": ["DPA_P3_S8_P4"], "part3": True}, "E", "E", ["not-for-this-agency", "not-competent-authority"]),
        ("BTP", {"gateways": ["DPA_P3_S8_P4"], "part3": True}, "E", "E", []),
        ("JCP", {"gateways": ["UKGDPR_6_1_e"]}, "E", "E", ["authority-needed"]),
        ("jobcentre", {"gateways": ["UKGDPR_6_1_e"]}, "E", "E", ["authority-needed"]),
        ("JCP", {"gateways": ["SSAA_AUTHORITY"]}, "E", "E", []),
        ("SCHOOL", {"gateways": ["SSAA_AUTHORITY"]}, "E", "E", ["not-for-this-agency"]),
        ("AE", {"gateways": ["CA2004_16LA"]}, "E", "E", ["confidentiality"]),
        ("AE", {"gateways": ["CLDC_PUBLIC_INTEREST"]}, "E", "E", []),
        (None, {"gateways": ["CPPCR_13"]}, "E", "E", []),
    ],
)  # fmt: skip
def test_the_sender_is_told_what_the_law_asks(
    agency: str | None, legal: dict[str, Any], here: str | None, there: str | None, codes: list[str]
) -> None:
    found = alerts.notices(alert(reporter={"agency_code": agency}, legal=legal), here, there)
    assert [notice.code for notice in found] == codes
    assert all(notice.sentence.endswith(".") for notice in found)


# --- Keeping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retention", "observed", "until"),
    [
        ({}, "2026-11-20T10:00:00Z", date(2027, 11, 20)),
        ({}, None, date(2027, 11, 22)),
        ({}, "2025-12-01T10:00:00Z", date(2026, 12, 22)),
        ({}, "2015-12-01T10:00:00Z", date(2026, 12, 22)),
        ({"until": "2027-01-31"}, None, date(2027, 1, 31)),
        ({"until": "2036-01-31"}, None, date(2027, 11, 22)),
        ({"class": "ADOPTED"}, "2026-01-01T10:00:00Z", date(2027, 11, 22)),
        ({"class": "EXERCISE"}, None, date(2026, 11, 29)),
        ({"class": "MISTAKEN"}, None, date(2026, 12, 6)),
    ],
)
def test_content_is_kept_by_its_class_and_the_sender_may_shorten_it(
    retention: dict[str, Any], observed: str | None, until: date
) -> None:
    kept = alert(retention=retention, event={"observed_from": observed})
    assert alerts.keep_until(kept, NOW) == until


def test_settings_may_change_a_class_within_its_ceiling() -> None:
    default = vocabulary.retention_class("UNADOPTED")
    assert default is not None
    shorter = {"UNADOPTED": msgspec.structs.replace(default, days=60)}
    longer = {"UNADOPTED": msgspec.structs.replace(default, days=9999)}
    assert alerts.keep_until(alert(), NOW, shorter) == TODAY + timedelta(days=60)
    assert alerts.keep_until(alert(), NOW, longer) == TODAY + timedelta(days=730)


@pytest.mark.parametrize("code", ["HOLD", "newer"])
def test_a_class_without_a_time_of_its_own_cannot_be_sent(code: str) -> None:
    with pytest.raises(Rejected) as refused:
        alerts.keep_until(alert(retention={"class": code}), NOW)
    assert refused.value.facts == {"pointer": "/retention/class"}
