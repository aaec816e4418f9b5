"""What a person sees of the demo: a live table on a terminal, plain lines elsewhere, and the report at the end."""

import contextlib
import secrets
import shlex
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge import areas, vocabulary
from bridge.crypto.keys import word_list
from bridge.demo.hosts import Account
from bridge.demo.play import Ended, Playing
from bridge.demo.scenarios import Script
from bridge.demo.stage import Progress, Stage
from bridge.demo.verdict import Copy, Receipt
from bridge.receipts import STATUSES, Status

_INDENT: Final = 12
_COLOURS: Final = {
    "queued": "yellow",
    "dark": "red",
    "refused": "red",
    "undelivered": "red",
    "closed": "green",
}


class Screen:
    """Where the demo says how far it is. Everything but the JSON document goes through here."""

    def __init__(self, console: Console, *, silent: bool) -> None:
        self._console = console
        self._silent = silent

    def tell(self, text: str) -> None:
        """One line about how far it is."""
        if not self._silent:
            self._console.print(Text(text, style="dim" if self._console.is_terminal else ""), soft_wrap=True)

    def ready(self, stage: Stage) -> None:
        """The nodes are up."""
        alone = [house.actor.id for house in stage.houses.values() if house.place.alone]
        self.tell(
            f"Ready after {stage.ready_seconds:.1f} s: {len(stage.houses)} nodes in {len(stage.processes)} processes"
            f"{f', of which {_listed(alone)} in one each' if alone else ''}"
        )

    @contextlib.contextmanager
    def getting_ready(self, progress: Progress) -> Iterator[None]:
        """While the block runs, count the nodes on a terminal as they are made and put to work."""

        def counted() -> RenderableType:
            return Text(f"{progress.made} of {progress.nodes} made, {progress.at_work} at work", style="dim")

        with self._drawn(counted):
            yield

    @contextlib.contextmanager
    def following(self, playing: Sequence[Playing]) -> Iterator[None]:
        """While the block runs, show where every alert stands: on a terminal, in a table drawn again and again."""
        with self._drawn(lambda: self._table(playing)):
            yield

    @contextlib.contextmanager
    def _drawn(self, renderable: Callable[[], RenderableType]) -> Iterator[None]:
        if self._silent or not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=renderable, console=self._console, refresh_per_second=6, transient=True):
            yield

    def _table(self, playing: Sequence[Playing]) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
        table.add_column("", justify="right", no_wrap=True, width=2)
        table.add_column("from", no_wrap=True, width=max(len(each.scenario.sender.node) for each in playing))
        table.add_column("to, and where it stands", ratio=1)
        rows = [(each, _steps(each)) for each in list(playing)]
        over = sum(each.over for each, _ in rows)
        # What has ended makes room when the screen is too low for all: the rest must be seen to move.
        width = max(self._console.width - 32, 20)
        if sum(-(-len(steps) // width) for _, steps in rows) > self._console.height - 5:
            rows = [row for row in rows if not row[0].over][: max((self._console.height - 5) // 2, 1)]
        for each, steps in rows:
            table.add_row(str(each.scenario.number), each.scenario.sender.node, steps)
        return Group(table, Text(f"{over} of {len(playing)} alerts have come to their end", style="bold"))

    # The report

    def report(self, ended: Sequence[Ended], stage: Stage, seconds: float) -> None:
        """Every alert with its route and receipts, and what is not as its scenario says."""
        if self._silent:
            return
        for each in ended:
            self._block(each, stage)
        said = counts(ended)
        failed = sum(not each.ok for each in ended)
        self._line(
            0,
            Text(
                f"{said['alerts']} alerts, {said['recipients']} recipients, {said['receipts']} receipts "
                f"in {seconds:.1f} s, {stage.ready_seconds:.1f} s of them to get ready.",
                style="bold",
            ),
        )
        self._line(0, Text(f"Each receipt's signatures were checked here; {_restarted(stage.restarts)}."))
        if failed:
            self._line(
                0, Text(f"{failed} of {len(ended)} scenarios did not end as they say.", style="bold red")
            )
        else:
            self._line(0, Text("Every scenario ended as it says.", style="bold green"))

    def _block(self, ended: Ended, stage: Stage) -> None:
        scenario, seen = ended.scenario, ended.seen
        mark = ("ok    ", "green") if ended.ok else ("FAILED", "bold red")
        self._line(
            0, Text.assemble(mark, f"  {scenario.number:>2}  ", (scenario.title, "bold")), hang=_INDENT
        )
        if seen.reference:
            sender = stage.houses[scenario.sender.node].actor.name
            self._line(
                _INDENT, Text(f"{seen.reference} from {sender}; home area {seen.home_name or 'not known'}")
            )
        for copy in seen.copies:
            because = copy.because.partition(" because ")[2]
            self._line(
                _INDENT,
                Text.assemble(f"to {copy.name}" if copy.node else "held", (f", because {because}", "dim")),
            )
            self._line(_INDENT + 3, _told(copy))
        for line in _remarks(ended):
            self._line(_INDENT, Text(line))
        for line in ended.differences:
            self._line(_INDENT, Text(f"not as the scenario says: {line}", style="red"))
        self._line(0, Text())

    def _line(self, indent: int, text: Text, hang: int = 0) -> None:
        """One line; on a terminal folded under its beginning or `hang`, elsewhere never folded."""
        if not self._console.is_terminal:
            self._console.print(Text(" " * indent) + text if text else text, soft_wrap=True)
            return
        first, *more = text.wrap(self._console, self._console.width - max(indent, hang)) or [text]
        for place, part in enumerate((first, *more)):
            self._console.print(Text(" " * (max(indent, hang) if place else indent)) + part, soft_wrap=True)

    def kept(self, access: Sequence["Access"]) -> None:
        """Where the nodes are that were left running, and how to sign in."""
        if self._silent:
            return
        self._console.print()
        self._console.print(Text("The nodes are left running. Everything in them is invented.", style="bold"))
        for each in access:
            self._console.print()
            self._console.print(Text(f"{each.role}: {each.name}, {each.url}", style="bold"))
            lines = [f"sign in: {each.sign_in}", f"password: {each.password}"]
            lines += [f"token: {each.token}"] if each.token else []
            for line in (*lines, *each.tries):
                self._console.print(Text(f"  {line}"), soft_wrap=True)
        self._console.print()
        self._console.print(
            Text("Open the addresses in a browser; it warns, because each node made its certificate itself."),
            soft_wrap=True,
        )
        self._console.print(Text("Ctrl-C ends them and deletes everything.", style="bold"))


class Access(msgspec.Struct, frozen=True):
    """One role's way into a node that was left running: what to type on its pages; `tries` are commands to copy.

    An administrator needs no token: whoever may open the socket in the node's folder is one.
    """

    role: str
    node: str
    name: str
    url: str
    dir: str
    sign_in: str
    password: str
    token: str | None
    tries: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Access({self.node})"


def _roles(script: Script) -> tuple[str, str]:
    """The node where the first alert is sent, and the one where it goes."""
    first = script.scenarios[0]
    return first.sender.node, next((row.node for row in first.expect.rows if row.node is not None), first.sender.node)


def people_of(script: Script) -> dict[str, tuple[Account, ...]]:
    """Who can sign in, by node: a worker where the first alert is sent, a desk and an administrator where it goes."""
    sender, desk = _roles(script)
    found = {sender: [Account("Wendy Worker", "worker@bridge.example", _password(), "sender")]}
    found.setdefault(desk, []).extend(
        (
            Account("Devi Desk", "desk@bridge.example", _password(), "receiver"),
            Account("Ada Admin", "admin@bridge.example", _password(), "administrator"),
        )
    )
    return {node: tuple(people) for node, people in found.items()}


def _password() -> str:
    """Four random words, which are never too short; others in every run."""
    return "-".join(secrets.choice(word_list()) for _each in range(4))


def accesses(ended: Sequence[Ended], stage: Stage) -> list[Access]:
    """A worker where the first alert was sent, a desk where it went, and the administrator of that desk's node."""
    first = ended[0]
    sender = first.scenario.sender.node
    people = {each.role: (node, each) for node, house in stage.houses.items() for each in house.place.people}
    desk = people["receiver"][0]
    reference = first.seen.reference
    return [
        _access(
            stage,
            "A worker, who sends",
            sender,
            people["sender"][1],
            "alerts",
            f"bridge alert timeline {reference}",
            "bridge area route CR0",
        ),
        _access(
            stage,
            "A duty desk, which receives",
            desk,
            people["receiver"][1],
            "inbox",
            "bridge inbox list",
            f"bridge inbox show {reference}",
        ),
        _access(
            stage,
            "The administrator of that desk's node",
            desk,
            people["administrator"][1],
            "",
            "bridge partner list",
            "bridge check",
        ),
    ]


def _access(stage: Stage, role: str, node: str, who: Account, path: str, *commands: str) -> Access:
    house = stage.houses[node]
    tries = [f"{command} --dir {shlex.quote(str(house.directory))}" for command in commands]
    if path:
        tries.append(f'curl -k -H "Authorization: Bearer {house.token}" {house.place.url}/v1/{path}')
    token = house.token if path else None
    name, url = house.actor.name, house.place.url
    return Access(role, node, name, url, str(house.directory), who.sign_in, who.password, token, tuple(tries))


def counts(ended: Sequence[Ended]) -> dict[str, int]:
    """How many alerts were taken in, copies delivered, and receipts whose signatures were checked."""
    copies = [copy for each in ended for copy in each.seen.copies]
    return {
        "alerts": sum(bool(each.seen.id) for each in ended),
        "recipients": sum(copy.node is not None for copy in copies),
        "receipts": sum(len(copy.receipts) for copy in copies),
    }


def document(
    ended: Sequence[Ended], stage: Stage, seconds: float, access: Sequence[Access] | None
) -> dict[str, Any]:
    """The whole demo as one JSON document."""
    kept = {} if access is None else {"access": msgspec.to_builtins(access)}
    return {
        "ok": all(each.ok for each in ended),
        "nodes": len(stage.houses),
        "processes": stage.processes,
        "pairs": len(stage.pairs),
        "ready_seconds": round(stage.ready_seconds, 2),
        "seconds": round(seconds, 2),
        "restarted": stage.restarts,
        **counts(ended),
        "scenarios": [
            {
                "file": f"{each.scenario.name}.json",
                "number": each.scenario.number,
                "title": each.scenario.title,
                "sender": each.scenario.sender.node,
                "ok": each.ok,
                "differences": list(each.differences),
                **msgspec.to_builtins(each.seen),
            }
            for each in ended
        ],
        **kept,
    }


def _steps(playing: Playing) -> Text:
    text = Text("" if playing.steps else playing.line, style="dim" if not playing.steps else "")
    for node, status in list(playing.steps.items()):
        if text:
            text.append("  ")
        text.append(f"{node} ")
        text.append(_word(status), style=_COLOURS.get(status, "cyan"))
    return text


def _word(status: str) -> str:
    return status if status == "dark" else STATUSES[Status(status)].label.lower()


def _remarks(ended: Ended) -> Iterator[str]:
    """What happened around the alert, where its scenario is about that."""
    expect, seen = ended.scenario.expect, ended.seen
    if seen.question is not None:
        choices = " or ".join(
            f"{_area(code)} ({areas.percent(share)})" for code, share in seen.question.candidates
        )
        yield f"nothing was picked, the worker was asked first: {choices}"
    if expect.live is not None and seen.live_code is not None:
        yield f"{expect.live.node}, a live node, refused it when asked to send it (code {seen.live_code})"
    if expect.dark is not None and seen.waited and seen.back_seconds is not None:
        offered = f"; meanwhile the sender was offered {seen.offered}" if seen.offered is not None else ""
        yield f"it waited while {expect.dark.node} was away, and came within {ceil(seen.back_seconds) or 1} s of its return{offered}"


def _area(code: str) -> str:
    found = areas.shipped().area(code)
    return found.label if found else code


def _told(copy: Copy) -> Text:
    text = Text(", ".join(_receipt(copy, receipt) for receipt in copy.receipts) or "nothing yet")
    if copy.withheld:
        text.append(f"; {len(copy.withheld)} parts withheld from this copy", style="dim")
    return text


def _receipt(copy: Copy, receipt: Receipt) -> str:
    word = STATUSES[Status(receipt.status)].label.lower()
    if receipt.status == Status.RECEIVED and copy.delivered_seconds is not None:
        return f"{word} in {copy.delivered_seconds:.1f} s"
    if receipt.outcome is not None:
        return f"{word}: {vocabulary.TABLES['outcome'].label(receipt.outcome).lower()}"
    if receipt.referral is not None:
        return f"{word}, belongs to {_area(receipt.referral)}"
    return word


def _restarted(nodes: Sequence[str]) -> str:
    if not nodes:
        return "no node was restarted"
    return f"{_listed(nodes)} {'was' if len(nodes) == 1 else 'were'} killed and started again on the way"


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)
