"""Two shapes of concurrency: all of it or the first fault, and work under a watch. No task is left behind."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
_ECHO_S = 0.5


async def all_of(*work: Coroutine[Any, Any, None]) -> None:
    """Run all at once; the first fault ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def under_watch(work: Coroutine[Any, Any, T], *watches: Coroutine[Any, Any, NoReturn]) -> T:
    """Return what `work` returns; a watch never returns, and its fault ends the work."""
    task = asyncio.ensure_future(work)
    watching = [asyncio.ensure_future(watch) for watch in watches]
    try:
        await asyncio.wait([task, *watching], return_when=asyncio.FIRST_COMPLETED)
        if task.done() and task.exception() is not None:
            # Often only the echo of what a watch is about to name.
            await asyncio.wait(watching, timeout=_ECHO_S, return_when=asyncio.FIRST_COMPLETED)
        for watch in watching:
            if watch.done():
                watch.result()
        return task.result()
    finally:
        await _end([task, *watching])


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
