import pytest

from loadtests.errors import InvalidFileError
from loadtests.simulator.faults import STATUSES, STREAM_ONLY, Fault, FaultKind, FaultList, choose
from loadtests.simulator.wire import Api, Ask
from loadtests.strict import convert


def ask(question: str = "q", *, stream: bool = False) -> Ask:
    return Ask(Api.CHAT, "m", question, 1, stream=stream)


def test_the_first_fault_that_fires_wins() -> None:
    never, first, second = Fault(FaultKind.RESET, rate=0), Fault(FaultKind.STALL), Fault(FaultKind.RESET)
    assert choose((never, first, second), ask(), 0) is first
    assert choose((), ask(), 0) is None


@pytest.mark.parametrize("kind", sorted(STREAM_ONLY))
def test_faults_of_streams_spare_single_bodies(kind: FaultKind) -> None:
    assert choose((Fault(kind),), ask(), 0) is None
    assert choose((Fault(kind),), ask(stream=True), 0) is not None


def test_a_fault_of_another_model_does_not_fire() -> None:
    assert choose((Fault(FaultKind.RESET, model="other"),), ask(), 0) is None
    assert choose((Fault(FaultKind.RESET, model="m"),), ask(), 0) is not None


def test_a_limit_ends_a_fault() -> None:
    fault = Fault(FaultKind.RESET, limit=2)
    assert choose((fault,), ask(), 0, lambda _: 1) is fault
    assert choose((fault,), ask(), 0, lambda _: 2) is None


def test_the_rate_is_met_replays_and_differs_by_seed_and_repetition() -> None:
    def hits(fault: Fault) -> list[bool]:
        return [choose((fault,), ask(f"q{n % 50}"), n // 50) is not None for n in range(2000)]

    fault = Fault(FaultKind.RESET, rate=0.3, seed=4)
    assert abs(sum(hits(fault)) / 2000 - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5
    assert hits(fault) == hits(fault)
    assert hits(fault) != hits(Fault(FaultKind.RESET, rate=0.3, seed=5))
    assert hits(fault)[:50] != hits(fault)[50:100]


@pytest.mark.parametrize(
    ("data", "cause", "hint"),
    [
        ({"kind": "rest"}, "rest", "did you mean `reset`"),
        ({"kind": "reset", "rat": 1}, "rat", "did you mean `rate`"),
        ({"kind": "reset", "rate": 1.5}, "rate", "correct the value"),
        ({"kind": "reset", "rate": float("nan")}, "rate", "correct the value"),
        ({"kind": "status", "status": 418}, "418", "correct the value"),
    ],
)
def test_unknown_words_and_values_out_of_range_are_refused(data: dict, cause: str, hint: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        convert({"faults": [data]}, FaultList, "faults")
    assert cause in caught.value.cause
    assert hint in caught.value.hint


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_with_words_may_be_asked_for(status: int) -> None:
    assert Fault(FaultKind.STATUS, status=status).status == status
