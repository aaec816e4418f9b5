"""Which partner an alert goes to, and why, in words (PROTOCOL section 3, `docs/areas.md`).

Pure. The rule kept here: the most specific active partner for (area, function) on the date, then a visible chain of
fallbacks, else held for the operator. Nothing is ever broadcast, and between two claims nothing is ever picked.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal

import msgspec

from bridge import vocabulary
from bridge.areas import Area, Gazetteer

Step = Literal["district", "upper", "force", "region", "country", "fallback-force", "fallback-desk", "held"]

POLICE = "POLICE"
REGIONAL_DESKS = ("ROCU",)
NATIONAL_DESKS = ("NCLCC", "NCA")
DESKS = REGIONAL_DESKS + NATIONAL_DESKS
"""Functions that take what nobody else covers, in the order they are asked."""


class Coverage(msgspec.Struct, frozen=True):
    """What the administrators approved a partner to receive for: never the partner's own claim.

    Valid from `valid_from` (inclusive) until `valid_to` (exclusive); None is open. A hand-over is one coverage's
    `valid_to` equal to the next one's `valid_from`.
    """

    node: str
    name: str
    area: str
    function: str
    valid_from: date | None = None
    valid_to: date | None = None
    active: bool = True
    exercise: bool = False

    def on(self, when: date) -> bool:
        """Whether this coverage counts on the date."""
        begun = self.valid_from is None or self.valid_from <= when
        over = self.valid_to is not None and self.valid_to <= when
        return self.active and begun and not over


class Need(msgspec.Struct, frozen=True):
    """One recipient wanted: a function for an area, e.g. MASH for the home area.

    `area` is a current GSS code, or None when it is not known. `why` is the reason for this recipient; `because`
    says how the area was found ("83 % of DA1 is Dartford").
    """

    function: str
    area: str | None
    why: str = ""
    because: str = ""


class Leg(msgspec.Struct, frozen=True):
    """One copy of the alert: where it goes, or that it is held (`node` is None).

    `function` is what the node does, `wanted` what was asked for; they differ on a fallback. Where several needs
    meet in one node, `function` and `wanted` list theirs ("LA_CSP, YJS"), `why` and `because` join theirs, and
    `area` and `step` are the first need's. `conflict` names the nodes that claim the same (area, function).
    """

    node: str | None
    name: str
    function: str
    wanted: str
    area: str
    step: Step
    why: str
    because: str
    conflict: tuple[str, ...] = ()


class Gap(msgspec.Struct, frozen=True):
    """A district that no node covers for a function."""

    area: Area
    function: str

    def __str__(self) -> str:
        return f"nobody serves {self.area.code} ({self.area.name}) as {_what(self.function)}"


class Overlap(msgspec.Struct, frozen=True):
    """Two or more nodes that claim the same (area, function) at the same time; routing there is refused.

    The dates bound when they overlap; None is open.
    """

    area: Area | None
    code: str
    function: str
    nodes: tuple[str, ...]
    begins: date | None
    ends: date | None

    def __str__(self) -> str:
        name = f" ({self.area.name})" if self.area else ""
        return f"{_listed(self.nodes)} both claim {self.function} for {self.code}{name}"


class _Match(msgspec.Struct, frozen=True):
    """Where a walk up the areas ended: the area, and the coverages of one node, or of several in conflict."""

    area: Area
    found: tuple[Coverage, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.node for each in self.found))


class _Table:
    """Coverages that count on a date, by (area, function)."""

    def __init__(
        self, coverages: Iterable[Coverage], gazetteer: Gazetteer, on: date, exercise: bool = False
    ) -> None:
        self.by: dict[tuple[str, str], tuple[Coverage, ...]] = {}
        for each in coverages:
            if each.on(on) and each.exercise == exercise:
                key = gazetteer.renumbered(each.area), each.function
                self.by[key] = (*self.by.get(key, ()), each)

    def walk(self, chain: Sequence[Area], function: str) -> _Match | None:
        """The first area of the chain that anybody covers for the function."""
        for area in chain:
            if found := self.by.get((area.code, function)):
                return _Match(area, found)
        return None


def route(
    needs: Sequence[Need],
    gazetteer: Gazetteer,
    coverages: Iterable[Coverage],
    on: date,
    own_area: str | None = None,
    exercise: bool = False,
) -> tuple[Leg, ...]:
    """Where each need goes on the date; never more legs than needs, in the order of the needs.

    `own_area` is any area code of the sender: its regional desk takes alerts whose home area is unknown. An
    exercise reaches only partners in exercise mode, and the other way round. Needs that land on one node make one
    leg; held needs stay apart, since each is its own task for the operator.
    """
    table = _Table(coverages, gazetteer, on, exercise)
    legs: list[Leg] = []
    at: dict[str, int] = {}
    for need in needs:
        leg = _one(need, gazetteer, table, on, own_area)
        if leg.node is None:
            legs.append(leg)
        elif leg.node in at:
            legs[at[leg.node]] = _merged(legs[at[leg.node]], leg)
        else:
            at[leg.node] = len(legs)
            legs.append(leg)
    return tuple(legs)


def _one(need: Need, gazetteer: Gazetteer, table: _Table, on: date, own_area: str | None) -> Leg:
    """One need: its own function up the areas, then the force, then the desks, else held."""
    if need.area is None:
        return _unknown_home(need, gazetteer, table, own_area)
    here = gazetteer.successor(need.area, on)
    if here is None:
        return _held(need, need.area, f"{need.area} is not one current area; choose the area it means")
    chain = gazetteer.chain(here.code)
    if match := table.walk(chain, need.function):
        return _matched(need, match, _step(match.area, here), _reason(need, here, match.area))
    nobody = f"nobody serves {here.label} as {_what(need.function)}"
    why_there = f"{need.because}, and {nobody}" if need.because else nobody
    if need.function != POLICE and (match := table.walk(chain, POLICE)):
        return _matched(need, match, "fallback-force", why_there)
    for desk in DESKS:
        if desk != need.function and (match := table.walk(chain, desk)):
            return _matched(need, match, "fallback-desk", why_there)
    return _held(need, here.code, f"{nobody}, and neither does its police force nor any regional or national desk")


def _what(function: str) -> str:
    """What a function is, as part of a sentence."""
    label = vocabulary.TABLES["function"].label(function)
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def _unknown_home(need: Need, gazetteer: Gazetteer, table: _Table, own_area: str | None) -> Leg:
    """No home area: the desk of the sender's own region, then a national desk."""
    own = gazetteer.chain(own_area) if own_area else ()
    unknown = need.because or "the home area is not known"
    for desk in REGIONAL_DESKS:
        if match := table.walk(own, desk):
            return _matched(need, match, "fallback-desk", unknown)
    whole = own or gazetteer.chain("K02000001")
    for desk in NATIONAL_DESKS:
        if match := table.walk(whole, desk):
            return _matched(need, match, "fallback-desk", unknown)
    return _held(need, "", f"{unknown}, and no regional or national desk is a partner")


