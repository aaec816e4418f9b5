"""Place to area: what a worker typed becomes a district, county, force or region, or a question.

The rule kept here: nothing below 99 % is ever picked silently (`docs/areas.md`). Every answer says why in words
that fit after "because", and which vintage of the data it rests on. Pure: the only IO is `shipped()`, which reads
the data files of the package itself.
"""

import csv
import functools
import importlib.resources
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec

LONDON: Final = ZoneInfo("Europe/London")


def day_of(now: datetime) -> date:
    """The day that it is in the United Kingdom, by which areas, hand-overs and terms begin and end.

    Not the day of keeping, which is one of UTC (docs/adr/0009).
    """
    return now.astimezone(LONDON).date()


Level = Literal["district", "upper", "force", "region", "country"]
Method = Literal["postcode", "partial", "name", "code", "unknown"]

AREAS_VINTAGE = "June 2026"
"""State of the districts shipped with the package."""

OUTCODES_VINTAGE = "May 2025"
"""State of the postcodes behind the shipped shares of outward codes."""

ATTRIBUTION = (
    "Source: Office for National Statistics licensed under the Open Government Licence v.3.0. "
    "Contains OS data © Crown copyright and database right 2026. "
    "Contains OS data, Royal Mail data and National Statistics data © Crown copyright and database right 2025."
)
"""Must be shown wherever areas or postcodes of these tables are shown (`bridge/data/README.md`)."""

CERTAIN = 990
"""Permille from which a candidate may be taken without asking."""

_APPROXIMATE_AT_MOST = 980
"""Shares that are only estimated are kept below `CERTAIN`, so that an estimate never picks."""

UNITED_KINGDOM = "K02000001"
PSNI = "N99999999"
"""The force of Northern Ireland: a pseudo-code of the 2019 names file; the register has no issued one."""

GSS = re.compile(r"[ENSWKLM]\d{8}")

_REGIONS = {
    "North East": "E12000001",
    "North West": "E12000002",
    "Yorkshire and The Humber": "E12000003",
    "East Midlands": "E12000004",
    "West Midlands": "E12000005",
    "East of England": "E12000006",
    "London": "E12000007",
    "South East": "E12000008",
    "South West": "E12000009",
}
_COUNTRIES = {
    "England": "E92000001",
    "Wales": "W92000004",
    "Scotland": "S92000003",
    "Northern Ireland": "N92000002",
}
_FORCE_TITLES = {
    "E23000001": "Metropolitan Police",
    "E23000034": "City of London Police",
    "E23000035": "Devon and Cornwall Police",
    "S23000009": "Police Scotland",
    PSNI: "Police Service of Northern Ireland",
}


class Area(msgspec.Struct, frozen=True):
    """One area of the register. Parents are codes, "" where there is none.

    A district that is its own upper authority (unitary, metropolitan, London, Wales, Scotland, Northern Ireland)
    has its own code in `upper`. `kind` is the register's word, e.g. "London borough".
    """

    code: str
    name: str
    level: Level
    kind: str
    upper: str = ""
    force: str = ""
    region: str = ""
    country: str = ""

    @property
    def label(self) -> str:
        """The name as people say it: "Bristol", "Kent Police"."""
        if self.level == "force":
            return _FORCE_TITLES.get(self.code, f"{self.name} Police")
        if self.level == "upper":
            return f"{self.name} County Council"
        head, _, tail = self.name.partition(", ")
        return head if tail in ("City of", "County of") else self.name


class Candidate(msgspec.Struct, frozen=True):
    """One reading of what was typed.

    `permille` is the share of what was typed that lies in the area, 0 where no share is known. `because` is plain
    words that fit after "because".
    """

    area: Area
    permille: int
    because: str


class Resolution(msgspec.Struct, frozen=True):
    """What a text was read as. Holds nothing of the text itself but its outward code or a name of our own data.

    `about` is that code or name; `note` says what a person should know beside the candidates.
    """

    method: Method
    candidates: tuple[Candidate, ...]
    vintage: str
    about: str = ""
    note: str = ""

    @property
    def certain(self) -> Candidate | None:
        """The one candidate that may be taken without asking, else None."""
        if self.candidates and self.candidates[0].permille >= CERTAIN:
            return self.candidates[0]
        return None

    def question(self) -> str:
        """What to ask the worker next, one or two plain sentences; "" when nothing need be asked."""
        if not self.candidates:
            return (
                self.note + " " if self.note else "No area is known by this text. "
            ) + "Which postcode, council, county, police force or town is it?"
        sure = self.certain
        if sure is not None:
            if sure.area.level in ("district", "upper"):
                return ""
            whole = "the whole area of" if sure.area.level == "force" else "all of"
            return f"That is {whole} {sure.area.label}. Which district is it, if you know?"
        named = [
            f"{each.area.label} ({percent(each.permille)})" if each.permille else each.area.label
            for each in self.candidates
        ]
        if len(named) > _NAMED_IN_QUESTION:
            named = [*named[: _NAMED_IN_QUESTION - 1], f"{len(named) - _NAMED_IN_QUESTION + 1} others"]
        if len(named) == 1:
            return f"{self.about or 'That'} may be {named[0]}. Is it?"
        shared = self.candidates[0].permille > 0
        verb, joint = ("lies in", " and ") if shared else ("may be", " or ")
        return f"{self.about or 'That'} {verb} {', '.join(named[:-1])}{joint}{named[-1]}. Which is it?"


