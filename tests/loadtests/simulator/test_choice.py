import pytest

from loadtests.simulator.choice import Tally, strikes
from loadtests.simulator.faults import STREAM_ONLY, Fault, FaultKind
from loadtests.simulator.wire import Api, Ask


def ask(question: str = "q", *, stream: bool = False) -> Ask:
    return Ask(Api.CHAT, "m", question, 1, stream=stream)


@pytest.mark.parametrize("kind", sorted(STREAM_ONLY))
def test_faults_of_streams_spare_single_bodies(kind: FaultKind) -> None:
    assert not strikes(Fault(kind), ask(), 0, Tally())
    assert strikes(Fault(kind), ask(stream=True), 0, Tally())


def test_a_fault_of_another_model_or_endpoint_does_not_strike() -> None:
    assert not strikes(Fault(FaultKind.RESET, model="other"), ask(), 0, Tally())
    assert strikes(Fault(FaultKind.RESET, model="m"), ask(), 0, Tally())
    assert not strikes(Fault(FaultKind.RESET, api=Api.MESSAGES), ask(), 0, Tally())
    assert strikes(Fault(FaultKind.RESET, api=Api.CHAT), ask(), 0, Tally())


def test_a_limit_ends_a_fault() -> None:
    fault, tally = Fault(FaultKind.RESET, limit=2), Tally()
    assert [strikes(fault, ask(), n, tally) for n in range(4)] == [True, True, False, False]


def test_flapping_spares_and_strikes_in_turn_and_counts_only_what_it_could_strike() -> None:
    fault, tally = Fault(FaultKind.RESET, good=2, bad=1, model="m"), Tally()
    found = []
    for number in range(7):
        assert not strikes(fault, ask()._replace(model="other"), 0, tally)
        found.append(strikes(fault, ask(), number, tally))
    assert found == [False, False, True, False, False, True, False]


def test_only_a_used_connection_can_be_stale() -> None:
    assert not strikes(Fault(FaultKind.STALE), ask(), 0, Tally(), nth=0)
    assert strikes(Fault(FaultKind.STALE), ask(), 0, Tally(), nth=1)


def test_the_rate_is_met_replays_and_differs_by_seed_and_repetition() -> None:
    def hits(fault: Fault) -> list[bool]:
        return [strikes(fault, ask(f"q{n % 50}"), n // 50, Tally()) for n in range(2000)]

    fault = Fault(FaultKind.RESET, rate=0.3, seed=4)
    assert abs(sum(hits(fault)) / 2000 - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5
    assert hits(fault) == hits(fault)
    assert hits(fault) != hits(Fault(FaultKind.RESET, rate=0.3, seed=5))
    assert hits(fault)[:50] != hits(fault)[50:100]
    assert not any(hits(Fault(FaultKind.RESET, rate=0)))


def test_the_tally_is_bounded() -> None:
    tally = Tally()
    for seed in range(10_100):
        strikes(Fault(FaultKind.RESET, seed=seed), ask(), 0, tally)
    assert len(tally.eligible) < 10_000
