"""A run without fault holds; each fault is found by the check that is about it."""

from collections.abc import Callable

import pytest

from loadtests.soak.answer import Fate
from loadtests.soak.audit import Audit, Mark
from loadtests.soak.samples import GAUGES, Sample, Series, Usage
from loadtests.soak.tally import UNSEEN, Tally
from loadtests.soak.verdict import ANSWERS_MAX, MB, Bounds, Evidence, judge

CALLS = (
    (Fate.WHOLE, 1, False, Mark(1, 1)),
    (Fate.WHOLE, 2, False, Mark(2, 1, 1)),
    (Fate.REFUSED, 1, False, Mark(0, 0)),
    (Fate.LEFT, UNSEEN, True, Mark(1, 0)),
    (Fate.HALF_SENT, UNSEEN, True, Mark(0, 0)),
)
DEFAULT = Bounds()
DURATION = "gen_ai_server_request_duration_seconds_count"


def requests(feature: str, outcome: str, count: float) -> Series:
    return ("glidepath_requests_total", {"feature": feature, "outcome": outcome}, count)


AFTER = (
    requests("kept", "ok", 2),
    requests("kept", "unreachable", 1),
    requests("left", "cancelled", 1),
    ("glidepath_failovers_total", {"feature": "kept", "cause": "reset"}, 1.0),
    (DURATION, {"gen_ai_request_model": "copilot/kept", "error_type": "ejected"}, 1.0),
)


def sample(at_s: float, *, worker_mb: float = 50, sockets: int = 5, **gauges: float) -> Sample:
    return Sample(
        at_s, Usage(60 * MB, 4, 0.0), Usage(int(worker_mb * MB), sockets, 0.0), dict.fromkeys(GAUGES, 0.0) | gauges
    )


def evidence(calls: tuple = CALLS, late: int = 0) -> Evidence:
    fates, attempts, left, marks = zip(*calls, strict=True)
    tally = Tally("r", bytes(fates), bytes(attempts), bytes(left), {}, late, 1.0)
    audit = Audit()
    audit.take(tally, range(len(calls)), marks)
    ledger = [(audit.arrived.count, f"{audit.arrived.total:016x}"), (0, "0")]
    samples = [sample(float(at_s), sockets=40) for at_s in range(100)]
    return Evidence([tally], audit, sample(0), samples, sample(110), (), AFTER, ledger, 0)


def failed(found: Evidence, bounds: Bounds = DEFAULT) -> list[str]:
    return [check.name for check in judge(found, bounds) if not check.held]


def test_a_run_without_fault_holds() -> None:
    assert failed(evidence()) == []


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ((Fate.BROKEN, UNSEEN, False, Mark(1, 0)), "every answer"),
        ((Fate.WRONG, 1, False, Mark(1, 1)), "every answer"),
        ((Fate.WHOLE, 1, False, Mark(0, 0)), "no whole answer without"),
        ((Fate.WHOLE, 1, False, Mark(2, 2)), "oftener"),
        ((Fate.HALF_SENT, UNSEEN, True, Mark(1, 0)), "half sent"),
        ((Fate.WHOLE, 1, False, Mark(1, 1)), "outcome ok"),
        ((Fate.WHOLE, 2, False, Mark(1, 1)), "extra attempts"),
        ((Fate.WHOLE, 1, False, Mark(0, 0)), "every attempt"),
        ((Fate.WHOLE, 1, False, Mark(1, 1)), "each call once (kept)"),
        ((Fate.LEFT, UNSEEN, True, Mark(1, 1)), "each call once (left)"),
    ],
)
def test_a_call_too_many_or_too_few(call: tuple, word: str) -> None:
    assert any(word in name for name in failed(evidence((*CALLS, call))))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda e: e._replace(ledgers=[(99, "0"), (0, "0")]), "digests"),
        (lambda e: e._replace(left_open=1), "wait for nobody"),
        (lambda e: e._replace(after=sample(110, places=1)), "gauges"),
        (lambda e: e._replace(after=sample(110, tasks=5)), "no task"),
        (lambda e: e._replace(after=sample(110, sockets=8)), "sockets"),
        (lambda e: e._replace(samples=[]), "memory of the workers"),
        (lambda e: e._replace(tallies=[e.tallies[0]._replace(late=1)]), "pace"),
    ],
)
def test_what_is_left_over(change: Callable[[Evidence], Evidence], word: str) -> None:
    (name,) = [name for name in failed(change(evidence())) if word in name]
    assert name


def test_idle_connections_to_upstreams_are_no_leak() -> None:
    assert failed(evidence()._replace(after=sample(110, sockets=8, idle=1))) == []


def grown(calls: int, mb_per_s: float, duration_s: int = 1_000) -> Evidence:
    found = evidence()
    fates = bytes([Fate.WHOLE]) * calls
    tally = found.tallies[0]._replace(fates=fates, planned_left=bytes(calls))
    samples = [sample(float(at_s), worker_mb=50 + at_s * mb_per_s) for at_s in range(duration_s)]
    return found._replace(tallies=[tally], samples=samples)


def test_memory_may_grow_until_the_index_of_answers_is_full() -> None:
    name = "memory of the workers is flat in the second half"
    assert name in failed(grown(3 * ANSWERS_MAX, 0.1))
    assert name in failed(grown(int(1.5 * ANSWERS_MAX), 0.1))
    assert name not in failed(grown(ANSWERS_MAX // 2, 0.1))
    assert name in failed(grown(ANSWERS_MAX // 2, 0.2))
    assert name not in failed(grown(3 * ANSWERS_MAX, 0.1), Bounds(rss_mb_per_min=7))
