"""Makes alerts, messages and envelopes, right in all but what is asked to be wrong (PROTOCOL section 4)."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from bridge.alerts import reference
from bridge.crypto import envelope as seals
from bridge.crypto.keys import SealingKey, SigningKey
from bridge.crypto.signed import ENVELOPE
from vectors.book import Book
from vectors.cast import (
    CAST,
    DAY,
    DROP,
    NOW,
    RECIPIENT,
    SENDER,
    Document,
    changed,
    compact,
    shown,
    shown_signatures,
)
from vectors.kept import b64

pack: Final = msgspec.msgpack.Encoder().encode
MINUTE: Final = timedelta(minutes=1)


def minute(when: Any) -> str:
    """A time as headers carry it."""
    return f"{when:%Y-%m-%dT%H:%MZ}"


def made_up(what: str, length: int = 16) -> bytes:
    """Bytes that a sender draws at random, the same for the same words."""
    return hashlib.sha256(f"bridge test vectors: {what}".encode()).digest()[:length]


@dataclass(frozen=True)
class Message:
    """One message inside a seal."""

    id: Any
    type: Any
    salt: Any
    payload: Any

    def packed(self) -> list[Any]:
        """As it lies in the seal."""
        return [self.id, self.type, self.salt, self.payload]


def submitted(**changes: Any) -> Document:
    """An alert as a worker's form gives it. The field `x_newer` is of no version that anybody has."""
    alert: Document = {
        "v": 1,
        "type": "alert",
        "status": "actual",
        "priority": "MEDIUM",
        "reporter": {"agency_code": "JCP", "role_title": "Work coach", "site": "Maidstone"},
        "subjects": [
            {
                "local_ref": "s1",
                "names": [{"text": "Example Person"}],
                "birth_year": 2011,
                "roles": ["exploited"],
            }
        ],
        "home": {"raw_text": "Croydon", "district": "E09000008"},
        "event": {
            "kinds": ["sighting_out_of_area"],
            "narrative": "Words of a test vector: nobody is meant.",
            "observed_from": "2026-11-22T09:40:00Z",
        },
        "grading": {"handling": "P", "marking": "OFFICIAL-SENSITIVE"},
        "legal": {"gateways": ["SSAA_AUTHORITY"]},
        "x_newer": {"any": ["thing", 1]},
    }
    return changed(alert, **changes)


def alert_id(number: int) -> str:
    """The id of an alert of the vectors."""
    return f"019aaaaa-0000-7000-8000-{number:012x}"


def carried(number: int = 1, body: Document | None = None, **changes: Any) -> Document:
    """An alert as it travels: what its sender's node decided, and the submitted alert in `body`."""
    payload: Document = {
        "v": 1,
        "id": alert_id(number),
        "reference": reference(alert_id(number)),
        "created": "2026-11-22T10:15:00Z",
        "status": "actual",
        "urgent": False,
        "sender": {"node_id": SENDER, "name": "Maidstone Jobcentre", "agency": "JCP"},
        "home": {
            "code": "E09000008",
            "level": "district",
            "name": "Croydon",
            "district": "E09000008",
            "upper": "E09000008",
            "force": "E23000001",
            "region": "E12000007",
            "method": "asserted",
            "share": 1.0,
            "vintage": "test",
            "because": "the sender chose it",
        },
        "route": [
            {
                "node": RECIPIENT,
                "name": "Croydon MASH",
                "function": "MASH",
                "area": "E09000008",
                "why": "home",
                "step": "district",
                "because": "Croydon MASH serves Croydon",
            }
        ],
        "retention": {"class": "UNADOPTED", "until": "2026-12-22"},
        "body": submitted() if body is None else body,
    }
    return changed(payload, **changes)


def message(payload: Document | bytes | None = None, number: int = 1, **changes: Any) -> Message:
    """A message of type alert; `payload` bytes are taken as they are."""
    content = carried(number) if payload is None else payload
    made = Message(
        made_up(f"message {number}"),
        "alert",
        made_up(f"salt {number}", 32),
        content if isinstance(content, bytes) else compact(content),
    )
    return replace(made, **changes)


