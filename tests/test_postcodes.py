"""The official postcode directory, whatever its vintage and form, becomes a small table, all or nothing."""

import csv
import hashlib
import io
import stat
import struct
import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.areas import Found, shipped
from bridge.errors import BridgeError, Misconfigured, Rejected, Unavailable
from bridge.storage.postcodes import FILE_NAME, ImportReport, PostcodeTable, columns, import_directory

TODAY = date(2026, 11, 22)
UK = shipped()

# Header lines of the vintages seen; the two ONSPD ones with the tail rebuilt from its published schema.
ONSPD_TAIL = (
    "ced,oslaua,osward,parish,usertype,oseast1m,osnrth1m,osgrdind,oshlthau,nhser,ctry,rgn,streg,pcon,eer,teclec,ttwa,"
    "pct,itl,statsward,oa01,casward,npark,lsoa01,msoa01,ur01ind,oac01,oa11,lsoa11,msoa11,wz11,sicbl,bua24,ru11ind,"
    "oac11,lat,long,lep1,lep2,pfa,imd,calncv,icb,oa21,lsoa21,msoa21"
)
HEADERS = {
    "ONSPD": f"pcd,pcd2,pcds,dointr,doterm,oscty,{ONSPD_TAIL}",
    "ONSPD with 2021 areas": f"pcd,pcd2,pcds,dointr,doterm,oscty,{ONSPD_TAIL},ruc21ind",
    "NSPL to 2022": "pcd,pcd2,pcds,dointr,doterm,usertype,oseast1m,osnrth1m,osgrdind,oa11,cty,ced,laua,ward,rgn,pfa",
    "NSPL to 2022, upper case": "PCD,PCD2,PCDS,DOINTR,DOTERM,USERTYPE,OA11,CTY,LAUA,WARD,RGN,PFA",
    "NSPL-21 2023": "pcd,pcd2,pcds,dointr,doterm,usertype,oseast1m,osnrth1m,oa21,cty,ced,laua,ward,ctry,rgn,pfa",
    "NSPL-21 2024": "pcd,pcd2,pcds,dointr,doterm,usertype,oseast1m,osnrth1m,oa21,cty,laua,ward,hlthau,rgn,pfa",
    "NSPL 2025": "pcd7,pcd8,pcds,dointr,doterm,usrtypind,east1m,north1m,gridind,oa21cd,cty25cd,ced25cd,lad25cd,rgn25cd,pfa23cd",
    "NSPL August 2026": "pcd7,pcd8,pcds,dointr,doterm,usrtypind,east1m,north1m,oa21cd,cty26cd,lad26cd,wd26cd,rgn26cd,pfa23cd",
    "NSPL August 2026, upper case": "PCD7,PCD8,PCDS,DOINTR,DOTERM,OA21CD,CTY26CD,LAD26CD,WD26CD,RGN26CD,PFA23CD",
}
DISTRICT_COLUMNS = {"oslaua", "laua", "lad25cd", "lad26cd"}

ROWS = [
    # postcode, introduced, ended, district
    ("CR0 2AB", "198001", "", "E09000008"),
    ("CR0 2AD", "198001", "", "E09000008"),
    ("DA1 4PX", "199206", "", "E09000004"),
    ("DA1 4PZ", "199206", "", "E07000107"),
    ("DA1 5NZ", "202605", "", "E07000107"),
    ("LU1 1AA", "198001", "201512", "E06000032"),
]


