import pytest

from loadtests.bench import summarize
from loadtests.bench.estimates import Estimate
from loadtests.bench.figures import Answered, Figure, Held, Turn


def test_a_throughput_row_holds_medians_and_the_ratio_within_turns(plain: list[Figure]) -> None:
    rows = summarize.throughput(plain)
    assert [row.subject for row in rows[:5]] == ["direct", "nginx", "glidepath", "vllm-router", "sglang-router"]
    assert [row.workload for row in rows] == ["1 KB request"] * 5 + ["100 KB request"] * 5
    nginx, ours = rows[1], rows[2]
    assert nginx.requests_per_s == Estimate(300.0, 100.0, 500.0, 0.9375, 5)
    assert nginx.times == Estimate(0.6, 0.6, 0.6, 0.9375, 5)
    assert (nginx.failures, nginx.busy, nginx.cpu_s_per_1000.value) == (5, 0.97, 0.1)
    assert ours.times is None


def test_scaling_is_of_linear_and_within_turns(workers: list[Figure]) -> None:
    found = {(row.subject, row.workers): row.efficiency for row in summarize.scaling(workers)}
    assert found["glidepath", 2] == Estimate(1.0, 1.0, 1.0, 0.9375, 5)
    assert len(found) == 5


def test_workers_without_a_single_one_beside_them_have_no_scaling(workers: list[Figure]) -> None:
    assert summarize.scaling([each for each in workers if each.cell.workers > 1]) == ()


def test_added_latency_is_the_difference_to_direct_within_turns(answered: list[Answered]) -> None:
    direct, ours = summarize.latency(answered)
    assert (direct.subject, direct.added_s) == ("direct", {})
    assert ours.added_s["p50"].value == pytest.approx(0.0005)
    assert ours.added_s["p99.9"].high == pytest.approx(0.002)
    assert ours.latency_s["p99"].value == pytest.approx(2.0045)
    assert (ours.failures, ours.queued, ours.lag_p99_s) == (5, 10, pytest.approx(3e-5))


def test_a_turn_without_a_good_answer_has_failures_but_no_latency(answered: list[Answered]) -> None:
    dead = [each._replace(latency_s={}, failures=9) if each.turn == 0 else each for each in answered]
    direct, ours = summarize.latency(dead)
    assert (direct.latency_s["p50"].turns, ours.added_s["p50"].turns, ours.failures) == (4, 4, 13)
    (nothing,) = summarize.latency(dead[:1])
    assert (nothing.latency_s, nothing.added_s) == ({}, {})


def test_memory_is_per_stream_and_growth_a_share_of_it(held: list[Held]) -> None:
    (row,) = summarize.idle(held)
    assert (row.bytes_per_stream, row.growth_share, row.lost) == (20_000.0, pytest.approx(0.01), 0)


def test_noise_counts_slow_turns_and_those_with_others_on_the_core(plain: list[Figure]) -> None:
    turns = [Turn("plain", 0, 0.010), Turn("plain", 1, 0.012), Turn("latency", 0, 0.011), Turn("plain", 2, 0.010)]
    disturbed = [each._replace(foreign=0.5) if each.turn == 2 else each for each in plain]
    found = summarize.noise(turns, {"plain": disturbed}, 0.2)
    assert (found.turns, found.noisy_turns, found.busy_at_start) == (4, 2, 0.2)
    assert (found.spin_worst, found.foreign_worst) == (pytest.approx(1.2), 0.5)


def test_a_run_without_turns_has_no_noise() -> None:
    assert summarize.noise([], {}, 0.0).noisy_turns == 0
