"""The client library: a node's interface for systems, from Python, in the words of its answers.

    from bridge.client import Bridge

    with Bridge("https://bridge.kent.example", token) as client:
        for alert in client.inbox():
            with alert:  # acknowledged when this ends well, given back when it raises
                case_system.store(alert.id, alert.alert)

`Bridge` blocks, `AsyncBridge` is the same for asyncio. Both try again by themselves, honour `Retry-After`, and send with
an idempotency key, so that nothing is done twice. What is answered are the structs of `bridge.answers`. Errors are chosen
by the code of the problem document; see `bridge.client.problems`. Nothing of the node is imported, and what a name needs
only when it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.client.asynchronous import AsyncBridge as AsyncBridge
    from bridge.client.blocking import Bridge as Bridge
    from bridge.client.problems import BadSignature as BadSignature
    from bridge.client.problems import ChangedMeanwhile as ChangedMeanwhile
    from bridge.client.problems import ClientError as ClientError
    from bridge.client.problems import Forbidden as Forbidden
    from bridge.client.problems import Gone as Gone
    from bridge.client.problems import IdempotencyConflict as IdempotencyConflict
    from bridge.client.problems import Invalid as Invalid
    from bridge.client.problems import LeaseOver as LeaseOver
    from bridge.client.problems import NotFound as NotFound
    from bridge.client.problems import NotUnderstood as NotUnderstood
    from bridge.client.problems import Problem as Problem
    from bridge.client.problems import TooMany as TooMany
    from bridge.client.problems import Unauthenticated as Unauthenticated
    from bridge.client.problems import Unreachable as Unreachable
    from bridge.client.problems import WrongState as WrongState
    from bridge.client.stream import LiveEvent as LiveEvent
    from bridge.client.webhooks import WebhookEvent as WebhookEvent
    from bridge.client.webhooks import verify_webhook as verify_webhook

_WHERE = {
    "AsyncBridge": "asynchronous",
    "Bridge": "blocking",
    "LiveEvent": "stream",
    "WebhookEvent": "webhooks",
    "verify_webhook": "webhooks",
} | dict.fromkeys(
    ("BadSignature", "ChangedMeanwhile", "ClientError", "Forbidden", "Gone", "IdempotencyConflict", "Invalid", "LeaseOver",
     "NotFound", "NotUnderstood", "Problem", "TooMany", "Unauthenticated", "Unreachable", "WrongState"),
    "problems",
)  # fmt: skip

__all__ = [*_WHERE]  # noqa: PLE0604  every one of them is a name above


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
