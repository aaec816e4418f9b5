"""What a worker types becomes an area, several with shares, or a question; never a silent guess."""

import csv
import importlib.resources
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.areas import (
    ATTRIBUTION,
    CERTAIN,
    GSS,
    PSNI,
    UNITED_KINGDOM,
    Found,
    Gazetteer,
    day_of,
    hexagons,
    key_of,
    percent,
    shipped,
)

TODAY = date(2026, 11, 22)
DATA = importlib.resources.files("bridge") / "data"


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


class Directory:
    """A directory of a few postcodes, in the form that an imported one has."""

    vintage = "May 2026"

    def __init__(self, postcodes: dict[str, Found], shares: dict[str, tuple[tuple[str, int], ...]]) -> None:
        self._postcodes = postcodes
        self._shares = shares

    def find(self, postcode: str) -> Found | None:
        return self._postcodes.get(postcode)

    def shares(self, unit: str) -> tuple[tuple[str, int], ...]:
        return self._shares.get(unit, ())


IMPORTED = Directory(
    {
        "CR02AB": Found("E09000008", known=True),
        "DA14PX": Found("E09000004", known=True),
        "DA14ZZ": Found("E09000004", known=False),
        "S12HE": Found("E08000019", known=True),
        "LU11AA": Found("E06000032", known=True, ended=True),
        "NN11AA": Found("E07000154", known=True),
    },
    {"DA1 4": (("E09000004", 610), ("E07000107", 390)), "DA1 5": (("E07000107", 1000),)},
)


@pytest.fixture(scope="module")
def uk() -> Gazetteer:
    return shipped()


# --- The data ------------------------------------------------------------------------------------------------------


def test_the_shipped_areas_are_the_whole_united_kingdom(uk: Gazetteer) -> None:
    assert len(uk.areas("district")) == 361
    assert len(uk.areas("upper")) == 218
    assert sum(a.code.startswith("E") for a in uk.areas("upper")) == 153
    assert len(uk.areas("force")) == 45
    assert len([a for a in uk.areas("force") if a.code[0] in "EW"]) == 43
    assert {a.name for a in uk.areas("region")} >= {"London", "Yorkshire and The Humber"}
    assert len(uk.areas("country")) == 5


def test_every_district_has_an_upper_authority_a_force_and_a_country(uk: Gazetteer) -> None:
    for district in uk.areas("district"):
        chain = uk.chain(district.code)
        levels = [area.level for area in chain]
        assert levels[0] == "district"
        assert district.upper == district.code or levels[1] == "upper"
        assert "force" in levels
        assert chain[-1].code == UNITED_KINGDOM
        assert len({area.code for area in chain}) == len(chain)


def test_no_two_districts_share_a_name_and_no_district_has_a_countys(uk: Gazetteer) -> None:
    names = [key_of(area.name) for area in uk.areas("district")]
    assert len(set(names)) == len(names)
    assert not set(names) & {key_of(a.name) for a in uk.areas("upper") if a.level == "upper"}


def test_every_code_in_the_data_files_is_a_known_area(uk: Gazetteer) -> None:
    aliases = {row["code"] for row in rows("aliases")}
    shares = {row["gss_code"] for row in rows("outcode_areas")}
    assert not [code for code in aliases | shares if uk.area(code) is None]
    for row in rows("successors"):
        assert GSS.fullmatch(row["code"])
        assert uk.successors(row["code"], TODAY), row["code"]


def test_every_name_leads_to_its_area(uk: Gazetteer) -> None:
    lost = []
    for row in rows("aliases"):
        if row["kind"] in ("county", "postal", "part", "force", "region", "country"):
            continue  # wider senses, which give way to a place of the same name
        found = uk.resolve(row["alias"], TODAY)
        mine = uk.chain(row["code"])
        if not any(c.area.code == row["code"] or c.area in mine for c in found.candidates):
            wider = {c.area.code for c in found.candidates}
            if not wider & {
                other["code"] for other in rows("aliases") if key_of(other["alias"]) == key_of(row["alias"])
            }:
                lost.append(row["alias"])
    assert lost == []


def test_every_area_is_found_by_its_own_name_or_asked_about(uk: Gazetteer) -> None:
    for level in ("district", "upper"):
        for area in uk.areas(level):
            for text in (
                area.name,
                area.name.upper(),
                area.label,
                f"{area.label.removesuffix(' County Council')} Council",
            ):
                assert area in [c.area for c in uk.resolve(text, TODAY).candidates], text


