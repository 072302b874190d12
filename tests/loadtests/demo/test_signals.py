import asyncio
import os
import signal

import pytest

from loadtests.demo.signals import run_until_signal


@pytest.fixture(autouse=True)
def none_ignored():
    """A shell that starts a suite in the background ignores SIGINT for it."""
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in (signal.SIGINT, signal.SIGHUP)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


async def signalled(signum: signal.Signals, times: int, seen: list[str]) -> int:
    try:
        os.kill(os.getpid(), signum)
        await asyncio.Event().wait()
    finally:
        for _ in range(times):
            os.kill(os.getpid(), signum)
            await asyncio.sleep(0.01)
        seen.append("ended in order")
    return 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_names_the_exit_code(signum: signal.Signals) -> None:
    seen: list[str] = []
    assert run_until_signal(signalled(signum, 0, seen)) == 128 + signum
    assert seen == ["ended in order"]


def test_further_signals_do_not_cut_the_end_short() -> None:
    seen: list[str] = []
    assert run_until_signal(signalled(signal.SIGINT, 3, seen)) == 130
    assert seen == ["ended in order"]


def test_without_a_signal_the_works_code_counts() -> None:
    async def work() -> int:
        return 5

    assert run_until_signal(work()) == 5


def test_a_fault_passes_through() -> None:
    async def work() -> int:
        raise LookupError("x")

    with pytest.raises(LookupError):
        run_until_signal(work())


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def work() -> int:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
            return 3

        assert run_until_signal(work()) == 3
    finally:
        signal.signal(signal.SIGHUP, before)
