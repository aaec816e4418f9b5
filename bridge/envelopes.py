"""What travels between nodes: messages, in an envelope, in a carrier (PROTOCOL section 4).

Structs only. Bytes become these structs in `bridge.wire`; keys are used in `bridge.crypto`.
"""

import enum

import msgspec


class MessageType(enum.StrEnum):
    """What one message inside an envelope is (PROTOCOL section 4)."""

    ALERT = "alert"
    UPDATE = "update"
    WITHDRAW = "withdraw"
    QUESTION = "question"
    ANSWER = "answer"
    RECEIPTS = "receipts"
    NOTICE = "notice"


class Signature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One signature: which key (8-byte hint), which algorithm, and its bytes."""

    kid: bytes
    alg: str
    signature: bytes


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clear part of an envelope: routing and nothing else. At most 2 KiB as JSON."""

    v: int
    suite: int
    id: str  # 32 lower-case hex digits, random
    sender: str = msgspec.field(name="from")
    recipient: str = msgspec.field(name="to")
    to_kid: str  # 16 hex digits
    from_seq: int  # number of the sender's newest descriptor
    created: str  # minute, e.g. 2026-11-22T10:15Z
    deliver_by: str  # minute, at most 30 days after `created`
    bucket: int  # size of the padded inner part in KiB: 4, 16, 64 or 256
    commitment: str  # 64 hex digits: RFC 6962 root over the messages


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Header bytes as signed, sealed bytes, and signatures over both. The bytes are the truth."""

    header: bytes
    sealed: bytes
    signatures: tuple[Signature, ...]


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message inside the seal. `salt` makes its commitment say nothing once salt and payload are gone."""

    id: bytes  # 16 random bytes
    type: MessageType
    salt: bytes  # 32 bytes
    payload: bytes

    def __repr__(self) -> str:
        return f"Message({self.id.hex()}, {self.type})"


class Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A structured document with its signatures: a descriptor, a receipts document, a hello, a checkpoint."""

    document: bytes
    signatures: tuple[Signature, ...]