def test_the_attribution_names_every_owner() -> None:
    for owner in ("Office for National Statistics", "Open Government Licence", "OS data", "Royal Mail"):
        assert owner in ATTRIBUTION


# --- Codes, parents, successors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "chain"),
    [
        ("E07000110", ["E07000110", "E10000016", "E23000032", "E12000008", "E92000001", UNITED_KINGDOM]),
        ("E09000008", ["E09000008", "E23000001", "E12000007", "E92000001", UNITED_KINGDOM]),
        ("W06000022", ["W06000022", "W15000002", "W92000004", UNITED_KINGDOM]),
        ("S12000049", ["S12000049", "S23000009", "S92000003", UNITED_KINGDOM]),
        ("N09000003", ["N09000003", PSNI, "N92000002", UNITED_KINGDOM]),
        ("E10000016", ["E10000016", "E23000032", "E12000008", "E92000001", UNITED_KINGDOM]),
        ("E12000007", ["E12000007", "E92000001", UNITED_KINGDOM]),
        ("E08000016", []),
        ("X00000000", []),
    ],
)
def test_a_chain_runs_from_the_area_to_the_united_kingdom(uk: Gazetteer, code: str, chain: list[str]) -> None:
    assert [area.code for area in uk.chain(code)] == chain


@pytest.mark.parametrize(
    ("inner", "outer", "lies"),
    [
        ("E07000110", "E10000016", True),
        ("E07000110", "E23000032", True),
        ("E07000110", "E07000110", True),
        (
            "E06000035",
            "E10000016",
            False,
        ),  # Medway is policed by Kent and is no part of the county council's area
        ("E06000035", "E23000032", True),
        ("E09000001", "E23000001", False),  # the City has its own force
        ("E10000016", "E07000110", False),
        ("E08000016", "E23000011", False),
    ],
)
def test_within(uk: Gazetteer, inner: str, outer: str, lies: bool) -> None:
    assert uk.within(inner, outer) is lies


RETIRED = {
    "E06000028 E06000029 E07000048": "E06000058",
    "E07000049 E07000050 E07000051 E07000052 E07000053": "E06000059",
    "E07000201 E07000204": "E07000245",
    "E07000205 E07000206": "E07000244",
    "E07000190 E07000191 E07000246": "E06000066",  # two steps: Somerset West and Taunton ended in 2023
    "E07000004 E07000005 E07000006 E07000007": "E06000060",
    "E07000150 E07000152 E07000153 E07000156": "E06000061",
    "E07000151 E07000154 E07000155": "E06000062",
    "E07000026 E07000028 E07000029": "E06000063",
    "E07000027 E07000030 E07000031": "E06000064",
    "E07000163 E07000164 E07000165 E07000166 E07000167 E07000168 E07000169": "E06000065",
    "E07000187 E07000188 E07000189": "E06000066",
    "E07000097": "E07000242",
    "E07000100": "E07000240",
    "E07000101": "E07000243",
    "E07000104": "E07000241",
    "E06000048": "E06000057",
    "E08000016": "E08000038",
    "E08000019": "E08000039",
    "E08000020": "E08000037",
    "S12000015": "S12000047",
    "S12000024": "S12000048",
    "S12000044": "S12000050",
    "S12000046": "S12000049",
}


@pytest.mark.parametrize(("codes", "successor"), RETIRED.items(), ids=lambda text: text.split()[0])
def test_a_retired_code_leads_to_its_successor_and_says_so(uk: Gazetteer, codes: str, successor: str) -> None:
    for code in codes.split():
        assert uk.district(code) is None
        found = uk.resolve(code, TODAY)
        assert found.certain is not None
        assert found.certain.area.code == successor
        assert found.method == "code"
        assert code in found.certain.because
        assert " 20" in found.certain.because  # the date


def test_a_former_county_that_was_split_is_a_question(uk: Gazetteer) -> None:
    found = uk.resolve("E10000006", TODAY)
    assert found.certain is None
    assert [c.area.code for c in found.candidates] == ["E06000063", "E06000064"]
    assert uk.successor("E10000006", TODAY) is None


