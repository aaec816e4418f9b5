"""People: invited by a one-time link, their roles in sentences, reset, switched off, signed out."""

from typing import Any

from bridge.accounts import ROLES, May
from bridge.errors import Rejected
from bridge.nodes.sign_in import ACTIVE, DISABLED, INVITED, Person, SignIn
from bridge.web.admin.office import Office, called
from bridge.web.doorstep import METHODS
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _, several
from bridge.web.words import functions, label, listed

STATES = {
    INVITED: ("Invited", "yellow"),
    ACTIVE: ("Active", "green"),
    DISABLED: ("Switched off", "grey"),
}
"""What a state is called on the screen, and its colour."""


class Team:
    """Pages under `/admin/team`."""

    def __init__(self, *, office: Office, sign_in: SignIn) -> None:
        self._office = office
        self._sign_in = sign_in

    @page("GET", "/admin/team", needs=May.ADMINISTER, summary="Everybody with an account", lists=True)
    async def every(self, _visit: Visit) -> Answer:
        """What each can do, and when they were last here."""
        people = await self._sign_in.people()
        rows = [self._row(person) for person in people]
        columns = (
            ("name", _("Name")), ("sign_in", _("Sign-in name")), ("roles", _("Roles")), ("teams", _("Teams")),
            ("state", _("State")), ("second_step", _("Second step")), ("last_sign_in", _("Last signed in")),
        )  # fmt: skip
        return Page("admin/team.html", _("Team"), {"rows": rows}, table=Table(columns, rows))

    def _row(self, person: Person) -> dict[str, Any]:
        word, colour = STATES[person.state]
        return {
            "id": person.id,
            "name": person.name,
            "sign_in": person.sign_in,
            "roles": listed(_(ROLES[code].label) for code in person.roles if code in ROLES),
            "teams": functions(person.teams) if person.teams else _("all teams"),
            "state": _(word),
            "colour": colour,
            "second_step": _second(person),
            "last_sign_in": person.last_sign_in,
        }

    @page("GET", "/admin/team/invite", needs=May.ADMINISTER, summary="Ask whom to invite")
    async def ask(self, _visit: Visit) -> Answer:
        """Name, sign-in name, roles, teams."""
        return self._asked(Form())

    def _asked(self, form: Form) -> Page:
        return Page("admin/invite.html", _("Invite somebody"), self._choices(), form)

    def _choices(self) -> dict[str, Any]:
        roles = [(role.code, _(role.label), _("This person %(can)s.", can=_(role.sentence))) for role in ROLES.values()]
        own = self._office.own().descriptor.functions
        return {"roles": roles, "teams": [(code, label("function", code)) for code in own]}

    @page("POST", "/admin/team/invite", needs=May.ADMINISTER, summary="Invite somebody")
    async def invite(self, visit: Visit) -> Answer:
        """The answer alone shows the link."""
        form = await visit.form("name", "sign_in", several=("roles", "teams"))
        name = form.text("name", _("Enter the person's full name"), longest=100, label=_("Full name"))
        sign_in = form.text("sign_in", _("Enter an e-mail address or a sign-in name"), label=_("Sign-in name"))
        roles = form.choices("roles", ROLES, _("Select at least one role"))
        teams = form.choices("teams", self._office.own().descriptor.functions)
        if form.errors:
            return self._asked(form)
        try:
            person, secret = await self._sign_in.invite(name, sign_in, roles, teams, visit.actor)
        except Rejected as error:
            if error.code not in {"usage", "conflict"}:
                raise
            field = str(error.facts.get("pointer", "/sign_in")).lstrip("/")
            form.error(field, f"{_(error.sentence)} {_(error.hint)}".strip())
            return self._asked(form)
        return self._link(visit, person, secret, again=False)

    def _link(self, visit: Visit, person: Person, secret: str, *, again: bool) -> Page:
        return Page(
            "admin/link.html",
            _("Link for a new account") if not again else _("New link for an account"),
            {"person": person, "link": f"{visit.shell.house.url.rstrip('/')}/set-up/{secret}", "again": again},
        )

    @page("GET", "/admin/team/{id}", needs=May.ADMINISTER, summary="One account")
    async def one(self, visit: Visit) -> Answer:
        """What they can do, how they sign in, where they are signed in."""
        person = await self._sign_in.person(visit.path("id"))
        name_of = await called(self._sign_in)
        word, colour = STATES[person.state]
        return Page(
            "admin/person.html",
            _("Account"),
            {
                "person": person,
                "state": _(word),
                "colour": colour,
                "roles": [ROLES[code] for code in person.roles if code in ROLES],
                "second_step": _second(person),
                "sessions": await self._sign_in.sessions(person.id),
                "methods": METHODS,
                "created_by": name_of(person.created_by),
                "own": person.id == visit.who.id,
            },
        )

    @page("GET", "/admin/team/{id}/roles", needs=May.ADMINISTER, summary="Ask for other roles")
    async def ask_roles(self, visit: Visit) -> Answer:
        """With those of now ticked."""
        person = await self._sign_in.person(visit.path("id"))
        return self._roles(person, Form(roles=person.roles, teams=person.teams))

    def _roles(self, person: Person, form: Form) -> Page:
        return Page("admin/roles.html", _("Change roles"), {"person": person, **self._choices()}, form)

    @page("POST", "/admin/team/{id}/roles", needs=May.ADMINISTER, summary="Give other roles")
    async def roles(self, visit: Visit) -> Answer:
        """From the next page that they open."""
        person = await self._sign_in.person(visit.path("id"))
        form = await visit.form(several=("roles", "teams"))
        roles = form.choices("roles", ROLES, _("Select at least one role"))
        teams = form.choices("teams", self._office.own().descriptor.functions)
        if not form.errors:
            try:
                await self._sign_in.change_roles(person.id, roles, teams, visit.actor)
            except Rejected as error:
                if error.code != "wrong-state":
                    raise
                form.error("roles", f"{_(error.sentence)} {_(error.hint)}".strip())
            else:
                visit.flash(_("The roles are changed."))
                return Redirect(f"/admin/team/{person.id}")
        return self._roles(person, form)

    @page("POST", "/admin/team/{id}/reset", needs=May.ADMINISTER, summary="Take away every way in and make a new link")
    async def reset(self, visit: Visit) -> Answer:
        """For somebody who has lost their phone or whose password may be known."""
        await visit.form()
        secret = await self._sign_in.reset(visit.path("id"), visit.actor)
        return self._link(visit, await self._sign_in.person(visit.path("id")), secret, again=True)

    @page("POST", "/admin/team/{id}/disable", needs=May.ADMINISTER, summary="Switch an account off")
    async def disable(self, visit: Visit) -> Answer:
        """At once, everywhere."""
        await visit.form()
        await self._sign_in.disable(visit.path("id"), visit.actor)
        visit.flash(_("The account is switched off and its sessions are ended."))
        return Redirect(f"/admin/team/{visit.path('id')}")

    @page("POST", "/admin/team/{id}/enable", needs=May.ADMINISTER, summary="Switch an account on again")
    async def enable(self, visit: Visit) -> Answer:
        """As it was."""
        await visit.form()
        await self._sign_in.enable(visit.path("id"), visit.actor)
        visit.flash(_("The account is switched on."))
        return Redirect(f"/admin/team/{visit.path('id')}")

    @page("POST", "/admin/team/{id}/sessions/end", needs=May.ADMINISTER, summary="Sign somebody out everywhere")
    async def end_sessions(self, visit: Visit) -> Answer:
        """For a phone left on a bus."""
        await visit.form()
        person = await self._sign_in.person(visit.path("id"))
        mine = visit.who.digest if person.id == visit.who.id else b""
        ended = await self._sign_in.end_sessions(person.id, visit.actor, mine)
        visit.flash(several("%(number)s session is ended.", "%(number)s sessions are ended.", ended))
        return Redirect(f"/admin/team/{person.id}")


def _second(person: Person) -> str:
    """The second step that an account has, in words."""
    found = []
    if person.passkeys:
        found.append(several("%(number)s passkey", "%(number)s passkeys", person.passkeys))
    if person.code:
        found.append(_("authenticator app"))
    if person.organisation:
        found.append(_("the organisation's sign-in"))
    return listed(found) or _("none yet")
