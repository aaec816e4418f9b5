"""Callers who come at the same time are served by one piece of work, each with an answer of its own.

Nobody waits for company: who comes while nothing is under way is served at once and alone, and who comes meanwhile
shares the next piece. What fails for several is done again for each of them, so that nobody hears of another's fault.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

MOST: Final = 64
"""At most this many callers share one piece of work, so that the first of them does not wait for ever."""


class Together(Generic[A, R]):
    """A line of callers before `work`, which gives for each, in their order, its answer or the error that it gets."""

    def __init__(self, work: Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._work = work
        self._line: deque[tuple[A, asyncio.Future[R]]] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def do(self, wish: A) -> R:
        """What the work answers to this wish. Raises what it says of it, or what it raises for it alone.

        A caller that is cancelled before its turn is left out; later, what it asked for may be done all the same.
        """
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._line.append((wish, answer))
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        some: list[tuple[A, asyncio.Future[R]]] = []
        try:
            while self._line:
                some = [self._line.popleft() for _ in range(min(MOST, len(self._line)))]
                some = [each for each in some if not each[1].done()]
                if some and not await self._served(some):
                    for each in some:
                        await self._served([each])
        finally:
            # Only when the node stops is anybody left here.
            for _, answer in (*some, *self._line):
                answer.cancel()
            self._line.clear()
            self._serving = None

    async def _served(self, some: Sequence[tuple[A, asyncio.Future[R]]]) -> bool:
        """Serve these callers; False when it failed for several, none of whom has been answered."""
        try:
            answers: Sequence[R | Exception] = await self._work([wish for wish, _ in some])
        except Exception as error:  # noqa: BLE001  # whoever asked for it hears of it, whatever it is
            if len(some) > 1:
                return False
            answers = [error]
        for (_, waiting), answer in zip(some, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
        return True
