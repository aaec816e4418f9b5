"""Where an alert goes: the most specific partner, a visible fallback, or held; never broadcast, never picked."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.areas import UNITED_KINGDOM, shipped
from bridge.routing import DESKS, Coverage, Leg, Need, explain, gaps, overlaps, route

UK = shipped()
TODAY = date(2026, 11, 22)
HANDOVER = date(2027, 4, 1)

CROYDON, MAIDSTONE, MEDWAY, THANET, LUTON, WOKING = (
    "E09000008",
    "E07000110",
    "E06000035",
    "E07000114",
    "E06000032",
    "E07000217",
)
KENT, KENT_POLICE, MET, SOUTH_EAST, LONDON = "E10000016", "E23000032", "E23000001", "E12000008", "E12000007"

CROYDON_MASH = Coverage("croydon-mash", "Croydon MASH", CROYDON, "MASH")
KENT_MASH = Coverage("kent-mash", "Kent MASH", KENT, "MASH")
KENT_FORCE = Coverage("kent-police", "Kent Police", KENT_POLICE, "POLICE")
MET_FORCE = Coverage("met", "Metropolitan Police", MET, "POLICE")
SEROCU = Coverage("serocu", "South East desk", SOUTH_EAST, "ROCU")
NCLCC = Coverage("nclcc", "National desk", UNITED_KINGDOM, "NCLCC")
EVERYBODY = (CROYDON_MASH, KENT_MASH, KENT_FORCE, MET_FORCE, SEROCU, NCLCC)


def one(need: Need, *coverages: Coverage, on: date = TODAY, own_area: str | None = None) -> Leg:
    legs = route([need], UK, coverages, on, own_area)
    assert len(legs) == 1
    return legs[0]


@pytest.mark.parametrize(
    ("need", "node", "step", "because"),
    [
        pytest.param(
            Need("MASH", CROYDON, because="CR0 is Croydon"),
            "croydon-mash",
            "district",
            "goes to Croydon MASH because CR0 is Croydon",
            id="the district's own node",
        ),
        pytest.param(
            Need("MASH", MAIDSTONE, because="Maidstone was named as the home area"),
            "kent-mash",
            "upper",
            "goes to Kent MASH because Maidstone was named as the home area, and Maidstone is in Kent",
            id="the county's node",
        ),
        pytest.param(
            Need("POLICE", MAIDSTONE),
            "kent-police",
            "force",
            "goes to Kent Police because Maidstone is in the area of Kent Police",
            id="the force",
        ),
        pytest.param(
            Need("MASH", MEDWAY),
            "kent-police",
            "fallback-force",
            "goes to Kent Police because nobody serves Medway as children's services front door",
            id="no MASH: the force; Medway is not in the county council's area",
        ),
        pytest.param(
            Need("MASH", "E06000044", because="Portsmouth was named as the home area"),
            "serocu",
            "fallback-desk",
            "goes to South East desk because Portsmouth was named as the home area, and nobody serves Portsmouth as children's services front door",
            id="no force either: the regional desk",
        ),
        pytest.param(
            Need("MASH", LUTON),
            "nclcc",
            "fallback-desk",
            "goes to National desk because nobody serves Luton as children's services front door",
            id="no regional desk: the national one",
        ),
        pytest.param(
            Need("ROCU", MAIDSTONE),
            "serocu",
            "region",
            "goes to South East desk because Maidstone is in South East",
            id="a desk asked for by name",
        ),
        pytest.param(
            Need("MASH", KENT),
            "kent-mash",
            "upper",
            "goes to Kent MASH because it covers Kent County Council",
            id="a home area known as a county only",
        ),
    ],
)
def test_the_most_specific_partner_is_chosen_then_the_fallbacks(
    need: Need, node: str, step: str, because: str
) -> None:
    leg = one(need, *EVERYBODY)
    assert (leg.node, leg.step, leg.because, leg.conflict) == (node, step, because, ())


def test_a_district_node_goes_before_the_county_and_is_no_conflict() -> None:
    thanet = Coverage("thanet-csc", "Thanet team", THANET, "MASH")
    assert one(Need("MASH", THANET), thanet, *EVERYBODY).node == "thanet-csc"
    assert one(Need("MASH", MAIDSTONE), thanet, *EVERYBODY).node == "kent-mash"


def test_nobody_at_all_holds_the_alert_for_the_operator() -> None:
    leg = one(Need("MASH", MAIDSTONE, why="home area"))
    assert (leg.node, leg.step, leg.why) == (None, "held", "home area")
    assert leg.because.startswith("is held because nobody serves Maidstone as children's services front door")


@pytest.mark.parametrize(
    ("own_area", "coverages", "node"),
    [
        (MAIDSTONE, EVERYBODY, "serocu"),
        (CROYDON, EVERYBODY, "nclcc"),  # no desk for London: the national one, never another region's
        (None, EVERYBODY, "nclcc"),
        (MAIDSTONE, (KENT_MASH, KENT_FORCE), None),  # the sender's own police are no desk
        (None, (SEROCU,), None),
    ],
)
def test_an_unknown_home_goes_to_the_desk_of_the_senders_region(
    own_area: str | None, coverages: tuple[Coverage, ...], node: str | None
) -> None:
    leg = one(Need("MASH", None), *coverages, own_area=own_area)
    assert leg.node == node
    assert leg.step == ("fallback-desk" if node else "held")
    assert "the home area is not known" in leg.because


def test_two_partners_for_one_area_and_function_hold_the_alert_and_are_both_named() -> None:
    other = Coverage("kent-two", "Kent Two", KENT, "MASH")
    leg = one(Need("MASH", MAIDSTONE), other, *EVERYBODY)
    assert (leg.node, leg.step, set(leg.conflict)) == (None, "held", {"kent-mash", "kent-two"})
    assert "without a hand-over date" in leg.because


def test_two_partners_in_conflict_on_a_fallback_hold_it_too() -> None:
    other = Coverage("kent-police-2", "Kent Police II", KENT_POLICE, "POLICE")
    assert one(Need("MASH", MEDWAY), other, *EVERYBODY).conflict == ("kent-police-2", "kent-police")


def test_one_node_with_the_same_coverage_twice_is_no_conflict() -> None:
    assert one(Need("MASH", MAIDSTONE), KENT_MASH, KENT_MASH).node == "kent-mash"


@pytest.mark.parametrize(
    ("on", "node"),
    [
        (date(2027, 3, 31), "surrey-mash"),
        (HANDOVER, "west-surrey-mash"),
        (date(2028, 1, 1), "west-surrey-mash"),
    ],
)
def test_a_hand_over_changes_the_node_on_its_day(on: date, node: str) -> None:
    old = Coverage("surrey-mash", "Surrey MASH", WOKING, "MASH", valid_to=HANDOVER)
    new = Coverage("west-surrey-mash", "West Surrey MASH", WOKING, "MASH", valid_from=HANDOVER)
    assert one(Need("MASH", WOKING), old, new, on=on).node == node


def test_an_open_ended_claim_beside_a_newer_one_is_a_conflict_from_that_day() -> None:
    old = Coverage("surrey-mash", "Surrey MASH", WOKING, "MASH")
    new = Coverage("west-surrey-mash", "West Surrey MASH", WOKING, "MASH", valid_from=HANDOVER)
    assert one(Need("MASH", WOKING), old, new, on=date(2027, 3, 31)).node == "surrey-mash"
    assert one(Need("MASH", WOKING), old, new, on=HANDOVER).conflict == ("surrey-mash", "west-surrey-mash")


@pytest.mark.parametrize(
    "out",
    [
        Coverage("croydon-mash", "Croydon MASH", CROYDON, "MASH", active=False),
        Coverage("croydon-mash", "Croydon MASH", CROYDON, "MASH", valid_from=date(2026, 11, 23)),
        Coverage("croydon-mash", "Croydon MASH", CROYDON, "MASH", valid_to=TODAY),
        Coverage("croydon-mash", "Croydon MASH", CROYDON, "MASH", exercise=True),
        Coverage("croydon-mash", "Croydon MASH", CROYDON, "YJS"),
    ],
    ids=["inactive", "not yet", "over today", "in exercise mode", "another function"],
)
def test_a_coverage_that_does_not_count_is_passed_over(out: Coverage) -> None:
    assert one(Need("MASH", CROYDON), out, MET_FORCE).node == "met"


def test_an_exercise_reaches_nodes_in_exercise_mode_alone() -> None:
    trainer = Coverage("dorset-exercise", "Dorset", "E06000059", "MASH", exercise=True)
    live = Coverage("dorset", "Dorset", "E06000059", "MASH")
    needs = [Need("MASH", "E06000059")]
    assert [leg.node for leg in route(needs, UK, [trainer, live], TODAY, exercise=True)] == [
        "dorset-exercise"
    ]
    assert [leg.node for leg in route(needs, UK, [trainer, live], TODAY)] == ["dorset"]
    assert [leg.node for leg in route(needs, UK, [live, *EVERYBODY], TODAY, exercise=True)] == [None]


def test_needs_that_meet_in_one_node_make_one_leg_with_every_reason_in_order() -> None:
    yjs = Coverage("croydon-mash", "Croydon MASH", CROYDON, "YJS")
    needs = [
        Need("MASH", CROYDON, "child at risk", "CR0 is Croydon"),
        Need("POLICE", CROYDON, "crime"),
        Need("YJS", CROYDON, "youth justice", "CR0 is Croydon"),
        Need("LA_CSP", CROYDON, "community safety"),
    ]
    first, second = route(needs, UK, [*EVERYBODY, yjs], TODAY)
    assert (first.node, first.function, first.wanted) == ("croydon-mash", "MASH, YJS", "MASH, YJS")
    assert first.why == "child at risk; youth justice"
    assert first.because == "goes to Croydon MASH because CR0 is Croydon"
    assert (second.node, second.function, second.wanted) == ("met", "POLICE", "POLICE, LA_CSP")
    assert second.because.endswith("goes to Metropolitan Police because nobody serves Croydon as community safety partnership")


def test_host_and_home_area_each_get_their_own_leg() -> None:
    legs = route(
        [Need("MASH", CROYDON), Need("MASH", MAIDSTONE), Need("POLICE", CROYDON)], UK, EVERYBODY, TODAY
    )
    assert [leg.node for leg in legs] == ["croydon-mash", "kent-mash", "met"]


def test_a_coverage_under_a_code_that_was_only_renumbered_goes_on() -> None:
    barnsley = Coverage("barnsley-mash", "Barnsley MASH", "E08000016", "MASH")
    assert one(Need("MASH", "E08000038"), barnsley).node == "barnsley-mash"


def test_a_coverage_of_a_merged_district_does_not_grow_to_the_whole() -> None:
    corby = Coverage("corby", "Corby", "E07000150", "MASH")
    assert one(Need("MASH", "E06000061"), corby).node is None


def test_a_need_for_a_retired_code_goes_to_its_successor() -> None:
    north = Coverage("north-northants", "North Northamptonshire", "E06000061", "MASH")
    assert one(Need("MASH", "E07000150"), north).node == "north-northants"


@pytest.mark.parametrize("area", ["E10000006", "E06999999", ""])
def test_a_need_for_no_single_area_is_held(area: str) -> None:
    assert one(Need("MASH", area), *EVERYBODY).step == "held"


def test_the_explanation_lists_every_place_looked_at_and_ends_with_the_outcome() -> None:
    lines = explain(Need("MASH", MEDWAY), UK, EVERYBODY, TODAY)
    assert lines[0] == "district Medway: no MASH node"
    assert "force Kent Police: kent-police POLICE node" in lines
    assert lines[-1] == "goes to Kent Police because nobody serves Medway as children's services front door"


def test_gaps_name_each_district_that_nobody_covers() -> None:
    found = gaps(EVERYBODY, UK, "MASH", TODAY)
    assert "nobody serves E06000035 (Medway) as children's services front door" in map(str, found)
    assert len(found) == 361 - 1 - 12  # Croydon, and the twelve districts of Kent
    first = next(map(str, gaps([], UK, "MASH", TODAY, within=KENT)))
    assert first == "nobody serves E07000105 (Ashford) as children's services front door"
    assert gaps([KENT_MASH], UK, "MASH", TODAY, within=KENT) == ()


def test_overlaps_name_the_nodes_and_the_time_they_clash() -> None:
    old = Coverage("surrey-mash", "Surrey MASH", WOKING, "MASH", valid_to=date(2027, 6, 1))
    new = Coverage("west-surrey-mash", "West Surrey MASH", WOKING, "MASH", valid_from=HANDOVER)
    (clash,) = overlaps([old, new, *EVERYBODY], UK)
    assert str(clash) == "surrey-mash and west-surrey-mash both claim MASH for E07000217 (Woking)"
    assert (clash.begins, clash.ends) == (HANDOVER, date(2027, 6, 1))
    assert overlaps([old, new], UK, TODAY) == ()
    assert len(overlaps([old, new], UK, date(2027, 5, 1), "MASH")) == 1


def test_a_clean_hand_over_is_no_overlap() -> None:
    old = Coverage("a", "A", WOKING, "MASH", valid_to=HANDOVER)
    new = Coverage("b", "B", WOKING, "MASH", valid_from=HANDOVER)
    assert overlaps([old, new], UK) == ()


AREAS = [
    CROYDON,
    MAIDSTONE,
    MEDWAY,
    THANET,
    LUTON,
    WOKING,
    KENT,
    KENT_POLICE,
    MET,
    SOUTH_EAST,
    LONDON,
    UNITED_KINGDOM,
]
FUNCTIONS = ["MASH", "POLICE", "LA_CSP", "YJS", "ROCU", "NCLCC", "NCA"]
DAYS = st.none() | st.dates(date(2026, 1, 1), date(2028, 1, 1))
COVERAGES = st.lists(
    st.builds(
        Coverage,
        node=st.sampled_from("abcdef"),
        name=st.just("N"),
        area=st.sampled_from(AREAS),
        function=st.sampled_from(FUNCTIONS),
        valid_from=DAYS,
        valid_to=DAYS,
        active=st.booleans(),
        exercise=st.booleans(),
    ),
    max_size=15,
)
NEEDS = st.lists(
    st.builds(Need, function=st.sampled_from(FUNCTIONS), area=st.none() | st.sampled_from(AREAS)), max_size=6
)


@given(NEEDS, COVERAGES, st.sampled_from([None, *AREAS]), st.booleans())
def test_nothing_is_broadcast_and_nobody_without_a_claim_is_reached(
    needs: list[Need], coverages: list[Coverage], own_area: str | None, exercise: bool
) -> None:
    legs = route(needs, UK, coverages, TODAY, own_area, exercise)
    assert len(legs) <= len(needs)
    reached = [leg.node for leg in legs if leg.node is not None]
    assert len(reached) == len(set(reached))
    for leg in legs:
        if leg.node is None:
            assert leg.step == "held"
            assert leg.because.startswith("is held because")
            continue
        assert leg.conflict == ()
        for function in leg.function.split(", "):
            claims = [
                c
                for c in coverages
                if c.node == leg.node and c.function == function and c.on(TODAY) and c.exercise == exercise
            ]
            served = [
                need
                for need in needs
                if any(
                    UK.within(need.area or own_area or UNITED_KINGDOM, claim.area)
                    and function in (need.function, "POLICE", *DESKS)
                    for claim in claims
                )
            ]
            assert served, "a node was reached that neither covers the place nor is its desk"


@given(NEEDS, COVERAGES)
def test_routing_does_not_depend_on_the_order_in_which_partners_are_listed(
    needs: list[Need], coverages: list[Coverage]
) -> None:
    there, back = route(needs, UK, coverages, TODAY), route(needs, UK, coverages[::-1], TODAY)
    assert [(leg.node, leg.step, leg.area, set(leg.conflict)) for leg in there] == [
        (leg.node, leg.step, leg.area, set(leg.conflict)) for leg in back
    ]
