"""Whether two alerts may be about the same person: what is compared, how much it counts, and when it is said.

A suggestion for people and nothing else: nothing is joined, passed on or decided by it. One key alone never makes one,
what is common counts little, and first names that differ end it, so that twins and brothers are not taken for one
person. Two alerts that may not be compared (see :func:`comparable`) never are.

What is kept for finding is a list of short texts (:func:`traces`), which the node keeps as blind marks alone
(docs/retention.md). Comparing is done on the alerts themselves, opened, by :func:`likeness`.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date
from typing import Final, NamedTuple

from bridge.alerts import Alert, Carried, Personal, Subject

LIKELY: Final = 0.92
POSSIBLE: Final = 0.75
"""From which score on two alerts are called likely, or possibly, about one person; below, nothing is said."""

UNFIRM: Final = 0.91
"""The most that names and things come to where neither a date of birth nor a number agrees."""

CAP: Final = 200
"""A key that more alerts than this have does not find any: it only counts, and little, for those found by others."""

FEWEST: Final = 2
"""How many independent keys must agree."""

REASONS: Final = {
    "identifier": "The same number in another system",
    "born": "The same date of birth",
    "born_nearly": "A date of birth that differs in one place",
    "birth_year": "A year of birth that fits",
    "forename": "The same first name",
    "forename_alike": "A first name that sounds alike or is often used for it",
    "surname": "The same last name",
    "surname_alike": "A last name that sounds alike",
    "nickname": "The same nickname",
    "phone": "The same telephone number",
    "vehicle": "The same vehicle",
    "social": "The same social media account",
    "address": "The same address",
    "line": "The same line",
}
"""Why somebody may be the same person, by code: one sentence each, which names nobody."""

# --- Texts in one form -----------------------------------------------------------------------------------------

_OTHER_LETTERS = str.maketrans({
    "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n",
    "а": "a", "б": "b", "в": "v", "г": "g", "ґ": "g", "д": "d", "е": "e", "є": "ie", "ж": "zh", "з": "z", "и": "i",
    "і": "i", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u",
    "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e",
    "ю": "yu", "я": "ya", "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i",
    "κ": "k", "λ": "l", "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "τ": "t", "υ": "y",
    "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o",
})  # fmt: skip
_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}`]")


def plain(text: str) -> str:
    """A text for comparing: in Latin letters where we know how, without accents, case, apostrophes and other marks."""
    bare = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text)).casefold()
    bare = "".join(c for c in bare if not unicodedata.combining(c)).translate(_OTHER_LETTERS)
    return " ".join("".join(c if c.isalnum() else " " for c in bare).split())


_SOUNDEX = {
    letter: digit
    for digit, letters in enumerate(("", "bfpv", "cgjkqsxz", "dt", "l", "mn", "r"))
    for letter in letters
}


def sound(word: str) -> str:
    """Soundex of a word of :func:`plain`, e.g. `m530` for every Mohammed; empty where a letter is none of a to z."""
    if not word.isascii() or not word.isalpha():
        return ""
    digits, before = "", _SOUNDEX.get(word[0])
    for letter in word[1:]:
        digit = _SOUNDEX.get(letter)
        if digit is not None and digit != before:
            digits += str(digit)
        if letter not in "hw":
            before = digit
    return (word[0] + digits + "000")[:4]


def alike(one: str, other: str) -> float:
    """Jaro-Winkler: 1.0 for the same word, 0.0 for words with nothing in common."""
    if one == other:
        return 1.0
    reach = max(len(one), len(other)) // 2 - 1
    free, mine = list(range(len(other))), list[int]()
    for at, letter in enumerate(one):
        found = next((i for i in free if abs(i - at) <= reach and other[i] == letter), None)
        if found is not None:
            free.remove(found)
            mine.append(found)
    if not mine:
        return 0.0
    turned = sum(a != b for a, b in zip(mine, sorted(mine), strict=True)) // 2
    same = len(mine)
    jaro = (same / len(one) + same / len(other) + (same - turned) / same) / 3
    begins = next(
        (i for i, (a, b) in enumerate(zip(one[:4], other[:4], strict=False)) if a != b),
        min(4, len(one), len(other)),
    )
    return jaro + begins * 0.1 * (1 - jaro)


_VARIANTS: Final = {
    word: names.split()[0]
    for names in (
        "mohammed muhammad mohamed mohammad muhammed mohamad mohamud mahamed mo",
        "kieran ciaran kieron kieren kyran cieran", "sean shaun shawn shane", "siobhan shivaun shevaun",
        "niamh neve neave", "aoife eefa", "caoimhe keeva", "eoghan owen eoin euan ewan", "conor connor",
        "stephen steven steve stevie stefan", "philip phillip phil", "geoffrey jeffrey geoff jeff", "alan allan allen",
        "robert bob rob bobby robbie bert", "william will bill billy liam", "richard rick dick ricky rich",
        "james jim jimmy jamie", "john jon johnny jack", "joseph joe joey yusuf yousef youssef jozef", "edward ed eddie ted teddy",
        "thomas tom tommy", "daniel dan danny", "david dave davy dai", "michael mike mick mickey micheal",
        "anthony antony tony", "andrew andy drew andrzej", "alexander alex alec sasha", "christopher chris kit", "matthew mathew matt",
        "nicholas nicolas nick nicky", "benjamin ben benny", "samuel sam sammy", "jonathan jonathon jonny",
        "joshua josh", "charles charlie chaz", "henry harry", "francis frank frankie", "lewis louis lou", "tyrone ty",
        "elizabeth liz lizzie beth betty eliza elisabeth", "katherine catherine kathryn kate katie cath kathy cathy",
        "margaret maggie meg peggy", "rebecca becky becca", "jessica jess jessie", "jennifer jenny jen", "susan sue susie",
        "victoria vicky vicki tori", "alexandra sandra lexi", "natalie nathalie natalia", "sophie sofia sophia", "hannah hanna",
        "isaac izaak ishaq", "ibrahim abraham ebrahim", "ismail ismael ishmael", "abdul abdel abdal", "ahmed ahmad achmed",
        "hussain hussein husain hossain", "hasan hassan", "yasin yaseen yassin", "umar omar omer", "usman osman uthman",
        "fatima fatimah fatema fatuma", "aisha aysha ayesha aicha", "maryam mariam miriam", "khadija khadijah hadiza",
        "oluwaseun seun", "oluwatobi tobi", "chukwuemeka emeka", "kwame kwamena", "krzysztof krzys", "katarzyna kasia",
        "malgorzata gosia", "piotr peter pete pyotr", "pawel paul pavel", "jan ian iain", "tomasz tomek", "michal misha",
    )
    for word in names.split()
}  # fmt: skip
"""First names of one person, to the one that stands for all: spellings and short forms, our own list."""

_FORENAMES = (
    "mohammed jack oliver harry james john david daniel thomas joshua william charles joseph samuel robert michael ahmed ali"
    " abdul hassan sarah emily jessica elizabeth rebecca katherine sophie chloe amy aisha fatima maryam"
)
_SURNAMES = (
    "smith jones taylor brown williams wilson johnson davies patel robinson wright thompson evans walker white roberts green"
    " hall wood jackson clarke clark khan ali ahmed hussain begum singh kaur hughes edwards thomas lewis harris martin scott"
    " murphy kelly campbell stewart morgan bell mohammed uddin miah islam rahman shah"
)
_COMMON: Final = dict.fromkeys(_FORENAMES.split(), 5.0) | dict.fromkeys(_SURNAMES.split(), 6.0)
"""What many people are called: at most so many bits, however few alerts there are yet."""


# --- What is known of a person ---------------------------------------------------------------------------------


class Known(Personal, frozen=True):
    """What of one person is compared. `born_in`: first and last year that birth may lie in."""

    names: tuple[tuple[str, str], ...] = ()  # first and last word
    nicknames: frozenset[str] = frozenset()
    born: date | None = None
    year: int | None = None
    born_in: tuple[int, int] | None = None
    sex: str | None = None
    numbers: Mapping[str, str] = {}
    district: str | None = None
    things: frozenset[tuple[str, str]] = frozenset()


class Likeness(NamedTuple):
    """How like two alerts are, from 0 to 1, and why (codes of :data:`REASONS`)."""

    score: float
    reasons: tuple[str, ...]

    @property
    def strength(self) -> str | None:
        """`likely`, `possible`, or None: nothing is said."""
        return "likely" if self.score >= LIKELY else "possible" if self.score >= POSSIBLE else None


NOTHING: Final = Likeness(0.0, ())

_NOT_SHARED = frozenset({"la_case"})
"""Numbers that two areas may both give to different people."""

_BANDS: Final = {
    "u10": (0, 9),
    "10_13": (10, 13),
    "14_15": (14, 15),
    "16_17": (16, 17),
    "18_24": (18, 24),
    "25p": (25, 110),
}


def comparable(alert: Alert) -> bool:
    """Whether an alert may be compared with others at all.

    Not where its sender is to be asked before any further use (S2), and not where a caveat in words binds it, which no
    program can read.
    """
    return bool(alert.subjects) and "S2" not in alert.grading.conditions and not alert.grading.caveat_text


def of_home(carried: Carried, node_id: str) -> bool:
    """Whether an alert came to this node as that of the person's home area; a copy for another reason is not compared."""
    home = carried.home
    codes = {home.code, home.district, home.upper, home.force, home.region} - {None}
    return any(step.node == node_id and step.area in codes for step in carried.route)