_NAMED_IN_QUESTION = 8


class Found(msgspec.Struct, frozen=True):
    """What a postcode directory says of one full postcode.

    `known` is False when the directory does not list the postcode itself: `district` is then its nearest lower
    neighbour's and must not be relied on. `ended` marks a postcode that is no longer in use.
    """

    district: str
    known: bool
    ended: bool = False


class PostcodeLookup(Protocol):
    """An imported postcode directory, as `bridge.storage.postcodes` offers it."""

    @property
    def vintage(self) -> str:
        """Month and year of the directory, e.g. "May 2026"."""
        ...

    def find(self, postcode: str) -> Found | None:
        """Answer for a full postcode written without a space, upper case."""
        ...

    def shares(self, unit: str) -> tuple[tuple[str, int], ...]:
        """District codes with permille for an outward code ("DA1") or a sector ("DA1 5"), largest first."""
        ...


class Suggestion(msgspec.Struct, frozen=True):
    """A line of a picker: what to show, and the area it stands for."""

    label: str
    area: Area


class Successor(msgspec.Struct, frozen=True):
    """One row of what follows a retired area. `code` is "" while the new code is announced but not issued."""

    former: str
    former_name: str
    code: str
    name: str
    since: date
    permille: int


class _Entry(msgspec.Struct, frozen=True):
    """A name in the index: the area it may mean, in which sense, and how it is spelt in the data."""

    code: str
    sense: str
    spelt: str


def percent(permille: int) -> str:
    """A share in words for people: "83 %"."""
    if permille < 10:
        return "under 1 %"
    return f"{(permille + 5) // 10} %"


def day(when: date) -> str:
    """A date as people write it: "1 April 2021"."""
    return f"{when.day} {when:%B %Y}"


# --- Text to key -----------------------------------------------------------------------------------------------

_APOSTROPHES = re.compile("['`\u2018\u2019\u00b4]")
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_WORDS = {"saint": "st", "saints": "st", "sts": "st"}

_POLICE_TAIL = re.compile(
    r" (?:police(?: force| service| constabulary| area| force area)?|constabulary|pfa)$"
)
_COUNTY_COUNCIL_TAIL = re.compile(r" (?:county council|cc)$")
_COUNCIL_TAIL = re.compile(
    r" (?:(?:(?:metropolitan |county |london )?borough |metropolitan district |district |city |islands )?council"
    r"|mbc|lbc|bc|dc|cbc|local authority|unitary authority|metropolitan (?:borough|district)"
    r"|county borough|london borough|borough|district|city|la|ua|childrens services|social services)$"
)
_COUNCIL_HEAD = re.compile(
    r"^(?:the )?(?:(?:council of the )?(?:royal |london |metropolitan |county )*(?:borough|district|boro)"
    r"(?: council)? of|lb(?: of)?|rb(?: of)?|mb of|city (?:and (?:county|district) )?of|county of|cyngor) "
)
_LEADING_WORDS = re.compile(r"^(?:(?:somewhere |lives |living |comes )?(?:from|in) )?(?:the )?")
_OFFICIAL_TAIL = re.compile(r" (?:city|county) of$")


def key_of(text: str) -> str:
    """The form in which names are compared: lower case, no accents or punctuation, "and" for "&", "st" for
    "Saint". Two spellings with one key are one name.
    """
    plain = unicodedata.normalize("NFKD", text.replace("&", " and ")).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = _NOT_WORD.sub(" ", _APOSTROPHES.sub("", plain)).split()
    return " ".join(_WORDS.get(word, word) for word in words)


def _readings(text: str) -> Iterable[tuple[str, str]]:
    """Keys to try for a name, most literal first, each with the sort of body that was named ("" if none)."""
    key = key_of(text)
    yield key, ""
    without = _LEADING_WORDS.sub("", key)
    if without != key:
        yield without, ""
    for pattern, sort in (
        (_POLICE_TAIL, "force"),
        (_COUNTY_COUNCIL_TAIL, "county council"),
        (_COUNCIL_TAIL, "council"),
    ):
        shorter = pattern.sub("", without)
        if shorter != without:
            yield shorter, sort
            bare = _OFFICIAL_TAIL.sub("", _COUNCIL_HEAD.sub("", shorter))
            if bare != shorter:
                yield bare, sort
    bare = _OFFICIAL_TAIL.sub("", _COUNCIL_HEAD.sub("", without))
    if bare != without:
        yield bare, "council"


# --- Postcodes ---------------------------------------------------------------------------------------------------

