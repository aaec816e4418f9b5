"""Who appears in the vectors: nodes with keys that everybody knows, and their signed descriptors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bridge.crypto.keys import ED25519, MLDSA65, XWING, SealingKey, SigningKey
from bridge.crypto.signed import DESCRIPTOR, ROTATION
from vectors.kept import Kept, Signature, b64

NOW: Final = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
ISSUED: Final = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
EXPIRES: Final = datetime(2027, 1, 20, 9, 0, tzinfo=UTC)
DAY: Final = timedelta(days=1)

SENDER, RECIPIENT, THIRD, STRANGER = "maidstone-jcp", "croydon-mash", "kent-mash", "essex-mash"

DROP: Final = object()
"""As the new value of a field: the field is left out."""

Document = dict[str, Any]


def moment(when: datetime) -> str:
    """A time as documents carry it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def compact(value: Any) -> bytes:
    """JSON as most writers give it, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def changed(document: Mapping[str, Any], /, **changes: Any) -> Document:
    """A document with some fields changed, in their places; with DROP, left out; new ones at the end."""
    made = {**document, **changes}
    return {name: value for name, value in made.items() if value is not DROP}


def seed_of(node: str, use: str, alg: str, generation: str) -> bytes:
    """The seed of a key of the vectors: anybody can compute it."""
    return hashlib.sha256(f"bridge test vectors: {node} {use} {alg} {generation}".encode()).digest()


@dataclass(frozen=True)
class Held:
    """A key of a node of the vectors: what for, which of its kind, and when it is in force."""

    use: str
    generation: str
    key: SigningKey | SealingKey
    not_before: datetime
    not_after: datetime
    listed: bool = True

    def published(self) -> Document:
        """The key as a descriptor lists it."""
        return {
            "kid": self.key.kid.hex(),
            "alg": self.key.alg,
            "public": b64(self.key.public),
            "not_before": moment(self.not_before),
            "not_after": moment(self.not_after),
        }


@dataclass(frozen=True)
class Member:
    """One node of the vectors."""

    node_id: str
    name: str
    agency: str
    areas: tuple[str, ...]
    functions: tuple[str, ...]
    keys: list[Held] = field(default_factory=list)

    def signing(self, use: str, generation: str = "1") -> list[SigningKey]:
        """The signing keys of a use and generation: Ed25519, then ML-DSA-65 if there is one."""
        return [each.key for each in self._of(use, generation) if isinstance(each.key, SigningKey)]

    def sealing(self, generation: str = "1") -> SealingKey:
        """A sealing key of a generation."""
        (found,) = (each.key for each in self._of("sealing", generation) if isinstance(each.key, SealingKey))
        return found

    def _of(self, use: str, generation: str) -> list[Held]:
        return [each for each in self.keys if (each.use, each.generation) == (use, generation)]

    def descriptor(self, identity: str = "1", **changes: Any) -> Document:
        """What the node says of itself, with `changes`."""

        def listed(use: str, generation: str | None = None) -> list[Document]:
            return [
                each.published()
                for each in self.keys
                if each.use == use and each.listed and generation in (None, each.generation)
            ]

        document: Document = {
            "v": 1,
            "node_id": self.node_id,
            "seq": 4,
            "issued": moment(ISSUED),
            "expires": moment(EXPIRES),
            "name": self.name,
            "agency": self.agency,
            "areas": list(self.areas),
            "functions": list(self.functions),
            "endpoints": [f"https://{self.node_id}.example"],
            "identity_keys": listed("identity", identity),
            "message_keys": listed("message"),
            "sealing_keys": listed("sealing"),
            "suites": [1, 2],
            "limits": {"max_bucket": 256, "carrier_bytes": 4194304, "messages_per_hour": 3600},
            "contact": {"desk": "Duty desk", "telephone": "+44 1632 960000", "hours": "always"},
            "max_retention_days": 365,
            "exercise": False,
        }
        return changed(document, **changes)


def _held(
    node: str, use: str, alg: str, generation: str, since: datetime, until: datetime, *, listed: bool = True
) -> Held:
    kind = SealingKey if alg == XWING else SigningKey
    key = kind.from_seed(alg, node, seed_of(node, use, alg, generation))
    return Held(use, generation, key, since, until, listed)


def _member(node: str, name: str, agency: str, area: str, function: str) -> Member:
    far = ISSUED + 3650 * DAY
    keys = [
        # Generation 2 of the identity is for rotations; the descriptor lists one generation at a time.
        *(_held(node, "identity", alg, each, ISSUED, far) for each in "12" for alg in (ED25519, MLDSA65)),
        *(_held(node, "message", alg, "1", ISSUED, ISSUED + 365 * DAY) for alg in (ED25519, MLDSA65)),
        _held(node, "message", ED25519, "older", ISSUED - 300 * DAY, NOW + 5 * DAY),
        _held(node, "message", ED25519, "lapsed", ISSUED - 300 * DAY, NOW - 5 * DAY),
        _held(node, "message", ED25519, "coming", NOW + 5 * DAY, NOW + 300 * DAY),
        _held(node, "message", ED25519, "unlisted", ISSUED, NOW + 300 * DAY, listed=False),
        _held(node, "sealing", XWING, "1", ISSUED, ISSUED + 37 * DAY),
        # Listed once, its seed destroyed since: the node does not hold it.
        _held(node, "sealing", XWING, "destroyed", ISSUED - 90 * DAY, ISSUED - 53 * DAY, listed=False),
    ]
    return Member(node, name, agency, (area,), (function,), keys)


CAST: Final[Mapping[str, Member]] = {
    each.node_id: each
    for each in (
        _member(SENDER, "Maidstone Jobcentre", "JCP", "E07000110", "JCP"),
        _member(RECIPIENT, "Croydon MASH", "MASH", "E09000008", "MASH"),
        _member(THIRD, "Kent front door", "MASH", "E10000016", "MASH"),
        _member(STRANGER, "Essex front door", "MASH", "E10000012", "MASH"),
    )
}
"""The nodes by their id. Every other node but the stranger is an active partner of each."""


def signed(document: Document | bytes, signatures: list[Signature]) -> Document:
    """A signed document as the vectors show it: the text that was signed, and the signatures."""
    raw = document if isinstance(document, bytes) else compact(document)
    return {**shown("document", raw), "signatures": shown_signatures(signatures)}


def shown(name: str, raw: bytes) -> Document:
    """Bytes under `name` as text where they are UTF-8, else under `name_base64`."""
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64(raw)}


def shown_signatures(signatures: list[Signature]) -> list[Document]:
    """Signatures as the vectors show them."""
    return [{"kid": kid.hex(), "alg": alg, "signature": b64(made)} for kid, alg, made in signatures]


def signed_descriptor(
    kept: Kept, node: str, /, *, document: bytes | None = None, was: str | None = None, **changes: Any
) -> Document:
    """A node's descriptor signed by its identity, and for a rotation by the generation before it (`was`)."""
    member = CAST[node]
    raw = compact(member.descriptor(**changes)) if document is None else document
    signatures = kept.sign(DESCRIPTOR, [raw], member.signing("identity", changes.get("identity", "1")))
    if was is not None:
        signatures += kept.sign(ROTATION, [raw], member.signing("identity", was))
    return signed(raw, signatures)


def everyone(kept: Kept) -> Document:
    """The file of the cast: every key with its seed, and every descriptor."""
    nodes = {}
    for node, member in CAST.items():
        nodes[node] = {
            "name": member.name,
            "agency": member.agency,
            "areas": list(member.areas),
            "functions": list(member.functions),
            "keys": [
                {
                    "use": each.use,
                    "generation": each.generation,
                    "alg": each.key.alg,
                    "seed": each.key.seed.hex(),
                    "kid": each.key.kid.hex(),
                    "not_before": moment(each.not_before),
                    "not_after": moment(each.not_after),
                    "held": each.generation != "destroyed",
                }
                for each in member.keys
            ],
            "descriptor": signed_descriptor(kept, node),
        }
    return {
        "says": "The nodes of all vectors. Their keys are known to everybody: a node refuses them.",
        "now": moment(NOW),
        "nodes": nodes,
    }
