"""Nodes with real keys and properly signed descriptors, for tests that then change one thing."""

import functools
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bridge import wire
from bridge.crypto.keys import ED25519, MLDSA65, XWING, SealingKey, SigningKey
from bridge.crypto.signed import DESCRIPTOR, ROTATION, sign
from bridge.envelopes import Signature, Signed
from bridge.partners import Contact, Descriptor, Limits, PublishedKey

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


@functools.cache
def key(alg: str, node_id: str, label: str) -> SigningKey | SealingKey:
    """The same key for the same words. Never one that a real node could have."""
    seed = hashlib.sha256(f"{node_id} {label}".encode()).digest()
    kind = SealingKey if alg == XWING else SigningKey
    return kind.from_seed(alg, node_id, seed)


def published(
    key: SigningKey | SealingKey, since: datetime = NOW, until: datetime | None = None
) -> PublishedKey:
    return PublishedKey(
        key.kid.hex(), key.alg, wire.encode_b64(key.public), since, until or since + timedelta(days=60)
    )


def identity(node_id: str, generation: int = 1) -> list[SigningKey]:
    return [key(alg, node_id, f"identity {generation}") for alg in (ED25519, MLDSA65)]  # type: ignore[misc]


def descriptor(node_id: str = "kent-mash", generation: int = 1, **changes: Any) -> Descriptor:
    fields: dict[str, Any] = {
        "v": 1,
        "node_id": node_id,
        "seq": 1,
        "issued": NOW,
        "expires": NOW + timedelta(days=90),
        "name": "Kent front door",
        "agency": "MASH",
        "areas": ("E07000110",),
        "functions": ("MASH",),
        "endpoints": ("https://kent.example",),
        "identity_keys": tuple(
            published(k, until=NOW + timedelta(days=3650)) for k in identity(node_id, generation)
        ),
        "message_keys": (published(key(ED25519, node_id, "message")),),
        "sealing_keys": (published(key(XWING, node_id, "sealing")),),
        "suites": (1, 2),
        "limits": Limits(),
        "contact": Contact("Duty desk", "+44 1632 960000", "always"),
        "max_retention_days": 365,
    }
    return Descriptor(**{**fields, **changes})


def signed(
    described: Descriptor, *, by: list[SigningKey] | None = None, was: list[SigningKey] | None = None
) -> Signed:
    """Sign with the node's own identity (`by`), and for a rotation with the one before it (`was`)."""
    document = msgspec.json.encode(described)
    made = sign(DESCRIPTOR, [document], by or identity(described.node_id))
    made += sign(ROTATION, [document], was or [])
    return Signed(document, tuple(Signature(*each) for each in made))