_OUTWARD = r"(?:[A-PR-UWYZ](?:\d\d?|\d[A-HJKMNPR-Y]|[A-HK-Y]\d\d?|[A-HK-Y]\d[A-HJKMNPR-Y]))"  # BS 7666 shapes
_INWARD = r"\d[ABD-HJLNP-UW-Z]{2}"
FULL_POSTCODE = re.compile(rf"({_OUTWARD})({_INWARD})")
_OUTCODE = re.compile(_OUTWARD)
_SECTOR = re.compile(rf"({_OUTWARD})(\d)[ABD-HJLNP-UW-Z]?")
_POSTAL_AREA = re.compile(r"[A-PR-UWYZ][A-HK-Y]?")
_IN_TEXT = re.compile(rf"\b({_OUTWARD})\s*({_INWARD})\b", re.IGNORECASE)
_LOOSE = re.compile(r"[A-Z0-9]{2,4} ?[A-Z0-9]{3}|[A-Z]{1,2}[0-9OIL][A-Z0-9]?")
_MISTYPED = str.maketrans("OIL", "011")
_ISLANDS = {"JE": "Jersey", "GY": "Guernsey", "IM": "the Isle of Man"}
_NOWHERE = {
    "BX": "BX postcodes belong to organisations, not to a place.",
    "GIR": "This postcode belongs to an organisation, not to a place.",
    "ZZ": "ZZ99 codes stand for no fixed address or an address abroad.",
    "BF": "This is a forces' postcode (BFPO), not a place in the United Kingdom.",
}


class _Postcode(msgspec.Struct, frozen=True):
    """A text read as a postcode or a part of one. `inward` is "", the sector's digit, or all three characters."""

    outward: str
    inward: str = ""
    corrected: bool = False


def read_postcode(text: str, known: Mapping[str, object]) -> _Postcode | None:
    """Read a whole text as a postcode or a part of one, by its shape (a shape cannot prove that it exists).

    `known` holds the outward codes in use: it decides "DA15", which may be an outward code or "DA1 5". The letters
    O, I and L typed for digits are read as digits when that alone makes a known outward code.
    """
    upper = " ".join(text.upper().split())
    tight = upper.replace(" ", "").replace(".", "").replace("-", "")
    if not 2 <= len(tight) <= 7:
        return None
    if full := FULL_POSTCODE.fullmatch(tight):
        return _Postcode(full[1], full[2])
    spaced = " " in upper
    if _OUTCODE.fullmatch(tight) and not spaced and (tight in known or not _SECTOR.fullmatch(tight)):
        return _Postcode(tight)
    if (sector := _SECTOR.fullmatch(tight)) and (spaced or sector[1] in known):
        return _Postcode(sector[1], sector[2])
    if _OUTCODE.fullmatch(tight):
        return _Postcode(tight)
    if _LOOSE.fullmatch(upper):
        return _corrected(tight, known)
    return None


def _corrected(tight: str, known: Mapping[str, object]) -> _Postcode | None:
    """Letters typed for digits: "CRO 2AB" is CR0 2AB. Only where the result is a known outward code."""
    inward = tight[-3:] if len(tight) >= 5 else ""
    outward = tight[: len(tight) - len(inward)]
    inward = inward[:1].translate(_MISTYPED) + inward[1:]
    if inward and not re.fullmatch(_INWARD, inward):
        return None
    for letters in (2, 1):
        tried = outward[:letters] + outward[letters:].translate(_MISTYPED)
        if tried in known and _OUTCODE.fullmatch(tried):
            return _Postcode(tried, inward, corrected=True)
    return None


# --- The gazetteer -------------------------------------------------------------------------------------------------

_OFFICIAL = frozenset({"official", "variant", "welsh", "short"})
_TOWN = frozenset({"town"})
_COUNTY = frozenset({"county"})
_SETS = frozenset({"county", "postal"})
"""Senses in which a name stands for a set of areas; the same name may also be one of them."""
_WIDE = frozenset({"force", "region", "country"})


_REMEMBERED = 4_096
"""Answers to names that are kept; a node asks for the same few hundred places again and again."""