def written(messages: Sequence[Message]) -> bytes:
    """What is padded and sealed."""
    return pack([each.packed() for each in messages])


class Post:
    """Makes envelopes; each argument changes one thing and leaves the rest right."""

    def __init__(self, book: Book) -> None:
        self._kept = book.kept

    def envelope(
        self,
        *messages: Message,
        number: int = 1,
        sender: str = SENDER,
        recipient: str = RECIPIENT,
        suite: int = 1,
        header: Document | None = None,
        write: Callable[[Document], bytes] = compact,
        inner: Callable[[Sequence[Message]], bytes] = written,
        pad: Callable[[bytes, int], bytes] = seals.pad,
        committed: Sequence[Message] | None = None,
        bucket: int | None = None,
        seal_to: SealingKey | None = None,
        info: bytes | None = None,
        purpose: str = ENVELOPE,
        signers: Sequence[SigningKey] | None = None,
    ) -> Document:
        """An envelope as the vectors show it: header, sealed part, signatures, and what lies inside.

        `header` holds changed fields and `write` makes its bytes, both before it is sealed and signed; `committed`
        the messages that the commitment is made of, `info` what HPKE is bound to.
        """
        messages = messages or (message(),)
        key = seal_to or CAST[recipient].sealing()
        content = inner(messages)
        size = bucket or seals.bucket_for(len(content))
        leaves = [seals.leaf(m.id, m.type, m.salt, m.payload) for m in committed or messages]
        fields: Document = {
            "v": 1,
            "suite": suite,
            "id": made_up(f"envelope {number}").hex(),
            "from": sender,
            "to": recipient,
            "to_kid": key.kid.hex(),
            "from_seq": 4,
            "created": minute(NOW),
            "deliver_by": minute(NOW + 14 * DAY),
            "bucket": size,
            "commitment": seals.commitment(leaves).hex(),
        }
        raw = write(changed(fields, **(header or {})))
        sealed = self._kept.seal(raw, pad(content, size), key, info)
        if signers is None:
            signers = CAST[sender].signing("message")[:suite]
        signatures = self._kept.sign(purpose, seals.signed_parts(raw, sealed), signers)
        return {
            **shown("header", raw),
            "sealed": b64(sealed),
            "signatures": shown_signatures(signatures),
            "inside": [_inside(each) for each in messages],
        }


def _inside(each: Message) -> Document:
    return {
        "id": each.id.hex(),
        "type": str(each.type),
        "salt": each.salt.hex(),
        **shown("payload", each.payload if isinstance(each.payload, bytes) else b""),
    }


def outside(envelope: Document, **changes: Any) -> Document:
    """An envelope with something changed after it was signed; what lies inside is no longer shown."""
    return changed(envelope, inside=DROP, **changes)


def header_changed(envelope: Document, **changes: Any) -> Document:
    """An envelope whose header was changed after it was signed."""
    return outside(envelope, header=compact(changed(json.loads(envelope["header"]), **changes)).decode())


def received(*numbers: int) -> list[Document]:
    """The statements for messages that were taken."""
    return [{"message": made_up(f"message {number}").hex(), "status": "received"} for number in numbers]


def refused(code: str, number: int | None = None) -> list[Document]:
    """The statement for a message, or with None for an envelope, that was refused."""
    return [
        {
            "message": None if number is None else made_up(f"message {number}").hex(),
            "status": "refused",
            "code": code,
        }
    ]


def raw_carrier(*envelopes: Document, change: Callable[[list[Any]], Any]) -> Document:
    """A carrier whose msgpack itself is changed: `change` gets the list of envelopes."""
    parts: list[Any] = [
        [
            each["header"].encode(),
            raw_of(each["sealed"]),
            [[bytes.fromhex(s["kid"]), s["alg"], raw_of(s["signature"])] for s in each["signatures"]],
        ]
        for each in envelopes
    ]
    made = change(parts)
    return {"carrier_base64": b64(made if isinstance(made, bytes) else pack(made))}


def raw_of(text: str) -> bytes:
    """The bytes of a base64 text."""
    return base64.b64decode(text)