def directory(
    rows: list[tuple[str, str, str, str]] = ROWS,
    header: str = HEADERS["ONSPD"],
    *,
    bom: bool = False,
    newline: str = "\n",
    quoted: bool = False,
) -> bytes:
    """A directory in the form of a vintage: every other column holds what those columns hold for none."""
    names = header.split(",")
    made = io.StringIO()
    writer = csv.writer(made, lineterminator=newline, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerow(names)
    for postcode, introduced, ended, district in rows:
        outward, _, inward = postcode.partition(" ")
        held = {
            "pcds": postcode,
            "pcd": f"{outward:4}{inward}",
            "pcd7": f"{outward:4}{inward}",
            "pcd2": f"{outward:5}{inward}",
            "pcd8": f"{outward:5}{inward}",
            "dointr": introduced,
            "doterm": ended,
        }
        held |= dict.fromkeys(DISTRICT_COLUMNS, district)
        writer.writerow([held.get(name.lower(), "E99999999") for name in names])
    return (b"\xef\xbb\xbf" if bom else b"") + made.getvalue().encode()


def imported(
    tmp_path: Path, content: bytes, name: str = "ONSPD_MAY_2026_UK.csv", **options: object
) -> ImportReport:
    source = tmp_path / name
    source.write_bytes(content)
    return import_directory(source, tmp_path / FILE_NAME, UK, TODAY, **options)  # type: ignore[arg-type]


def table(tmp_path: Path) -> PostcodeTable:
    loaded = PostcodeTable.load(tmp_path / FILE_NAME)
    assert loaded is not None
    return loaded


# --- Every vintage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_every_vintages_columns_are_found_once(header: str) -> None:
    names = header.lower().split(",")
    found = columns(header.split(","))
    assert {what: names[at] for what, at in found.items()} == {
        "postcode": "pcds",
        "begun": "dointr",
        "ended": "doterm",
        "district": next(name for name in names if name in DISTRICT_COLUMNS),
    }


@pytest.mark.parametrize("quoted", [False, True], ids=["bare", "quoted"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("bom", [False, True], ids=["no BOM", "BOM"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_every_vintage_gives_the_same_table(
    tmp_path: Path, header: str, bom: bool, newline: str, quoted: bool
) -> None:
    report = imported(tmp_path, directory(header=header, bom=bom, newline=newline, quoted=quoted))
    assert (report.rows, report.live, report.ended, report.malformed) == (6, 5, 1, 0)
    held = table(tmp_path)
    assert held.find("CR02AB") == Found("E09000008", known=True)
    assert held.find("da1 4pz") == Found("E07000107", known=True)
    assert held.find("LU11AA") == Found("E06000032", known=True, ended=True)


def test_a_directory_with_one_postcode_column_of_seven_characters_is_read(tmp_path: Path) -> None:
    imported(tmp_path, directory(header="pcd7,doterm,lad26cd"))
    assert table(tmp_path).find("CR02AB") == Found("E09000008", known=True)


def test_a_last_line_without_an_end_is_read_when_it_is_whole(tmp_path: Path) -> None:
    assert imported(tmp_path, directory().rstrip(b"\n")).rows == 6


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    imported(tmp_path, directory())
    straight = PostcodeTable.load(tmp_path / FILE_NAME)
    imported(tmp_path, directory(ROWS[::-1]))
    turned = PostcodeTable.load(tmp_path / FILE_NAME)
    assert straight is not None
    assert turned is not None
    for postcode, _, _, _ in ROWS:
        assert straight.find(postcode) == turned.find(postcode)


@pytest.mark.parametrize(
    ("name", "options", "vintage"),
    [
        ("ONSPD_MAY_2026_UK.csv", {}, "May 2026"),
        ("NSPL_2026_AUG.csv", {}, "August 2026"),
        ("Online_ONS_Postcode_Directory_(November_2025).csv", {}, "November 2025"),
        ("nspl21-feb-2026.csv", {}, "February 2026"),
        ("postcodes.csv", {}, "May 2026"),  # the newest postcode's month of introduction
        ("ONSPD_MAY_2026_UK.csv", {"vintage": "August 2026"}, "August 2026"),
    ],
)
def test_the_vintage_is_told_by_name_or_content(
    tmp_path: Path, name: str, options: dict[str, object], vintage: str
) -> None:
    report = imported(tmp_path, directory(), name, **options)
    assert report.vintage == table(tmp_path).vintage == vintage


def test_a_vintage_given_in_other_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        imported(tmp_path, directory(), vintage="last spring")
    assert refused.value.code == "usage"


def test_a_directory_more_than_a_year_old_warns_at_import_and_ever_after(tmp_path: Path) -> None:
    report = imported(tmp_path, directory(), "ONSPD_MAY_2025_UK.csv")
    assert any("more than a year old" in warning for warning in report.warnings)
    held = table(tmp_path)
    assert "of May 2025, more than a year old" in held.warning(TODAY)
    assert held.warning(date(2026, 1, 1)) == ""


def test_the_report_carries_the_sources_digest(tmp_path: Path) -> None:
    content = directory()
    report = imported(tmp_path, content)
    assert report.sha256 == hashlib.sha256(content).hexdigest() == table(tmp_path).info.source_sha256


# --- Codes ---------------------------------------------------------------------------------------------------------


def test_retired_and_unknown_codes_are_reported_with_counts_and_bt_is_left_out(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        ("S1 2HE", "198001", "", "E08000019"),
        ("S1 2HF", "198001", "", "E08000019"),
        ("S70 1AA", "198001", "", "E08000016"),
        ("NN17 1AA", "198001", "", "E07000150"),
        ("KT10 1AA", "202704", "", "E06000067"),
        ("BT1 5GS", "198001", "", "N09000003"),
        ("BT2 5GS", "198001", "201001", "N09000003"),
        ("JE2 3AB", "198001", "", "L99999999"),
        ("IM1 1AA", "198001", "", "M99999999"),
        ("CR0 9XX", "198001", "", ""),
        ("CR0 9XY", "198001", "", "E99999999"),
        ("CR0 9XZ", "198001", "", "E0900008"),
    ]
    report = imported(tmp_path, directory(rows, HEADERS["NSPL 2025"], bom=True, newline="\r\n"))
    assert [(r.code, r.name, r.successors, r.postcodes) for r in report.retired] == [
        ("E07000150", "Corby", ("E06000061",), 1),
        ("E08000016", "Barnsley", ("E08000038",), 1),
        ("E08000019", "Sheffield", ("E08000039",), 2),
    ]
    assert report.unknown == {"E06000067": 1}
    assert {why.split(":")[0]: count for why, count in report.excluded.items()} == {
        "Northern Ireland (BT)": 2,
        "Channel Islands and Isle of Man": 2,
        "no district is given for the postcode": 2,
        "the district code is not one letter and eight digits": 1,
        "the district code is not known to this version of bridge": 1,
    }
    held = table(tmp_path)
    assert held.find("BT15GS") is None
    assert held.find("JE23AB") is None
    found = UK.resolve("S1 2HE", TODAY, held).certain
    assert found is not None
    assert found.area.code == "E08000039"


def test_a_header_row_taken_for_data_is_not_a_district(tmp_path: Path) -> None:
    # postcodes.io ships such rows ("ï»¿PFA15CD"): a second header in the middle is one malformed row, no code.
    content = directory([*ROWS * 4]) + directory().split(b"\n")[0] + b"\n"
    report = imported(tmp_path, content)
    assert report.excluded == {"the district code is not one letter and eight digits": 1}


def test_a_postcode_that_ended_and_came_back_is_live(tmp_path: Path) -> None:
    both = [("CR0 2AB", "198001", "199912", "E09000029"), ("CR0 2AB", "200101", "", "E09000008")]
    for rows in (both, both[::-1]):
        report = imported(tmp_path, directory(rows))
        assert (report.live, report.ended, report.conflicting) == (1, 0, 0)
        assert table(tmp_path).find("CR02AB") == Found("E09000008", known=True)


def test_a_postcode_under_two_districts_is_reported(tmp_path: Path) -> None:
    rows = [("CR0 2AB", "198001", "", "E09000008"), ("CR0 2AB", "198001", "", "E09000029")]
    report = imported(tmp_path, directory(rows))
    assert report.conflicting == 1
    assert any("two districts" in warning for warning in report.warnings)


# --- Answers -------------------------------------------------------------------------------------------------------


def test_a_postcode_that_is_not_listed_is_marked_and_takes_its_lower_neighbours_district(
    tmp_path: Path,
) -> None:
    imported(tmp_path, directory())
    held = table(tmp_path)
    assert held.find("DA14PY") == Found("E09000004", known=False)
    assert held.find("DA14ZZ") == Found("E07000107", known=False)
    assert held.find("DA14AA") == Found("E09000004", known=False)  # before the first of the sector
    assert held.find("DA16AA") is None
    assert held.find("not a postcode") is None


def test_a_part_of_a_directory_answers_for_its_own_postcodes_alone(tmp_path: Path) -> None:
    # Two postcodes of CR0 say nothing of the rest of CR0, which lies in two districts.
    report = imported(tmp_path, directory())
    assert any("is it a part?" in warning for warning in report.warnings)
    held = table(tmp_path)
    assert held.shares("CR0") == held.shares("CR0 2") == ()
    exact, part = UK.resolve("CR0 2AB", TODAY, held), UK.resolve("CR0", TODAY, held)
    assert (exact.method, exact.vintage) == ("postcode", "May 2026")
    assert part.certain is None


def test_shares_count_the_live_postcodes_of_a_sector_and_an_outward_code(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        ("DA1 4QA", "198001", "", "E09000004"),
        ("DA1 4QB", "198001", "201501", "E07000107"),
        ("DA10 0AA", "198001", "", "E07000109"),
    ]
    imported(tmp_path, directory(rows), whole_from=1)
    held = table(tmp_path)
    assert held.shares("DA1 4") == (("E09000004", 666), ("E07000107", 333))
    assert held.shares("DA1") == (("E09000004", 500), ("E07000107", 500))  # DA10 is another
    assert held.shares("LU1 1") == (("E06000032", 1000),)  # nothing but an ended postcode
    assert held.shares("ZZ1") == held.shares("DA1 9") == ()


PLACES = ["E09000008", "E09000004", "E07000107", "E06000032"]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["DA1 4", "DA1 5", "DA10 0", "DA15 8"]),
            st.text("ABDEFGHJLNPQRSTUWXYZ", min_size=2, max_size=2),
            st.booleans(),
            st.sampled_from(PLACES),
        ),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_the_table_says_of_every_postcode_what_the_directory_said(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, bool, str]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("directory")
    imported(
        tmp_path,
        directory([(s + u, "198001", "201501" if over else "", d) for s, u, over, d in rows]),
        whole_from=0,
    )
    held = table(tmp_path)
    for sector, unit, over, district in rows:
        assert held.find(sector + unit) == Found(district, known=True, ended=over)
    for unit in ("DA1", "DA10", "DA15"):
        mine = [row for row in rows if row[0].split()[0] == unit]
        mine = [row for row in mine if not row[2]] or mine
        expected = {d: sum(row[3] == d for row in mine) for d in PLACES}
        shares = dict(held.shares(unit))
        assert shares == {d: max(n * 1000 // len(mine), 1) for d, n in expected.items() if n}


# --- Zips ----------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_a_zip_as_published_is_read_once_though_it_holds_two_copies(tmp_path: Path) -> None:
    content = zipped(
        {
            "Documents/LA_UA names and codes UK as at 04_26.csv": b"LAD26CD,LAD26NM,LAD26NMW\nE09000008,Croydon,\n",
            "User Guide/guide.pdf": b"%PDF",
            "Data/ONSPD_AUG_2026_UK.csv": directory(),
            "Data/multi_csv/ONSPD_AUG_2026_UK_CR.csv": directory(ROWS[:2]),
        }
    )
    report = imported(tmp_path, content, "directory.zip")
    assert (report.rows, report.vintage) == (6, "August 2026")


def test_a_zip_with_the_split_copy_alone_is_read_as_one(tmp_path: Path) -> None:
    content = zipped(
        {
            "Data/multi_csv/ONSPD_AUG_2026_UK_CR.csv": directory(ROWS[:2]),
            "Data/multi_csv/ONSPD_AUG_2026_UK_DA.csv": directory(ROWS[2:5]),
            "Data/multi_csv/ONSPD_AUG_2026_UK_LU.csv": directory(ROWS[5:]),
        }
    )
    assert imported(tmp_path, content, "directory.zip").rows == 6


def test_a_zip_that_swells_beyond_reason_is_refused(tmp_path: Path) -> None:
    bomb = HEADERS["ONSPD"].encode() + b"\n" + b"," * (30 << 20)
    assert refusal(tmp_path, zipped({"Data/ONSPD.csv": bomb}), "bomb.zip") == (
        "The zip would unpack to far more than a postcode directory."
    )


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"Data/ONSPD.csv": directory(ROWS * 50)}))
    at = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 2_000)  # the size in the central directory
    assert refusal(tmp_path, bytes(content), "liar.zip") == "The zip is damaged or not complete."


# --- What is not a directory ---------------------------------------------------------------------------------------


def refusal(tmp_path: Path, content: bytes, name: str = "file.csv") -> str:
    """The sentence with which a file is refused, after checking that nothing of it was kept."""
    target = tmp_path / FILE_NAME
    before = target.read_bytes() if target.exists() else None
    with pytest.raises(Rejected) as refused:
        imported(tmp_path, content, name)
    assert (target.read_bytes() if target.exists() else None) == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")) == []
    return refused.value.sentence


LOOKUP = b"FID,LAD23CD,LAD23NM,CSP23CD,CSP23NM,PFA23CD,PFA23NM\n1,E09000008,Croydon,E22000001,Croydon,E23000001,Met\n"

BAD_FILES = {
    "empty": (b"", "The file is empty."),
    "only a BOM": (b"\xef\xbb\xbf", "The file is empty."),
    "header alone": (directory([]), "The file holds no postcode of Great Britain with a known district."),
    "another lookup": (LOOKUP, "The file has no postcode column (pcds)."),
    "UPRN lookup": (
        b"UPRN,GRIDGB1E,GRIDGB1N,PCDS,CTY25CD,LAD25CD\n1,2,3,CR0 2AB,E99999999,E09000008\n",
        "This is a table of properties (UPRN), not of postcodes.",
    ),
    "no district column": (
        b"pcds,doterm\nCR0 2AB,\n",
        "The file has no district column (oslaua, laua or ladNNcd).",
    ),
    "two district columns": (
        b"pcds,laua,lad25cd\nCR0 2AB,E09000008,E09000008\n",
        "The file has two columns that could be the district.",
    ),
    "cut in a row": (directory(ROWS * 3)[:-40], "The file ends in the middle of a row: it is not complete."),
    "shifted columns": (
        b"pcds,laua\n" + b"CR0 2AB,x,E09000008\n" * 30,
        "More than one row in twenty is not a postcode with its district.",
    ),
    "names for codes": (
        b"pcds,laua\n" + b"".join(b"CR0 2AB,Place %d\n" % i for i in range(2000)),
        "The district column holds something other than district codes.",
    ),
    "Northern Ireland alone": (
        directory([("BT1 5GS", "198001", "", "N09000003")]),
        "The file holds no postcode of Great Britain with a known district.",
    ),
    "UTF-16": (directory().decode().encode("utf-16"), "The file is not a CSV in UTF-8."),
    "binary": (bytes(range(256)) * 400, "The file is not a CSV in UTF-8."),
    "one endless line": (b"pcds,laua," * 300_000, "The file is not a CSV: a line in it has no end."),
    "an open quote": (
        b'pcds,laua\n"CR0 2AB,E09000008\n' + b"x" * 60_000 + b"\n" + b"y\n" * 90_000,
        "The file is not a well-formed CSV.",
    ),
    "a cut zip": (zipped({"Data/a.csv": directory()})[:-30], "The zip is damaged or not complete."),
    "a zip of something else": (
        zipped({"readme.txt": b"hello", "Documents/names.csv": LOOKUP}),
        "The zip holds no CSV with postcodes and districts.",
    ),
    "semicolons": (directory().replace(b",", b";"), "The file has no postcode column (pcds)."),
}


@pytest.mark.parametrize("held_before", [False, True], ids=["nothing before", "a table before"])
@pytest.mark.parametrize(("content", "sentence"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_what_is_no_directory_is_refused_in_one_sentence_and_changes_nothing(
    tmp_path: Path, content: bytes, sentence: str, held_before: bool
) -> None:
    if held_before:
        imported(tmp_path, directory())
    assert refusal(tmp_path, content) == sentence


@settings(max_examples=60)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"pcds,laua\n", b"PK\x03\x04", b"\xef\xbb\xbfpcds,oslaua,doterm\r\n"]),
)
def test_any_bytes_are_imported_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, start: bytes
) -> None:
    tmp_path = tmp_path_factory.mktemp("noise")
    try:
        imported(tmp_path, start + noise)
    except BridgeError as refused:
        assert refused.sentence.endswith(".")


