"""Webhooks at the receiver's end: whether one is the node's own, and what it says."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bridge.client.problems import BadSignature
from bridge.crypto import webhooks


class WebhookEvent(msgspec.Struct, frozen=True):
    """A webhook that was verified. Keep `id`: whoever gets the same one again has had it before.

    `data` holds ids and codes, and with `content` full the whole alert under `alert`.
    """

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]

    def __repr__(self) -> str:
        return f"WebhookEvent({self.id})"


class _Body(msgspec.Struct):
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify_webhook(
    headers: Mapping[str, str], body: bytes, keys: str | Sequence[str], *, now: float | None = None
) -> WebhookEvent:
    """The event of a request, once its signature holds. Raises BadSignature for all else.

    `body` is the exact bytes of the request, before anything has decoded them. `keys` are the endpoint's secret
    (`whsec_...`), its public key (`whpk_...`), or several while keys change. `now` is seconds since 1970.
    """
    named = {name.lower(): value for name, value in headers.items()}
    given = (keys,) if isinstance(keys, str) else tuple(keys)
    if not given or any(not each.startswith(("whsec_", "whpk_")) for each in given):
        raise ValueError("a key is the endpoint's secret (whsec_...) or its public key (whpk_...)")
    message = named.get("webhook-id", "")
    moment = time.time() if now is None else now
    signature = named.get("webhook-signature", "")
    if not webhooks.verify(message, named.get("webhook-timestamp", ""), signature, body, given, moment):
        raise BadSignature(
            "This webhook is not signed by the node, or was signed more than five minutes ago."
        )
    try:
        found = msgspec.json.decode(body, type=_Body)
    except msgspec.MsgspecError:
        raise BadSignature("This webhook is signed, but is no event.") from None
    return WebhookEvent(message, found.type, found.timestamp, found.data)
