from loadtests.bench.stage import Standing
from loadtests.bench.subjects import direct
from loadtests.bench.throughput import rotated


def test_every_turn_begins_with_another_subject() -> None:
    standing = [Standing(direct(port, 0), port) for port in (1, 2, 3)]
    assert [[one.session for one in rotated(standing, turn)] for turn in range(4)] == [
        [1, 2, 3],
        [2, 3, 1],
        [3, 1, 2],
        [1, 2, 3],
    ]