def test_a_missing_file_and_a_folder_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as refused:
        import_directory(tmp_path / "none.csv", tmp_path / FILE_NAME, UK, TODAY)
    assert refused.value.code == "not-found"
    with pytest.raises(Rejected) as refused:
        import_directory(tmp_path, tmp_path / FILE_NAME, UK, TODAY)
    assert refused.value.sentence == "The file cannot be read."


def test_a_directory_that_lost_districts_or_half_its_postcodes_is_refused_unless_asked_for(
    tmp_path: Path,
) -> None:
    imported(tmp_path, directory())
    assert (
        refusal(tmp_path, directory(ROWS[:5]))
        == "The file has no postcode for 1 of the 4 districts known now."
    )
    assert refusal(tmp_path, directory(ROWS[:2])) == "The file has less than half of the postcodes known now."
    report = imported(tmp_path, directory(ROWS[:2]), allow_smaller=True)
    assert report.live == 2
    assert "The file has less than half of the postcodes known now." in report.warnings


def test_the_table_is_readable_by_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    imported(tmp_path, directory())
    target = tmp_path / FILE_NAME
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    (tmp_path / f"{FILE_NAME}.12345.tmp").write_bytes(b"of an import that was killed")
    reader = target.open("rb")
    before = target.read_bytes()
    imported(tmp_path, directory([*ROWS, ("M1 1AA", "198001", "", "E08000003")]))
    with reader:
        assert reader.read() == before  # whoever had it open sees the old one to its end
    assert table(tmp_path).find("M11AA") == Found("E08000003", known=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ONSPD_MAY_2026_UK.csv", FILE_NAME]


def test_a_table_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    source = tmp_path / "ONSPD_MAY_2026_UK.csv"
    source.write_bytes(directory())
    with pytest.raises(Unavailable):
        import_directory(source, tmp_path / "nowhere" / FILE_NAME, UK, TODAY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ONSPD_MAY_2026_UK.csv"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[:20],
        lambda b: b"",
        lambda b: b"X" + b[1:],
        lambda b: b[:-5] + bytes([b[-5] ^ 1]) + b[-4:],
        lambda b: b.replace(b'"vintage"', b'"vintags"'),
    ],
    ids=["cut by one", "cut to the head", "empty", "another kind", "one bit", "another head"],
)
def test_a_damaged_table_is_found_out(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    imported(tmp_path, directory())
    target = tmp_path / FILE_NAME
    target.write_bytes(damage(target.read_bytes()))
    with pytest.raises(Misconfigured, match="damaged"):
        PostcodeTable.load(target)
    imported(tmp_path, directory())  # and is no reason to refuse a good directory
    assert table(tmp_path).find("CR02AB") is not None


def test_no_table_was_imported(tmp_path: Path) -> None:
    assert PostcodeTable.load(tmp_path / FILE_NAME) is None


def test_progress_is_told_in_rows_and_bytes_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    content = directory(ROWS * 5000, HEADERS["NSPL 2025"])
    imported(tmp_path, content, progress=lambda *numbers: told.append(numbers))
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1][1:] == (len(content), len(content))
