"""The event loop of every process of the gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)
# Requests leave no cycles behind, so collecting seldom costs no memory and saves pauses.
_GC_THRESHOLDS = (50_000, 20, 100)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Make uvloop's loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415  not there on every platform
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def spare_collections() -> None:
    """Once everything is loaded: never look at it again, and seldom at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


async def repeat(every_s: float, step: Callable[[], Awaitable[None]]) -> None:
    """Do `step` for ever; a fault in one turn is logged, the next turn comes all the same."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await step()
        except Exception as fault:  # noqa: BLE001  whatever it is, the gateway goes on
            if isinstance(getattr(fault, "cause", None), str):
                _log.debug("%s", fault)
            else:
                _log.exception("a background step failed")