def test_surrey_goes_on_until_its_new_codes_are_issued_and_says_what_is_announced(uk: Gazetteer) -> None:
    before, after = uk.resolve("Woking", date(2027, 3, 31)), uk.resolve("Woking", date(2027, 4, 1))
    for found in (before, after):
        assert found.certain is not None
        assert found.certain.area.code == "E07000217"
    assert "Woking ends when West Surrey follows on 1 April 2027" in before.note
    assert "Woking ended when West Surrey follows on 1 April 2027" in after.note


def test_a_successor_takes_over_on_its_day_once_its_code_is_in_the_data(uk: Gazetteer) -> None:
    from bridge.areas import Successor

    west = "E06999999"
    areas = {a.code: a for level in ("district", "force", "region", "country") for a in uk.areas(level)}  # type: ignore[arg-type]
    from msgspec.structs import replace

    areas[west] = replace(areas["E07000217"], code=west, name="West Surrey", upper=west)
    change = Successor("E07000217", "Woking", west, "West Surrey", date(2027, 4, 1), 1000)
    later = Gazetteer(areas, {}, [change], [("Woking", "E07000217", "official")])
    assert later.successor("E07000217", date(2027, 3, 31)) == areas["E07000217"]
    assert later.successor("E07000217", date(2027, 4, 1)) == areas[west]
    found = later.resolve("Woking", date(2027, 4, 1)).certain
    assert found is not None
    assert found.area.code == west


@pytest.mark.parametrize("code", ["E06999999", "E99999999", "L99999999", "E10000099"])
def test_an_unknown_code_is_no_area(uk: Gazetteer, code: str) -> None:
    found = uk.resolve(code, TODAY)
    assert found.method == "unknown"
    assert found.candidates == ()
    assert found.question()


# --- Names ---------------------------------------------------------------------------------------------------------

