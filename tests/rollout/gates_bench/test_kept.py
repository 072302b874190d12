from pathlib import Path

from rollout.gates_bench import gate, kept, plan
from rollout.gates_bench.kept import Kept
from rollout.gates_bench.plan import Engine


def made(asked: list[int], known: int, runs: int) -> list[int | None]:
    asked.append(known)
    return [None if number % 3 == 0 else number for number in range(known, runs)]


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    asked: list[int] = []
    for runs in (2, 5, 3, 5):
        kept = Kept(tmp_path, Engine())
        found = kept.extended("a", list[int | None], runs, lambda known, runs=runs: made(asked, known, runs))
        assert found == [None, 1, 2, None, 4][:runs]
    assert asked == [0, 2]


def test_another_name_or_engine_begins_anew(tmp_path: Path) -> None:
    asked: list[int] = []
    for name, engine in (("a", Engine()), ("b", Engine()), ("a", Engine(epoch_batches=2))):
        Kept(tmp_path, engine).extended(name, list[int | None], 2, lambda known: made(asked, known, 2))
    assert asked == [0, 0, 0]


def test_without_a_folder_nothing_is_kept() -> None:
    asked: list[int] = []
    for _ in range(2):
        Kept(None, Engine()).extended("a", list[int | None], 2, lambda known: made(asked, known, 2))
    assert asked == [0, 0]


def test_other_sources_begin_anew(tmp_path: Path) -> None:
    asked: list[int] = []
    for sources in ((gate,), (gate, plan), (gate,)):
        Kept(tmp_path, Engine(), sources).extended("a", list[int | None], 2, lambda known: made(asked, known, 2))
    assert asked == [0, 0]
    assert {gate, plan} <= set(kept.SOURCES)
