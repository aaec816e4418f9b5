"""Every partner is a witness: heads are exchanged, held, proved to go on, and what does not is an alarm."""

import shutil

import msgspec
from county import CHECKPOINT, County, alert

from bridge.evidence import note
from bridge.nodes.transport import Answer
from bridge.storage import audit, witnesses

JCP, MASH = "luton-jcp", "luton-mash"


async def pair(county: County) -> None:
    """Two nodes that have sent, received and greeted, and signed a head each."""
    await county.add(JCP, MASH)
    await county.send(JCP, alert())
    await county.settle(limit=60)
    await county.sleep(minutes=11)
    await county[JCP].enrol.hello(MASH)
    await county.quiet()


async def test_partners_keep_each_others_heads_and_have_them_proved(county: County) -> None:
    await pair(county)
    kept = county[JCP].witness.held(MASH)
    assert kept is not None
    assert kept == county[MASH].checkpoint.newest()
    assert county[MASH].witness.held(JCP) == county[JCP].checkpoint.newest()
    for _ in range(3):
        await county.send(JCP, alert())
        await county.settle(limit=60)
        await county.sleep(minutes=11)
    tip = county[JCP].witness.size(MASH)
    assert tip > note.read(kept).size, "newer heads come with receipts"
    rows = await witnesses.every(county[JCP].database, MASH)
    assert all(row.linked for row in rows if row.size < tip), "each was proved to go on"
    assert county.wire.posts(path=f"{CHECKPOINT}?from={note.read(kept).size}")
    assert county.events(JCP) == county.events(MASH) == {}
    findings = await county[JCP].verify_log(lambda *_: None)
    assert findings["ok"]
    (word,) = [each.detail for each in findings["findings"] if each.check == "partners"]
    assert word.startswith(f"{MASH} keeps the head over ")
    assert word.endswith(" records, and this log begins with them.")


async def test_a_node_put_back_to_an_older_log_is_noticed_by_its_partner_and_by_itself(county: County) -> None:
    await pair(county)
    await county.stop(MASH)
    shutil.copytree(county.directory / MASH, county.directory / "kept")
    await county.start(MASH)
    await county.send(JCP, alert())
    await county.settle(limit=60)
    await county.sleep(minutes=11)
    await county[JCP].enrol.hello(MASH)
    await county.quiet()
    seen = county[JCP].witness.size(MASH)
    await county.stop(MASH)
    shutil.rmtree(county.directory / MASH)
    shutil.copytree(county.directory / "kept", county.directory / MASH)
    await county.start(MASH)
    await county.quiet()
    await county[JCP].enrol.hello(MASH)
    await county.quiet()
    assert county[MASH].checkpoint.size() < seen
    assert county.events(JCP) == {(MASH, "log-older"): 1}
    assert "the database is an older copy" in county[MASH].checkpoint.disputes()[0]
    assert county[MASH].metrics.value("bridge_log_disputed") == 1
    said = [each["detail"] for each in (await steps(county, MASH)) if each["step"] == "audit log"]
    assert JCP in said[0]
    await county[JCP].enrol.hello(MASH)
    await county.quiet()
    assert county.events(JCP) == {(MASH, "log-older"): 1}, "told once"


async def steps(county: County, name: str) -> list[dict[str, str]]:
    return msgspec.to_builtins((await county[name].check())["steps"])  # type: ignore[no-any-return]


async def test_a_log_that_was_rewritten_with_its_own_keys_is_noticed_by_both(county: County) -> None:
    await pair(county)
    await county.stop(MASH)
    node = await county._open(MASH)
    async with node.database.transaction() as tx:
        ((seq, record),) = await tx.fetch("select seq, record from audit where instr(record, 'message:received') > 0 limit 1")
        changed = record.replace(b"message:received", b"message:somewhat")
        await tx.execute("update audit set record = ?, leaf = ? where seq = ?", (changed, audit.leaf(changed), seq))
        await tx.execute("delete from checkpoints")
        await tx.execute("delete from tiles")
    await county.stop(MASH)
    await county.start(MASH)
    await county.sleep(minutes=6)
    assert county.events(JCP) == {(MASH, "log-fork"): 1}
    assert "that is not this log's" in county[MASH].checkpoint.disputes()[0]
    rows = await witnesses.every(county[JCP].database, MASH)
    assert {row.branch for row in rows} == {0, 1}, "both histories stay as evidence"
    findings = await county[JCP].verify_log(lambda *_: None)
    assert not findings["ok"]


async def test_a_proof_that_was_spoilt_on_the_way_is_no_alarm(county: County) -> None:
    await pair(county)

    async def spoilt(wire_: object, exchange: object, hand: object) -> Answer:
        return Answer(200, b"old 1\n\n<html>")

    path = f"{CHECKPOINT}?from={county[JCP].witness.size(MASH)}"
    county.wire.next(spoilt, times=2, path=path)  # type: ignore[arg-type]
    for _ in range(2):
        await county.send(JCP, alert())
        await county.settle(limit=60)
        await county.sleep(minutes=11)
    assert len(county.wire.posts(path=path)) == 3
    assert county.events(JCP) == {}


async def test_what_a_partner_says_of_our_log_is_kept_as_evidence(county: County) -> None:
    await pair(county)
    rows = await witnesses.witnessed(county[MASH].database, [JCP], 0, 5)
    assert [row.partner for row in rows] == [JCP]
    assert 0 < rows[0].size <= county[MASH].checkpoint.size()
