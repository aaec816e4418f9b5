"""The operator's door to accounts: people are invited, reset and switched off by their sign-in name."""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge.accounts import ROLES
from bridge.api.door import answered, body_of, route
from bridge.errors import Malformed
from bridge.nodes.admit import Actor
from bridge.nodes.sign_in import Person, SignIn

Text = Annotated[str, Meta(max_length=400)]


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to be invited."""

    name: Text
    sign_in: Text
    roles: list[Text]
    teams: list[Text] = []


class Whom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody, by what they type to sign in. In the body, because a path may be logged on the way."""

    sign_in: Text


class People:
    """Handlers for `/control/people`: only the operating system's own user reaches them."""

    def __init__(self, sign_in: SignIn, url: str) -> None:
        self._sign_in = sign_in
        self._url = url.rstrip("/")

    @route("GET", "/control/people", needs="control", summary="Everybody with an account")
    async def every(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Names, roles, state, last sign-in; never a secret."""
        return answered({"items": [shown(person) for person in await self._sign_in.people()]})

    @route("POST", "/control/people", needs="control", summary="Invite somebody")
    async def invite(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The answer alone holds the link with which they set their account up."""
        wanted = await _read(request, Invitation)
        person, secret = await self._sign_in.invite(
            wanted.name, wanted.sign_in, wanted.roles, wanted.teams, actor.name
        )
        return answered({**shown(person), "link": self._link(secret)}, 201)

    @route("POST", "/control/people/reset", needs="control", summary="Give somebody a new set-up link")
    async def reset(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Their password, codes and passkeys are gone and their sessions over."""
        person = await self._found(request)
        secret = await self._sign_in.reset(person.id, actor.name)
        return answered({**shown(await self._sign_in.person(person.id)), "link": self._link(secret)})

    @route("POST", "/control/people/disable", needs="control", summary="Switch an account off")
    async def disable(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """At once; their sessions end."""
        person = await self._found(request)
        await self._sign_in.disable(person.id, actor.name)
        return answered(shown(await self._sign_in.person(person.id)))

    @route("POST", "/control/people/enable", needs="control", summary="Switch an account on again")
    async def enable(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """As it was."""
        person = await self._found(request)
        await self._sign_in.enable(person.id, actor.name)
        return answered(shown(await self._sign_in.person(person.id)))

    def _link(self, secret: str) -> str:
        return f"{self._url}/set-up/{secret}"

    async def _found(self, request: web.Request) -> Person:
        return await self._sign_in.find((await _read(request, Whom)).sign_in)


def shown(person: Person) -> dict[str, Any]:
    """A person as the command line shows them."""
    return {
        "id": person.id,
        "name": person.name,
        "sign_in": person.sign_in,
        "roles": person.roles,
        "can": [ROLES[code].sentence for code in person.roles if code in ROLES],
        "teams": person.teams,
        "state": person.state,
        "second_step": person.code or person.passkeys > 0 or person.organisation,
        "created": person.created,
        "last_sign_in": person.last_sign_in,
    }


async def _read(request: web.Request, kind: type[Any]) -> Any:
    raw = await body_of(request, 64 * 1024)
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("request") from None
