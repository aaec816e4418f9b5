"""The scenario files: what is sent, by whom, and what must come of it (`configs/scenarios/README.md`)."""

import json
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

import msgspec

import bridge
from bridge.errors import Misconfigured

NODES: Final = "nodes.toml"
_FILES: Final = "[0-9][0-9]-*.json"
_LIMIT: Final = 1024 * 1024


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the files hold is written by us: a field that is not known is a mistake."""


class Actor(Struct, frozen=True):
    """A node of `nodes.toml`: who it is and what it may receive for. Dates bound a hand-over."""

    id: str
    name: str
    agency: str
    areas: tuple[str, ...]
    functions: tuple[str, ...]
    exercise: bool = False
    valid_from: date | None = None
    valid_to: date | None = None


class Sender(Struct, frozen=True):
    """The node that sends, its agency and area."""

    node: str
    agency_code: str
    area: str


class Home(Struct, frozen=True):
    """The area as which the home area must be read; `code` None is an unknown one."""

    certain: bool
    code: str | None = None
    method: str | None = None


class Row(Struct, frozen=True):
    """One copy of the alert: where it must go, and the receipts it must give, in order. `node` None is a held one."""

    function: str
    area: str
    node: str | None
    step: str
    receipts: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


class Deed(Struct, frozen=True):
    """What one receiving team does, in order: `open`, `take`, `ack`, `close:OUTCOME`, `not-ours:AREA`."""

    node: str
    do: tuple[str, ...]


class Candidate(Struct, frozen=True):
    """One area that an ambiguous text may mean."""

    area: str
    permille: int


class Handover(Struct, frozen=True, rename={"giver": "from"}):
    """One node takes over from another on a day."""

    giver: str
    to: str
    on: date


class Dark(Struct, frozen=True):
    """A recipient's node that is away while the alert is sent; the hours are told, not waited for."""

    node: str
    hours: int


class Offer(Struct, frozen=True):
    """Whom the sender may turn to meanwhile."""

    function: str
    area: str
    node: str


class Live(Struct, frozen=True):
    """A live node that must refuse the exercise, and with which code."""

    node: str
    code: str


class Expect(Struct, frozen=True):
    """What must come of the alert; the table of `configs/scenarios/README.md`."""

    home: Home
    recipients: tuple[Row, ...]
    action: tuple[Deed, ...] = ()
    outcome: str | None = None
    notices: tuple[str, ...] = ()
    ambiguous: bool = False
    candidates: tuple[Candidate, ...] = ()
    sent: datetime | None = None
    read: datetime | None = None
    then: tuple[Row, ...] = ()
    handover: Handover | None = None
    dark: Dark | None = None
    offer: Offer | None = None
    live: Live | None = None
    pair: str | None = None
    notes: str = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every copy there must be in the end: the first route, and behind it whoever took over."""
        first = {row.node for row in self.recipients}
        return (*self.recipients, *(row for row in self.then if row.node not in first))


class _File(Struct, frozen=True):
    title: str
    sender: Sender
    alert: msgspec.Raw
    expect: Expect


class Scenario(msgspec.Struct, frozen=True):
    """One scenario; `name` is its file's name without the ending, `body` the alert's own bytes."""

    name: str
    title: str
    sender: Sender
    body: bytes
    expect: Expect

    def __repr__(self) -> str:
        return f"Scenario({self.name})"

    @property
    def number(self) -> int:
        """Its number in the list of scenarios; two files may share one."""
        return int(self.name[:2])

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that has a part in it, the sender first."""
        expect = self.expect
        named = [row.node for row in expect.rows]
        named += [part.node for part in (expect.dark, expect.offer, expect.live) if part is not None]
        return tuple(dict.fromkeys([self.sender.node, *(node for node in named if node is not None)]))


