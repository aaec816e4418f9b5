"""The vectors of one kind while they are made: each with its sentence, its base and what must come of it."""

from typing import Any, Final

from vectors.cast import NOW, RECIPIENT, Document, moment
from vectors.kept import Kept

BARE: Final = {"malformed": 400, "unknown-sender": 400, "bad-signature": 400, "quota": 429}


class Book:
    """Vectors of one kind, in the order in which they are made. `kept` holds their random parts."""

    def __init__(self, kind: str, kept: Kept) -> None:
        self.kind = kind
        self.kept = kept
        self.vectors: dict[str, Document] = {}

    def ok(self, name: str, says: str, *, expect: Document | None = None, **fields: Any) -> None:
        """One that must be taken."""
        self._add(name, says, {"ok": True, **(expect or {})}, fields)

    def fails(
        self,
        name: str,
        says: str,
        step: int,
        code: str,
        *,
        base: str,
        expect: Document | None = None,
        **fields: Any,
    ) -> None:
        """One that must be refused, at this step and with this code; `base` is the valid one that it differs from."""
        self._add(
            name, says, {"ok": False, "code": code, "step": step, **(expect or {})}, {"base": base, **fields}
        )

    def _add(self, name: str, says: str, expect: Document, fields: Document) -> None:
        if name in self.vectors:
            raise ValueError(f"two vectors are named {name}")
        base = fields.pop("base", None)
        if base is not None and not self.vectors[base]["expect"]["ok"]:
            raise ValueError(f"the base of {name} is not a valid one")
        self.vectors[name] = {
            "name": name,
            "says": says,
            "base": base,
            "node": fields.pop("node", RECIPIENT),
            "now": fields.pop("now", moment(NOW)),
            **fields,
            "expect": expect,
        }
