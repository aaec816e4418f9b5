"""Sends each scenario's alert as its sender would, does what each receiving team does, and sees what came of it."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from bridge import registry, wire
from bridge.crypto import envelope as seals
from bridge.crypto.signed import RECEIPTS, verify
from bridge.demo.scenarios import Deed, Handover, Row, Scenario, Script, as_of, unanswered
from bridge.demo.stage import Answer, Stage, now
from bridge.demo.verdict import Copy, Question, Receipt, Seen, differences
from bridge.envelopes import Signature
from bridge.errors import Rejected, Unavailable
from bridge.receipts import STATUSES, Status

PATIENCE: Final = 20.0
"""Seconds without news after which an alert is taken to have ended where it is."""

LOOK_SECONDS: Final = 0.2
DARK_SECONDS: Final = 2.0
"""A dark node stays away at least this long, so that a person can see it."""

_PAGE: Final = 200
_NEVER_MORE: Final = {Status.REFUSED, Status.NOT_OURS, Status.UNDELIVERED, Status.WITHDRAWN}


@dataclass
class Playing:
    """One scenario under way. `line` is how far it is before it is sent; `steps` is where each copy stands."""

    scenario: Scenario
    line: str = "waits"
    steps: dict[str, str] = field(default_factory=dict)
    over: bool = False
    sent: Seen = field(default_factory=Seen)


class Ended(msgspec.Struct, frozen=True):
    """One scenario that ended, and what differs from what it says."""

    scenario: Scenario
    seen: Seen
    differences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it ended as it says."""
        return not self.differences


async def played(
    script: Script, stage: Stage, playing: Sequence[Playing], tell: Callable[[str], None]
) -> list[Ended]:
    """Play every scenario at once, with the busiest node killed and started again while alerts are under way."""
    play = _Play(script, stage, tell)
    async with asyncio.TaskGroup() as work:
        for each in playing:
            work.create_task(play.scenario(each))
        if script.busiest and stage.houses[script.busiest].place.alone:
            work.create_task(play.interrupt(script.busiest, playing))
    await play.sweep(playing)
    return [Ended(each.scenario, each.sent, differences(each.scenario.expect, each.sent)) for each in playing]