class Gazetteer:
    """Every area of the United Kingdom with its parents, names and outward codes. Immutable once built."""

    __slots__ = (
        "__dict__",  # for the cached properties alone
        "_areas",
        "_ended",
        "_followers",
        "_index",
        "_outcodes",
        "_remembered",
        "_weights",
        "vintage",
    )

    def __init__(
        self,
        areas: Mapping[str, Area],
        outcodes: Mapping[str, tuple[tuple[str, int], ...]],
        successors: Iterable[Successor],
        names: Iterable[tuple[str, str, str]],
        vintage: str = AREAS_VINTAGE,
    ) -> None:
        self.vintage = vintage
        self._remembered: dict[tuple[str, str, date], Resolution | None] = {}
        self._areas = dict(areas)
        self._outcodes = dict(outcodes)
        self._weights = _weights(self._outcodes, self._areas)
        self._followers: dict[str, tuple[Successor, ...]] = {}
        self._ended: dict[str, tuple[Successor, ...]] = {}
        for row in successors:
            self._followers[row.former] = (*self._followers.get(row.former, ()), row)
        for code, rows in self._followers.items():
            if code not in self._areas:
                key = key_of(rows[0].former_name)
                self._ended[key] = (*self._ended.get(key, ()), *rows)
        self._index: dict[str, tuple[_Entry, ...]] = {}
        for spelt, code, sense in names:
            key = key_of(spelt)
            held = self._index.get(key, ())
            if all(each.code != code or (each.sense in _SETS) != (sense in _SETS) for each in held):
                self._index[key] = (*held, _Entry(code, sense, spelt))

    # Areas and their order

    def area(self, code: str) -> Area | None:
        """The current area of this code; None for a code that is unknown or retired (see `successor`)."""
        return self._areas.get(code)

    def district(self, code: str) -> Area | None:
        """The current district of this code."""
        found = self._areas.get(code)
        return found if found is not None and found.level == "district" else None

    def areas(self, level: Level) -> tuple[Area, ...]:
        """All areas that act at this level, by name. "upper" includes districts that are their own upper
        authority: together they are the places with a children's services department.
        """
        if level == "upper":
            chosen = [a for a in self._areas.values() if a.level == "upper" or a.upper == a.code]
        else:
            chosen = [a for a in self._areas.values() if a.level == level]
        return tuple(sorted(chosen, key=lambda a: a.name))

    def chain(self, code: str) -> tuple[Area, ...]:
        """The area and everything above it, most specific first, without repeats, ending with the United Kingdom.

        Empty for a code that is not current.
        """
        found = self._areas.get(code)
        if found is None:
            return ()
        codes = dict.fromkeys((code, found.upper, found.force, found.region, found.country, UNITED_KINGDOM))
        return tuple(self._areas[each] for each in codes if each in self._areas)

    def within(self, inner_code: str, outer_code: str) -> bool:
        """Whether the inner area lies wholly in the outer one, or is the same. Unknown codes lie nowhere."""
        return any(area.code == outer_code for area in self.chain(inner_code))

    def successors(self, code: str, on: date) -> tuple[tuple[Area, int], ...]:
        """The areas that stand for this code on the date, with shares: itself when current, none when unknown.

        An announced change whose new code is not issued yet leaves the old code standing.
        """
        current = self._areas.get(code)
        rows = [row for row in self._followers.get(code, ()) if row.code]
        if current is not None and not any(row.since <= on and row.code in self._areas for row in rows):
            return ((current, 1000),)
        found: list[tuple[Area, int]] = []
        for row in rows:
            found += [(area, row.permille * share // 1000) for area, share in self.successors(row.code, on)]
        return tuple(sorted(found, key=lambda pair: -pair[1]))

    def successor(self, code: str, on: date) -> Area | None:
        """The one area that stands for this code on the date; None when unknown or split among several."""
        found = self.successors(code, on)
        return found[0][0] if len(found) == 1 else None

    def former_name(self, code: str) -> str:
        """The name that a retired area had, "" for a code that is not a retired one."""
        rows = self._followers.get(code, ())
        return rows[0].former_name if rows else ""

    def renumbered(self, code: str) -> str:
        """The current code of a place that kept its name and got another code (a boundary change), else the code
        itself: approvals made under the old number go on to hold.
        """
        rows = self._followers.get(code, ())
        if code not in self._areas and len(rows) == 1 and key_of(rows[0].former_name) == key_of(rows[0].name):
            return rows[0].code or code
        return code

    def announced(self, code: str, on: date) -> str:
        """A sentence when this area has ended or will end by an announced change without an issued code, else ""."""
        rows = [row for row in self._followers.get(code, ()) if not row.code]
        if code not in self._areas or not rows:
            return ""
        names = " and ".join(row.name for row in rows)
        ended = "ended" if rows[0].since <= on else "ends"
        follows = "follow" if len(rows) > 1 else "follows"
        return (
            f"{self._areas[code].name} {ended} when {names} {follows} on {day(rows[0].since)}; "
            f"the new code is not issued yet."
        )

    # Text to areas

    def resolve(self, text: str, on: date, postcodes: PostcodeLookup | None = None) -> Resolution:
        """Read a postcode or a part of one, a GSS code, or a name, as of the date.

        Never raises for any text. Candidates come largest first; `certain` is the only one that may be taken
        without asking. Without an imported directory a full postcode is read by its first part only, and says so.
        """
        text = text.strip()[:_LONGEST_TEXT]
        if not text:
            return self._nothing()
        tight = text.upper().replace(" ", "")
        if GSS.fullmatch(tight):
            return self._by_code(tight, on)
        if read := read_postcode(text, self._outcodes):
            by_name = self._by_name(text, on) if read.corrected else None  # "Hull" is no mistyped HU11
            return by_name or self._by_postcode(read, on, postcodes)
        if wordy := self._special(tight):
            return wordy
        if named := self._by_name(text, on):
            return named
        if (within := _IN_TEXT.search(text)) and within[0] != text:
            return self._by_postcode(_Postcode(within[1].upper(), within[2].upper()), on, postcodes)
        if _POSTAL_AREA.fullmatch(tight) and (whole := self._by_postal_area(tight, on)):
            return whole
        return self._by_parts(text, on, postcodes) or self._nothing()

    def _nothing(self, note: str = "", about: str = "") -> Resolution:
        return Resolution("unknown", (), self.vintage, about, note)

    def _by_code(self, code: str, on: date) -> Resolution:
        found = self.successors(code, on)
        if not found:
            return self._nothing(
                "This code is not a current area, nor a retired one with a known successor.", code
            )
        rows = self._followers.get(code, ())
        followed = any(area.code != code for area, _ in found)
        candidates = []
        for area, share in found:
            if followed:
                old = self._areas[code].name if code in self._areas else rows[0].former_name
                because = f"{code} ({old}) became part of {area.label} on {day(rows[0].since)}"
                if key_of(old) == key_of(area.name):
                    because = f"{code} ({old}) was replaced by {area.code} on {day(rows[0].since)}"
            else:
                because = f"{code} is {area.label}"
            candidates.append(Candidate(area, share, because))
        note = self.announced(code, on) if not followed else ""
        return Resolution("code", tuple(candidates), self.vintage, code, note)

    def _special(self, tight: str) -> Resolution | None:
        """Codes that look like postcodes and are not places, or not ours."""
        if tight.startswith("BFPO") and tight[4:].isdigit():
            return self._nothing(_NOWHERE["BF"], "BFPO")
        if tight.startswith("ZZ99"):
            return self._nothing(_NOWHERE["ZZ"], "ZZ99")
        if tight in ("GIR0AA", "GIR0"):
            return self._nothing(_NOWHERE["GIR"], "GIR")
        if tight in ("BTP", "BRITISHTRANSPORTPOLICE"):
            return self._nothing("British Transport Police has no area of its own.", "BTP")
        return None

    def _by_postcode(self, read: _Postcode, on: date, postcodes: PostcodeLookup | None) -> Resolution:
        outward, letters = read.outward, read.outward.rstrip("0123456789")[:2]
        letters = re.match(r"[A-Z]+", letters)[0]  # type: ignore[index]  # an outward code starts with a letter
        if letters == "BT":
            force = self._areas[PSNI]
            because = "BT postcodes are in Northern Ireland"
            note = "BT postcodes are not in the postcode data; ask for the district."
            return Resolution("partial", (Candidate(force, 1000, because),), self.vintage, outward, note)
        if letters in _ISLANDS:
            return self._nothing(f"{outward} is in {_ISLANDS[letters]}, outside the United Kingdom.", outward)
        if letters in _NOWHERE:
            return self._nothing(_NOWHERE[letters], outward)
        note = f"Read as {outward}: the letter typed was taken for a digit." if read.corrected else ""
        if postcodes is not None and len(read.inward) == 3:
            found = postcodes.find(outward + read.inward)
            if found is not None and found.known and (areas := self.successors(found.district, on)):
                ended = "This postcode is no longer in use." if found.ended else ""
                because = "this postcode {} in {}"
                verb = "was" if found.ended else "is"
                return Resolution(
                    "postcode",
                    tuple(Candidate(a, share, because.format(verb, a.label)) for a, share in areas),
                    postcodes.vintage,
                    outward,
                    " ".join(filter(None, (note, ended, self._announced_of(areas, on)))),
                )
        return self._by_part(read, on, postcodes, note)

    def _by_part(self, read: _Postcode, on: date, postcodes: PostcodeLookup | None, note: str) -> Resolution:
        """The most specific part of a postcode for which there are shares: sector if imported, else outward."""
        outward, sector = read.outward, f"{read.outward} {read.inward[:1]}" if read.inward else ""
        unit, vintage = outward, OUTCODES_VINTAGE
        shares: tuple[tuple[str, int], ...] = ()
        if postcodes is not None:
            vintage = postcodes.vintage
            if sector and (shares := postcodes.shares(sector)):
                unit = sector
            elif shares := postcodes.shares(outward):
                unit = outward
        if not shares and outward in self._outcodes:
            unit, shares, vintage = outward, self._outcodes[outward], OUTCODES_VINTAGE
        if not shares:
            note = "No place is known by this postcode. Check it, or give the town or council."
            return self._nothing(note, outward)
        if read.inward and unit == outward:
            why = (
                "no postcode directory is imported"
                if postcodes is None
                else "the directory does not know the rest"
            )
            note = f"{note} Read by its first part only: {why}.".strip()
        elif len(read.inward) == 3:
            note = f"{note} The postcode itself is not in the directory; read by its sector.".strip()
        totals: dict[str, int] = {}
        for code, share in shares:
            for area, part in self.successors(code, on):
                totals[area.code] = totals.get(area.code, 0) + share * part // 1000
        ranked = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
        areas = [(self._areas[code], min(share, 1000)) for code, share in ranked]
        note = " ".join(filter(None, (note, self._announced_of(areas[:1], on))))
        candidates = tuple(
            Candidate(
                a, s, f"{unit} is {a.label}" if s >= CERTAIN else f"{percent(s)} of {unit} is {a.label}"
            )
            for a, s in areas
        )
        return Resolution("partial", candidates, vintage, unit, note)

    def _by_postal_area(self, letters: str, on: date) -> Resolution | None:
        """Only the letters of a postcode ("CR"): the districts of all its outward codes, by estimate."""
        totals: dict[str, int] = {}
        for outcode, shares in self._outcodes.items():
            if re.match(r"[A-Z]+", outcode)[0] == letters:  # type: ignore[index]  # they start with letters
                for code, share in shares:
                    totals[code] = totals.get(code, 0) + share
        if not totals:
            return self._by_postcode(_Postcode("BT"), on, None) if letters == "BT" else None
        shared = self._estimate(tuple(totals), totals)
        made = tuple(
            Candidate(
                self._areas[code], share, f"about {percent(share)} of {letters} is {self._areas[code].label}"
            )
            for code, share in shared
            if share >= _LEAST_SHOWN
        )
        return Resolution(
            "partial", made, OUTCODES_VINTAGE, letters, "Two letters are a wide area: ask for more."
        )

    def _announced_of(self, areas: Iterable[tuple[Area, int]], on: date) -> str:
        return " ".join(filter(None, (self.announced(area.code, on) for area, _ in areas)))

    # Names

    def _by_name(self, text: str, on: date) -> Resolution | None:
        for key, sort in _readings(text):
            if key not in self._index and key not in self._ended:
                continue  # never remembered: it may be about a person
            asked = (key, sort, on)
            if asked not in self._remembered:
                if len(self._remembered) >= _REMEMBERED:
                    self._remembered.clear()
                self._remembered[asked] = self._named(*asked)
            if found := self._remembered[asked]:
                return found
        return None

    def _named(self, key: str, sort: str, on: date) -> Resolution | None:
        """What one key means, given which sort of body was named with it."""
        entries = self._index.get(key, ())
        ended = self._ended.get(key, ())
        if not entries and not ended:
            return None
        if sort == "force":
            forces = [e for e in entries if e.sense == "force"]
            return (
                self._same(forces, on) if forces else self._named(key, "", on) if len(entries) == 1 else None
            )
        formal = [e for e in entries if e.sense in _OFFICIAL]
        counties = [e for e in entries if e.sense in _COUNTY]
        if sort == "county council":
            formal = [e for e in formal if self._is_upper(e.code)] or formal
        if sort and formal:
            return self._same(formal, on)
        was = tuple(row for row in ended if row.since > on) if formal else ended
        if was:
            return self._former(was, on)
        places = [e for e in entries if e.sense in _OFFICIAL | _TOWN and self.district(e.code)]
        if places:
            return self._same(places, on)
        if counties:
            return self._county(counties)
        parts = [e for e in entries if e.sense == "part"]
        return self._same(formal or [e for e in entries if e.sense in _WIDE] or parts, on)

    def _is_upper(self, code: str) -> bool:
        area = self._areas[code]
        return area.level == "upper" or area.upper == code

    def _same(self, entries: list[_Entry], on: date) -> Resolution | None:
        """Entries of one key: one is certain (unless it is a mere part of the country), several are a question."""
        if not entries:
            return None
        entries = sorted(entries, key=lambda e: e.sense in _TOWN)
        # Police Scotland's area and Scotland are one place: the force is the more useful name for routing.
        levels = {self._areas[e.code].level for e in entries}
        if levels == {"force", "country"}:
            entries = [e for e in entries if self._areas[e.code].level == "force"]
        sure = len(entries) == 1 and entries[0].sense != "part"
        made = []
        for entry in entries:
            for area, share in self.successors(entry.code, on):
                because = _because_named(entry, area)
                made.append(Candidate(area, share if sure else 0, because))
        note = self._announced_of([(c.area, 0) for c in made], on) if sure else ""
        return Resolution("name", tuple(made), self.vintage, entries[0].spelt, note)

    def _county(self, entries: list[_Entry]) -> Resolution:
        """A county in the wider sense: the county council's area and the towns beside it that are their own."""
        shared = self._estimate([e.code for e in entries], self._weights)
        about = entries[0].spelt
        made = []
        for code, share in shared:
            area = self._areas[code]
            about_share = f"about {percent(share)} of" if share else "part of"
            made.append(Candidate(area, share, f"{about_share} {about} is {area.label}"))
        note = f"{about} may be meant in the wider sense: several councils lie in it."
        return Resolution("name", tuple(made), self.vintage, about, note)

    def _former(self, rows: tuple[Successor, ...], on: date) -> Resolution:
        about = rows[0].former_name
        totals: dict[str, int] = {}
        for row in rows:
            for area, share in self.successors(row.code, on):
                totals[area.code] = max(totals.get(area.code, 0), row.permille * share // 1000)
        ranked = sorted(totals.items(), key=lambda pair: -pair[1])
        when = day(rows[0].since)
        made = tuple(
            Candidate(
                self._areas[code],
                share,
                f"{about} has been {self._areas[code].label} since {when}"
                if share >= CERTAIN
                else f"about {percent(share)} of {about} has been {self._areas[code].label} since {when}",
            )
            for code, share in ranked
        )
        return Resolution("name", made, self.vintage, about)

    def _estimate(self, codes: Iterable[str], weights: Mapping[str, int]) -> list[tuple[str, int]]:
        """Shares by number of outward codes: good enough to order candidates, never good enough to pick one."""
        chosen = {code: weights.get(code, 0) for code in codes}
        total = sum(chosen.values())
        if not total or not all(chosen.values()):
            return [(code, 0) for code in chosen]
        shares = [
            (code, min(weight * 1000 // total, _APPROXIMATE_AT_MOST)) for code, weight in chosen.items()
        ]
        return sorted(shares, key=lambda pair: (-pair[1], pair[0]))

    def _by_parts(self, text: str, on: date, postcodes: PostcodeLookup | None) -> Resolution | None:
        """ "Newport, Isle of Wight" and "Ashford Kent": the first part narrowed by the rest."""
        pieces = [piece for piece in _PIECES.split(text) if piece.strip()]
        splits: list[list[str]] = [pieces] if len(pieces) > 1 else []
        words = text.split()
        splits += [[" ".join(words[:i]), " ".join(words[i:])] for i in range(len(words) - 1, 0, -1)][
            :_MOST_SPLITS
        ]
        for split in splits:
            for piece in split:
                # A town beside a postcode is its post town, which says nothing of the district: DA1 4 is "Dartford"
                # in an address, and lies in Bexley. So the postcode alone decides, and a name never narrows it.
                read = read_postcode(piece.strip(), self._outcodes)
                worded = split is pieces or not any(
                    c.isdigit() for other in split if other != piece for c in other
                )
                if read and not read.corrected and worded:
                    return self._by_postcode(read, on, postcodes)
        for split in splits:
            found = [
                (r, self._meant(piece)) for piece in split if (r := self._by_name(piece, on)) and r.candidates
            ]
            if not found or (split is not pieces and len(found) < 2):
                continue
            best, codes = found[0]
            for other, wider in found[1:]:
                best = self._narrowed(best, codes, other, wider)
            return best
        return None

    def _meant(self, piece: str) -> frozenset[str]:
        """Every area that a name may stand for when it stands beside another: also the postal county."""
        for key, _ in _readings(piece):
            if key in self._index:
                return frozenset(entry.code for entry in self._index[key])
        return frozenset()

    def _narrowed(
        self, one: Resolution, codes: frozenset[str], other: Resolution, wider: frozenset[str]
    ) -> Resolution:
        """The candidates of one that lie in what the other may mean; when none does, all, without shares."""
        for inner, outer in ((one, wider), (other, codes)):
            kept = [c for c in inner.candidates if any(self.within(c.area.code, code) for code in outer)]
            if not kept:
                continue
            if len(kept) == len(inner.candidates):
                return inner
            total = sum(c.permille for c in kept)
            alone = len(kept) == 1
            made = tuple(
                msgspec.structs.replace(
                    c, permille=1000 if alone else c.permille * 1000 // total if total else 0
                )
                for c in kept
            )
            return msgspec.structs.replace(inner, candidates=made, note="")
        both = tuple(msgspec.structs.replace(c, permille=0) for c in (*one.candidates, *other.candidates))
        note = "The parts of this text name places that do not lie in one another."
        return Resolution("name", both, self.vintage, "That", note)

    # Pickers

    def suggest(self, text: str, limit: int = 8) -> tuple[Suggestion, ...]:
        """Areas for a picker while somebody types: names that begin so, then words that do, then near spellings."""
        key = key_of(text[:_LONGEST_TEXT])
        if not key or limit < 1:
            return ()
        found: dict[str, Suggestion] = {}
        keys, words, trigrams = self._sorted_keys, self._word_starts, self._trigrams
        at = bisect_left(keys, key)
        begins = [k for k in keys[at : at + _MOST_SCANNED] if k.startswith(key)]
        at = bisect_left(words, (key, ""))
        holds = [k for word, k in words[at : at + _MOST_SCANNED] if word.startswith(key)]
        for same_start in (begins, holds):
            for held in sorted(same_start, key=self._rank):
                if len(found) < limit:
                    self._offer(held, found)
        if len(found) < limit and len(key) >= 3:
            mine = _trigrams(key)
            scores: dict[str, int] = {}
            for gram in mine:
                for held in trigrams.get(gram, ()):
                    scores[held] = scores.get(held, 0) + 1
            near = [
                (2 * n / (len(mine) + len(_trigrams(k))), k) for k, n in scores.items() if 3 * n >= len(mine)
            ]
            for score, held in sorted(near, key=lambda pair: (-pair[0], pair[1])):
                if score < _NEAR or len(found) >= limit:
                    break
                self._offer(held, found)
        return tuple(found.values())[:limit]

    def _rank(self, key: str) -> tuple[int, str]:
        """Councils before towns before everything else, then by name."""
        senses = [entry.sense for entry in self._index.get(key, ())]
        return min((_RANKS.get(sense, 2) for sense in senses), default=2), key

    def _offer(self, key: str, found: dict[str, Suggestion]) -> None:
        for entry in self._index.get(key, ()):
            area = self._areas[entry.code]
            if entry.sense in _SETS or entry.sense == "part":
                continue
            same = key_of(entry.spelt) in (key_of(area.name), key_of(area.label))
            label = area.label if same else f"{entry.spelt} ({area.label})"
            found.setdefault(area.code, Suggestion(label, area))
        for row in self._ended.get(key, ()):
            if row.code in self._areas:
                area = self._areas[row.code]
                found.setdefault(area.code, Suggestion(f"{row.former_name} ({area.label})", area))

    @functools.cached_property
    def _sorted_keys(self) -> list[str]:
        return sorted({*self._index, *self._ended})

    @functools.cached_property
    def _word_starts(self) -> list[tuple[str, str]]:
        return sorted((word, key) for key in self._sorted_keys for word in key.split()[1:] if len(word) > 3)

    @functools.cached_property
    def _trigrams(self) -> dict[str, list[str]]:
        grams: dict[str, list[str]] = {}
        for key in self._sorted_keys:
            for gram in _trigrams(key):
                grams.setdefault(gram, []).append(key)
        return grams


def _because_named(entry: _Entry, area: Area) -> str:
    if entry.sense == "part":
        return f"{entry.spelt} may mean {area.label}"
    if entry.sense == "town":
        return f"{entry.spelt} is in {area.label}"
    if area.level == "force" and entry.sense == "force":
        return f"{area.label} was named as the home area"
    if entry.sense == "country" or key_of(entry.spelt) in (key_of(area.name), key_of(area.label)):
        return f"{entry.spelt} was named as the home area"
    return f"{entry.spelt} is {area.label}"


_LONGEST_TEXT = 200
_MOST_SPLITS = 6
_MOST_SCANNED = 400
_RANKS = {"official": 0, "variant": 0, "welsh": 0, "short": 0, "town": 1}
_LEAST_SHOWN = 5
_NEAR = 0.45
_PIECES = re.compile(r"[,;()\n/]")


def _trigrams(key: str) -> set[str]:
    padded = f"  {key} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _weights(
    outcodes: Mapping[str, tuple[tuple[str, int], ...]], areas: Mapping[str, Area]
) -> dict[str, int]:
    """How many outward codes an area has, in thousandths: a rough measure of its number of addresses."""
    weights: dict[str, int] = {}
    for shares in outcodes.values():
        for code, share in shares:
            weights[code] = weights.get(code, 0) + share
            if (area := areas.get(code)) and area.upper != code:
                weights[area.upper] = weights.get(area.upper, 0) + share
    return weights


# --- Building ------------------------------------------------------------------------------------------------------


def gazetteer(areas_csv: str, outcodes_csv: str, successors_csv: str, aliases_csv: str) -> Gazetteer:
    """Build a gazetteer from the text of the four data files (their columns: `bridge/data/README.md`)."""
    areas, names = _read_areas(areas_csv)
    outcodes: dict[str, tuple[tuple[str, int], ...]] = {}
    for outcode, code, share in _rows(outcodes_csv):
        outcodes[outcode] = (*outcodes.get(outcode, ()), (code, int(share)))
    successors = [
        Successor(former, former_name, code, name, date.fromisoformat(since), int(share))
        for former, former_name, code, name, since, share in _rows(successors_csv)
    ]
    names += [(alias, code, sense) for alias, code, sense in _rows(aliases_csv)]
    return Gazetteer(areas, outcodes, successors, names)


def _rows(text: str) -> Iterable[list[str]]:
    rows = csv.reader(text.splitlines())
    next(rows)
    return rows


def _read_areas(text: str) -> tuple[dict[str, Area], list[tuple[str, str, str]]]:
    """Districts as listed, and the upper authorities, forces, regions and countries that they imply."""
    areas: dict[str, Area] = {}
    above: dict[str, Area] = {}
    for code, name, kind, upper, upper_name, force, force_name, region_name in _rows(text):
        region = _REGIONS.get(region_name, "")
        country = _COUNTRIES["England" if region else region_name]
        areas[code] = Area(code, name, "district", kind, upper, force, region, country)
        if upper != code:
            above[upper] = Area(upper, upper_name, "upper", "county", "", force, region, country)
        above[force] = Area(force, force_name, "force", "police force area", "", "", region, country)
    areas |= above
    for name, code in _REGIONS.items():
        areas[code] = Area(code, name, "region", "region", "", "", "", _COUNTRIES["England"])
    for name, code in _COUNTRIES.items():
        areas[code] = Area(code, name, "country", "country")
    areas[UNITED_KINGDOM] = Area(UNITED_KINGDOM, "United Kingdom", "country", "country")
    names: list[tuple[str, str, str]] = []
    for area in areas.values():
        if area.code in _FORCE_TITLES:
            names.append((_FORCE_TITLES[area.code], area.code, "force"))
        if area.level in ("district", "upper"):
            names.append((area.name, area.code, "official"))
        elif area.code != _CITY_OF_LONDON_POLICE:
            names.append((area.name, area.code, area.level))
        if area.level == "district" and area.label != area.name:
            names.append((area.label, area.code, "variant"))
    return areas, names


_CITY_OF_LONDON_POLICE = "E23000034"
"""Its area is named "London, City of": without "Police" that is the district."""


@functools.cache
def hexagons() -> dict[str, tuple[int, int]]:
    """A hexagon (column, row) for each district, about where it lies: every odd row is half a hexagon further right."""
    text = (importlib.resources.files("bridge") / "data" / "hexes.csv").read_text(encoding="utf-8")
    rows = (line.split(",") for line in text.splitlines()[1:])
    return {code: (int(column), int(row)) for code, column, row in rows}


@functools.cache
def shipped() -> Gazetteer:
    """The gazetteer of the package's own data, built once for the process."""
    data = importlib.resources.files("bridge") / "data"
    return gazetteer(
        *(
            (data / f"{name}.csv").read_text(encoding="utf-8")
            for name in ("areas_uk", "outcode_areas", "successors", "aliases")
        )
    )
