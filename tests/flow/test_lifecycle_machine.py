"""The life of alerts at two nodes under everything that can happen to it, in any order, against a small model.

The model knows of each alert its last day, whether it is held, whether it was withdrawn, and whether it was ever seen to
be gone. What is gone never comes back; what is not over, not withdrawn or held is never lost; what is over goes with
the next round, and its sender has the receipt; and a clock in doubt changes none of it.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from county import EPOCH, FAULTS, alert
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from two_nodes import BOTH, JCP, MASH, PICK, TwoNodes, runs

from bridge.clock import end_of
from bridge.errors import Rejected
from bridge.receipts import Status
from bridge.storage import inbox, sent

pytestmark = pytest.mark.usefixtures("grounded")

LONGEST = timedelta(days=24)  # of all time that passes: keys and descriptors are not what is tried here
GONE_BEFORE = frozenset({Status.PURGED, Status.REFUSED, Status.UNDELIVERED})


@dataclass
class Life:
    """What the model knows of one alert."""

    id: str
    until: date
    held: bool = False
    withdrawn: bool = False
    seen: bool = False  # the receiver was seen to hold it
    gone: bool = False  # the receiver was seen to have had it and to have it no more
    lost: bool = False  # not in the copy of the data that the receiver works with now, or under a key that went

    def over(self, now: datetime) -> bool:
        return now >= end_of(self.until)


class Lifecycle(TwoNodes):
    """What becomes of alerts in time, whatever people, machines and the line do."""

    def __init__(self) -> None:
        super().__init__()
        self.lives: list[Life] = []
        self.passed = timedelta(0)
        self.skew = timedelta(0)
        self.copies: list[tuple[Path, dict[str, str]]] = []  # where, and under which key each alert in it lies
        self.restored = False

    def now(self) -> datetime:
        """The time that it truly is."""
        return self.county.clock.now() - self.skew

    def pick(self, number: int) -> Life | None:
        return self.lives[number % len(self.lives)] if self.lives else None

    @initialize()
    def meet(self) -> None:
        async def met() -> None:
            await self.county.add(JCP, MASH)
            await self.county.sleep(seconds=1)

        self.run(met())
        for days in (0, 3, 30):
            self.send(days, 1)
        self.run(self.county.settle())

    # What people do

    @rule(days=st.sampled_from([0, 1, 3, 9, 30]), count=st.integers(1, 3))
    def send(self, days: int, count: int) -> None:
        async def some() -> None:
            until = self.now().date() + timedelta(days=days)
            body = alert(retention={"class": "UNADOPTED", "until": until.isoformat()})
            for _ in range(count):
                self.lives.append(Life((await self.county.send(JCP, body)).id, until))

        self.run(some())

    @rule(number=PICK)
    def open_it(self, number: int) -> None:
        async def opened() -> None:
            life = self.pick(number)
            if life is not None and await self.readable(life):
                await self.county[MASH].acknowledge.open(life.id, "role:duty")

        self.run(opened())

    @rule(number=PICK, by_two=st.booleans())
    def hold(self, number: int, by_two: bool) -> None:
        async def held() -> None:
            life = self.pick(number)
            if life is None or life.held or not await self.readable(life):
                return
            review = EPOCH.date() + timedelta(days=200)
            for admin in ("A", "B") if by_two else ("A",):
                try:
                    shown = await self.county[MASH].retain.hold(life.id, "Coroner 12", review, admin)
                except Rejected as error:
                    gone = life.withdrawn or life.over(self.now())
                    assert error.code == "two-administrators" or (error.code == "gone" and gone)
                    break  # asked for in an earlier step, or its withdrawal or its deletion came between the two
                if shown["state"] == "asked" and shown["asked_by"] != admin:  # asked for in an earlier step
                    break
            life.held = bool((await self.item(life)).bucket_day.startswith("hold-"))  # type: ignore[union-attr]

        self.run(held())

    @rule(number=PICK)
    def release(self, number: int) -> None:
        async def released() -> None:
            life = self.pick(number)
            if life is None or not life.held:
                return
            await self.county[MASH].retain.release(life.id, "A")
            await self.county[MASH].retain.release(life.id, "B")
            life.held = False
            item = await self.item(life)
            assert item is not None
            assert (item.content is None) == (life.over(self.now()) or item.withdrawn_at is not None)

        self.run(released())

    @rule(number=PICK)
    def withdraw(self, number: int) -> None:
        async def withdrawn() -> None:
            life = self.pick(number)
            if life is not None:
                life.withdrawn = True
                await self.county[JCP].withdraw.withdraw(life.id, "not_needed", "token:test")

        self.run(withdrawn())

    # What machines and the line do

    @rule(seconds=st.sampled_from([0.004, 0.5, 5]))
    def wait(self, seconds: float) -> None:
        self.run(self.county.sleep(seconds=seconds))

    @rule(fault=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3), to=BOTH)
    def trouble(self, fault: str, times: int, to: str) -> None:
        self.county.wire.next(FAULTS[fault], times=times, to=to)

    @rule()
    def join(self) -> None:
        self.county.wire.join(JCP, MASH)

    @rule(who=BOTH, place=st.integers(1, 30))
    def crash_while_at_work(self, who: str, place: int) -> None:
        async def somewhere() -> None:
            reached = self.county.database(who).arm(place)
            work = self.county.loop.create_task(self.county.at(who, self.county[who].retain.run()))
            await asyncio.wait({reached, work}, return_when=asyncio.FIRST_COMPLETED)
            await self.county.crash(who)
            await asyncio.gather(work, return_exceptions=True)

        self.run(somewhere())

    @rule()
    def back_up(self) -> None:
        async def copied() -> None:
            copy = await self.county.copied(MASH, self.place / f"copy-{len(self.copies)}")
            rows = await self.county[MASH].database.fetch("select alert_id, bucket_day from inbox")
            self.copies.append((copy, {row[0]: row[1] for row in rows}))

        if len(self.copies) < 3:
            self.run(copied())

    @rule(number=PICK)
    def restore(self, number: int) -> None:
        async def put_back() -> None:
            await self.look()
            copy, here = self.copies[number % len(self.copies)]
            await self.county.put_back(MASH, copy)
            keys = {key.kid for key in self.county[MASH].keystore.keys("hold")}
            released = {each for each, under in here.items() if under.startswith("hold-") and under not in keys}
            self.restored = True
            for life in self.lives:
                item = await self.item(life)
                # A copy from under a hold opens with that hold's key alone, which went with its release.
                life.lost = life.lost or life.id not in here or life.id in released
                # A hold that was made since is not known to older data; one that was ended since has ended.
                life.held = item is not None and item.content is not None and item.bucket_day.startswith("hold-")
            await self.look()

        if self.copies:
            self.run(put_back())

    @rule(who=BOTH)
    def rotate(self, who: str) -> None:
        async def tended() -> None:
            self.county.clock.jump(seconds=1)
            await self.county[who].rotate.rotate("a-first", sealing=True, message=False)

        if len(self.county[who].keystore.keys("sealing")) < 4:  # as many as a descriptor has room for
            self.run(tended())

    @rule(number=PICK)
    def something_comes_again(self, number: int) -> None:
        posts = [each for each in self.county.wire.posts() if each.said and each.said[0].status == 200]
        if posts:
            post = posts[number % len(posts)]
            self.run(self.county.handed(post.recipient, "POST", post.path, post.body))

    # What time does

    @rule(hours=st.sampled_from([5, 24, 72]))
    def time_passes(self, hours: int) -> None:
        if self.passed + timedelta(hours=hours) < LONGEST:
            self.passed += timedelta(hours=hours)
            self.county.clock.jump(hours=hours)
            for who in (JCP, MASH):  # as every few seconds of that time
                self.run(self.county[who].brake.tick())

    @rule()
    def delete_what_is_over(self) -> None:
        async def swept() -> None:
            for who in (JCP, MASH):
                done = await self.county[who].retain.run()
                assert not done.braked
                await self.county[who].retain.forget()
            await self.look()
            for life in self.lives:
                if life.over(self.now()) and not life.held:
                    assert not await self.readable(life)
                    row = await sent.alert(self.county[JCP].database, life.id)
                    assert row is not None
                    assert row.content is None

        self.run(swept())

    @rule(days=st.sampled_from([40, -400]), stop=st.booleans(), number=PICK)
    def the_clock_is_thrown(self, days: int, stop: bool, number: int) -> None:
        async def thrown() -> None:
            if stop:  # what is sent by a clock that is wrong from the start is rightly refused
                self.county.wire.mend()
                await self.county.settle(limit=600)
            await self.look()
            before = {life.id: await self.readable(life) for life in self.lives}
            if stop:
                await self.county.stop(MASH)
            self.county.clock.jump(days=days, wall_only=True)
            self.skew += timedelta(days=days)
            if stop:
                await self.county.start(MASH)
            await self.county.sleep(seconds=65)
            assert self.county[MASH].retain.brake is not None
            assert (await self.county[MASH].retain.run()).braked
            assert await self.county[MASH].retain.forget() == 0
            posts = self.county.wire.posts(to=MASH)
            if posts:
                await self.county.handed(MASH, "POST", posts[number % len(posts)].path, posts[number % len(posts)].body)
            await self.look()
            for life in self.lives:
                if before[life.id] and not life.withdrawn:
                    assert await self.readable(life), "nothing is deleted while the clock is in doubt"
            self.county.clock.jump(days=-days, wall_only=True)
            self.skew -= timedelta(days=days)
            for who in (JCP, MASH):
                await self.county[who].brake.tick()
                await self.county[who].brake.release("A")
            assert abs(self.county[MASH].clock.now() - self.now()) < timedelta(seconds=1)

        self.run(thrown())

    # What is held against the model

    async def item(self, life: Life) -> inbox.Item | None:
        found = await inbox.find(self.county[MASH].database, life.id)
        assert len(found) <= 1, "an alert is received once"
        return found[0] if found else None

    async def readable(self, life: Life) -> bool:
        if await self.item(life) is None:
            return False
        return (await self.county[MASH].acknowledge.show(life.id)).alert is not None

    async def look(self) -> None:
        """What is gone stays gone; what is not over, held or not withdrawn is there."""
        for life in self.lives:
            item = await self.item(life)
            if item is None:
                assert life.lost or not life.seen, "a stub stays"
                continue
            life.seen = True
            readable = await self.readable(life)
            assert not (life.gone and readable), "what is gone never comes back"
            life.gone = life.gone or not readable
            if life.held or not (life.over(self.now()) or life.withdrawn or life.lost):
                assert readable, "nothing is lost before its time"

    @rule()
    def looked_at(self) -> None:
        self.run(self.look())

    async def end(self) -> None:
        """Let everything mend and all be over, and see."""
        county = self.county
        county.wire.mend()
        await county.settle(limit=900)
        await county.wire.empty()
        await self.look()
        county.clock.jump(days=4)  # most of it is over then
        for who in (JCP, MASH):
            await county[who].retain.run()
        await county.settle(limit=300)
        await self.look()
        for life in self.lives:
            await self.ended(life)
        for who in (JCP, MASH):
            usual = {"bad-signature", "expired"}
            if self.restored:  # its log is an older one then, and what it says again is not what it said first
                usual |= {"contradiction", "policy", "log-fork", "log-older"}
            assert {code for _, code in county.events(who)} <= usual
        self.nothing_went_wrong_by_itself()

    async def ended(self, life: Life) -> None:
        """How one alert stands when everything has been said."""
        item = await self.item(life)
        status = Status((await self.county.statuses(JCP, life.id))[MASH].partition("/")[0])
        here = item is not None and item.content is not None
        over = life.over(self.now())
        if life.held:
            assert here
            assert status is Status.HELD
        elif life.lost and item is None:
            pass  # what came after the copy, and did not come again, is not there to be told of
        elif over or (life.withdrawn and item is not None):
            assert not here
            assert status in GONE_BEFORE if item is not None else status in {*GONE_BEFORE, Status.WITHDRAWN}
        elif not (life.withdrawn or life.lost):
            assert here, "what was sent is there until its end"
        if item is not None and not here:
            assert status is Status.PURGED, "the sender holds the receipt of the deletion"
        if life.withdrawn and not (life.lost and item is None):
            state = await self.county[JCP].withdraw.state(life.id)
            assert state is not None
            assert state["unanswered"] == (1 if life.held else 0)
        row = await sent.alert(self.county[JCP].database, life.id)
        assert row is not None
        assert (row.content is None) == over


RUNS = int(os.environ.get("BRIDGE_SOAK_RUNS", "0"))
"""How many runs the long form makes; 0: the short form of the default suite."""

Lifecycle.TestCase.settings = runs(RUNS or 24, 30 if RUNS else 18, the_same=not RUNS)
TestLifecycle = Lifecycle.TestCase
