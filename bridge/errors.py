"""The tree of errors, chosen by what the caller should do next: never, later, or do not start.

Every error has a stable `code` for machines and a sentence with a next step for people. Neither ever contains
alert content, nor any text that came from outside.
"""

from typing import Any


class BridgeError(Exception):
    """Base of every error that a person may see.

    `code` is stable (see `CODES`); `hint` says what to do next; `facts` are machine-readable extras that hold no
    personal data (area codes, shares, limits, ids).
    """

    exit_status = 1
    http_status = 500

    def __init__(self, code: str, sentence: str, hint: str = "", **facts: Any) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".strip()


class Rejected(BridgeError):
    """Never: the same request will not be taken, now or later. `http_status` comes from the code."""

    exit_status = 3

    def __init__(self, code: str, sentence: str, hint: str = "", **facts: Any) -> None:
        super().__init__(code, sentence, hint, **facts)
        self.http_status = CODES[code].http_status
        self.exit_status = CODES[code].exit_status


class Malformed(Rejected):
    """Bytes from outside that are not what they claim to be. The text never quotes them."""

    def __init__(self, what: str, hint: str = "", **facts: Any) -> None:
        super().__init__("malformed", f"This is not a well-formed {what}.", hint, **facts)


class Unavailable(BridgeError):
    """Later: nothing is wrong with the request, the other side or a part of ours is not there."""

    exit_status = 4
    http_status = 503


class Misconfigured(BridgeError):
    """Do not start: the node would not be safe as it is set up."""

    exit_status = 2

    def __init__(self, sentence: str, hint: str = "", code: str = "misconfigured") -> None:
        super().__init__(code, sentence, hint)


class Code:
    """One row of the table of codes: its meaning, and the statuses it has over HTTP and on the command line."""

    __slots__ = ("exit_status", "http_status", "meaning")

    def __init__(self, meaning: str, http_status: int, exit_status: int) -> None:
        self.meaning = meaning
        self.http_status = http_status
        self.exit_status = exit_status


CODES: dict[str, Code] = {
    # Refusals that travel in signed receipts (PROTOCOL section 6).
    "not-for-me": Code("The envelope names another node as its recipient.", 422, 3),
    "key-retired": Code("The sealing key used is no longer held.", 422, 3),
    "unknown-area": Code("The area is not one that this node serves, or is not a known area.", 422, 3),
    "expired": Code("The time window for delivery has passed or has not begun.", 422, 3),
    "id-conflict": Code("The same id came before with other content.", 409, 3),
    "malformed": Code("Not well formed, or outside the strict profile.", 400, 2),
    "policy": Code("A rule of this node or of the agreement forbids it.", 422, 3),
    "no-agreement": Code("No agreement is in force with this partner.", 403, 3),
    "marking": Code("The marking is above what bridge may carry.", 422, 3),
    "quota": Code("The partner has sent more than its quota.", 429, 3),
    "exercise": Code("Exercise and live traffic may not mix.", 422, 3),
    # Signatures, keys and registry.
    "forged-receipt": Code("A receipt is not its recipient's own, or not for what was sent.", 422, 3),
    "bad-signature": Code("A signature does not verify.", 400, 3),
    "unknown-sender": Code("The sender is not a known partner.", 400, 3),
    "unknown-suite": Code("The suite is not one that this node accepts.", 422, 3),
    "bad-proof": Code("A Merkle proof does not hold.", 422, 3),
    "weak-key": Code("A public key is of a kind that must never be used.", 422, 3),
    "known-key": Code("A public key is already held by another node, or is a test key.", 422, 3),
    "wrong-fingerprint": Code("The fingerprint given is not the partner's.", 422, 3),
    "two-administrators": Code("A second, different administrator must confirm.", 422, 3),
    "stale-descriptor": Code("The descriptor is older than the one held.", 409, 3),
    "forked-descriptor": Code("Two different descriptors carry the same number.", 409, 3),
    "expired-descriptor": Code("The descriptor has expired, or is issued in the future.", 422, 3),
    "wrong-node": Code("The descriptor is of another node than expected, or has this node's own name.", 422, 3),
    "wrong-state": Code("What was asked is not possible in the present state.", 409, 3),
    "wrong-passphrase": Code("The passphrase does not open the backup.", 422, 3),
    "damaged": Code("A file is not, to its end, what was written.", 422, 1),
    # What a person or a system asks of its own node.
    "ambiguous-area": Code("The text fits several areas; one must be chosen.", 422, 2),
    "area-not-found": Code("No area is known by this text.", 422, 2),
    "not-found": Code("There is nothing by this name or reference.", 404, 1),
    "gone": Code("The content was deleted when its time was over.", 410, 1),
    "usage": Code("The request or the command is not complete or not consistent.", 422, 2),
    "not-made": Code("A file could not be made in the format asked for.", 503, 4),
    "unmapped": Code("A mapping profile does not say what is to become of something.", 422, 2),
    "unauthenticated": Code("No valid token was given.", 401, 3),
    "forbidden": Code("The token or role does not allow this.", 403, 3),
    "changed-meanwhile": Code("It was changed since the version that the caller has seen.", 412, 1),
    "lease-over": Code("The lease has ended, or was never given to this caller.", 409, 1),
    "idempotency-conflict": Code("The idempotency key was used before with another body.", 422, 3),
    "in-flight": Code("The same idempotency key is being worked on.", 409, 1),
    "too-large": Code("Larger than the limit.", 413, 2),
    "too-slow": Code("The request did not arrive in time.", 408, 1),
    "too-many": Code("Too many requests.", 429, 1),
    "not-supported": Code("The media type or method is not supported.", 415, 2),
    # The node's own storage.
    "conflict": Code("Something with the same key is stored already.", 409, 1),
    "storage": Code("The node's database is busy, full, closed or damaged.", 503, 4),
    "storage-rule": Code("A row broke a rule of the database: a fault of the program.", 500, 1),
}
"""Every code that leaves the node, in one table; `docs/protocol.md` is compared with it by a test."""
