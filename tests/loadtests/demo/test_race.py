import asyncio
from typing import NoReturn

import pytest

from loadtests.demo.race import all_of, under_watch


class Ended:
    """Notes that a task was ended rather than left behind."""

    def __init__(self) -> None:
        self.count = 0

    async def forever(self) -> NoReturn:
        try:
            while True:
                await asyncio.Event().wait()
        finally:
            self.count += 1


async def fail(text: str) -> NoReturn:
    raise LookupError(text)


async def value() -> int:
    return 7


async def test_all_are_run() -> None:
    done: list[int] = []

    async def note(number: int) -> None:
        done.append(number)

    await all_of(note(1), note(2))
    assert sorted(done) == [1, 2]


async def test_the_first_fault_ends_the_others_and_comes_as_it_is() -> None:
    ended = Ended()
    with pytest.raises(LookupError, match="x"):
        await all_of(ended.forever(), fail("x"))
    assert ended.count == 1


async def test_work_under_watch_returns_and_ends_its_watches() -> None:
    ended = Ended()
    assert await under_watch(value(), ended.forever(), ended.forever()) == 7
    assert ended.count == 2


async def test_a_watchs_fault_ends_the_work() -> None:
    ended = Ended()
    with pytest.raises(LookupError, match="a part died"):
        await under_watch(ended.forever(), fail("a part died"))
    assert ended.count == 1


async def test_a_watch_that_names_the_cause_comes_before_its_echo() -> None:
    echoed = asyncio.Event()

    async def echo() -> None:
        echoed.set()
        raise LookupError("connection refused")

    async def name_it() -> NoReturn:
        await echoed.wait()
        await asyncio.sleep(0)
        raise LookupError("the gateway died")

    with pytest.raises(LookupError, match="the gateway died"):
        await under_watch(echo(), name_it())


async def test_the_works_own_fault_is_raised_if_no_watch_has_another() -> None:
    ended = Ended()
    with pytest.raises(LookupError, match="own"):
        await under_watch(fail("own"), ended.forever())
    assert ended.count == 1


async def test_cancelling_leaves_nothing_behind() -> None:
    ended = Ended()
    task = asyncio.ensure_future(under_watch(ended.forever(), ended.forever()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.count == 2
