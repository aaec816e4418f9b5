"""The audit log names nobody: who acts stands in it under a pseudonym, and what it says is ids and codes (PROTOCOL 10)."""

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from county import EPOCH, County, alert, own
from test_canary import found_under

import bridge
from bridge import registry
from bridge.api.control import _named
from bridge.errors import Rejected
from bridge.nodes.app import Node
from bridge.partners import Partner, State
from bridge.storage.audit import alias

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
A, B = "Wilhelmina Quartzfinch", "Ottoline Brackenbury"
KEY = bytes(range(32))

ACTOR = re.compile(
    r"node|operator|partners|held|(?:person|token|role):[0-9a-z-]{1,64}|admin:[0-9a-f]{12}|luton-[a-z]+"
)
FIELD = re.compile(r"[A-Za-z0-9:._,/ -]{0,80}")


def partner_of(node: Node) -> Partner:
    partner = node.book.get(JCP)
    assert partner is not None
    return partner


async def everything_by_name(county: County) -> None:
    """All that administrators do under a name that they type, and what else reaches the log."""
    await county.add(JCP, MASH)
    await county.add(HOUSING, around=JCP)
    node = county[MASH]
    await node.enrol.add(county[HOUSING].enrol.invite(), A)
    words = " ".join(registry.fingerprint_of(own(county[HOUSING])).words)
    for admin in (A, B):
        await node.enrol.approve(HOUSING, admin, words)
    await node.enrol.suspend(HOUSING, A)
    await node.enrol.resume(HOUSING, B)
    await node.enrol.revoke(HOUSING, A)
    until = (EPOCH.date() + timedelta(days=40)).isoformat()
    body = alert(retention={"class": "UNADOPTED", "until": until})
    done, other, third = [await county.send(JCP, body) for _ in range(3)]
    await county.settle()
    review = EPOCH.date() + timedelta(days=90)
    await node.retain.hold(done.id, "Coroner 12", review, A)
    await node.retain.release(done.id, A)
    for admin in (A, B):
        await node.retain.hold(done.id, "Coroner 12", review, admin)
    await county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test")
    await county.settle()
    for admin in (B, A):
        await node.retain.release(done.id, admin)
    await node.acknowledge.open(other.id, "role:duty")
    await node.acknowledge.close(other.id, "no_further_action", "role:duty")
    await node.acknowledge.not_ours(third.id, "E06000055", "role:duty")
    await node.retain.apply("UNADOPTED", 5, A)
    await node.admit.create("Case system", ["alerts:read"], 30, "operator")
    await node.sign_in.invite(A, "wq", ["administrator"], [], "operator")
    await node.rotate.rotate("operator")
    county.clock.jump(hours=5, wall_only=True)
    await node.brake.tick()
    await node.brake.release(B)
    await county.settle()


async def test_no_record_of_any_kind_holds_a_name(county: County) -> None:
    await everything_by_name(county)
    kinds = set()
    for name in (JCP, MASH, HOUSING):
        for record in await county.audited(name):
            kinds.add(record["action"])
            assert ACTOR.fullmatch(record["actor"]), record
            assert all(FIELD.fullmatch(str(record[each])) for each in ("subject", "outcome", "digest")), (
                record
            )
            text = msgspec.json.encode(record).decode().casefold()
            assert not any(part.casefold() in text for part in f"{A} {B}".split()), record
    wanted = {
        "partner:added", "partner:approved", "partner:suspended", "partner:resumed", "partner:revoked", "hold:asked",
        "hold:dropped", "hold:confirmed", "hold:release-asked", "hold:released", "retention:applied", "clock:braked",
        "clock:released", "token:created", "person:invited", "key:rotated", "alert:sent", "alert:withdrawn",
        "inbox:opened", "inbox:closed", "inbox:not_ours", "inbox:deleted", "message:received", "message:queued",
    }  # fmt: skip
    assert kinds >= wanted


async def test_no_byte_of_a_node_holds_a_name_that_somebody_typed(county: County) -> None:
    await everything_by_name(county)
    node = county[MASH]
    done = await county.send(JCP, alert())
    await county.settle()
    for admin in (A, B):
        shown = await node.retain.hold(done.id, "Coroner 13", EPOCH.date() + timedelta(days=90), admin)
    assert (shown["asked_by"], shown["confirmed_by"]) == (A, B), "whoever looks is told the names"
    approved = node.enrol.shown(partner_of(node))["approvals"]
    assert len(approved) == 2
    assert not any(":" in each["admin"] for each in approved)
    await county.stop(MASH)
    for word in f"{A} {B}".split():
        assert found_under(county.directory / MASH, word) == {}
    await county.start(MASH)
    (held,) = (await county[MASH].retain.preview())["holds"]
    assert (held["asked_by"], held["confirmed_by"]) == (A, B)
    with pytest.raises(Rejected, match="A second, different person"):
        await county[MASH].retain.release(done.id, A)
        await county[MASH].retain.release(done.id, A.upper())