def known(alert: Alert, carried: Carried) -> list[Known]:
    """The persons of an alert, as they are compared."""
    on = (alert.event.observed_from or carried.created).astimezone(UTC).date()
    return [_person(subject, alert, carried.home.district, on) for subject in alert.subjects]


def _person(subject: Subject, alert: Alert, district: str | None, on: date) -> Known:
    names, nicknames = list[tuple[str, str]](), set[str]()
    for name in subject.names:
        words = plain(name.text).split()
        if len(words) > 1 and name.kind not in {"street", "alias"}:
            names.append((words[0], words[-1]))
        elif words:
            nicknames.add(" ".join(words))
    year = subject.dob.year if subject.dob else subject.birth_year
    band = _BANDS.get(subject.age_band or "")
    return Known(
        names=tuple(names),
        nicknames=frozenset(nicknames),
        born=subject.dob,
        year=year,
        born_in=(year, year) if year else (on.year - band[1] - 1, on.year - band[0]) if band else None,
        sex=subject.sex if subject.sex in {"female", "male"} else None,
        numbers={
            each.scheme: plain(each.value).replace(" ", "")
            for each in subject.identifiers
            if each.scheme not in _NOT_SHARED
        },
        district=district,
        things=frozenset(_things(subject, alert)),
    )


