"""The administrator's first page: what is still to be set up, then how the node is; and the settings, to be read."""

from datetime import datetime, timedelta
from typing import Any

from bridge import accounts
from bridge.accounts import May
from bridge.clock import moment
from bridge.nodes.retain import Retain
from bridge.nodes.sign_in import ACTIVE, Person, SignIn
from bridge.partners import Freshness, State, freshness
from bridge.web.admin.office import Office
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _
from bridge.web.words import day, lasting, listed, recent

UNREACHABLE = timedelta(minutes=15)
KEYS_SOON = timedelta(days=7)
CERTIFICATE_SOON = timedelta(days=30)
OLD_WAIT = timedelta(hours=4)
BACKUP_OLD = timedelta(days=7)


class Overview:
    """Pages under `/admin` that belong to no other room."""

    def __init__(self, *, office: Office, sign_in: SignIn, retain: Retain) -> None:
        self._office = office
        self._sign_in = sign_in
        self._retain = retain

    @page("GET", "/admin", needs=May.ADMINISTER, summary="How the node is, and what is to be done")
    async def overview(self, visit: Visit) -> Answer:
        """A task list until the node is set up; figures always."""
        people = await self._sign_in.people()
        tasks = await self._tasks(visit, people)
        return Page(
            "admin/overview.html",
            _("Administration"),
            {
                "tasks": [] if all(task["done"] for task in tasks) else tasks,
                "done": sum(task["done"] for task in tasks),
                "figures": await self._figures(visit.now),
                "last_run": self._retain.last_run,
                "concerns": await self._concerns(visit.now),
                "version": self._office.version,
                "warnings": self._office.warnings,
            },
        )

    async def _tasks(self, visit: Visit, people: list[Person]) -> list[dict[str, Any]]:
        active = [person for person in people if person.state == ACTIVE]
        partners = self._office.partners()

        def some(permission: May) -> bool:
            return any(permission in accounts.permissions(person.roles) for person in active)

        two = await self._sign_in.administrators() >= accounts.MIN_ADMINISTRATORS
        return [
            {
                "text": _("Invite a second administrator"),
                "hint": _("Partners need two people to approve them, and somebody must be able to help you."),
                "href": "/admin/team/invite",
                "done": two,
            },
            {
                "text": _("Invite the people who send or receive alerts"),
                "hint": _("Administrators cannot read alerts."),
                "href": "/admin/team/invite",
                "done": some(May.SEND) or some(May.RECEIVE),
            },
            {
                "text": _("Say whom partners can ring"),
                "hint": _("The duty desk, its telephone and hours: [node.contact] in the settings file."),
                "href": "/admin/settings",
                "done": bool(visit.shell.house.telephone),
            },
            {
                "text": _("Bring in the directory of postcodes"),
                "hint": _("Without it, full postcodes lead to a question instead of an area. The command line does it."),
                "href": "/admin/areas",
                "done": self._office.postcodes() is not None,
            },
            {
                "text": _("Add your first partner"),
                "hint": _("Each sends the other an invitation, then you ring each other."),
                "href": "/admin/partners/add",
                "done": bool(partners),
            },
            {
                "text": _("Approve a partner, both of you"),
                "hint": _("Two administrators each hear the partner's 8 words by telephone."),
                "href": "/admin/partners",
                "done": any(partner.state is State.ACTIVE for partner in partners),
            },
        ]

    async def _figures(self, now: datetime) -> list[dict[str, Any]]:
        status = await self._office.status()
        inbox: dict[str, int] = status["inbox"]
        unread = inbox.get("received", 0) + inbox.get("collected", 0)
        waiting = int(status["waiting"])
        oldest = timedelta(seconds=int(status["oldest_waiting_seconds"]))
        away = [partner for partner in self._active() if self._unreachable(partner.node_id, now)]
        active = self._active()
        return [
            {"number": f"{waiting:,}", "text": _("waiting to be delivered"), "bad": waiting > 0 and oldest > OLD_WAIT,
             "more": _("the oldest for %(time)s", time=lasting(oldest)) if waiting else ""},
            {"number": f"{unread:,}", "text": _("received and not opened yet"), "bad": False, "more": ""},
            {"number": f"{len(away)}", "text": _("active partners that did not answer lately"), "bad": bool(away),
             "more": _("of %(number)s", number=len(active)), "href": "/admin/partners" if away else ""},
            {"number": f"{inbox.get('taken', 0):,}", "text": _("being worked on"), "bad": False, "more": ""},
            {"number": f"{status['to_review']:,}", "text": _("to be looked at again"), "bad": False,
             "more": _("half of their time is over") if status["to_review"] else ""},
            *self._backups(status["backups"], now),
        ]  # fmt: skip

    def _backups(self, made: dict[str, datetime | None], now: datetime) -> list[dict[str, Any]]:
        """How old the last backup of each class is; what is older than a week, or was never made, needs somebody."""
        since = {"data": _("since the last backup of the data"), "keystore": _("since the last backup of the keystore")}
        none = {"data": _("backup of the data"), "keystore": _("backup of the keystore")}
        return [
            {"number": lasting(now - at) if at else _("No"), "text": since[kind] if at else none[kind],
             "bad": at is None or now - at > BACKUP_OLD,
             "more": "" if at else _("“bridge backup” makes one")}
            for kind, at in made.items()
        ]  # fmt: skip

    def _active(self) -> list[Any]:
        return [partner for partner in self._office.partners() if partner.state is State.ACTIVE]

    def _unreachable(self, node_id: str, now: datetime) -> bool:
        last = self._office.last_contact(node_id)
        return last is None or now - last > UNREACHABLE

    async def _concerns(self, now: datetime) -> list[dict[str, str]]:
        """What somebody should look at, most pressing first, each with where to go."""
        found = []
        if self._retain.brake is not None:
            found.append(
                {
                    "text": _("Nothing is deleted at present, because the time of day is in doubt."),
                    "href": "/admin/keeping",
                }
            )
        ahead = self._office.ahead()
        if ahead:
            text = _(
                "The clock of this node is at least %(time)s ahead of what %(names)s sign. Set the time of the machine right: what it sends is refused for good until then.",
                time=lasting(max(ahead.values())),
                names=listed(partner.descriptor.name for each in ahead if (partner := self._office.partner(each))),
            )
            found.append({"text": text, "href": "/sent?show=team"})
        mail = await self._office.mail() if self._office.mail is not None else {}
        if mail.get("failing_since"):
            text = _("E-mail to the duty inbox is not accepted since %(time)s.", time=recent(mail["failing_since"], now))
            found.append({"text": text, "href": "/admin/settings"})
        for partner in self._active():
            state = await self._office.partner_state(partner.node_id)
            name = partner.descriptor.name
            href = f"/admin/partners/{partner.node_id}"
            if state["failures"]:
                since = state["failing_since"]
                found.append(
                    {
                        "text": _(
                            "%(name)s cannot be reached for %(time)s. %(number)s waiting for it.",
                            name=name,
                            time=lasting(now - since) if since else _("some time"),
                            number=state["waiting"],
                        ),
                        "href": href,
                    }
                )
            fresh = freshness(partner.descriptor, now)
            if fresh is not Freshness.FRESH:
                found.append(
                    {"text": _("The keys of %(name)s were not renewed in time.", name=name), "href": href}
                )
        found += [
            {
                "text": _("%(name)s waits for a second administrator.", name=partner.descriptor.name),
                "href": f"/admin/partners/{partner.node_id}",
            }
            for partner in self._office.partners()
            if partner.state is State.PENDING
        ]
        keys = await self._office.keys()
        ends = [key["not_after"] for key in keys["items"] if key["purpose"] == "sealing" and key["not_after"]]
        if ends and max(ends) - now < KEYS_SOON:
            found.append({"text": _("This node's own sealing key ends soon and was not renewed."), "href": "/admin/keys"})
        certificate = self._office.certificate_end()
        if certificate is not None and certificate - now < CERTIFICATE_SOON:
            text = _("The certificate of this node is good until %(day)s. Renew it before, or nobody can reach the node.", day=day(certificate))
            found.append({"text": text, "href": "/admin/keys"})
        return found

    @page("POST", "/admin/check", needs=May.ADMINISTER, summary="Check everything step by step")
    async def check(self, visit: Visit) -> Answer:
        """Settings, keys, database, clock, disk and every partner."""
        await visit.form()
        found = await self._office.check()
        return Page("admin/steps.html", _("Check of this node"), {"steps": found["steps"], "ok": found["ok"], "up": "/admin"})

    @page("GET", "/admin/keys", needs=May.ADMINISTER, summary="This node's own keys and their dates", lists=True)
    async def keys(self, _visit: Visit) -> Answer:
        """What each is for and how long; never a private part. With the words to read to partners."""
        found = await self._office.keys()
        rows = [
            {**key, "kid": key["kid"][:16], "not_before": _time(key["not_before"]), "not_after": _time(key["not_after"])}
            for key in found["items"]
        ]
        columns = (
            ("purpose", _("For")), ("alg", _("Kind")), ("kid", _("Name")), ("not_before", _("From")),
            ("not_after", _("Until")),
        )  # fmt: skip
        return Page(
            "admin/keys.html",
            _("Keys of this node"),
            {
                "keys": rows, "descriptor": found["descriptor"], "fingerprint": found["fingerprint"],
                "certificate_end": self._office.certificate_end(),
            },
            table=Table(columns, rows),
        )

    @page("GET", "/admin/settings", needs=May.ADMINISTER, summary="The settings and where each comes from", lists=True)
    async def settings(self, _visit: Visit) -> Answer:
        """To be read here and changed in the file, by whoever may change files."""
        rows = [row._asdict() for row in self._office.settings()]
        columns = (("section", _("Section")), ("key", _("Setting")), ("value", _("Value")), ("source", _("From")), ("sentence", _("Meaning")))
        return Page("admin/settings.html", _("Settings"), {"rows": rows, "warnings": self._office.warnings}, table=Table(columns, rows))


def _time(when: Any) -> datetime | None:
    return moment(when) if isinstance(when, int) else when
