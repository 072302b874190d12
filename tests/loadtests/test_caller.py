"""The timed client against a real simulator, in a thread as a blocking client must be."""

import asyncio
from itertools import islice
from pathlib import Path

import pytest

from loadtests.caller import Caller, CallResult
from loadtests.errors import InvalidFileError
from loadtests.prompts import Message, Prompt
from loadtests.simulator import Fault, FaultKind, Latency
from loadtests.workload import Mix, PlannedRequest, requests_of

PROMPT = Prompt("summarize", (Message("user", "q"),))
MODEL = {"models": ("copilot/summarize",)}


def requests(count: int, *, stream: bool) -> list[PlannedRequest]:
    mix = Mix(tasks={"summarize": 1}, stream_ratio=float(stream))
    return list(islice(requests_of(0, [PROMPT], mix, 0), count))


async def call(simulator, *planned: PlannedRequest, timeout_s: float = 10, key: str | None = None) -> list[CallResult]:
    caller = Caller(simulator.base_url, key, timeout_s)
    try:
        return [await asyncio.to_thread(caller.call, request) for request in planned]
    finally:
        caller.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_answers_are_read_whole_over_one_connection(simulate, stream) -> None:
    simulator = await simulate(**MODEL)
    results = await call(simulator, *requests(3, stream=stream))
    assert [result.problem for result in results] == [None] * 3
    assert all("simulated" in result.seen.text for result in results)
    assert all((result.seen.ttft_s is not None) == stream for result in results)


async def test_the_time_to_first_token_is_that_of_the_content(simulate) -> None:
    ttft_s = 0.2
    simulator = await simulate(**MODEL, latency=Latency(ttft_s, 0, 0.01, 0), generic_tokens=20)
    (result,) = await call(simulator, *requests(1, stream=True))
    # Headers and role come at half of it. Lower bounds only: a busy machine makes it later, never earlier.
    assert result.seen.ttft_s > ttft_s * 0.95
    assert len(result.seen.gaps_s) == 19
    assert result.seen.e2e_s >= result.seen.ttft_s


@pytest.mark.parametrize(
    ("fault", "stream", "status", "problem"),
    [
        (Fault(FaultKind.RESET), True, None, "connection: ConnectionResetError"),
        (Fault(FaultKind.CLOSE), False, None, "connection: RemoteDisconnected"),
        (Fault(FaultKind.STATUS, status=429), True, 429, "status 429"),
        (Fault(FaultKind.CUT_STREAM), True, 200, "truncated: IncompleteRead"),
        (Fault(FaultKind.CUT_STREAM), False, 200, "truncated: IncompleteRead"),
        (Fault(FaultKind.CLEAN_CUT), True, 200, "truncated: no finish reason"),
        (Fault(FaultKind.MISSING_DONE), True, 200, "truncated: no end marker"),
        (Fault(FaultKind.BAD_CHUNK), True, 200, "truncated: IncompleteRead"),
        (Fault(FaultKind.STALL), True, 200, "truncated: TimeoutError"),
    ],
)
async def test_every_fault_is_a_problem_and_the_next_request_works(simulate, fault, stream, status, problem) -> None:
    simulator = await simulate(fault, **MODEL)
    caller = Caller(simulator.base_url, None, 0.5 if fault.kind is FaultKind.STALL else 10)
    first, second = requests(2, stream=stream)
    result = await asyncio.to_thread(caller.call, first)
    assert (result.status, result.problem) == (status, problem)
    simulator.partner.set_faults(())
    assert (await asyncio.to_thread(caller.call, second)).problem is None
    caller.close()


async def test_the_key_is_sent(simulate) -> None:
    simulator = await simulate(**MODEL, require_key="k")
    (right,) = await call(simulator, *requests(1, stream=False), key="k")
    (wrong,) = await call(simulator, *requests(1, stream=False))
    assert (right.problem, wrong.problem) == (None, "status 401")


async def test_an_idle_connection_closed_by_the_peer_is_opened_again(simulate) -> None:
    simulator = await simulate(Fault(FaultKind.WRONG_LENGTH, length_delta=0), **MODEL)
    results = await call(simulator, *requests(5, stream=False))
    assert [result.problem for result in results] == [None] * 5


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x/v1", "http://"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidFileError, match="not a base URL"):
        Caller(url, None, 1)


def test_nobody_listening_is_a_problem_not_an_error(tmp_path: Path) -> None:
    (request,) = requests(1, stream=True)
    assert Caller("http://127.0.0.1:1/v1", None, 1).call(request).problem == "connection: ConnectionRefusedError"


@pytest.mark.parametrize(("key", "taken"), [("right", True), ("wrong", False), (None, False)])
def test_whether_a_key_is_taken_is_asked_without_a_request(asking_url: str, key: str | None, *, taken: bool) -> None:
    caller = Caller(asking_url, key, 10)
    assert caller.takes_key() is taken
    caller.close()


def test_nobody_there_says_nothing_of_the_key() -> None:
    assert Caller("http://127.0.0.1:1/v1", None, 1).takes_key()