def _things(subject: Subject, alert: Alert) -> Iterator[tuple[str, str]]:
    """What hangs together with a person: all there is where the alert is about one alone, else what it says so of.

    Never what is only for some, or is handled more strictly than the alert.
    """
    tied = {
        ref
        for each in alert.relations
        for ref in (each.origin, each.to)
        if subject.local_ref in {each.origin, each.to}
    }
    for thing in alert.objects:
        if thing.only_for or thing.handling not in {None, "P"} or thing.kind not in _THINGS:
            continue
        if len(alert.subjects) > 1 and (thing.local_ref is None or thing.local_ref not in tied):
            continue
        value = plain(thing.value or "").replace(" ", "")
        if thing.kind == "phone":
            value = re.sub(r"\A(0044|44)0?", "0", value)
        if len(value) > 3:
            yield thing.kind, value


# --- What is kept to find by ------------------------------------------------------------------------------------


def traces(alert: Alert, carried: Carried) -> frozenset[str]:
    """The texts under which an alert is found again. The node keeps no text, only its blind mark."""
    return frozenset(text for person in known(alert, carried) for texts in keys(person) for text in texts) - {
        ""
    }


def keys(person: Known, years: int = 0) -> list[frozenset[str]]:
    """The keys of a person: each is one piece of evidence, and any of its texts stands for it.

    `years`: how far a year of birth may be off in those that are looked for.
    """
    found = [frozenset(_sounds(word)) for word in {each for name in person.names for each in name}]
    found += [frozenset({f"called:{each}", *_sounds(each)}) for each in person.nicknames]
    found += [frozenset({f"{scheme}:{value}"}) for scheme, value in person.numbers.items()]
    found += [frozenset({f"{kind}:{value}"}) for kind, value in person.things]
    if person.born:
        found.append(frozenset({f"born:{person.born}"}))
    if person.year:
        found.append(frozenset(f"year:{person.year + off}" for off in range(-years, years + 1)))
    return found


