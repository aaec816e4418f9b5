"""Two nodes on a machine that makes up what happens to them: what the machines of this folder have in common."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog.testing
from county import County, StillLoop, Templates
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

T = TypeVar("T")

JCP, MASH = "luton-jcp", "luton-mash"
BOTH = st.sampled_from([JCP, MASH])
PICK = st.integers(0, 1000)


class TwoNodes(RuleBasedStateMachine):
    """Every rule is one thing that people, time, machines or the line do. The fixture `grounded` says where."""

    templates: Templates
    ground: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=StillLoop)
        self.place = Path(tempfile.mkdtemp(dir=self.ground))
        self.county = County(self.place, self.templates)
        self.whole = True
        self.logs = structlog.testing.capture_logs()
        self.logged: list[Any] = self.logs.__enter__()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.whole = False
        done = self.runner.run(work)
        self.whole = True  # else a step failed: the end would only hide it
        return done

    @rule(who=BOTH)
    def cut(self, who: str) -> None:
        self.county.wire.cut(who)

    @rule(who=BOTH)
    def restart(self, who: str) -> None:
        self.run(self.county.restart(who))

    def teardown(self) -> None:
        try:
            if self.county.nodes and self.whole:
                self.run(self.end())
        finally:
            self.logs.__exit__(None, None, None)
            self.run(self.county.close())
            self.runner.close()
            shutil.rmtree(self.place)

    async def end(self) -> None:
        """Let everything mend, and see."""
        raise NotImplementedError("each machine says what must hold at its end")

    def nothing_went_wrong_by_itself(self) -> None:
        """No node met what it was not made for, and none logged a fault of its own."""
        assert self.county.surprises == []
        assert [each for each in self.logged if "exc_info" in each] == []


def runs(number: int, steps: int, *, the_same: bool = True) -> settings:
    """So many runs of so many steps, the same ones each time or others."""
    return settings(
        max_examples=number,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=the_same,
        phases=[Phase.generate],  # for a failure that is hard to read, add Phase.shrink
        suppress_health_check=list(HealthCheck),
    )
