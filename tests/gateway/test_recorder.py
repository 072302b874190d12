import asyncio

import pytest
from msgspec.structs import replace

from gateway.core.call import parse
from gateway.core.errors import ApiError
from gateway.core.outcome import Outcome, Record
from gateway.core.routing import Principal, plan
from gateway.core.trace import Trace
from gateway.feedback import AnswerIndex
from gateway.metrics import Metrics
from gateway.recorder import BATCH, Recorder
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import FeatureFlag, Snapshot
from tests.gateway.records import SETTLED

RECORD = SETTLED
REQUEST = ("draft", "candidate", "candidate", "SPLIT", "ok")
MODEL = ("chat", "copilot/draft", "inhouse", "candidate")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def answers(metrics: Metrics) -> AnswerIndex:
    return AnswerIndex(metrics)


@pytest.fixture
def recorder(metrics: Metrics, answers: AnswerIndex) -> Recorder:
    return Recorder(metrics, answers)


def total(metrics: Metrics) -> float:
    return sum(metrics.requests.series.values())


def count_of(histogram, *labels: str) -> int:
    return sum(histogram.series[labels].counts) if labels in histogram.series else 0


def test_a_record_counts_only_when_drained(recorder: Recorder, metrics: Metrics) -> None:
    recorder.record(RECORD)
    assert total(metrics) == 0
    recorder.drain()
    recorder.drain()
    assert metrics.requests.series == {REQUEST: 1.0}
    assert metrics.units.series == {("draft", "user"): 1.0}
    assert count_of(metrics.duration, *MODEL, "") == 1
    assert count_of(metrics.overhead, *MODEL) == 1
    assert metrics.failovers.series == metrics.client_retries.series == {}


def test_more_than_a_batch_is_drained_at_once(recorder: Recorder, metrics: Metrics) -> None:
    for _ in range(BATCH * 3 + 1):
        recorder.record(RECORD)
    recorder.drain()
    assert total(metrics) == BATCH * 3 + 1


@pytest.mark.parametrize(
    ("prompt", "completion", "ttft_s", "seen"),
    [
        (5, 3, 0.1, (1, 1, 1, 1)),
        (5, 1, 0.1, (1, 1, 1, 0)),
        (5, 3, None, (1, 1, 0, 0)),
        (None, None, 0.1, (0, 0, 1, 0)),
        (None, None, None, (0, 0, 0, 0)),
    ],
)
def test_tokens_and_their_times(
    recorder: Recorder, metrics: Metrics, prompt: int | None, completion: int | None, *, ttft_s: float | None, seen
) -> None:
    recorder.record(replace(RECORD, prompt_tokens=prompt, completion_tokens=completion, ttft_s=ttft_s))
    recorder.drain()
    assert seen == (
        count_of(metrics.tokens, *MODEL, "input"),
        count_of(metrics.tokens, *MODEL, "output"),
        count_of(metrics.ttft, *MODEL),
        count_of(metrics.tpot, *MODEL),
    )


def test_time_per_token_is_of_the_tokens_after_the_first(recorder: Recorder, metrics: Metrics) -> None:
    recorder.record(replace(RECORD, ttft_s=0.1, duration_s=0.5, prompt_tokens=1, completion_tokens=5))
    recorder.drain()
    assert metrics.tpot.series[MODEL].total == pytest.approx(0.1)


def test_failovers_and_retries_are_counted_and_not_taken_for_overhead(recorder: Recorder, metrics: Metrics) -> None:
    second = replace(RECORD, attempts=2, failed_cause="reset", client_retries=2)
    recorder.record(replace(second, served="baseline", upstream="partner"))
    recorder.drain()
    assert metrics.failovers.series == {("draft", "reset"): 1.0}
    assert metrics.client_retries.series == {("draft",): 1.0}
    assert metrics.retries.series == {}
    recorder.record(second)
    recorder.drain()
    assert metrics.retries.series == metrics.failovers.series
    assert count_of(metrics.overhead, "chat", "copilot/draft", "partner", "baseline") == 0


def test_the_refused_have_no_duration_and_get_no_feedback(
    recorder: Recorder, metrics: Metrics, answers: AnswerIndex
) -> None:
    recorder.record(
        replace(RECORD, attempts=0, feature="", assigned="", served="", reason="", unit_kind="", outcome="refused")
    )
    recorder.drain()
    assert metrics.requests.series == {("", "", "", "", "refused"): 1.0}
    assert not metrics.duration.series
    assert not metrics.units.series
    assert len(answers) == 0


def test_a_bypass_is_counted_under_its_reason_not_its_model(
    recorder: Recorder, metrics: Metrics, answers: AnswerIndex
) -> None:
    recorder.record(replace(RECORD, feature="", reason="bypass", assigned="bypass", served="bypass", unit_kind=""))
    recorder.drain()
    assert count_of(metrics.duration, "chat", "bypass", "inhouse", "bypass", "") == 1
    assert len(answers) == 0


def test_every_answered_request_can_get_feedback(recorder: Recorder, answers: AnswerIndex) -> None:
    for number in range(10):
        recorder.record(replace(RECORD, request_id=f"r{number}"))
    recorder.drain()
    assert len(answers) == 10


