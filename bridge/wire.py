"""Bytes become structs here and nowhere else, or they become one `Malformed` (PROTOCOL sections 1 and 4).

The strict profile is stricter than msgspec: see `decode_json`. Signatures cover the bytes received; what is decoded
here is never encoded again to verify anything. No error quotes what came from outside.
"""

import base64
import binascii
import functools
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn, TypeVar, cast

import msgspec
from msgspec import inspect

from bridge.envelopes import Envelope, Header, Message, Signature, Signed
from bridge.errors import Malformed
from bridge.partners import Descriptor, Hello
from bridge.receipts import ReceiptsDocument

T = TypeVar("T")

KIB = 1024
CARRIER_LIMIT = 4 * KIB * KIB
ANSWER_LIMIT = KIB * KIB
HEADER_LIMIT = 2 * KIB
INNER_LIMIT = 256 * KIB - 4
DESCRIPTOR_LIMIT = 32 * KIB
RECEIPTS_LIMIT = 192 * KIB
HELLO_LIMIT = 96 * KIB
SIGNED_LIMIT = 256 * KIB
INVITE_LIMIT = 96 * KIB

MAX_ENVELOPES = 64
MAX_MESSAGES = 64
MAX_DEPTH = 32
MAX_INTEGER = 2**53
MAX_STRING = 64 * KIB
DELIVERY_WINDOW = timedelta(days=30)

BUCKETS = (4, 16, 64, 256)
SEAL_OVERHEAD = 1120 + 16
SEALED_SIZES = frozenset(bucket * KIB + SEAL_OVERHEAD for bucket in BUCKETS)

MESSAGE_ID = 16
SALT = 32
KID = 8
MAX_SIGNATURE = 4096