async def test_names_that_an_earlier_version_left_in_clear_are_taken_over(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    node = county[MASH]
    for admin in (A, B):
        await node.retain.hold(done.id, "Coroner 12", EPOCH.date() + timedelta(days=90), admin)
    one, two = (node.administrators.known_as(each) for each in (A, B))
    async with node.database.transaction() as tx:
        await tx.execute("delete from administrators")
        await tx.execute("update holds set asked_by = ?, confirmed_by = ?", (A, B))
        await tx.execute("update partners set approvals = replace(approvals, 'admin:', '')")
        (before,) = await tx.fetch("select approvals from partners where node_id = ?", (JCP,))
    await county.restart(MASH)
    node = county[MASH]
    assert await node.database.fetch("select asked_by, confirmed_by from holds") == [(one, two)]
    (held,) = (await node.retain.preview())["holds"]
    assert (held["asked_by"], held["confirmed_by"]) == (A, B)
    (after,) = await node.database.fetch("select approvals from partners where node_id = ?", (JCP,))
    assert before != after
    assert {each.admin[:6] for each in partner_of(node).approvals} == {"admin:"}


async def test_a_name_goes_with_the_last_thing_that_shows_it(county: County) -> None:
    await county.add(JCP, MASH)
    done = await county.send(JCP, alert())
    await county.settle()
    node = county[MASH]
    for admin in (A, B):
        await node.retain.hold(done.id, "Coroner 12", EPOCH.date() + timedelta(days=90), admin)
    names = set(node.administrators.names().values())
    assert names > {A, B}
    assert await node.administrators.forget(node.database) == 0
    for admin in (B, A):
        await node.retain.release(done.id, admin)
    assert await node.administrators.forget(node.database) == 2
    assert set(node.administrators.names().values()) == names - {A, B}
    await node.enrol.revoke(JCP, A)
    await node.administrators.forget(node.database)
    assert await node.database.fetch("select * from administrators") == []


async def test_one_person_is_one_pseudonym_and_two_are_two(county: County) -> None:
    await everything_by_name(county)
    approved = [
        each["actor"] for each in await county.audited(MASH, "partner:approved") if each["subject"] == HOUSING
    ]
    assert len(set(approved)) == 2
    (asked, again) = [each["actor"] for each in await county.audited(MASH, "hold:asked")]
    assert asked == again == approved[0]
    assert county[MASH].book.get(HOUSING).state is State.REVOKED  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "typed", ["wilhelmina  QUARTZFINCH", "WilhelminaQuartzfinch", " Wilhelmina Quartzfinch "]
)
def test_a_name_is_the_same_person_however_it_is_typed(typed: str) -> None:
    assert alias(KEY)(typed) == alias(KEY)(A)


def test_who_has_not_the_key_cannot_find_a_name_by_trying() -> None:
    assert alias(KEY)(A) != alias(bytes(32))(A)


@pytest.mark.parametrize("known", ["node", "operator", "person:ab12", "token:0f", "role:duty", "admin:0123456789ab"])
def test_what_is_a_pseudonym_stays_as_it_is(known: str) -> None:
    assert alias(KEY)(known) == known


@pytest.mark.parametrize("typed", ["person:ab12", "token:0f", "node", " node ", "partners", "role:duty", "admin:0123456789ab"])
def test_nobody_types_another_actors_pseudonym(typed: str) -> None:
    with pytest.raises(Rejected, match="Say who you are"):
        _named(typed)


def events() -> list[tuple[str, ast.Call]]:
    """Every place where a record of the audit log is made."""
    found = []
    for path in sorted(Path(bridge.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        imports = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.module == "bridge.audit"]
        called = {name.asname or name.name for each in imports for name in each.names if name.name == "Event"}
        calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)]
        found += [(path.name, each) for each in calls if isinstance(each.func, ast.Name) and each.func.id in called]
    return found


SAFE = {
    "actor", "by", "visitor.actor",  # what the doors give: tokens, people, the operator
    "partner", "change.partner", "each.header.sender", "line.partner", "c.partner or 'held'", "m.partner or 'held'",
    "row.partner or 'held'", "f'person:{row.id}'", "'node'", "'operator'",
}  # fmt: skip
"""Who may stand as the actor of a record as they are; anything else goes through `known_as`."""


def test_every_record_is_made_with_an_actor_that_is_no_name() -> None:
    made = events()
    assert len(made) > 40
    unsafe = []
    for name, call in made:
        given: Any = call.args[1] if len(call.args) > 1 else None
        text = ast.unparse(given) if given is not None else "'node'"
        if text not in SAFE and "known_as(" not in text:
            unsafe.append(f"{name}:{call.lineno} {text}")
    # Of tokens the door says who asks, the operator or a signed-in person.
    assert [each for each in unsafe if not each.startswith("admit.py") or not each.endswith(" admin")] == []
