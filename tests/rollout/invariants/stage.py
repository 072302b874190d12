"""Processes that share a real store, stopped before each of its calls until the test says what becomes of the call."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rollout.core.errors import RolloutError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


LIMIT_S = 20.0


class Fate(StrEnum):
    """What becomes of a call: done; never arrived; done, but the answer lost; given up, and done some time later."""

    DONE = "done"
    REFUSED = "refused"
    UNHEARD = "unheard"
    LATE = "late"


class Process:
    """Stands for the store in one process: one piece of work, whose calls are made one after the other."""

    def __init__(self, store: Any, late: list[Callable[[], Awaitable[object]]]) -> None:
        """`late`: where calls wait that take effect when nobody expects them any more."""
        self._store, self._late = store, late
        self._work: asyncio.Task[Any] | None = None
        self._call: asyncio.Future[Fate] | None = None
        self._still = asyncio.Event()
        self._one_call = asyncio.Lock()

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        real = getattr(self._store, name)

        async def call(*given: Any, **named: Any) -> Any:
            fate = await self.stop()
            if fate is Fate.LATE:
                self._late.append(lambda: real(*given, **named))
            if fate in {Fate.LATE, Fate.REFUSED}:
                raise _away()
            try:
                answer = await real(*given, **named)
            except RolloutError:
                if fate is Fate.DONE:
                    raise
            if fate is not Fate.DONE:
                raise _away()
            return answer

        return call

    @property
    def idle(self) -> bool:
        return self._work is None

    async def stop(self) -> Fate:
        """Wait, within the work, for the test to go on with it."""
        async with self._one_call:
            self._call = asyncio.get_running_loop().create_future()
            self._still.set()
            return await self._call

    async def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` up to its first call."""
        self._work = asyncio.create_task(work)
        self._work.add_done_callback(lambda _: self._still.set())
        await self._until_still()

    async def let(self, fate: Fate) -> None:
        """Decide the call it waits with; runs up to the next one or to the end of the work."""
        assert self._call is not None
        self._call.set_result(fate)
        await self._until_still()

    async def crash(self, *, sent: bool) -> None:
        """End the work where it is. `sent`: its call was on its way already, and takes effect some time."""
        if self._work is None:
            return
        if sent and self._call is not None:
            self._call.set_result(Fate.LATE)
            await asyncio.sleep(0)
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        self._work = self._call = None
        self._still.clear()

    async def _until_still(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self._still.wait()
        self._still.clear()
        work = self._work
        if work is not None and work.done():
            self._work = self._call = None
            fault = work.exception()
            if fault is not None and not isinstance(fault, RolloutError):
                raise fault


def _away() -> StoreUnavailable:
    return StoreUnavailable("the store does not answer", "a fault of the test")
