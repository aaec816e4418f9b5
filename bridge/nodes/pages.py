"""Puts the pages together: which rooms there are, and what each is given. `bridge.nodes.app` gives the parts.

A new room of pages is a class with `@page` methods (see `bridge/web/README.md`), one line in :func:`rooms`, and a line
for each of its pages in `tests/web/test_pages_listed.py`.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.metrics import Metrics
from bridge.nodes.acknowledge import Acknowledge
from bridge.nodes.address import Address, Places
from bridge.nodes.admit import Admit
from bridge.nodes.ask import Ask
from bridge.nodes.bell import Bell
from bridge.nodes.draft import Drafts
from bridge.nodes.enrol import Enrol
from bridge.nodes.export import Export
from bridge.nodes.follow import Follow
from bridge.nodes.match import Match
from bridge.nodes.meter import Meter
from bridge.nodes.publish import Publish
from bridge.nodes.recall import Recall
from bridge.nodes.retain import Retain
from bridge.nodes.review import Review
from bridge.nodes.sign_in import SignIn, Visitor
from bridge.nodes.submit import Submit
from bridge.nodes.subscribe import Subscribe
from bridge.nodes.triage import Triage
from bridge.nodes.withdraw import Withdraw
from bridge.nodes.withhold import Withhold
from bridge.web import passkeys
from bridge.web.admin.connections import Connections
from bridge.web.admin.keeping import Keeping
from bridge.web.admin.log import Log, Verify
from bridge.web.admin.office import Office
from bridge.web.admin.overview import Overview
from bridge.web.admin.partners import Partners
from bridge.web.admin.places import Areas
from bridge.web.admin.team import Team
from bridge.web.admin.tokens import Tokens
from bridge.web.doorstep import Doorstep
from bridge.web.help import Help
from bridge.web.live import Live
from bridge.web.receive.alert import OneAlert
from bridge.web.receive.desk import Desk
from bridge.web.receive.inbox import Inbox
from bridge.web.receive.numbers import Numbers
from bridge.web.receive.search import Search
from bridge.web.receive.steps import Steps
from bridge.web.send.decide import KeepBack
from bridge.web.send.readers import reader_of
from bridge.web.send.sent import SentAlerts
from bridge.web.send.write import Write
from bridge.web.shell import House, Shell
from bridge.web.single_sign_on import Organisation


@dataclass(frozen=True)
class Parts:
    """What the pages need of a node. Rooms are given verbs and functions, never the node itself."""

    house: House
    office: Office
    sign_in: SignIn
    enrol: Enrol
    admit: Admit
    retain: Retain
    recall: Recall
    verify: Verify | None
    submit: Submit
    follow: Follow
    withdraw: Withdraw
    ask: Ask
    triage: Triage
    match: Match
    review: Review
    acknowledge: Acknowledge
    export: Export
    subscribe: Subscribe
    publish: Publish
    meter: Meter
    functions: tuple[str, ...]
    address: Address
    drafts: Drafts
    withhold: Withhold
    places: Callable[[], Places]
    bell: Bell
    unreachable: Callable[[str], bool]
    organisation: tuple[str, Organisation] | None
    clock: Clock
    metrics: Metrics
    secret: Callable[[str], bytes]
    request_bytes: int
    body_seconds: float


def rooms(parts: Parts) -> list[object]:
    """Every room of pages."""
    with_passkeys = passkeys.usable(parts.house.url)
    live = Live(bell=parts.bell, sign_in=parts.sign_in, clock=parts.clock)
    desk = Desk(
        triage=parts.triage,
        match=parts.match,
        review=parts.review,
        acknowledge=parts.acknowledge,
        ask=parts.ask,
        export=parts.export,
        retain=parts.retain,
        sign_in=parts.sign_in,
        live=live,
        places=parts.places,
        functions=parts.functions,
        mails=parts.office.mail is not None,
    )
    made: list[object] = [
        Doorstep(
            parts.sign_in,
            passkeys=with_passkeys,
            organisation=parts.organisation[0] if parts.organisation else "",
        ),
        Write(
            submit=parts.submit,
            address=parts.address,
            drafts=parts.drafts,
            follow=parts.follow,
            places=parts.places,
            own=parts.office.own,
            partner=parts.office.partner,
        ),
        KeepBack(withhold=parts.withhold, drafts=parts.drafts),
        SentAlerts(
            follow=parts.follow,
            submit=parts.submit,
            withdraw=parts.withdraw,
            ask=parts.ask,
            live=live,
            places=parts.places,
            own=parts.office.own,
            unreachable=parts.unreachable,
        ),
        Inbox(desk),
        OneAlert(desk),
        Steps(desk),
        Search(desk),
        Numbers(desk),
        Overview(office=parts.office, sign_in=parts.sign_in, retain=parts.retain),
        Partners(office=parts.office, enrol=parts.enrol, sign_in=parts.sign_in, recall=parts.recall),
        Areas(office=parts.office),
        Team(office=parts.office, sign_in=parts.sign_in),
        Keeping(office=parts.office, retain=parts.retain, sign_in=parts.sign_in),
        Log(recall=parts.recall, sign_in=parts.sign_in, verify=parts.verify),
        Tokens(admit=parts.admit),
        Connections(subscribe=parts.subscribe, publish=parts.publish, meter=parts.meter, admit=parts.admit),
        Help(),
    ]
    if parts.organisation:
        made.append(parts.organisation[1])
    if with_passkeys:
        made.append(
            passkeys.Passkeys(
                sign_in=parts.sign_in, url=parts.house.url, name=parts.house.name, now=parts.clock.now
            )
        )
    return made


def shell_of(parts: Parts) -> Shell:
    """All pages of a node, ready to be attached to its application."""
    async def waiting(visitor: Visitor) -> int:
        return (await parts.triage.counts(visitor.teams))["new"]

    async def needing(visitor: Visitor) -> int:
        return await parts.follow.count_in_need(reader_of(visitor), own=True)

    return Shell(
        rooms=rooms(parts),
        sign_in=parts.sign_in,
        house=parts.house,
        clock=parts.clock,
        metrics=parts.metrics,
        key=hmac.digest(parts.secret("accounts"), b"forms", "sha256"),
        badges={"/inbox": waiting, "/sent": needing},
        request_bytes=parts.request_bytes,
        body_seconds=parts.body_seconds,
    )
