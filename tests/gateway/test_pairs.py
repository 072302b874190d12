"""The queue between shadow calls and their judge."""

from gateway.core.shadowing import Answered, ShadowPair
from gateway.pairs import NoJudge, PairQueue, size_of


def pair(number: int, text: str = "t") -> ShadowPair:
    one, two = (Answered(arm, arm, text, None, None, 0.1) for arm in ("baseline", "candidate"))
    return ShadowPair(
        f"r{number}", 0.0, "draft", 1, "acme", "user", "ann", "chat", False, b"{}", one, two, candidate_first=True
    )


def test_pairs_come_out_in_their_order() -> None:
    queue = PairQueue()
    assert queue.oldest is None
    assert [queue.take(pair(number)) for number in range(3)] == [0, 0, 0]
    assert queue.oldest == pair(0)
    assert [getattr(queue.pop(), "request_id", None) for _ in range(4)] == ["r0", "r1", "r2", None]


def test_who_comes_too_late_loses_the_oldest() -> None:
    queue = PairQueue(count_max=2)
    assert [queue.take(pair(number)) for number in range(4)] == [0, 0, 1, 1]
    assert len(queue) == 2
    assert queue.pop() == pair(2)


def test_memory_is_bounded_too() -> None:
    large = size_of(pair(0, "x" * 1_000))
    queue = PairQueue(bytes_max=2 * large)
    assert [queue.take(pair(number, "x" * 1_000)) for number in range(3)] == [0, 0, 1]
    assert queue.take(pair(3, "x" * 10_000)) == 3
    assert len(queue) == 0
    assert queue.take(pair(4)) == 0


def test_without_a_judge_nothing_is_kept() -> None:
    assert NoJudge().take(pair(1)) == 0
