"""After its end an alert is nowhere: in no byte under a node's folder, no log, and no copy of the data made before.

The word looked for stands in every free-text field used here, and is looked for as it is, in UTF-16, base64, hex and
compressed. A copy of data.db from before the end is opened with the keystore of after it.
"""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from county import EPOCH, County, alert
from test_canary import found_in, found_under

from bridge.answers import Sent
from bridge.errors import Rejected
from bridge.nodes.app import Node
from bridge.storage.contents import CONTENT, Contents, payload_label

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
WORD = "Quartzfinch7731"
UNTIL = (EPOCH.date() + timedelta(days=5)).isoformat()
BODY = alert(
    retention={"class": "UNADOPTED", "until": UNTIL},
    subjects=[{"local_ref": "s1", "names": [{"text": WORD}], "description": f"{WORD} {WORD} in a red coat " * 20}],
    event={"narrative": f"Seen with {WORD}. " * 60},
    objects=[{"local_ref": "o1", "kind": "phone", "value": WORD, "only_for": ["POLICE"]}],
    recipients=[{"function": "MASH", "area": "home"}, {"function": "HOUSING", "area": "home"}],
)


async def copied(county: County, name: str, to: Path) -> Path:
    """The node's folder as it lies there now, as a backup of the data would have it."""
    await county.quiet()
    shutil.copytree(county.directory / name, to)
    return to


def with_keystore(copy: Path, county: County, name: str) -> None:
    """The data of then, the keystore of now."""
    for each in copy.glob("keystore.db*"):
        each.unlink()
    for each in (county.directory / name).glob("keystore.db*"):
        shutil.copy(each, copy / each.name)


async def opened(county: County, name: str, folder: Path) -> Node:
    return await Node.open(
        folder, county.templates.settings(name), clock=county.clock, call=county.wire.of(name)
    )


async def everything(node: Node) -> bytes:
    """All that any key of this node's keystore opens in its data."""
    contents = Contents(node.keystore)
    found = b""
    rows = await node.database.fetch("select alert_id, bucket_day, wrapped_key, content, null, null from inbox")
    rows += await node.database.fetch("select id, bucket_day, wrapped_key, content, null, null from alerts")
    rows += await node.database.fetch(
        "select a.id, a.bucket_day, a.wrapped_key, null, m.id, m.payload from messages m join alerts a on a.id = m.alert_id"
        " where m.payload is not null and m.type <> 'withdraw'"
    )
    for alert_id, day, wrapped, content, message, payload in rows:
        try:
            if content is not None:
                found += contents.open(alert_id, day, wrapped, content)
            if payload is not None:
                found += contents.key(alert_id, day, wrapped).open(payload_label(message), payload)
        except Rejected:
            pass
        for key_day in node.keystore.days():  # whatever the row says: each key that is left is tried
            under = node.keystore.bucket(key_day)
            try:
                if under is not None and wrapped is not None and content is not None:
                    found += under.unwrap(alert_id, wrapped).open(CONTENT, content)
            except Rejected:
                pass
    return found


async def sent_and_read(county: County) -> Sent:
    done = await county.send(JCP, BODY)
    await county.settle()
    for name in (MASH, HOUSING):
        await county[name].acknowledge.open(done.id, "role:duty")
        assert WORD.encode() in bytes((await county[name].acknowledge.show(done.id)).alert or b"")
    await county.settle()
    return done


async def test_after_the_end_the_word_is_nowhere_and_in_no_copy_made_before(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await sent_and_read(county)
    names = (JCP, MASH, HOUSING)
    copies = {name: await copied(county, name, tmp_path / name) for name in names}
    control = await copied(county, MASH, tmp_path / "control")
    node = await opened(county, MASH, control)
    assert WORD.encode() in await everything(node), "before the end such a copy holds it: the search would find it"
    await node.close()

    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    await county.settle()
    for name in names:
        with_keystore(copies[name], county, name)
        assert found_under(copies[name], WORD) == {}
        node = await opened(county, name, copies[name])
        assert (await node.database.fetch("select count(*) from inbox where content is not null"))[0][0] + (
            await node.database.fetch("select count(*) from alerts where content is not null")
        )[0][0] == 1, "the copy is one from before"
        assert found_in(await everything(node), WORD) == []
        shown: Any = await (node.follow if name == JCP else node.acknowledge).show(done.id)
        assert shown.alert is None
        await node.close()
        assert found_under(county.directory / name, WORD) == {}
    for name in names:
        await county.stop(name)
        assert found_under(county.directory / name, WORD) == {}
    assert found_in(repr(county.logs).encode(), WORD) == []


async def test_what_was_still_on_its_way_is_nowhere_either(county: County, tmp_path: Path) -> None:
    await county.add(JCP, MASH, HOUSING)
    county.wire.cut(MASH)
    await county.send(JCP, BODY)
    await county.sleep(seconds=30)
    copy = await copied(county, JCP, tmp_path / "copy")
    sealed = (await county[JCP].database.fetch("select sealed from envelopes where sealed is not null"))[0][0]
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    await county.stop(JCP)
    for path in sorted((county.directory / JCP).rglob("*")):
        if path.is_file():
            assert sealed[200:260] not in path.read_bytes(), path.name
    assert found_under(county.directory / JCP, WORD) == {}
    await county.start(JCP)
    with_keystore(copy, county, JCP)
    node = await opened(county, JCP, copy)
    assert found_in(await everything(node), WORD) == []
    await node.close()


@pytest.mark.parametrize("ended", [False, True], ids=["while it is held", "after the hold"])
async def test_a_copy_from_under_a_hold_opens_as_long_as_the_hold_lasts(county: County, tmp_path: Path, ended: bool) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await sent_and_read(county)
    retain = county[MASH].retain
    for admin in ("A", "B"):
        await retain.hold(done.id, "Coroner 12", EPOCH.date() + timedelta(days=90), admin)
    copy = await copied(county, MASH, tmp_path / "copy")
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    if ended:
        for admin in ("A", "B"):
            await retain.release(done.id, admin)
    with_keystore(copy, county, MASH)
    node = await opened(county, MASH, copy)
    assert (WORD.encode() in await everything(node)) == (not ended)
    await node.close()
    await county.stop(MASH)
    assert found_under(county.directory / MASH, WORD) == {}


async def test_what_was_withdrawn_is_gone_here_at_once_and_from_copies_when_its_day_ends(
    county: County, tmp_path: Path
) -> None:
    await county.add(JCP, MASH, HOUSING)
    done = await sent_and_read(county)
    copy = await copied(county, MASH, tmp_path / "copy")
    await county[JCP].withdraw.withdraw(done.id, "mistaken_identity", "token:test")
    await county.settle()
    assert found_in(await everything(county[MASH]), WORD) == []
    county.clock.jump(days=6)
    await county.sleep(seconds=61)
    with_keystore(copy, county, MASH)
    node = await opened(county, MASH, copy)
    assert found_in(await everything(node), WORD) == []
    await node.close()