CERTAIN_NAMES = {
    # districts, however written
    "Croydon": "E09000008",
    "  cRoYdOn ": "E09000008",
    "London Borough of Croydon": "E09000008",
    "LB Croydon": "E09000008",
    "Croydon Council": "E09000008",
    "Royal Borough of Kensington & Chelsea": "E09000020",
    "Bristol": "E06000023",
    "Bristol, City of": "E06000023",
    "City of Bristol": "E06000023",
    "Bristol City Council": "E06000023",
    "Kingston upon Hull": "E06000010",
    "Kingston-upon-Hull, City of": "E06000010",
    "Hull": "E06000010",
    "Herefordshire": "E06000019",
    "Bournemouth, Christchurch and Poole": "E06000058",
    "BCP": "E06000058",
    "Brighton": "E06000043",
    "Brighton & Hove City Council": "E06000043",
    "St Helens": "E08000013",
    "Saint Helens": "E08000013",
    "St. Albans": "E07000240",
    "Kings Lynn": "E07000146",
    "King's Lynn and West Norfolk": "E07000146",
    "Newcastle upon Tyne": "E08000021",
    "Newcastle-under-Lyme Borough Council": "E07000195",
    "County Durham": "E06000047",
    "Durham": "E06000047",
    "City of York Council": "E06000014",
    "City of London": "E09000001",
    "Glasgow": "S12000049",
    "City of Edinburgh Council": "S12000036",
    "Western Isles": "S12000013",
    "Derry": "N09000005",
    "Newport City Council": "W06000022",
    "Richmond upon Thames": "E09000027",
    "B&NES": "E06000022",
    # Welsh
    "Ynys Môn": "W06000001",
    "Ynys Mon": "W06000001",
    "Cyngor Gwynedd": "W06000002",
    "Conwy": "W06000003",
    "Sir Ddinbych": "W06000004",
    "Sir y Fflint": "W06000005",
    "Wrecsam": "W06000006",
    "Ceredigion": "W06000008",
    "Sir Benfro": "W06000009",
    "Sir Gâr": "W06000010",
    "Abertawe": "W06000011",
    "Castell-nedd Port Talbot": "W06000012",
    "Pen-y-bont ar Ogwr": "W06000013",
    "Bro Morgannwg": "W06000014",
    "Caerdydd": "W06000015",
    "Cyngor Caerdydd": "W06000015",
    "Rhondda Cynon Taff": "W06000016",
    "Caerffili": "W06000018",
    "Blaenau Gwent": "W06000019",
    "Tor-faen": "W06000020",
    "Sir Fynwy": "W06000021",
    "Casnewydd": "W06000022",
    "Powys": "W06000023",
    "Merthyr Tudful": "W06000024",
    "Cymru": "W92000004",
    # counties
    "Kent County Council": "E10000016",
    "Nottinghamshire County Council": "E10000024",
    "Notts County Council": "E10000024",
    "Herts": "E10000015",
    "Surrey": "E10000030",
    "Somerset": "E06000066",
    "Somerset County Council": "E06000066",
    "Dorset": "E06000059",
    "Buckinghamshire": "E06000060",
    "Bucks": "E06000060",
    # forces
    "Met": "E23000001",
    "Met Police": "E23000001",
    "the Metropolitan Police Service": "E23000001",
    "City of London Police": "E23000034",
    "GMP": "E23000005",
    "Greater Manchester": "E23000005",
    "West Mids Police": "E23000014",
    "West Midlands Police": "E23000014",
    "Kent Police": "E23000032",
    "Northamptonshire Police": "E23000022",
    "Durham Constabulary": "E23000008",
    "Devon & Cornwall": "E23000035",
    "Devon and Cornwall Police": "E23000035",
    "Dyfed-Powys Police": "W15000004",
    "Heddlu De Cymru": "W15000003",
    "Police Scotland": "S23000009",
    "Scotland": "S23000009",
    "PSNI": PSNI,
    "Northern Ireland": PSNI,
    # regions
    "London": "E12000007",
    "Greater London": "E12000007",
    "Yorkshire & the Humber": "E12000003",
    "the South East": "E12000008",
    "East of England": "E12000006",
    # former districts
    "Corby": "E06000061",
    "Northampton": "E06000062",
    "Poole": "E06000058",
    "Harrogate Borough Council": "E06000065",
    "Taunton Deane": "E06000066",
    "Barrow-in-Furness": "E06000064",
    "Shepway": "E07000112",
    # towns
    "Margate": "E07000114",
    "Folkestone": "E07000112",
    "Maidstone": "E07000110",
    "Luton": "E06000032",
    "Hastings": "E07000062",
    "Bury St Edmunds": "E07000245",
    # narrowed by a second name
    "Margate, Kent": "E07000114",
    "Newport, Isle of Wight": "E06000046",
    "Newport (Shropshire)": "E06000020",
    "Ashford Kent": "E07000105",
    "Ashford, Surrey": "E07000213",
    "Richmond, North Yorkshire": "E06000065",
    "Gillingham, Kent": "E06000035",
    "Croydon, Surrey": "E09000008",  # a postal county, long left
    "Bournemouth, Dorset": "E06000058",
    "from Leeds": "E08000035",
}


@pytest.mark.parametrize(("text", "code"), CERTAIN_NAMES.items(), ids=CERTAIN_NAMES.keys())
def test_a_clear_name_is_certain(uk: Gazetteer, text: str, code: str) -> None:
    found = uk.resolve(text, TODAY)
    assert found.certain is not None
    assert (found.certain.area.code, found.method) == (code, "name")
    assert found.certain.because
    assert found.vintage == "June 2026"


UNCLEAR_NAMES = {
    "Newport": {"W06000022", "E06000046", "E06000020"},
    "Richmond": {"E09000027", "E06000065"},
    "Newcastle": {"E08000021", "E07000195"},
    "Ashford": {"E07000105", "E07000213"},
    "Gillingham": {"E06000035", "E06000059"},
    "Kingston": {"E09000021", "E06000010"},
    "Bangor": {"W06000002", "N09000011"},
    "Stratford": {"E09000025", "E07000221"},
    "West Midlands": {"E23000014", "E12000005"},
    "Kent": {"E10000016", "E06000035"},
    "Nottinghamshire": {"E10000024", "E06000018"},
    "Notts": {"E10000024", "E06000018"},
    "Cumbria": {"E06000063", "E06000064"},
    "Northamptonshire": {"E06000061", "E06000062"},
    "Beds": {"E06000055", "E06000056", "E06000032"},
    "Sussex": {"E10000011", "E10000032", "E06000043"},
    "East Surrey": {"E07000207", "E07000208", "E07000210", "E07000211", "E07000215"},
    "Clapham": {"E09000022", "E09000032"},
    "Newport, Essex": {"W06000022", "E06000046", "E06000020", "E10000012", "E06000033", "E06000034"},
}


