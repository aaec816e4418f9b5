"""Callers who share a piece of work: nobody waits for company, and nobody hears of another's fault."""

import asyncio
from collections.abc import Sequence

import pytest

from bridge.nodes.together import MOST, Together


class Work:
    """Doubles numbers, a piece at a time, when it is let; odd ones it refuses, thirteen it cannot bear."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []
        self.let = asyncio.Event()
        self.let.set()

    async def __call__(self, wishes: Sequence[int]) -> list[int | Exception]:
        self.pieces.append(list(wishes))
        await self.let.wait()
        if 13 in wishes:
            raise ZeroDivisionError
        return [ValueError(each) if each % 2 else each * 2 for each in wishes]


async def test_who_comes_alone_is_served_at_once_and_who_comes_meanwhile_shares_the_next_piece() -> None:
    work = Work()
    line: Together[int, int] = Together(work)
    assert await line.do(2) == 4
    work.let.clear()
    callers = [asyncio.create_task(line.do(each)) for each in (4, 6, 8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers += [asyncio.create_task(line.do(each)) for each in (10, 12)]
    await asyncio.sleep(0)
    work.let.set()
    assert await asyncio.gather(*callers) == [8, 12, 16, 20, 24]
    assert work.pieces == [[2], [4, 6, 8], [10, 12]]


async def test_each_caller_gets_its_own_answer_or_error() -> None:
    line: Together[int, int] = Together(Work())
    told = await asyncio.gather(*(line.do(each) for each in range(4)), return_exceptions=True)
    assert [told[0], told[2]] == [0, 4]
    assert [(type(each), each.args) for each in told[1::2] if isinstance(each, Exception)] == [
        (ValueError, (1,)),
        (ValueError, (3,)),
    ]


async def test_what_fails_for_all_is_done_again_for_each() -> None:
    work = Work()
    line: Together[int, int] = Together(work)
    told = await asyncio.gather(*(line.do(each) for each in (2, 13, 4)), return_exceptions=True)
    assert [type(each) for each in told] == [int, ZeroDivisionError, int]
    assert work.pieces == [[2, 13, 4], [2], [13], [4]]
    with pytest.raises(ZeroDivisionError):
        await line.do(13)
    assert await line.do(6) == 12


async def test_who_has_gone_is_left_out_and_disturbs_nobody() -> None:
    work = Work()
    line: Together[int, int] = Together(work)
    work.let.clear()
    callers = [asyncio.create_task(line.do(each)) for each in (2, 4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers += [asyncio.create_task(line.do(each)) for each in (6, 8)]
    await asyncio.sleep(0)
    callers[1].cancel()
    callers[2].cancel()
    await asyncio.sleep(0)
    work.let.set()
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [told[0], told[3]] == [4, 16]
    assert [type(told[1]), type(told[2])] == [asyncio.CancelledError] * 2
    assert work.pieces == [[2, 4], [8]]


async def test_a_piece_has_an_upper_bound() -> None:
    work = Work()
    line: Together[int, int] = Together(work)
    await asyncio.gather(*(line.do(2 * each) for each in range(MOST + 1)))
    assert [len(each) for each in work.pieces] == [MOST, 1]
