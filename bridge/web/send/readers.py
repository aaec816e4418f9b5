"""Whose sent alerts somebody is shown: their own, and those of their teams."""

from bridge.nodes.follow import Reader
from bridge.nodes.sign_in import Visitor


def reader_of(visitor: Visitor) -> Reader:
    """Somebody without a team of their own works for the whole node."""
    return Reader(visitor.actor, visitor.teams or None)