@pytest.mark.parametrize(("text", "codes"), UNCLEAR_NAMES.items(), ids=UNCLEAR_NAMES.keys())
def test_an_unclear_name_is_a_question(uk: Gazetteer, text: str, codes: set[str]) -> None:
    found = uk.resolve(text, TODAY)
    assert found.certain is None
    assert {c.area.code for c in found.candidates} == codes
    assert found.question().endswith("Which is it?")


def test_south_london_names_boroughs_without_shares(uk: Gazetteer) -> None:
    found = uk.resolve("Ghost, from south London", TODAY)
    assert found.certain is None
    assert len(found.candidates) == 12
    assert {c.permille for c in found.candidates} == {0}
    assert all(c.area.force == "E23000001" for c in found.candidates)
    assert "5 others" in found.question()


def test_an_old_record_of_dorset_means_the_county(uk: Gazetteer) -> None:
    old = uk.resolve("Dorset", date(2018, 6, 1))
    assert [c.area.code for c in old.candidates] == ["E06000059", "E06000058"]
    assert old.certain is None
    new = uk.resolve("Dorset", date(2019, 4, 1)).certain
    assert new is not None
    assert new.area.code == "E06000059"


@pytest.mark.parametrize(
    "text", ["", "   ", "\x00", "é", "zzzz", "he did not say", "x" * 5000, "British Transport Police"]
)
def test_what_is_no_place_is_unknown_and_asks(uk: Gazetteer, text: str) -> None:
    found = uk.resolve(text, TODAY)
    assert (found.method, found.candidates, found.certain) == ("unknown", (), None)
    assert "Which postcode, council, county, police force or town is it?" in found.question()


# --- Postcodes -----------------------------------------------------------------------------------------------------


def test_part_of_a_postcode_asks_and_names_the_shares(uk: Gazetteer) -> None:
    found = uk.resolve("DA1", TODAY)
    assert found.method == "partial"
    assert found.certain is None
    assert found.question() == "DA1 lies in Dartford (83 %) and Bexley (17 %). Which is it?"
    assert found.candidates[0].because == "83 % of DA1 is Dartford"
    assert {c.area.force for c in found.candidates} == {"E23000032", "E23000001"}
    assert found.vintage == "May 2025"


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("da1", "DA1"),
        ("DA1 5", "DA1"),
        ("DA15", "DA15"),  # an outward code of its own, not DA1 5
        ("DA1 5NZ", "DA1"),
        ("da15nz", "DA1"),
        ("DA1-5NZ", "DA1"),
        ("DA155", "DA15"),
        ("sw1a", "SW1A"),
        ("SW1A 2AA", "SW1A"),
        ("E1W 1AA", "E1W"),
        ("M1 1AA", "M1"),
        ("12 High Street, Croydon, Surrey CR0 2AB", "CR0"),
        ("Croydon, CR0", "CR0"),
        ("croydon cr0", "CR0"),
        ("Dartford DA1 4PX", "DA1"),  # the post town, which says nothing of the district
    ],
)
def test_a_postcode_without_a_directory_is_read_by_its_first_part(
    uk: Gazetteer, text: str, about: str
) -> None:
    found = uk.resolve(text, TODAY)
    assert (found.method, found.about) == ("partial", about)
    assert ("first part only" in found.note) == (
        " ".join(text.split()).upper() not in ("DA1", "DA15", "SW1A", "CROYDON, CR0", "CROYDON CR0")
    )


@pytest.mark.parametrize(
    ("text", "outcode", "why"),
    [
        ("M1", "M1", "M1 is Manchester"),
        ("S1", "S1", "S1 is Sheffield"),
        ("L1 8JQ", "L1", "L1 is Liverpool"),
    ],
)
def test_an_outward_code_of_one_district_is_certain(uk: Gazetteer, text: str, outcode: str, why: str) -> None:
    found = uk.resolve(text, TODAY)
    assert found.certain is not None
    assert found.certain.because == why
    assert found.about == outcode


@pytest.mark.parametrize("text", ["CRO 2AB", "cro2ab", "CRO", "CR0 2AB"])
def test_a_letter_typed_for_a_digit_is_read_as_the_digit_and_said(uk: Gazetteer, text: str) -> None:
    found = uk.resolve(text, TODAY)
    assert found.about == "CR0"
    assert ("taken for a digit" in found.note) == ("O" in text.upper())


