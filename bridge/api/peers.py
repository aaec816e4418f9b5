"""The door for partner nodes: envelopes, greetings, our descriptor. What cannot be authenticated gets a bare answer."""

from collections.abc import Callable

from aiohttp import web

from bridge import wire
from bridge.api.door import body_of, route
from bridge.envelopes import Signed
from bridge.errors import BridgeError
from bridge.nodes.admit import Actor
from bridge.nodes.enrol import Enrol
from bridge.nodes.receive import Receive

MSGPACK = "application/msgpack"


class Peers:
    """Handlers for `/node/v1`. No permission: every document carries its own signature."""

    def __init__(self, receive: Receive, enrol: Enrol, own: Callable[[], Signed], carrier_bytes: int) -> None:
        self._receive = receive
        self._enrol = enrol
        self._own = own
        self._carrier_bytes = carrier_bytes

    @route("POST", "/node/v1/envelopes", needs=None, summary="Take envelopes from a partner")
    async def envelopes(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """A carrier in, one signed receipts document for each envelope out (PROTOCOL section 5)."""
        body = await body_of(request, self._carrier_bytes)
        try:
            return web.Response(body=await self._receive.envelopes(body), content_type=MSGPACK)
        except BridgeError as error:
            return _bare(error)

    @route("POST", "/node/v1/hello", needs=None, summary="Answer a partner's greeting")
    async def hello(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """A signed greeting in, ours out (PROTOCOL section 7)."""
        body = await body_of(request, wire.SIGNED_LIMIT)
        try:
            return web.Response(body=await self._enrol.greet(body), content_type=MSGPACK)
        except BridgeError as error:
            return _bare(error)

    @route("GET", "/node/v1/descriptor", needs=None, summary="This node's signed descriptor")
    async def descriptor(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Our descriptor: msgpack for nodes that ask for it, else the text of an invite file."""
        signed = self._own()
        if MSGPACK in request.headers.get("Accept", ""):
            return web.Response(body=wire.encode_signed(signed), content_type=MSGPACK)
        return web.Response(body=wire.encode_invite(signed), content_type="application/json")


def _bare(error: BridgeError) -> web.Response:
    """No verdict, no signature, no words: just enough for an honest partner to try again later."""
    later = error.http_status in {429, 503}
    status = error.http_status if later or error.http_status in {400, 413} else 400
    return web.Response(status=status, headers={"Retry-After": "5"} if later else None)