def _matched(need: Need, match: _Match, step: Step, because: str) -> Leg:
    """A leg to the one node found, or a held one when several claim the place."""
    if len(match.nodes) > 1:
        function = match.found[0].function
        said = (
            f"is held because {_listed(match.nodes)} both claim {function} for {match.area.label} on this date, "
            f"without a hand-over date"
        )
        return Leg(None, "", "", need.function, match.area.code, "held", need.why, said, match.nodes)
    found = match.found[0]
    said = f"goes to {found.name} because {because}"
    return Leg(found.node, found.name, found.function, need.function, match.area.code, step, need.why, said)


def _held(need: Need, area: str, because: str) -> Leg:
    return Leg(None, "", "", need.function, area, "held", need.why, f"is held because {because}")


def _step(matched: Area, here: Area) -> Step:
    """The level at which the match was made. A district that is its own upper authority counts as a district."""
    return here.level if matched.code == here.code else matched.level


def _reason(need: Need, here: Area, matched: Area) -> str:
    """Why this node serves the place, after "because": how the area was found, and what it lies in."""
    if here.code == matched.code:
        return need.because or f"it covers {here.label}"
    whole = "the area of " if matched.level == "force" else ""
    lies = f"{here.label} is in {whole}{matched.name if matched.level == 'upper' else matched.label}"
    return f"{need.because}, and {lies}" if need.because else lies