# Control characters (tab, newline and carriage return are allowed in text), bidirectional overrides and isolates,
# and halves of surrogate pairs.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORBIDDEN_FAR = tuple(
    re.compile(each) for each in (rb"\xc2[\x80-\x9f]", rb"\xe2\x80[\xaa-\xae]", rb"\xe2\x81[\xa6-\xa9]")
)  # the same, beyond ASCII, in UTF-8: three searches for a fixed start are faster than one for all
_FORBIDDEN_ASCII = bytes([*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
_HEX32 = re.compile("[0-9a-f]{32}")
_HEX16 = re.compile("[0-9a-f]{16}")
_HEX64 = re.compile("[0-9a-f]{64}")
_NODE_ID = re.compile("[a-z0-9][a-z0-9-]{1,62}")
_ALG = re.compile("[a-z0-9][a-z0-9-]{1,31}")
_MINUTE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z")
_PATH = re.compile(r" - at `\$((?:\.[A-Za-z0-9_]+|\[[0-9]+\])+)`\Z")
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")
_MISSING = re.compile(r"\AObject missing required field `([A-Za-z0-9_]+)`(?: - at |\Z)")

_DECODING_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class _BrokenRuleError(ValueError):
    """A rule of the strict profile is broken; its text is one of ours and may be shown."""


# ── JSON ──


def decode_json(data: bytes, type_: type[T], *, limit: int, what: str, longest: int = MAX_STRING) -> T:
    """Decode UTF-8 JSON in the strict profile into `type_`.

    Refused, beyond what the type forbids: more than `limit` bytes; a name twice in one object; integers beyond
    2**53 either way; NaN and infinities; more than 32 levels; strings over `longest` characters; control characters
    (but tab, newline, carriage return), bidirectional overrides and isolates, and lone surrogates, escaped or
    not. Whether unknown fields are refused is said by each struct. Times must be typed with a time zone and bytes
    as text (see `decode_b64`), or TypeError is raised whatever the input: such a type would leave a hole.

    Raises Malformed, which names `what` and, where it is known, `facts["pointer"]`: a JSON pointer made only of
    our own field names and of list positions.
    """
    decoder, names = _decoder(cast("Any", type_))
    try:
        _check_profile(data, limit, longest)
        return cast("T", decoder.decode(data))
    except _BrokenRuleError as broken:
        raise Malformed(what, str(broken)) from None
    except msgspec.ValidationError as error:
        pointer = _pointer(str(error), names)
        if pointer is None:
            raise Malformed(what) from None
        raise Malformed(what, f"Look at {pointer}.", pointer=pointer) from None
    except _DECODING_ERRORS:
        raise Malformed(what) from None


def encode_json(value: Any) -> bytes:
    """JSON for a struct of ours. What is signed is these bytes: encode once, keep them."""
    return msgspec.json.encode(value)


def _check_profile(data: bytes, limit: int, longest: int) -> None:
    if len(data) > limit:
        raise _BrokenRuleError(f"It is larger than {limit} bytes.")
    text = data.decode("utf-8")
    if len(data.translate(None, _FORBIDDEN_ASCII)) != len(data):
        raise _BrokenRuleError("It holds a control character.")
    if not data.isascii() and any(each.search(data) for each in _FORBIDDEN_FAR):
        raise _BrokenRuleError("It holds a control or direction character.")
    root = _strict_json(text)
    if b"\\u" in data or b"\\b" in data or b"\\f" in data or len(data) > MAX_STRING:
        _check_strings(root, longest)
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(root)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _BrokenRuleError("A field stands twice in the same place.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(value := int(digits)) > MAX_INTEGER:
        raise _BrokenRuleError("A whole number is out of range.")
    return value


def _real(digits: str) -> float:
    value = float(digits)
    if value - value != 0:  # an exponent so large that it reads as infinity
        raise _BrokenRuleError("A number is out of range.")
    return value


def _constant(_name: str) -> NoReturn:
    raise _BrokenRuleError("NaN and infinity are not numbers here.")


_strict_json: Callable[[str], Any] = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
).decode


def _check_depth(root: Any) -> None:
    level: list[Any] = [[root]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is dict or kind is list:
                    below.append(value)
        if not below:
            return
        level = below
    raise _BrokenRuleError("It is nested too deeply.")


def _check_strings(root: Any, longest: int) -> None:
    level = [root]
    while level:
        below: list[Any] = []
        for value in level:
            if type(value) is str:
                _check_string(value, longest)
            elif type(value) is dict:
                for name in value:
                    _check_string(name, longest)
                below.extend(value.values())
            elif type(value) is list:
                below.extend(value)
        level = below


def clean(text: str) -> bool:
    """Whether a text holds no control or direction character."""
    return _FORBIDDEN.search(text) is None


def _check_string(text: str, longest: int) -> None:
    if len(text) > longest:
        raise _BrokenRuleError("A text is too long.")
    if _FORBIDDEN.search(text):
        raise _BrokenRuleError("It holds a control or direction character.")


@functools.cache
def _decoder(type_: Any) -> tuple[msgspec.json.Decoder[Any], frozenset[str]]:
    """Give the decoder of a type and all field names in it. Raises TypeError for a type that would leave a hole."""
    names: set[str] = set()
    seen: set[int] = set()

    def visit(node: Any) -> None:
        if isinstance(node, tuple):
            for part in node:
                visit(part)
        elif isinstance(node, inspect.Field):
            names.add(node.encode_name)
            visit(node.type)
        elif isinstance(node, inspect.Type) and id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, inspect.DateTimeType) and node.tz is not True:
                raise TypeError("a datetime that is decoded is typed with a time zone: Meta(tz=True)")
            if isinstance(node, inspect.BytesType | inspect.ByteArrayType | inspect.MemoryViewType):
                raise TypeError("bytes in JSON are typed as text and read with decode_b64")
            for part in node.__struct_fields__:
                visit(getattr(node, part))

    visit(inspect.type_info(type_))
    return msgspec.json.Decoder(type_), frozenset(names)


def _pointer(text: str, names: frozenset[str]) -> str | None:
    """Where msgspec says that it failed, in our own names only; None when it does not say or other words are in it."""
    missing = _MISSING.match(text)
    found = _PATH.search(text)
    steps = _STEP.findall(found[1]) if found else []
    if missing:
        steps.append((missing[1], ""))
    if not steps or any(name and name not in names for name, _ in steps):
        return None
    return "".join(f"/{name or index}" for name, index in steps)


# ── small forms ──


def decode_b64(text: str, *, limit: int, what: str) -> bytes:
    """Bytes from canonical, padded, standard base64 of at most `limit` bytes. Raises Malformed."""
    if len(text) > (limit + 2) // 3 * 4:
        raise Malformed(what, f"It is larger than {limit} bytes.")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(what) from None
    if len(raw) > limit or base64.b64encode(raw).decode() != text:
        raise Malformed(what)
    return raw


def encode_b64(raw: bytes) -> str:
    """Canonical base64, as `decode_b64` reads it."""
    return base64.b64encode(raw).decode()


def decode_minute(text: str, what: str = "time") -> datetime:
    """The aware UTC time of `YYYY-MM-DDTHH:MMZ`. Raises Malformed."""
    if not _MINUTE.fullmatch(text):
        raise Malformed(what)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(what) from None


def encode_minute(when: datetime) -> str:
    """The minute in which an aware time lies, as headers carry it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


# ── envelopes ──

_CarrierType = Annotated[list[Envelope], msgspec.Meta(min_length=1, max_length=MAX_ENVELOPES)]
_InnerType = Annotated[list[Message], msgspec.Meta(min_length=1, max_length=MAX_MESSAGES)]
_AnswerType = Annotated[list[Signed | None], msgspec.Meta(min_length=1, max_length=MAX_ENVELOPES)]

_carrier: msgspec.msgpack.Decoder[list[Envelope]] = msgspec.msgpack.Decoder(_CarrierType)
_inner: msgspec.msgpack.Decoder[list[Message]] = msgspec.msgpack.Decoder(_InnerType)
_signed: msgspec.msgpack.Decoder[Signed] = msgspec.msgpack.Decoder(Signed)
_answer: msgspec.msgpack.Decoder[list[Signed | None]] = msgspec.msgpack.Decoder(_AnswerType)
_pack = msgspec.msgpack.Encoder().encode


def _unpack(decoder: msgspec.msgpack.Decoder[T], data: bytes, *, limit: int, what: str) -> T:
    if len(data) > limit:
        raise Malformed(what, f"It is larger than {limit} bytes.")
    try:
        return decoder.decode(data)
    except _DECODING_ERRORS:
        raise Malformed(what) from None


def _are_signatures(signatures: Sequence[Signature], most: int) -> bool:
    return 1 <= len(signatures) <= most and all(
        len(s.kid) == KID and 1 <= len(s.signature) <= MAX_SIGNATURE and _ALG.fullmatch(s.alg)
        for s in signatures
    )


def decode_carrier(data: bytes) -> list[Envelope]:
    """1 to 64 envelopes whose parts have possible sizes (PROTOCOL section 5, steps 1 and 2). Raises Malformed.

    Nothing is verified yet, and headers are still bytes. That a header's `bucket` is the size of its sealed part is
    for `decode_header`'s caller to compare: see `sealed_size`.
    """
    envelopes = _unpack(_carrier, data, limit=CARRIER_LIMIT, what="carrier")
    for envelope in envelopes:
        if not (
            0 < len(envelope.header) <= HEADER_LIMIT
            and len(envelope.sealed) in SEALED_SIZES
            and _are_signatures(envelope.signatures, 2)
        ):
            raise Malformed("carrier")
    return envelopes


def encode_carrier(envelopes: Sequence[Envelope]) -> bytes:
    """The body of one POST. Each envelope's own bytes are those that were stored when it was sealed."""
    return _pack(list(envelopes))


def sealed_size(bucket: int) -> int:
    """How many bytes the sealed part of a bucket (in KiB) has."""
    return bucket * KIB + SEAL_OVERHEAD


def decode_header(data: bytes) -> Header:
    """Decode the clear part of an envelope, every field in its form (PROTOCOL section 4). Raises Malformed.

    Whether the suite is known, and whether the times fit the clock, are later steps of receiving.
    """
    header = decode_json(data, Header, limit=HEADER_LIMIT, what="envelope header")
    if not (
        header.v == 1
        and 1 <= header.suite <= 65535
        and _HEX32.fullmatch(header.id)
        and _NODE_ID.fullmatch(header.sender)
        and _NODE_ID.fullmatch(header.recipient)
        and _HEX16.fullmatch(header.to_kid)
        and 1 <= header.from_seq <= MAX_INTEGER
        and header.bucket in BUCKETS
        and _HEX64.fullmatch(header.commitment)
    ):
        raise Malformed("envelope header")
    created = decode_minute(header.created, "envelope header")
    if not timedelta(0) <= decode_minute(header.deliver_by, "envelope header") - created <= DELIVERY_WINDOW:
        raise Malformed("envelope header")
    return header


def decode_inner(data: bytes) -> list[Message]:
    """1 to 64 messages with different ids, as they lay in the seal without the padding. Raises Malformed."""
    messages = _unpack(_inner, data, limit=INNER_LIMIT, what="sealed content")
    if any(len(message.id) != MESSAGE_ID or len(message.salt) != SALT for message in messages):
        raise Malformed("sealed content")
    if len({message.id for message in messages}) != len(messages):
        raise Malformed("sealed content")
    return messages


def encode_inner(messages: Sequence[Message]) -> bytes:
    """What is padded and sealed."""
    return _pack(list(messages))


# ── signed documents ──


def decode_signed(data: bytes) -> Signed:
    """A document with 1 to 4 signatures, neither verified nor decoded (msgpack). Raises Malformed."""
    return _bounded(_unpack(_signed, data, limit=SIGNED_LIMIT, what="signed document"), "signed document")


def encode_signed(signed: Signed) -> bytes:
    """Msgpack of a document and its signatures, as HTTP answers and messages of type `receipts` carry it."""
    return _pack(signed)


def decode_answer(data: bytes) -> list[Signed | None]:
    """The answer to a POST of envelopes: a signed receipts document for each, or None where it settles nothing.

    Raises Malformed. That there are as many entries as envelopes is for the caller to compare.
    """
    answer = _unpack(_answer, data, limit=ANSWER_LIMIT, what="answer")
    for signed in answer:
        if signed is not None:
            _bounded(signed, "answer")
    return answer


def encode_answer(answer: Sequence[Signed | None]) -> bytes:
    """The answer to a POST of envelopes, in the order of its envelopes.

    One that would exceed what a sender reads leaves its last entries nil, and their envelopes come again.
    """
    entries = [_pack(signed) for signed in answer]
    room = ANSWER_LIMIT - 8  # for the length of the list
    for index, entry in enumerate(entries):
        room -= len(entry)
        if room < len(entries) - index - 1:  # a byte for each nil
            return _pack([*answer[:index], *[None] * (len(entries) - index)])
    return _pack(list(answer))


def _bounded(signed: Signed, what: str) -> Signed:
    if not signed.document or not _are_signatures(signed.signatures, 4):
        raise Malformed(what)
    return signed


def decode_receipts(data: bytes) -> ReceiptsDocument:
    """A receipts document whose signature has verified. Raises Malformed."""
    return decode_json(data, ReceiptsDocument, limit=RECEIPTS_LIMIT, what="receipts document")


def decode_descriptor(data: bytes) -> Descriptor:
    """A node's description of itself; `bridge.registry.admit` is what verifies it. Raises Malformed."""
    return decode_json(data, Descriptor, limit=DESCRIPTOR_LIMIT, what="descriptor")


def decode_hello(data: bytes) -> Hello:
    """A hello whose signature has verified. Raises Malformed."""
    return decode_json(data, Hello, limit=HELLO_LIMIT, what="hello")


# ── invite files ──


class _InviteSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kid: str
    alg: str
    signature: str


class _Invite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bridge_invite: Annotated[int, msgspec.Meta(ge=1, le=1)]
    document: str
    signatures: Annotated[tuple[_InviteSignature, ...], msgspec.Meta(min_length=1, max_length=4)]


def encode_invite(signed: Signed) -> bytes:
    """A signed descriptor as a text file that people can send each other and look at."""
    invite = _Invite(
        1,
        encode_b64(signed.document),
        tuple(_InviteSignature(s.kid.hex(), s.alg, encode_b64(s.signature)) for s in signed.signatures),
    )
    return msgspec.json.format(msgspec.json.encode(invite), indent=2) + b"\n"


def decode_invite(data: bytes) -> Signed:
    """The signed descriptor in an invite file, neither verified nor decoded. Raises Malformed."""
    invite = decode_json(data, _Invite, limit=INVITE_LIMIT, what="invite")
    if any(not _HEX16.fullmatch(s.kid) for s in invite.signatures):
        raise Malformed("invite")
    signed = Signed(
        decode_b64(invite.document, limit=DESCRIPTOR_LIMIT, what="invite"),
        tuple(
            Signature(
                bytes.fromhex(s.kid), s.alg, decode_b64(s.signature, limit=MAX_SIGNATURE, what="invite")
            )
            for s in invite.signatures
        ),
    )
    return _bounded(signed, "invite")
