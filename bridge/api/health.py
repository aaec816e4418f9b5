"""What monitors ask of a node: whether it is alive, whether it can work, and its figures."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from bridge.answers import Alive, Ready
from bridge.api.door import Says, answered, route
from bridge.errors import BridgeError, Rejected
from bridge.nodes.admit import Actor
from bridge.nodes.enrol import Check


class Health:
    """Handlers for monitors."""

    def __init__(
        self, *, ready: Callable[[], Awaitable[Sequence[Check]]], figures: Callable[[], str], figures_to: str
    ) -> None:
        """`figures` makes the metrics' text; `figures_to` says to whom: everybody, loopback or off ([listen] metrics)."""
        self._ready = ready
        self._figures = figures
        self._figures_to = figures_to

    @route(
        "GET", "/healthz", needs=None, summary="Whether the process is alive",
        answers={200: Says(Alive, "It answers.")},
    )  # fmt: skip
    async def healthz(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Always ok while the process answers."""
        return answered({"status": "ok"})

    @route(
        "GET", "/readyz", needs=None, summary="Whether the node can take work",
        answers={200: Says(Ready, "It can."), 503: Says(Ready, "It cannot, and which step fails.")},
    )  # fmt: skip
    async def readyz(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """503 with the failing step when it cannot."""
        try:
            steps = await self._ready()
        except BridgeError:
            steps = [Check("database", False, "cannot be read")]
        ok = all(step.ok for step in steps)
        return answered({"status": "ok" if ok else "not ready", "steps": steps}, 200 if ok else 503)

    @route("GET", "/metrics", needs=None, summary="Metrics in the Prometheus text form")
    async def metrics(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Counts only; to this machine unless the settings say otherwise."""
        near = request.transport is None or _near(request)
        if self._figures_to == "off" or (self._figures_to == "loopback" and not near):
            raise Rejected("not-found", "There is nothing at this address.")
        return web.Response(text=self._figures(), content_type="text/plain", charset="utf-8")


def _near(request: web.Request) -> bool:
    """Whether the caller is on this machine and not a proxy on it speaking for somebody else."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return not peer or isinstance(peer, str) or str(peer[0]) in {"127.0.0.1", "::1"}