def _merged(one: Leg, other: Leg) -> Leg:
    """Two needs that land on one node: one copy, every reason."""
    return msgspec.structs.replace(
        one,
        function=_joined(one.function, other.function, ", "),
        wanted=_joined(one.wanted, other.wanted, ", "),
        why=_joined(one.why, other.why, "; "),
        because=_joined(one.because, other.because, "; "),
    )


def _joined(one: str, other: str, by: str) -> str:
    """Both texts, the second only when it is not among the first already."""
    return by.join(filter(None, (one, *([] if other in one.split(by) else [other]))))


def _listed(nodes: Sequence[str]) -> str:
    return " and ".join((", ".join(nodes[:-1]), nodes[-1])) if len(nodes) > 1 else nodes[0]


def explain(
    need: Need,
    gazetteer: Gazetteer,
    coverages: Iterable[Coverage],
    on: date,
    own_area: str | None = None,
    exercise: bool = False,
) -> tuple[str, ...]:
    """Each place that routing looks, in order, with what it found there; the last line is the outcome."""
    table = _Table(coverages, gazetteer, on, exercise)
    here = gazetteer.successor(need.area, on) if need.area else None
    lines: list[str] = []
    if here is not None:
        for function in dict.fromkeys((need.function, POLICE, *DESKS)):
            for area in gazetteer.chain(here.code):
                found = table.by.get((area.code, function), ())
                nodes = tuple(dict.fromkeys(each.node for each in found))
                lines.append(
                    f"{area.level} {area.label}: {_listed(nodes) if nodes else 'no'} {function} node".strip()
                )
                if nodes:
                    break
            else:
                continue
            break
    leg = _one(need, gazetteer, table, on, own_area)
    return (*lines, leg.because)


def gaps(
    coverages: Iterable[Coverage], gazetteer: Gazetteer, function: str, on: date, within: str = ""
) -> tuple[Gap, ...]:
    """Districts for which no node is found without a fallback, by name; `within` limits them to one area."""
    table = _Table(coverages, gazetteer, on)
    return tuple(
        Gap(district, function)
        for district in gazetteer.areas("district")
        if (not within or gazetteer.within(district.code, within))
        and table.walk(gazetteer.chain(district.code), function) is None
    )


def overlaps(
    coverages: Iterable[Coverage], gazetteer: Gazetteer, on: date | None = None, function: str = ""
) -> tuple[Overlap, ...]:
    """Claims by different nodes on the same (area, function): on the date, or at any time when `on` is None."""
    by: dict[tuple[str, str, bool], list[Coverage]] = {}
    for each in coverages:
        if each.active and (not function or each.function == function) and (on is None or each.on(on)):
            by.setdefault((gazetteer.renumbered(each.area), each.function, each.exercise), []).append(each)
    found: dict[tuple[str, str, date | None, date | None], set[str]] = {}
    for (code, does, _), claims in by.items():
        for i, one in enumerate(claims):
            for other in claims[i + 1 :]:
                if one.node == other.node:
                    continue
                begins = max(filter(None, (one.valid_from, other.valid_from)), default=None)
                ends = min(filter(None, (one.valid_to, other.valid_to)), default=None)
                if begins is None or ends is None or begins < ends:
                    found.setdefault((code, does, begins, ends), set()).update((one.node, other.node))
    return tuple(
        Overlap(gazetteer.area(code), code, does, tuple(sorted(nodes)), begins, ends)
        for (code, does, begins, ends), nodes in sorted(found.items(), key=lambda item: item[0][:2])
    )
