"""The keys a node works with now: which sign its descriptors, its messages, and which open what it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.crypto.envelope import SUITES
from bridge.crypto.keys import SealingKey, SigningKey
from bridge.crypto.signed import sign


@dataclass(frozen=True)
class Identity:
    """A snapshot: rotation replaces the whole. `seq` is the number of the descriptor that publishes these keys."""

    node_id: str
    seq: int
    suite: int
    identity_keys: Sequence[SigningKey]
    message_keys: Sequence[SigningKey]
    sealing_keys: Mapping[bytes, SealingKey]

    def sign_message(
        self, purpose: str, parts: Sequence[bytes], suite: int | None = None
    ) -> list[tuple[bytes, str, bytes]]:
        """Sign with the newest message key of every algorithm of `suite` (ours when None)."""
        keys = {key.alg: key for key in self.message_keys}
        return sign(purpose, parts, [keys[alg] for alg in SUITES[suite or self.suite]])

    def sign_identity(self, purpose: str, parts: Sequence[bytes]) -> list[tuple[bytes, str, bytes]]:
        """Sign with all identity keys: descriptors and checkpoints alone."""
        return sign(purpose, parts, self.identity_keys)

    def __repr__(self) -> str:
        return f"Identity({self.node_id}, {self.seq})"
