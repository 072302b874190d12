import itertools

import pytest

from gateway.core.outcome import (
    Failure,
    Outcome,
    Phase,
    StreamEnd,
    cause_of_status,
    classify_status,
    classify_stream,
    outcome_of,
)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (204, Outcome.OK),
        (399, Outcome.UPSTREAM_ERROR),
        (400, Outcome.CALLER_ERROR),
        (404, Outcome.UPSTREAM_ERROR),
        (422, Outcome.CALLER_ERROR),
        (401, Outcome.UPSTREAM_ERROR),
        (403, Outcome.UPSTREAM_ERROR),
        (405, Outcome.UPSTREAM_ERROR),
        (407, Outcome.UPSTREAM_ERROR),
        (408, Outcome.TIMEOUT),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.UPSTREAM_ERROR),
        (503, Outcome.UPSTREAM_ERROR),
        (504, Outcome.TIMEOUT),
        (599, Outcome.UPSTREAM_ERROR),
    ],
)
def test_status(status: int, outcome: Outcome) -> None:
    assert classify_status(status) is outcome


def expected(end: StreamEnd) -> Outcome:
    if end.error_seen:
        return Outcome.UPSTREAM_ERROR
    whole = end.done or (end.finished and not end.broken)
    return Outcome.OK if whole else Outcome.TRUNCATED


@pytest.mark.parametrize("end", [StreamEnd(*bits) for bits in itertools.product((False, True), repeat=4)])
def test_a_stream_succeeded_only_if_it_said_so(end: StreamEnd) -> None:
    assert classify_stream(end) is expected(end)


def test_a_stream_that_just_stops_is_no_success() -> None:
    silent = StreamEnd(done=False, finished=False, error_seen=False, broken=False)
    assert classify_stream(silent) is Outcome.TRUNCATED


def test_an_error_event_outweighs_a_proper_end() -> None:
    assert classify_stream(StreamEnd(done=True, finished=True, error_seen=True, broken=False)) is Outcome.UPSTREAM_ERROR


@pytest.mark.parametrize(
    ("phase", "kind", "outcome"),
    [
        (Phase.CONNECT, "refused", Outcome.UNREACHABLE),
        (Phase.CONNECT, "connect_timeout", Outcome.TIMEOUT),
        (Phase.FIRST_BYTE, "first_byte_timeout", Outcome.TIMEOUT),
        (Phase.FIRST_BYTE, "reset", Outcome.UPSTREAM_ERROR),
        (Phase.BODY, "bad_answer", Outcome.UPSTREAM_ERROR),
    ],
)
def test_how_a_broken_attempt_counts(phase: Phase, kind: str, outcome: Outcome) -> None:
    assert outcome_of(Failure(phase, kind, "text")) is outcome


@pytest.mark.parametrize(
    ("status", "cause"), [(429, "status_429"), (418, "status_4xx"), (599, "status_5xx"), (999, "status_9xx")]
)
def test_causes_by_status_are_few(status: int, cause: str) -> None:
    assert cause_of_status(status) == cause
    assert len({cause_of_status(each) for each in range(1_000)}) < 40