async def test_the_task_drains_and_counts_the_last_when_it_ends(recorder: Recorder, metrics: Metrics, until) -> None:
    task = asyncio.create_task(recorder.run())
    for _ in range(BATCH * 2):
        recorder.record(RECORD)
    await until(lambda: total(metrics) == BATCH * 2)
    recorder.record(RECORD)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert total(metrics) == BATCH * 2 + 1


async def test_after_each_turn_of_the_task_somebody_is_told(recorder: Recorder, metrics: Metrics, until) -> None:
    told: list[float] = []
    task = asyncio.create_task(recorder.run(lambda: told.append(total(metrics))))
    recorder.record(RECORD)
    await until(lambda: told)
    task.cancel()
    assert told[0] == 1


async def test_settling_lets_other_work_have_its_turn(recorder: Recorder, metrics: Metrics) -> None:
    for _ in range(BATCH * 3):
        recorder.record(RECORD)
    settling = asyncio.create_task(recorder.settle())
    seen = []
    while not settling.done():
        await asyncio.sleep(0)
        seen.append(total(metrics))
    assert {BATCH, BATCH * 2, BATCH * 3} <= set(seen)


def settled(body: bytes, snapshot: Snapshot, number: int) -> Record:
    """The Record such a call would leave."""
    principal = Principal("k", "n", "acme", None, frozenset(), model_bypass=True)
    try:
        call = parse(body, {}, principal.tenant, f"r{number}")
        chosen = plan(call, principal, snapshot, {"moe-1": "inhouse"})
    except ApiError:
        return replace(
            RECORD, feature="", assigned="", served="", reason="", unit_kind="", attempts=0, outcome=Outcome.REFUSED
        )
    decision = chosen.decision
    return replace(
        RECORD,
        request_id=f"r{number}",
        feature=chosen.feature,
        assigned=chosen.assigned,
        served=chosen.assigned,
        reason=chosen.reason,
        upstream=chosen.upstream,
        unit_kind=(decision.unit_kind or "") if decision else "",
    )


def test_callers_make_no_series(recorder: Recorder, metrics: Metrics) -> None:
    flag = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", share_millipct=50_000)
    snapshot = compile_snapshot({"draft": flag}, 1)

    def series() -> int:
        recorder.drain()
        return sum(len(each.series) for each in vars(metrics).values() if hasattr(each, "series"))

    for number in range(200):
        recorder.record(settled(b'{"model":"copilot/draft","user":"first-%d"}' % number, snapshot, number))
    recorder.record(settled(b'{"model":"none"}', snapshot, 200))
    before = series()
    for number in range(10_000):
        recorder.record(settled(b'{"model":"copilot/draft","user":"user-%d"}' % number, snapshot, number))
    for number in range(1_000):
        recorder.record(settled(b'{"model":"copilot/made-up-%d","user":"u"}' % number, snapshot, number))
        recorder.record(settled(b'{"model":"made-up-%d","user":"u"}' % number, snapshot, number))
    assert series() == before
    assert total(metrics) == 200 + 1 + 10_000 + 2_000


def test_sinks_get_every_record_and_a_broken_one_costs_the_others_nothing(
    metrics: Metrics, answers: AnswerIndex
) -> None:
    class Broken:
        def take(self, records) -> None:
            raise RuntimeError("no")

    class Kept(list):
        def take(self, records) -> None:
            self.extend(records)

    kept = Kept()
    recorder = Recorder(metrics, answers, (Broken(), kept))
    for _ in range(100):
        recorder.record(RECORD)
    recorder.drain()
    assert len(kept) == 100
    assert total(metrics) == 100


def test_refusals_are_counted_by_their_code(recorder: Recorder, metrics: Metrics) -> None:
    recorder.record(replace(RECORD, attempts=0, served="", outcome="refused", cause="overloaded"))
    recorder.drain()
    assert metrics.refusals.series == {("draft", "overloaded"): 1.0}


def test_a_traced_request_stands_for_its_bucket_of_duration_and_first_token(
    recorder: Recorder, metrics: Metrics
) -> None:
    recorder.record(replace(RECORD, ttft_s=0.1))
    recorder.record(replace(RECORD, ttft_s=0.1, trace=Trace("a" * 32, "b" * 16)))
    recorder.record(replace(RECORD, ttft_s=0.1))
    recorder.drain()
    for cell, value in ((metrics.duration.cell(*MODEL, ""), 0.5), (metrics.ttft.cell(*MODEL), 0.1)):
        (marked,) = cell.exemplars.values()
        assert (marked.trace_id, marked.value, marked.at_s) == ("a" * 32, value, RECORD.at_s)
    assert metrics.overhead.cell(*MODEL).exemplars == {}


@pytest.mark.parametrize("change", [{"attempts": 0, "cause": "overloaded"}, {"feature": "", "reason": "bypass"}])
def test_what_gets_no_feedback_is_kept_elsewhere(metrics: Metrics, answers: AnswerIndex, change) -> None:
    others: list[Record] = []
    recorder = Recorder(metrics, answers, (), others.append)
    recorder.record(replace(RECORD, **change))
    recorder.record(RECORD)
    recorder.drain()
    assert [record.attempts for record in others] == [change.get("attempts", 1)]
    assert len(answers) == 1