@pytest.mark.parametrize("text", ["BT1", "BT1 5GS", "bt48 6 dq"])
def test_northern_ireland_postcodes_go_to_its_police_and_ask_for_the_district(
    uk: Gazetteer, text: str
) -> None:
    found = uk.resolve(text, TODAY, IMPORTED)
    assert found.certain is not None
    assert found.certain.area.code == PSNI
    assert "ask for the district" in found.note
    assert "Which district" in found.question()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("GIR 0AA", "organisation"),
        ("BX1 1LT", "organisation"),
        ("BFPO 12", "BFPO"),
        ("BF1 2AT", "BFPO"),
        ("ZZ99 3VZ", "no fixed address"),
        ("JE2 3AB", "Jersey"),
        ("GY1 1AA", "Guernsey"),
        ("IM1 1AA", "Isle of Man"),
        ("ZE99 9ZZ", "No place is known"),
    ],
)
def test_postcodes_that_are_no_place_say_what_they_are(uk: Gazetteer, text: str, says: str) -> None:
    found = uk.resolve(text, TODAY)
    assert found.candidates == ()
    assert says in found.note


@pytest.mark.parametrize(
    "text", ["Q1 1AA", "V1 1AA", "X1 1AA", "AI1 1AA", "AJ1 1AA", "AZ1 1AA", "CR0 2CI", "CR0 2AV1"]
)
def test_what_has_not_the_shape_of_a_postcode_is_not_read_as_one(uk: Gazetteer, text: str) -> None:
    assert uk.resolve(text, TODAY).method == "unknown"


def test_with_a_directory_a_full_postcode_is_exact(uk: Gazetteer) -> None:
    found = uk.resolve("cr0 2ab", TODAY, IMPORTED)
    assert (found.method, found.vintage) == ("postcode", "May 2026")
    assert found.certain is not None
    assert found.certain.area.code == "E09000008"
    assert found.certain.because == "this postcode is in Croydon"
    beside_its_post_town = uk.resolve("Crayford, Dartford DA1 4PX", TODAY, IMPORTED).certain
    assert beside_its_post_town is not None
    assert beside_its_post_town.area.code == "E09000004"


def test_an_old_directory_with_retired_codes_leads_to_the_successor(uk: Gazetteer) -> None:
    sheffield, northampton = uk.resolve("S1 2HE", TODAY, IMPORTED), uk.resolve("NN1 1AA", TODAY, IMPORTED)
    assert sheffield.certain is not None
    assert sheffield.certain.area.code == "E08000039"
    assert northampton.certain is not None
    assert northampton.certain.area.code == "E06000062"


def test_a_postcode_no_longer_in_use_says_so(uk: Gazetteer) -> None:
    found = uk.resolve("LU1 1AA", TODAY, IMPORTED)
    assert found.certain is not None
    assert found.certain.because == "this postcode was in Luton"
    assert "no longer in use" in found.note


def test_a_postcode_that_the_directory_does_not_list_is_read_by_its_sector(uk: Gazetteer) -> None:
    found = uk.resolve("DA1 4ZZ", TODAY, IMPORTED)
    assert (found.method, found.about, found.certain) == ("partial", "DA1 4", None)
    assert "not in the directory" in found.note
    assert found.question() == "DA1 4 lies in Bexley (61 %) and Dartford (39 %). Which is it?"


def test_a_sector_of_one_district_is_certain_where_its_outward_code_is_not(uk: Gazetteer) -> None:
    found = uk.resolve("DA1 5", TODAY, IMPORTED)
    assert found.certain is not None
    assert found.certain.because == "DA1 5 is Dartford"
    assert found.note == ""


def test_the_letters_of_a_postcode_alone_never_pick(uk: Gazetteer) -> None:
    found = uk.resolve("CR", TODAY)
    assert found.certain is None
    assert found.candidates[0].area.code == "E09000008"


# --- Never below 99 % ----------------------------------------------------------------------------------------------

OUTCODES: dict[str, list[int]] = {}
for row in rows("outcode_areas"):
    OUTCODES.setdefault(row["outcode"], []).append(int(row["share_permille"]))
NAMES = sorted({row["alias"] for row in rows("aliases")} | {row["name"] for row in rows("areas_uk")})


