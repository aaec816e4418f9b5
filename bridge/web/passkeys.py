"""Passkeys: the fingerprint, face or PIN of a device, or a security key. Needs the extra `passkey` (fido2).

A challenge is random, kept in memory for five minutes, and good once for the browser that asked for it. Who verifies
themselves to the device has given both factors, so no password and no code are asked for besides.
"""

import importlib.util
import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

from bridge.errors import Malformed, Rejected
from bridge.nodes.sign_in import FULL, SignIn, Visitor
from bridge.web.shell import Answer, Open, Redirect, Visit, local, page
from bridge.web.texts import _

log = structlog.get_logger()

LIFE = timedelta(minutes=5)
MOST_WAITING = 2_000
_MOST_BYTES = 32_768


def usable(url: str) -> bool:
    """Whether passkeys can be used at this address: the extra is installed, and browsers take it for a name of its own."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and importlib.util.find_spec("fido2") is not None
    return False


class Challenges:
    """Questions that wait for an answer, each good once, by the browser that asked."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._waiting: dict[str, tuple[datetime, Any]] = {}

    def keep(self, key: str, state: Any) -> None:
        """Keep what an answer will be compared with; the oldest gives way when too many wait."""
        now = self._now()
        self._waiting = {k: each for k, each in self._waiting.items() if now - each[0] < LIFE}
        while len(self._waiting) >= MOST_WAITING:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[key] = (now, state)

    def take(self, key: str) -> Any:
        """What was kept, once. Raises Rejected `unauthenticated`."""
        asked, state = self._waiting.pop(key, (None, None))
        if asked is None or self._now() - asked >= LIFE:
            raise Rejected("unauthenticated", "This took too long.", "Try again.")
        return state


class Passkeys:
    """Handlers for `/passkeys`: asked by a script, answered as JSON."""

    def __init__(self, *, sign_in: SignIn, url: str, name: str, now: Callable[[], datetime]) -> None:
        from fido2.server import Fido2Server
        from fido2.webauthn import PublicKeyCredentialRpEntity

        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        self._sign_in = sign_in
        self._server = Fido2Server(
            PublicKeyCredentialRpEntity(name=f"Bridge {name}", id=parts.hostname or ""),
            verify_origin=lambda given: given == origin,
        )
        self._asked = Challenges(now)

    @page("POST", "/passkeys/new", needs=Open.SETTING_UP, summary="Begin to make a passkey")
    async def begin_new(self, visit: Visit) -> Answer:
        """What the browser needs to make one; those that the account has are left out."""
        from fido2.webauthn import (
            AttestedCredentialData,
            PublicKeyCredentialUserEntity,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        who = visit.who
        known = [AttestedCredentialData(key["public"]) for key in await self._sign_in.passkeys(who.id)]
        options, state = self._server.register_begin(
            PublicKeyCredentialUserEntity(name=who.sign_in, id=who.id.encode(), display_name=who.name),
            known,
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        self._asked.keep(f"new {who.session}", state)
        return _json(dict(options))

    @page("POST", "/passkeys/made", needs=Open.SETTING_UP, summary="Take a passkey that was made")
    async def made(self, visit: Visit) -> Answer:
        """Its device has proved that it holds it."""
        who = visit.who
        state = self._asked.take(f"new {who.session}")
        answer = await _read(visit)
        try:
            proved = self._server.register_complete(state, answer)
        except (ValueError, TypeError, KeyError):
            raise _no() from None
        data = proved.credential_data
        if data is None:
            raise _no()
        if len(await self._sign_in.passkeys(who.id)) >= 10:
            raise Rejected("wrong-state", "This account has ten passkeys.", "Remove one that is not used.")
        name = _("Passkey of %(day)s", day=f"{visit.now:%d.%m.%Y}")
        opened = await self._sign_in.add_passkey(who, data.credential_id, bytes(data), proved.counter, name)
        visit.start_session(opened.secret, self._sign_in.device(who.id))
        return _json({"go": "/account" if who.stage == FULL else "/"})

    @page("POST", "/passkeys/ask", needs=Open.EVERYBODY, summary="Begin to sign in with a passkey")
    async def ask(self, visit: Visit) -> Answer:
        """Nothing about accounts: the device knows which of its passkeys are for this node."""
        from fido2.webauthn import UserVerificationRequirement

        options, state = self._server.authenticate_begin(user_verification=UserVerificationRequirement.REQUIRED)
        self._asked.keep(_browser(visit), state)
        return _json(dict(options))

    @page("POST", "/passkeys/sign-in", needs=Open.EVERYBODY, summary="Sign in with a passkey")
    async def enter(self, visit: Visit) -> Answer:
        """A session in full."""
        account = await self._proved(visit)
        opened = await self._sign_in.enter(account, "passkey")
        visit.start_session(opened.secret, self._sign_in.device(account))
        return _json({"go": local(visit.query("next", 1000) or "/")})

    @page("POST", "/passkeys/unlock", needs=Open.LOCKED, summary="Take the screen shield down with a passkey")
    async def unlock(self, visit: Visit) -> Answer:
        """Only with a passkey of whoever is signed in."""
        who: Visitor = visit.who
        if await self._proved(visit) != who.id:
            raise _no()
        await self._sign_in.lifted(who)
        return _json({"go": "/"})

    @page("POST", "/account/passkeys/{id}/remove", needs=Open.SIGNED_IN, summary="Remove one of one's own passkeys")
    async def remove(self, visit: Visit) -> Answer:
        """Not the last second factor."""
        await visit.form()
        wanted = visit.path("id")
        key = next((key for key in await self._sign_in.passkeys(visit.who.id) if key["id"] == wanted), None)
        if key is None:
            raise Rejected("not-found", "There is no such passkey.")
        await self._sign_in.drop_passkey(visit.who, key["credential"])
        visit.flash(_("The passkey is removed."))
        return Redirect("/account")

    async def _proved(self, visit: Visit) -> str:
        """The account whose passkey answers the question that this browser asked. Raises Rejected `unauthenticated`."""
        from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

        state = self._asked.take(_browser(visit))
        answer = await _read(visit)
        try:
            response = AuthenticationResponse.from_dict(answer)
            row = await self._sign_in.passkey_owner(response.raw_id)
            if row is None:
                raise _no()
            self._server.authenticate_complete(state, [AttestedCredentialData(row.public)], response)
            counter = response.response.authenticator_data.counter
        except (ValueError, TypeError, KeyError):
            raise _no() from None
        if counter and counter <= row.counter:
            # Two devices that count the same passkey: one of them is a copy.
            log.warning("security-event", code="passkey-copied", subject=row.account.encode().hex())
            raise _no()
        await self._sign_in.used_passkey(row.id, counter)
        return row.account


def _browser(visit: Visit) -> str:
    """The browser that asked, signed in or not."""
    return f"in {visit.visitor.session}" if visit.visitor is not None else f"out {visit.anonymous}"


async def _read(visit: Visit) -> dict[str, Any]:
    raw = await visit.body(_MOST_BYTES)
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("answer of a passkey") from None


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _no() -> Rejected:
    return Rejected("unauthenticated", "This passkey was not accepted.", "Try again, or sign in another way.")