def _sounds(word: str) -> Iterator[str]:
    yield f"name:{_VARIANTS.get(word, word)}"
    if code := sound(word):
        yield f"sound:{code}"


# --- How much agreeing counts -----------------------------------------------------------------------------------

_THINGS: Final = {"phone": 8.0, "vehicle": 7.0, "social": 8.0, "address": 5.0, "line": 3.0}
_PRIOR: Final = -13.0
"""Bits against: of some thousand persons of one area, two alerts are rarely about the same."""

_SMOOTH: Final = 4096
"""As if so many other alerts had come that have nothing of it: a young node has seen too few to say what is rare."""


class _Weighing:
    """Bits for and against, with the reasons; `counts` and `total` say how common a text is here."""

    def __init__(self, counts: Mapping[str, int], total: int) -> None:
        self.bits = _PRIOR
        self.reasons: list[str] = []
        self.evidence = 0
        self._counts = counts
        self._total = total

    def rare(self, most: float, *texts: str) -> float:
        """What agreeing in something is worth: `most` bits, fewer the more alerts here have it."""
        count = max((self._counts.get(text, 0) for text in texts), default=0)
        return min(most, math.log2((self._total + _SMOOTH) / max(count, 1)))

    def add(self, bits: float, reason: str = "") -> None:
        self.bits += bits
        if reason:
            self.reasons.append(reason)
            self.evidence += 1


def likeness(one: Known, other: Known, counts: Mapping[str, int], total: int) -> Likeness:
    """How likely it is that two are one person. `counts`: how many of `total` alerts have a text of :func:`keys`."""
    scale = _Weighing(counts, total)
    firm = _by_number(scale, one, other) | _by_birth(scale, one, other)
    _by_name(scale, one, other)
    for kind, value in sorted(one.things & other.things):
        scale.add(scale.rare(_THINGS[kind], f"{kind}:{value}"), kind)
    if one.sex and other.sex:
        scale.add(0.7 if one.sex == other.sex else -5.0)
    if one.district and other.district:
        scale.add(1.5 if one.district == other.district else -1.0)
    if scale.evidence < FEWEST:
        return NOTHING
    score = 1 / (1 + 2.0 ** -max(-60.0, min(60.0, scale.bits)))
    return Likeness(score if firm else min(score, UNFIRM), tuple(dict.fromkeys(scale.reasons)))


def _by_number(scale: _Weighing, one: Known, other: Known) -> bool:
    same = False
    for scheme in one.numbers.keys() & other.numbers.keys():
        if one.numbers[scheme] == other.numbers[scheme]:
            scale.add(20.0, "identifier")
            same = True
        else:
            scale.add(-8.0)
    return same


def _by_birth(scale: _Weighing, one: Known, other: Known) -> bool:
    if one.born and other.born:
        if one.born == other.born:
            scale.add(scale.rare(12.0, f"born:{one.born}"), "born")
            return True
        mine, theirs = ((d.year, d.month, d.day) for d in (one.born, other.born))
        turned = mine == (theirs[0], theirs[2], theirs[1])
        slip = sum(a == b for a, b in zip(mine, theirs, strict=True)) == 2 and abs(mine[0] - theirs[0]) < 2
        if turned or slip:
            scale.add(5.0, "born_nearly")
        else:
            scale.add(-10.0)
    elif one.year and other.year:
        off = abs(one.year - other.year)
        scale.add((3.5, 1.5, -3.0)[off] if off < 3 else -8.0, "birth_year" if off < 2 else "")
    elif one.born_in and other.born_in:
        apart = max(one.born_in[0], other.born_in[0]) - min(one.born_in[1], other.born_in[1])
        scale.add(0.7 if apart <= 0 else -1.0 if apart == 1 else -7.0)
    return False


