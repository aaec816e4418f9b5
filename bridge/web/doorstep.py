"""Signing in and out, setting an account up, one's own account, and the screen shield."""

import base64

from bridge.accounts import ROLES
from bridge.errors import Rejected
from bridge.nodes.sign_in import ENROL, FULL, Opened, SignIn, Visitor
from bridge.web import look
from bridge.web.forms import Form
from bridge.web.shell import NAVIGATION, Answer, Open, Page, Redirect, Visit, local, page
from bridge.web.texts import _, several
from bridge.web.words import fives

METHODS = {
    "password": "password",
    "passkey": "passkey",
    "organisation": "your organisation's sign-in",
    "link": "a set-up link",
}


class Doorstep:
    """Pages before, around and after a session."""

    def __init__(self, sign_in: SignIn, *, passkeys: bool = False, organisation: str = "") -> None:
        self._sign_in = sign_in
        self._passkeys = passkeys
        self._organisation = organisation

    @page("GET", "/", needs=Open.SIGNED_IN, summary="The start page: wherever the visitor's work is")
    async def start(self, visit: Visit) -> Answer:
        """The first page of the navigation that is the visitor's."""
        paths = {marked.path for marked, _handler in visit.shell.pages}
        for place in NAVIGATION:
            if place.may in visit.who.may and place.path in paths:
                return Redirect(place.path)
        return Redirect("/account")

    # Signing in

    @page("GET", "/sign-in", needs=Open.EVERYBODY, summary="Ask who somebody is")
    async def ask(self, visit: Visit) -> Answer:
        """The organisation's sign-in first, a passkey second, a password last."""
        if visit.visitor is not None and visit.visitor.stage == FULL and not visit.visitor.locked:
            return Redirect(local(visit.query("next") or "/"))
        return self._asked(visit, Form())

    def _asked(self, visit: Visit, form: Form) -> Page:
        return Page(
            "doorstep/sign_in.html",
            _("Sign in"),
            {
                "ended": "ended" in visit.request.query,
                "next": local(visit.query("next", 1000)) if visit.query("next") else "",
                "organisation": self._organisation,
                "passkeys": self._passkeys,
            },
            form,
        )

    @page("POST", "/sign-in", needs=Open.EVERYBODY, summary="Check a password")
    async def enter(self, visit: Visit) -> Answer:
        """The same words whatever is wrong, so that nobody learns which names exist."""
        form = await visit.form("sign_in", "password", "next")
        name = form.text("sign_in", _("Enter your e-mail address or sign-in name"), longest=200)
        password = form.secret("password", _("Enter your password"))
        if form.errors:
            return self._asked(visit, form)
        try:
            opened = await self._sign_in.with_password(name, password, visit.shell.device(visit.request))
        except Rejected as error:
            if error.code == "unauthenticated":
                form.error("sign_in", _("Check your sign-in name and password"))
            elif error.code == "too-many":
                form.error("sign_in", _(error.sentence) + " " + _(error.hint))
            else:
                raise
            return self._asked(visit, form)
        return self._entered(visit, opened, local(form.value("next") or "/"))

    def _entered(self, visit: Visit, opened: Opened, path: str) -> Redirect:
        """Where somebody goes who has just given one factor."""
        visit.start_session(opened.secret, self._sign_in.device(opened.account) if opened.stage == FULL else "")
        if opened.stage == FULL:
            return Redirect(path)
        return Redirect("/set-up/second-step" if opened.stage == ENROL else "/sign-in/code")

    @page("GET", "/sign-in/code", needs=Open.SECOND_STEP, summary="Ask for the code of the authenticator app")
    async def ask_code(self, _visit: Visit) -> Answer:
        """After the password, before anything else."""
        return Page("doorstep/code.html", _("Enter the code from your authenticator app"))

    @page("POST", "/sign-in/code", needs=Open.SECOND_STEP, summary="Check the code of the authenticator app")
    async def give_code(self, visit: Visit) -> Answer:
        """A right code begins the session; each code is good once."""
        form = await visit.form("code")
        code = form.text("code", _("Enter the 6 digits that your app shows"), longest=12)
        if not form.errors:
            try:
                opened = await self._sign_in.with_code(visit.who, code)
            except Rejected as error:
                _refused(form, "code", error)
            else:
                return self._entered(visit, opened, "/")
        return Page("doorstep/code.html", _("Enter the code from your authenticator app"), form=form)

    @page("POST", "/sign-out", needs=Open.SESSION, summary="End the session")
    async def leave(self, visit: Visit) -> Answer:
        """At once, on the node as well as in the browser."""
        await visit.form()
        await self._sign_in.sign_out(visit.who)
        visit.end_session()
        visit.visitor = None
        return Redirect("/sign-in")

    @page("POST", "/session", needs=Open.SIGNED_IN, summary="Stay signed in")
    async def stay(self, visit: Visit) -> Answer:
        """Being asked is enough: the session counts as used."""
        return visit.nothing()

    # Setting up

    @page("GET", "/set-up/{secret}", needs=Open.EVERYBODY, summary="Show what a set-up link is for")
    async def show_link(self, visit: Visit) -> Answer:
        """Looking at the page does not use the link up: mail programs look too."""
        person = await self._sign_in.link_for(visit.path("secret"))
        return Page("doorstep/set_up.html", _("Set up your account"), {"person": person})

    @page("POST", "/set-up/{secret}", needs=Open.EVERYBODY, summary="Use a set-up link")
    async def use_link(self, visit: Visit) -> Answer:
        """Chooses the password; the first administrator also says who they are."""
        secret = visit.path("secret")
        person = await self._sign_in.link_for(secret)
        form = await visit.form("name", "sign_in", "password", "again")
        name = sign_in = ""
        if person is None:
            name = form.text("name", _("Enter your full name"), longest=100, label=_("Full name"))
            sign_in = form.text(
                "sign_in", _("Enter an e-mail address or a sign-in name"), longest=200, label=_("Sign-in name")
            )
        password = form.secret("password", _("Enter a password"))
        again = form.secret("again", _("Enter the password again")) if password else ""
        if password and again and password != again:
            form.error("again", _("The two passwords are not the same"))
        if not form.errors:
            try:
                opened = await self._sign_in.set_up(secret, password, name, sign_in)
            except Rejected as error:
                field = str(error.facts.get("pointer", "/password")).lstrip("/")
                if error.code not in {"usage", "conflict", "too-many"} or field not in {"name", "sign_in", "password"}:
                    raise
                form.error(field, _(error.sentence.removesuffix(".")))
            else:
                return self._entered(visit, opened, "/")
        return Page("doorstep/set_up.html", _("Set up your account"), {"person": person}, form)

    @page("GET", "/set-up/second-step", needs=Open.SETTING_UP, summary="Set up a second step")
    async def second_step(self, visit: Visit) -> Answer:
        """An authenticator app, by QR code or by hand; or a passkey."""
        return self._second_step(visit.who, Form())

    def _second_step(self, visitor: Visitor, form: Form) -> Page:
        secret, address = self._sign_in.pending_code(visitor)
        typed = fives(_base32(secret))
        return Page(
            "doorstep/second_step.html",
            _("Set up a second step"),
            {"typed": typed, "qr": look.qr(address, _("QR code for your authenticator app")), "passkeys": self._passkeys},
            form,
        )

    @page("POST", "/set-up/second-step", needs=Open.SETTING_UP, summary="Confirm the authenticator app")
    async def confirm_code(self, visit: Visit) -> Answer:
        """The first code proves that the app has the secret."""
        form = await visit.form("code")
        code = form.text("code", _("Enter the 6 digits that your app shows"), longest=12)
        if not form.errors:
            try:
                opened = await self._sign_in.confirm_code(visit.who, code)
            except Rejected as error:
                _refused(form, "code", error)
            else:
                return self._entered(visit, opened, "/")
        return self._second_step(visit.who, form)

    # One's own account

    @page("GET", "/account", needs=Open.SIGNED_IN, summary="One's own account")
    async def account(self, visit: Visit) -> Answer:
        """Roles in sentences, ways to sign in, and where one is signed in now."""
        return Page(
            "doorstep/account.html",
            _("Your account"),
            {
                "person": await self._sign_in.person(visit.who.id),
                "sessions": await self._sign_in.sessions(visit.who.id),
                "keys": await self._sign_in.passkeys(visit.who.id),
                "methods": METHODS,
                "roles": [ROLES[code] for code in visit.who.roles if code in ROLES],
                "passkeys": self._passkeys,
            },
        )

    @page("GET", "/account/password", needs=Open.SIGNED_IN, summary="Ask for another password")
    async def ask_password(self, _visit: Visit) -> Answer:
        """The old one once, the new one twice."""
        return Page("doorstep/password.html", _("Change your password"))

    @page("POST", "/account/password", needs=Open.SIGNED_IN, summary="Change one's own password")
    async def change_password(self, visit: Visit) -> Answer:
        """Ends every other session of the account."""
        form = await visit.form("old", "new", "again")
        old = form.secret("old", _("Enter the password that you use now"))
        new = form.secret("new", _("Enter a new password"))
        again = form.secret("again", _("Enter the new password again"))
        if new and again and new != again:
            form.error("again", _("The two new passwords are not the same"))
        if not form.errors:
            try:
                opened = await self._sign_in.change_password(visit.who, old, new)
            except Rejected as error:
                field = str(error.facts.get("pointer", "/old")).lstrip("/")
                form.error(field, _(error.sentence.removesuffix(".")))
            else:
                visit.start_session(opened.secret)
                visit.visitor = await self._sign_in.visitor(opened.secret)
                visit.flash(_("Your password is changed. You are signed out everywhere else."))
                return Redirect("/account")
        return Page("doorstep/password.html", _("Change your password"), form=form)

    @page("POST", "/account/sessions/end", needs=Open.SIGNED_IN, summary="Sign out everywhere else")
    async def end_others(self, visit: Visit) -> Answer:
        """Every session of the account but this one."""
        await visit.form()
        ended = await self._sign_in.end_sessions(visit.who.id, visit.actor, visit.who.digest)
        visit.flash(several("%(number)s other session is ended.", "%(number)s other sessions are ended.", ended))
        return Redirect("/account")

    # The screen shield

    @page("POST", "/away", needs=Open.LOCKED, summary="Hide the page and lock the session")
    async def hide(self, visit: Visit) -> Answer:
        """Nothing is shown any more until whoever it is proves again who they are."""
        await visit.form()
        await self._sign_in.shield(visit.who)
        return Redirect("/away")

    @page("GET", "/away", needs=Open.LOCKED, summary="A page that says nothing")
    async def away(self, visit: Visit) -> Answer:
        """Blank but for a link; somebody who looks over a shoulder learns nothing."""
        if not visit.who.locked:
            return Redirect("/")
        return Page("doorstep/away.html", _("Back to work"))

    @page("GET", "/away/back", needs=Open.LOCKED, summary="Ask for the password to unlock")
    async def ask_back(self, visit: Visit) -> Answer:
        """Only after somebody asked for it."""
        if not visit.who.locked:
            return Redirect("/")
        return Page("doorstep/back.html", _("Back to work"), {"passkeys": self._passkeys})

    @page("POST", "/away/back", needs=Open.LOCKED, summary="Unlock the session")
    async def come_back(self, visit: Visit) -> Answer:
        """With the password of whoever is signed in."""
        form = await visit.form("password")
        password = form.secret("password", _("Enter your password"))
        if not form.errors:
            try:
                await self._sign_in.lift(visit.who, password)
            except Rejected as error:
                _refused(form, "password", error)
            else:
                return Redirect("/")
        return Page("doorstep/back.html", _("Back to work"), {"passkeys": self._passkeys}, form)


def _refused(form: Form, field: str, error: Rejected) -> None:
    """Put a refusal at a field, as long as it is about what was typed."""
    if error.code not in {"unauthenticated", "too-many"}:
        raise error
    form.error(field, " ".join(part for part in (_(error.sentence), _(error.hint) if error.hint else "") if part))


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode().rstrip("=")