class Script(msgspec.Struct, frozen=True):
    """All scenarios, in the order of their files, and the nodes that have a part in them."""

    scenarios: tuple[Scenario, ...]
    actors: dict[str, Actor]

    @property
    def busiest(self) -> str:
        """The node that must receive the most alerts."""
        rows = [
            row.node for scenario in self.scenarios for row in scenario.expect.rows if row.node is not None
        ]
        return max(dict.fromkeys(rows), key=rows.count, default="")

    @property
    def alone(self) -> tuple[str, ...]:
        """The nodes that will be killed, and so need a process of their own: the busiest, and those that are dark."""
        dark = (scenario.expect.dark.node for scenario in self.scenarios if scenario.expect.dark is not None)
        return tuple(
            dict.fromkeys(node for node in (self.busiest, *dark) if node and node not in self.senders)
        )

    @property
    def senders(self) -> tuple[str, ...]:
        """The nodes that send."""
        return tuple(dict.fromkeys(scenario.sender.node for scenario in self.scenarios))

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Who must be partners: each sender with the nodes of its scenario.

        The sender of an alert whose home area is not certain has the recipients of the first scenario as well: that
        nothing is picked or spread says little where there is nobody to pick.
        """
        found: dict[tuple[str, str], None] = {}
        first = [row.node for row in self.scenarios[0].expect.rows if row.node is not None]
        for scenario in self.scenarios:
            sender, expect = scenario.sender.node, scenario.expect
            tempting = first if expect.ambiguous or not expect.home.certain else []
            for node in (*scenario.nodes, *tempting):
                if node != sender and (node, sender) not in found:
                    found[sender, node] = None
        return tuple(found)


def shipped() -> Path:
    """The project's own scenarios: beside the package in a working copy, inside it once installed."""
    package = Path(bridge.__file__).parent
    inside = package / "data" / "scenarios"
    return inside if inside.is_dir() else package.parent / "configs" / "scenarios"


def load(directory: Path) -> Script:
    """Read every scenario of a directory. Raises Misconfigured, naming the file, when one cannot be used."""
    try:
        table = tomllib.loads((directory / NODES).read_text("utf-8"))
        every = {each.id: each for each in msgspec.convert(table.get("node", []), list[Actor])}
    except OSError:
        raise Misconfigured(
            f"There are no scenarios in {directory}.", f"It must hold {NODES} and files such as 01-name.json."
        ) from None
    except (ValueError, msgspec.ValidationError):
        raise _unusable(NODES) from None
    scenarios = tuple(_read(path) for path in sorted(directory.glob(_FILES)))
    if not scenarios:
        raise Misconfigured(
            f"There are no scenarios in {directory}.", "It must hold files such as 01-name.json."
        )
    wanted = dict.fromkeys(node for scenario in scenarios for node in scenario.nodes)
    for scenario in scenarios:
        if any(node not in every for node in scenario.nodes):
            raise Misconfigured(f"{scenario.name}.json names a node that {NODES} does not hold.")
    return Script(scenarios, {node: every[node] for node in wanted})


def _read(path: Path) -> Scenario:
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_LIMIT), type=_File)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        raise _unusable(path.name) from None
    return Scenario(path.stem, found.title, found.sender, bytes(found.alert), found.expect)


def _unusable(name: str) -> Misconfigured:
    return Misconfigured(
        f"{name} is not a scenario file of the form that is known.", "See configs/scenarios/README.md."
    )


_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def as_of(body: bytes, now: datetime) -> bytes:
    """The alert as it could be written `now`: as it is, or all its dates earlier by whole days.

    An alert that was observed after `now` would rightly be refused, and the clock of the machine that shows the
    scenarios may stand anywhere.
    """
    alert = json.loads(body)
    seen = [value for value in _values(alert.get("event", {})) if _TIME.fullmatch(value)]
    ahead = max((datetime.fromisoformat(value) - now for value in seen), default=timedelta(0))
    if ahead <= timedelta(0):
        return body
    return _encoded(_moved(alert, timedelta(days=ceil(ahead / timedelta(days=1)))))


def unanswered(body: bytes) -> bytes:
    """The alert before the worker answered which area was meant: as typed, without district and method."""
    alert = json.loads(body)
    alert["home"] = {
        name: value for name, value in alert["home"].items() if name not in {"district", "method"}
    }
    return _encoded(alert)


def _encoded(alert: Any) -> bytes:
    return json.dumps(alert, ensure_ascii=False).encode()


def _values(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [value for each in tree.values() for value in _values(each)]
    if isinstance(tree, list):
        return [value for each in tree for value in _values(each)]
    return [tree] if isinstance(tree, str) else []


def _moved(tree: Any, by: timedelta) -> Any:
    if isinstance(tree, dict):
        return {name: _moved(value, by) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_moved(value, by) for value in tree]
    if isinstance(tree, str) and _DAY.fullmatch(tree):
        return (date.fromisoformat(tree) - by).isoformat()
    if isinstance(tree, str) and _TIME.fullmatch(tree):
        return f"{(datetime.fromisoformat(tree) - by).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return tree
