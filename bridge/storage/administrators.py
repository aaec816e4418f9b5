"""Administrators who type their names: a pseudonym wherever one is stored, and what they are called, under a key.

A name says who decided, and is personal data: in the data it stands nowhere but here, encrypted under a key that is made
of the keystore's key of the accounts, as those who sign in are. It goes when nothing that is open shows it any more; the
pseudonym stays. See docs/adr/0036-typed-names-lie-under-the-accounts-key.md.
"""

import hmac
import re
from collections.abc import Callable, Mapping

import msgspec

from bridge.crypto.vault import NodeKey
from bridge.errors import Rejected
from bridge.partners import Approval
from bridge.storage import audit, retention
from bridge.storage.database import Database, Transaction

_APPROVALS = msgspec.json.Decoder(tuple[Approval, ...])
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_PEOPLE = ("asked_by", "confirmed_by", "release_by", "released_by")


class Administrators:
    """What the typed names are, of those that something open still shows."""

    def __init__(self, key: bytes) -> None:
        self.known_as: Callable[[str], str] = audit.alias(key)
        """The pseudonym of a name; what is one already stays as it is."""
        self._vault = NodeKey(hmac.digest(key, b"administrators", "sha256"))
        self._names: dict[str, str] = {}

    async def start(self, db: Database) -> None:
        """Read the names; where data from before this rule holds one in clear, put its pseudonym there."""
        for known, sealed in await db.fetch("select id, name from administrators"):
            self._names[known] = self._vault.unwrap(f"administrator/{known}", sealed).decode()
        holds = await retention.holds_with_names(db)
        approvals = await db.fetch("select node_id, approvals from partners where approvals <> '[]'")
        # If we stop here, the next start does it.
        async with db.transaction() as tx:
            for hold in holds:
                people = {each: getattr(hold, each) for each in _PEOPLE}
                known = {each: self.keep(tx, name) for each, name in people.items() if name}
                await retention.save_hold(tx, hold._replace(**known))
            for node_id, text in approvals:
                before = _APPROVALS.decode(text)
                after = tuple(msgspec.structs.replace(each, admin=self.keep(tx, each.admin)) for each in before)
                if after != before:
                    await tx.execute(
                        "update partners set approvals = ? where node_id = ?", (msgspec.json.encode(after).decode(), node_id)
                    )

    def keep(self, tx: Transaction, name: str) -> str:
        """The pseudonym of whoever is about to be shown under this name, which is kept by the end of the unit."""
        known = self.known_as(name)
        if known != name:
            plain = " ".join(name.split())
            self._names.setdefault(known, plain)
            sealed = self._vault.wrap(f"administrator/{known}", plain.encode())
            tx.later("insert into administrators (id, name) values (?, ?) on conflict do nothing", [(known, sealed)])
        return known

    def called(self, known: str | None) -> str | None:
        """The name behind a pseudonym; another is given back as it is."""
        return known if known is None else self._names.get(known, known)

    def names(self) -> Mapping[str, str]:
        """Every name that is kept, by its pseudonym."""
        return dict(self._names)

    async def forget(self, db: Database) -> int:
        """Drop the names that no open hold and no approval shows any more; how many."""
        # If we stop here, nothing is dropped.
        async with db.transaction() as tx:
            gone = await tx.fetch(
                "delete from administrators where not exists (select 1 from holds h where h.state <> 'released'"
                " and administrators.id in (h.asked_by, h.confirmed_by, h.release_by))"
                " and not exists (select 1 from partners p where p.approvals like '%' || administrators.id || '%')"
                " returning id"
            )
        for (known,) in gone:
            self._names.pop(known, None)
        return len(gone)


def named(name: str) -> str:
    """A name as it was typed, in one form. Raises Rejected `usage` when it is none."""
    plain = " ".join(name.split())
    if not _NAME.fullmatch(plain):
        raise Rejected("usage", "Say who you are: a name of 1 to 64 characters.", 'For example: --admin "A. Osei".')
    return plain
