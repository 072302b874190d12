"""Ctrl-C, SIGTERM and a closed terminal all mean the same: stop in order, then leave with the code they stand for."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FROM_SIGNAL = 128


def run_until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return its exit code, or 128 + the signal that cancelled it.

    Only the first signal cancels; further ones would cut the orderly end short.
    """
    with asyncio.Runner() as runner:
        return runner.run(_supervised(work))


async def _supervised(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def on_signal(signum: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(signum)

    loop = asyncio.get_running_loop()
    for signum in _SIGNALS:
        if signal.getsignal(signum) is signal.SIG_IGN:
            continue  # as under nohup: whoever started us wants it so
        loop.add_signal_handler(signum, on_signal, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return _FROM_SIGNAL + received[0]