class _Play:
    def __init__(self, script: Script, stage: Stage, tell: Callable[[str], None]) -> None:
        self._stage = stage
        self._tell = tell
        self._accepted: dict[str, asyncio.Event] = {each.name: asyncio.Event() for each in script.scenarios}

    # One scenario, from sending to the last receipt

    async def scenario(self, playing: Playing) -> None:
        """See :func:`played`."""
        scenario = playing.scenario
        try:
            playing.sent = await self._scenario(playing)
        except Unavailable as error:
            playing.sent = msgspec.structs.replace(playing.sent, refused=error.code)
        finally:
            self._accepted[scenario.name].set()
        playing.over = True

    async def _scenario(self, playing: Playing) -> Seen:
        scenario = playing.scenario
        expect, sender = scenario.expect, scenario.sender.node
        body = as_of(scenario.body, now())
        question = await self._question(sender, unanswered(body)) if expect.ambiguous else None
        live = await self._refused_by(expect.live.node, body) if expect.live is not None else None
        if expect.dark is not None:
            self._tell(f"{expect.dark.node} goes dark: kill -9")
            await self._stage.kill(expect.dark.node)
        playing.line = "sending"
        answer = await self._stage.ask(
            sender, "POST", "/v1/alerts", body, **{"Idempotency-Key": scenario.name}
        )
        self._accepted[scenario.name].set()
        if not answer.ok:
            return Seen(refused=answer.code, question=question, live_code=live)
        sent = answer.body
        playing.sent = seen = Seen(
            id=sent["id"],
            reference=sent["reference"],
            home=sent["home"].get("code"),
            home_name=sent["home"].get("name"),
            method=sent["home"]["method"],
            notices=tuple(notice["code"] for notice in sent["notices"]),
            question=question,
            live_code=live,
        )
        playing.steps.update({leg["node"] or "held": leg["status"] for leg in sent["route"]})
        waited, back = None, None
        if expect.dark is not None:
            waited, offered = await self._in_the_dark(playing)
            seen = msgspec.structs.replace(seen, waited=waited, offered=offered)
            back = await self._return(expect.dark.node)
        shown = await self._followed(playing)
        copies, unverified = await self._copies(scenario, seen, shown, body)
        if back is not None:
            first = [each.at for copy in copies for each in copy.receipts if each.status == Status.RECEIVED]
            seconds = max(0.0, (min(first) - back).total_seconds()) if first else None
            seen = msgspec.structs.replace(seen, back_seconds=seconds)
        return msgspec.structs.replace(seen, copies=copies, unverified=unverified)

    async def _question(self, sender: str, body: bytes) -> Question:
        """Send the alert before the worker answered: nothing may be picked for them."""
        answer = await self._stage.ask(sender, "POST", "/v1/alerts", body)
        found = answer.body.get("candidates", []) if isinstance(answer.body, dict) else []
        return Question(
            "sent" if answer.ok else answer.code,
            tuple((each["code"], round(each["share"] * 1000)) for each in found),
        )

    async def _refused_by(self, node: str, body: bytes) -> str | None:
        """Give an exercise to a live node: the code with which it refuses, None when it takes it."""
        answer = await self._stage.ask(node, "POST", "/v1/alerts", body)
        return None if answer.ok else answer.code

    async def _in_the_dark(self, playing: Playing) -> tuple[bool, str | None]:
        """While the recipient is away: whether the alert waits at its sender, and whom the sender may turn to."""
        scenario, stage = playing.scenario, self._stage
        sender, expect = scenario.sender.node, scenario.expect
        if expect.dark is None:
            return False, None
        playing.steps[expect.dark.node] = "dark"
        since = time.monotonic()
        while not await stage.failures(sender, expect.dark.node) or time.monotonic() - since < DARK_SECONDS:
            if time.monotonic() - since > PATIENCE:
                break
            await asyncio.sleep(LOOK_SECONDS)
        shown = await stage.ask(sender, "GET", f"/v1/alerts/{playing.sent.id}")
        waits = any(
            leg["node"] == expect.dark.node and leg["status"] == Status.QUEUED
            for leg in shown.body.get("route", ())
        )
        offered = None
        if expect.offer is not None:
            path = f"/v1/areas/route?q={playing.sent.home}&function={expect.offer.function}"
            route = await stage.ask(sender, "GET", path)
            legs = [leg for option in route.body.get("options", ()) for leg in option["route"]]
            offered = next((leg["node"] for leg in legs), None)
        return waits, offered

    async def _return(self, node: str) -> datetime:
        """Start a node that was killed; the time at which it is back."""
        await self._stage.start(node)
        self._stage.restarts.append(node)
        self._tell(f"{node} is back")
        return now()

    async def _followed(self, playing: Playing) -> dict[str, Any]:
        """Look at the sender's own view until every receipt is there, letting each team act in its turn."""
        expect, sender = playing.scenario.expect, playing.scenario.sender.node
        deeds = {deed.node: deed for deed in expect.action}
        acting: dict[str, asyncio.Task[None]] = {}
        handing_over = expect.handover
        shown: dict[str, Any] = {}
        said: dict[str, set[str]] = {}
        news = time.monotonic()
        try:
            while time.monotonic() - news < PATIENCE:
                answer = await self._patiently(sender, "GET", f"/v1/alerts/{playing.sent.id}")
                if not answer.ok:
                    break
                shown, before, said = answer.body, said, _statuses(answer.body)
                playing.steps.update({leg["node"] or "held": leg["status"] for leg in shown["route"]})
                if said != before:
                    news = time.monotonic()
                for node, statuses in said.items():
                    if Status.RECEIVED in statuses and node in deeds and node not in acting:
                        acting[node] = asyncio.create_task(self._act(deeds[node], playing.sent.id))
                if handing_over is not None and Status.NOT_OURS in said.get(handing_over.giver, ()):
                    await self._hand_over(playing, handing_over, shown)
                    handing_over = None
                    continue
                if handing_over is None and not _awaited(expect.rows, shown, said):
                    break
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in acting.values():
                task.cancel()
            await asyncio.gather(*acting.values(), return_exceptions=True)
        return shown

    async def _hand_over(self, playing: Playing, handover: Handover, shown: dict[str, Any]) -> None:
        """The day comes, and the sender sends the alert on to the area that the receipt of the former node names."""
        sender = playing.scenario.sender.node
        await self._stage.hand_over(sender, handover.giver, handover.to, now().date())
        self._tell(f"{handover.to} takes over from {handover.giver}, and the alert is sent on")
        referral = next((entry["referral"] for entry in shown["timeline"] if entry.get("referral")), None)
        body = json.dumps({"area": referral}).encode()
        await self._stage.ask(sender, "POST", f"/v1/alerts/{playing.sent.id}/reroute", body)

    async def _act(self, deed: Deed, alert: str) -> None:
        """Do what one receiving team does, each step through its own node's interface."""
        for each in deed.do:
            step, _, value = each.partition(":")
            body = {"close": {"outcome": value}, "not-ours": {"area": value}}.get(step, {})
            await self._patiently(deed.node, "POST", f"/v1/inbox/{alert}/{step}", json.dumps(body).encode())

    async def _patiently(self, node: str, method: str, path: str, body: bytes = b"") -> Answer:
        """Ask until the node answers: it may just be started again. Raises Unavailable when it never does."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._stage.ask(node, method, path, body)
            except Unavailable:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(LOOK_SECONDS)

    # What there is in the end

    async def _copies(
        self, scenario: Scenario, seen: Seen, shown: dict[str, Any], body: bytes
    ) -> tuple[tuple[Copy, ...], int]:
        """Each recipient with its receipts, each checked here with the issuer's keys; and how many are not genuine."""
        if not shown:
            return (), 0
        answer = await self._stage.ask(scenario.sender.node, "GET", f"/v1/alerts/{seen.id}/receipts")
        said: dict[str, dict[str, Receipt]] = {}
        unverified = 0
        for item in answer.body["items"]:
            try:
                document = self._genuine(item, scenario.sender.node)
            except (Rejected, KeyError):
                unverified += 1
                continue
            for each in document.statements:
                if each.message is not None:
                    receipt = Receipt(each.status, each.at, each.code, each.outcome, each.referral)
                    said.setdefault(each.message, {}).setdefault(each.status, receipt)
        queued = {
            entry["message"]: datetime.fromisoformat(entry["at"])
            for entry in shown["timeline"]
            if entry["status"] == Status.QUEUED
        }
        order = {code: place for place, code in enumerate(STATUSES)}
        copies = []
        for leg in shown["route"]:
            receipts = sorted(
                said.get(leg["message"], {}).values(), key=lambda r: (r.at, order[Status(r.status)])
            )
            arrived = next((r.at for r in receipts if r.status == Status.RECEIVED), None)
            since = queued.get(leg["message"])
            withheld, leaks = await self._withheld(leg["node"], seen.id, body) if arrived else ((), ())
            copies.append(
                Copy(
                    node=leg["node"],
                    name=leg["name"],
                    function=leg["function"],
                    area=leg["area"],
                    step=leg["step"],
                    because=leg["because"],
                    receipts=tuple(receipts),
                    withheld=withheld,
                    leaks=leaks,
                    delivered_seconds=(arrived - since).total_seconds() if arrived and since else None,
                )
            )
        return tuple(copies), unverified

    def _genuine(self, item: dict[str, Any], sender: str) -> Any:
        """The receipts document of an item. Raises Rejected or KeyError unless it verifies with its issuer's keys."""
        raw = base64.b64decode(item["document"])
        signatures = [
            Signature(bytes.fromhex(each["kid"]), each["alg"], base64.b64decode(each["signature"]))
            for each in item["signatures"]
        ]
        document = wire.decode_receipts(raw)
        descriptor = self._stage.houses[document.issuer].descriptor
        if descriptor is None or document.to != sender or document.issuer != item["issuer"]:
            raise KeyError(document.issuer)
        keys = registry.public_keys(descriptor.message_keys)
        verify(RECEIPTS, [raw], signatures, keys=keys, algs=seals.SUITES[len(signatures)])
        return document

    async def _withheld(self, node: str, alert: str, body: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a copy says is withheld from it, and the pointers of those whose value is in it all the same."""
        answer = await self._patiently(node, "GET", f"/v1/inbox/{alert}")
        if not answer.ok:
            return (), ()
        withheld = tuple(answer.body.get("withheld") or ())
        whole, copy = json.loads(body), json.dumps(answer.body["alert"], ensure_ascii=False)
        values = {pointer: _pointed(whole, pointer).get("value") for pointer in withheld}
        return withheld, tuple(pointer for pointer, value in values.items() if value and value in copy)

    async def sweep(self, playing: Sequence[Playing]) -> None:
        """Look into every inbox and every list of sent alerts: each copy once where it belongs, and nowhere else."""
        nodes = list(self._stage.houses)
        inboxes = dict(zip(nodes, await asyncio.gather(*(self._inbox(node) for node in nodes)), strict=True))
        for each in playing:
            seen = each.sent
            mine = {copy.node for copy in seen.copies}
            copies = tuple(
                msgspec.structs.replace(copy, inbox=inboxes.get(copy.node or "", []).count(seen.id))
                for copy in seen.copies
            )
            elsewhere = tuple(node for node, ids in inboxes.items() if seen.id in ids and node not in mine)
            each.sent = msgspec.structs.replace(seen, copies=copies, elsewhere=elsewhere)

    async def _inbox(self, node: str) -> list[str]:
        answer = await self._patiently(node, "GET", f"/v1/inbox?limit={_PAGE}")
        return [item["id"] for item in answer.body["items"]] if answer.ok else []

    # What breaks

    async def interrupt(self, node: str, playing: Sequence[Playing]) -> None:
        """Kill a node when the first alert for it was taken in, and start it when the last one waits for it."""
        names = [
            each.scenario.name
            for each in playing
            if any(row.node == node for row in each.scenario.expect.rows)
            and each.scenario.expect.dark is None
        ]
        waiting = [asyncio.ensure_future(self._accepted[name].wait()) for name in names]
        if not waiting:
            return
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await self._stage.kill(node)
        self._tell(f"{node} is killed while alerts are under way to it: kill -9")
        await asyncio.wait(waiting)
        await self._return(node)


def _statuses(shown: dict[str, Any]) -> dict[str, set[str]]:
    """What each recipient has said so far, by its node."""
    found: dict[str, set[str]] = {}
    for entry in shown["timeline"]:
        if entry["node"] is not None and entry["status"] != Status.QUEUED:
            found.setdefault(entry["node"], set()).add(entry["status"])
    return found


def _awaited(rows: Sequence[Row], shown: dict[str, Any], said: dict[str, set[str]]) -> bool:
    """Whether a receipt that is expected may still come."""
    on_route = {leg["node"] for leg in shown["route"]}
    return any(
        row.node in on_route
        and not set(row.receipts) <= said.get(row.node, set())
        and not said.get(row.node, set()) & _NEVER_MORE - set(row.receipts)
        for row in rows
        if row.node is not None
    )


def _pointed(tree: Any, pointer: str) -> dict[str, Any]:
    for part in pointer.split("/")[1:]:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    return tree if isinstance(tree, dict) else {}