def test_no_outward_code_is_picked_below_99_percent(uk: Gazetteer) -> None:
    for outcode, shares in OUTCODES.items():
        found = uk.resolve(outcode, TODAY)
        assert (found.certain is not None) == (max(shares) >= CERTAIN), outcode
        assert [c.permille for c in found.candidates] == sorted((min(s, 1000) for s in shares), reverse=True)


@given(
    st.text(max_size=60) | st.sampled_from(NAMES).flatmap(lambda n: st.text(max_size=8).map(lambda t: n + t))
)
def test_any_text_is_answered_and_never_picked_below_99_percent(text: str) -> None:
    found = shipped().resolve(text, TODAY)
    if found.certain is not None:
        assert found.certain.permille >= CERTAIN
        assert sum(c.permille for c in found.candidates[1:]) <= 1000 - CERTAIN
    shares = [c.permille for c in found.candidates]
    assert shares == sorted(shares, reverse=True)
    assert (found.method == "unknown") == (not found.candidates)
    assert found.certain is not None or found.question()


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from([", ", " ", " (", "/"]))
def test_two_names_are_certain_only_when_one_lies_in_what_the_other_may_mean(
    one: str, other: str, by: str
) -> None:
    found = shipped().resolve(f"{one}{by}{other}", TODAY)
    assert found.certain is None or found.certain.permille >= CERTAIN


@given(
    st.lists(
        st.tuples(st.sampled_from(["E09000004", "E07000107", "E07000111"]), st.integers(1, 1000)),
        min_size=1,
        max_size=3,
    ),
)
def test_an_imported_share_below_99_percent_is_never_picked(shares: list[tuple[str, int]]) -> None:
    largest_first = tuple(sorted(dict(shares).items(), key=lambda pair: -pair[1]))
    found = shipped().resolve("DA1 5", TODAY, Directory({}, {"DA1 5": largest_first}))
    assert (found.certain is not None) == (largest_first[0][1] >= CERTAIN)


# --- Pickers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label", "code"),
    [
        ("cro", "Croydon", "E09000008"),
        ("Marg", "Margate (Thanet)", "E07000114"),
        ("caerd", "Caerdydd (Cardiff)", "W06000015"),
        ("canterbry", "Canterbury", "E07000106"),
        ("Kennt", "Kent County Council", "E10000016"),
        ("abertaw", "Abertawe (Swansea)", "W06000011"),
        ("corb", "Corby (North Northamptonshire)", "E06000061"),
        ("upon thames", "Kingston upon Thames", "E09000021"),
    ],
)
def test_a_picker_finds_beginnings_words_and_near_spellings(
    uk: Gazetteer, text: str, label: str, code: str
) -> None:
    assert (label, code) in [(s.label, s.area.code) for s in uk.suggest(text)]


@given(st.text(max_size=30), st.integers(0, 12))
def test_a_picker_takes_any_text_and_keeps_to_its_limit(text: str, limit: int) -> None:
    assert len(shipped().suggest(text, limit)) <= limit


@pytest.mark.parametrize(
    ("permille", "said"), [(1000, "100 %"), (831, "83 %"), (10, "1 %"), (9, "under 1 %"), (996, "100 %")]
)
def test_percent(permille: int, said: str) -> None:
    assert percent(permille) == said


def test_every_district_has_a_hexagon_of_its_own_on_the_map(uk: Gazetteer) -> None:
    cells = hexagons()
    assert set(cells) == {area.code for area in uk.areas("district")}
    assert len(set(cells.values())) == len(cells)
    column, row = zip(*cells.values(), strict=True)
    assert (min(column), min(row)) == (0, 0)
    above = {name: cells[code][1] for name, code in (("Orkney", "S12000023"), ("Leeds", "E08000035"), ("Dover", "E07000108"))}
    assert above["Orkney"] < above["Leeds"] < above["Dover"]


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-22T23:59:59", date(2026, 11, 22)),
        ("2027-03-31T22:59:59", date(2027, 3, 31)),
        ("2027-03-31T23:00:00", date(2027, 4, 1)),
        ("2027-04-01T00:30:00", date(2027, 4, 1)),
    ],
    ids=["winter", "before midnight", "midnight in summer", "after it"],
)
def test_areas_change_at_midnight_on_the_clocks_of_the_country(now: str, day: date) -> None:
    assert day_of(datetime.fromisoformat(now).replace(tzinfo=UTC)) == day
