"""What the administrators' pages are given of the node: functions and plain values, wired in `bridge.nodes.app`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from bridge.areas import Gazetteer
from bridge.nodes.sign_in import SignIn
from bridge.partners import Partner
from bridge.routing import Coverage
from bridge.vocabulary import RetentionClass
from bridge.web.texts import _


class Setting(NamedTuple):
    """One setting: where it stands, its value in words, where that comes from, and the sentence about it."""

    section: str
    key: str
    value: str
    source: str
    sentence: str


@dataclass(frozen=True)
class Office:
    """How the node is, for whoever looks after it."""

    status: Callable[[], Awaitable[dict[str, Any]]]
    check: Callable[[], Awaitable[dict[str, Any]]]
    keys: Callable[[], Awaitable[dict[str, Any]]]
    partner_state: Callable[[str], Awaitable[dict[str, Any]]]
    partners: Callable[[], list[Partner]]
    partner: Callable[[str], Partner | None]
    own: Callable[[], Partner]
    last_contact: Callable[[str], datetime | None]
    gazetteer: Callable[[], Gazetteer]
    postcodes: Callable[[], str | None]
    coverages: Callable[[], list[Coverage]]
    settings: Callable[[], list[Setting]]
    warnings: tuple[str, ...]
    classes: Mapping[str, RetentionClass]
    version: str
    certificate_end: Callable[[], datetime | None]
    ahead: Callable[[], dict[str, timedelta]]
    mail: Callable[[], Awaitable[dict[str, Any]]] | None = None


async def called(sign_in: SignIn) -> Callable[[str], str]:
    """Who a pseudonym of the audit log is, in words."""
    names = await sign_in.names()

    def name(actor: str) -> str:
        if actor in names:
            return names[actor]
        if actor.startswith("person:"):
            return _("an account that is gone")
        if actor.startswith("token:"):
            return _("a connected system")
        if actor.startswith("admin:"):
            return _("an administrator at the command line (%(known)s)", known=actor.removeprefix("admin:"))
        return {"node": _("this node"), "operator": _("the command line"), "organisation": _("the organisation's sign-in")}.get(actor, actor)

    return name