def _by_name(scale: _Weighing, one: Known, other: Known) -> None:
    pairs = [_names(scale, mine, theirs) for mine in one.names for theirs in other.names]
    if pairs:
        bits, reasons = max(pairs, key=lambda pair: pair[0])
        for reason in reasons:
            scale.add(0.0, reason)
        scale.add(bits)
    shared = one.nicknames & other.nicknames
    if shared:
        best = max(scale.rare(_usual(each, 6.0), f"called:{each}", *_sounds(each)) for each in shared)
        scale.add(best, "nickname")
    elif not pairs:
        firsts = [
            (each, word)
            for a, b in ((one, other), (other, one))
            for each in a.nicknames
            for word, _last in b.names
        ]
        told = [_forename(scale, *pair) for pair in firsts]
        bits, reason = max((each for each in told if each[1]), default=(0.0, ""))
        scale.add(max(0.0, bits - 1.0), reason)


def _names(scale: _Weighing, mine: tuple[str, str], theirs: tuple[str, str]) -> tuple[float, list[str]]:
    """The better of the names as they stand and turned about, which counts only where both then agree."""
    told = []
    for first, last in (mine, mine[::-1]):
        fore, sur = _forename(scale, first, theirs[0]), _surname(scale, last, theirs[1])
        if (first, last) == mine or (fore[1] and sur[1]):
            told.append((fore[0] + sur[0], [reason for reason in (fore[1], sur[1]) if reason]))
    return max(told, key=lambda each: each[0])


def _forename(scale: _Weighing, mine: str, theirs: str) -> tuple[float, str]:
    bits = scale.rare(_usual(mine, 7.0), *_sounds(mine))
    if mine == theirs:
        return bits, "forename"
    if min(len(mine), len(theirs)) == 1:  # an initial
        return (0.5, "") if mine[0] == theirs[0] else (-6.0, "")
    if _VARIANTS.get(mine, mine) == _VARIANTS.get(theirs, theirs):
        return bits - 1.0, "forename_alike"
    if _near(mine, theirs):
        return bits - 2.5, "forename_alike"
    return -14.0, ""


def _surname(scale: _Weighing, mine: str, theirs: str) -> tuple[float, str]:
    bits = scale.rare(_usual(mine, 9.0), *_sounds(mine))
    if mine == theirs:
        return bits, "surname"
    if _near(mine, theirs) or _VARIANTS.get(mine, mine) == _VARIANTS.get(theirs, theirs):
        return bits - 2.5, "surname_alike"
    return -5.0, ""


def _near(one: str, other: str) -> bool:
    likeness_of = alike(one, other)
    return likeness_of >= 0.94 or (likeness_of >= 0.8 and bool(sound(one)) and sound(one) == sound(other))


def _usual(word: str, most: float) -> float:
    return min(most, _COMMON.get(_VARIANTS.get(word, word), most), _COMMON.get(word, most))


def leads(
    persons: Iterable[Known],
    held: Mapping[int, frozenset[str]],
    counts: Mapping[str, int],
    total: int,
    most: int,
) -> list[int]:
    """Which alerts are worth opening: those in which two keys of one person stand, the rarest keys first.

    `held`: the texts of each alert, by its number.
    """
    rated = dict[int, float]()
    for person in persons:
        mine = keys(person, years=1)
        for seq, texts in held.items():
            agree = [key & texts for key in mine if key & texts]
            if len(agree) >= FEWEST:
                rare = sum(
                    math.log2((total + _SMOOTH) / min(max(counts.get(text, 1), 1) for text in key))
                    for key in agree
                )
                rated[seq] = max(rated.get(seq, 0.0), rare)
    return sorted(rated, key=lambda seq: (rated[seq], seq), reverse=True)[:most]


def between(
    ones: Iterable[Known], others: Iterable[Known], counts: Mapping[str, int], total: int
) -> Likeness:
    """The greatest likeness of a person of one alert and a person of the other."""
    there = list(others)
    found = [likeness(one, other, counts, total) for one in ones for other in there]
    return max(found, key=lambda each: each.score, default=NOTHING)
