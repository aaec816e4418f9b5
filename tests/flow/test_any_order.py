"""Two nodes under everything that can happen to them, in any order, against a model of three lines.

What the sender was told of is in the recipient's inbox once; the sender reads what the recipient did last; and
nobody is accused of anything but the altered requests.
"""

import asyncio
from datetime import timedelta

import pytest
from county import FAULTS, HELLO, alert
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from two_nodes import BOTH, JCP, MASH, PICK, TwoNodes, runs

from bridge.receipts import LATER, Status

pytestmark = pytest.mark.usefixtures("grounded")

STEPS = ("collect", "open", "take", "close")
DONE = {"collect": Status.COLLECTED, "open": Status.OPENED, "take": Status.TAKEN, "close": Status.CLOSED}
LONGEST = timedelta(days=20)


class AnyOrder(TwoNodes):
    """What the line and the machines do to what people do."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []  # alerts that a caller was told of
        self.state: dict[str, Status] = {}  # what the recipient did last with each that it holds
        self.gone = timedelta(0)
        self.back = 0

    @initialize()
    def meet(self) -> None:
        self.run(self.county.add(JCP, MASH))

    @rule(count=st.integers(1, 6), urgent=st.booleans())
    def send(self, count: int, urgent: bool) -> None:
        body = alert(priority="HIGH" if urgent else "LOW")

        async def all_of_them() -> None:
            self.told += [(await self.county.send(JCP, body)).id for _ in range(count)]

        self.run(all_of_them())

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.3, 4, 40]))
    def wait(self, seconds: float) -> None:
        self.run(self.county.sleep(seconds=seconds))

    @rule(fault=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3), to=st.sampled_from([JCP, MASH, None]))
    def trouble(self, fault: str, times: int, to: str | None) -> None:
        self.county.wire.next(FAULTS[fault], times=times, to=to)

    @rule(fault=st.sampled_from(sorted(FAULTS)))
    def trouble_with_greetings(self, fault: str) -> None:
        self.county.wire.next(FAULTS[fault], path=HELLO)

    @rule(who=BOTH)
    def join(self, who: str) -> None:
        self.county.wire.join(who)

    @rule(who=BOTH)
    def crash(self, who: str) -> None:
        self.run(self.county.crash(who))

    @rule(who=BOTH, place=st.integers(1, 25))
    def crash_while_at_work(self, who: str, place: int) -> None:
        async def somewhere() -> None:
            reached = self.county.database(who).arm(place)
            await asyncio.wait({reached}, timeout=5)
            self.county.database(who)._armed = None
            await self.county.crash(who)

        self.run(somewhere())

    @rule(who=BOTH, sealing=st.booleans(), message=st.booleans())
    def rotate(self, who: str, sealing: bool, message: bool) -> None:
        async def tended() -> None:
            self.county.clock.jump(seconds=1)
            await self.county[who].rotate.rotate("a-first", sealing=sealing, message=message)

        # A descriptor has room for eight message keys and four sealing keys in force.
        if len(self.county[who].keystore.keys("sealing")) < 4 and len(self.county[who].keystore.keys("message")) < 8:
            self.run(tended())

    @rule(by=st.sampled_from([{"minutes": 1}, {"minutes": 30}, {"hours": 5}, {"days": 3}]))
    def time_passes(self, by: dict[str, float]) -> None:
        if self.gone + timedelta(**by) < LONGEST:
            self.gone += timedelta(**by)
            self.county.clock.jump(**by)

    @rule(minutes=st.integers(1, 4))
    def the_clock_is_set_back(self, minutes: int) -> None:
        # By more than ten minutes in all, what was sealed before is of the future, and rightly refused.
        if self.back + minutes <= 8:
            self.back += minutes
            self.county.clock.jump(minutes=-minutes, wall_only=True)

    @rule()
    def keys_are_tended(self) -> None:
        for who in (JCP, MASH):
            self.run(self.county[who].rotate.tend())

    @rule(pick=PICK, step=st.sampled_from(STEPS))
    def act(self, pick: int, step: str) -> None:
        async def done() -> None:
            held = await self.county.inbox(MASH)
            if not held:
                return
            alert_id = held[pick % len(held)]
            desk = self.county[MASH].acknowledge
            now = self.state.get(alert_id, Status.RECEIVED)
            if DONE[step] not in LATER[now]:
                return
            if step == "close":
                await desk.close(alert_id, "no_further_action", "role:duty")
            else:
                await getattr(desk, step)(alert_id, "role:duty")
            self.state[alert_id] = DONE[step]

        self.run(done())

    @precondition(lambda self: self.county.wire.log)
    @rule(pick=PICK)
    def something_comes_again(self, pick: int) -> None:
        posts = [each for each in self.county.wire.posts() if each.said and each.said[0].status == 200]
        if not posts:
            return
        post = posts[pick % len(posts)]
        again = self.run(self.county.handed(post.recipient, "POST", post.path, post.body))
        assert again in post.said

    @rule()
    def nothing_is_doubled(self) -> None:
        inbox = self.run(self.county.inbox(MASH))
        assert len(inbox) == len(set(inbox))

    async def end(self) -> None:
        """Let everything mend, and see."""
        county = self.county
        county.wire.mend()
        await county.sleep(seconds=4)
        await county.settle(limit=120)
        await county.wire.empty()
        assert sorted(await county.inbox(MASH)) == sorted(self.told)
        for alert_id in self.told:
            (status,) = (await county.statuses(JCP, alert_id)).values()
            assert status.partition("/")[0] == self.state.get(alert_id, Status.RECEIVED)
        for who in (JCP, MASH):
            assert {code for _, code in county.events(who)} <= {"bad-signature"}
        self.nothing_went_wrong_by_itself()


AnyOrder.TestCase.settings = runs(12, 20)
TestAnyOrder = AnyOrder.TestCase
