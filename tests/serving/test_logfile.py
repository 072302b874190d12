from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.logfile import MAX_LINE_CHARS, EngineLog, LineSplitter


def test_lines_are_kept_in_the_file_and_the_last_in_memory(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "logs" / "vllm.log", tail_lines=3)
    for number in range(5):
        log.write(f"line {number}")
    log.close()
    assert (tmp_path / "logs" / "vllm.log").read_text().splitlines() == [f"line {number}" for number in range(5)]
    assert log.tail() == ("line 2", "line 3", "line 4")
    assert log.tail(2) == ("line 3", "line 4")


def test_the_disk_is_bounded_and_the_newest_survive(tmp_path: Path) -> None:
    path = tmp_path / "vllm.log"
    log = EngineLog(path, max_bytes=2000)
    for number in range(1000):
        log.write(f"line {number} é")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000
    log.close()
    assert path.read_text().splitlines()[-1] == "line 999 é"


def test_a_second_run_appends_within_the_same_bound(tmp_path: Path) -> None:
    for _ in range(30):
        log = EngineLog(tmp_path / "vllm.log", max_bytes=1000)
        log.write("x" * 99)
        log.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1000


def test_one_enormous_line_is_cut(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "vllm.log")
    log.write("x" * 100_000)
    log.close()
    assert (tmp_path / "vllm.log").stat().st_size < MAX_LINE_CHARS + 20


def test_a_new_run_is_not_explained_by_the_one_before(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "vllm.log")
    log.write("old failure")
    log.forget()
    assert log.tail() == ()
    log.close()
    assert "old failure" in (tmp_path / "vllm.log").read_text()


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), max_size=8), st.integers(1, 7))
def test_any_cut_of_the_stream_gives_the_same_lines(lines: list[str], step: int) -> None:
    data = "\n".join(lines).encode()
    splitter = LineSplitter()
    found = [line for at in range(0, len(data), step) for line in splitter.feed(data[at : at + step])]
    assert found + splitter.end() == lines


def test_progress_bars_and_empty_lines() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"10%\r20%\r\n\n30%\n\xff\nrest") == ["10%", "20%", "30%", "\ufffd"]
    assert splitter.end() == ["rest"]


def test_a_stream_without_newlines_does_not_grow_memory() -> None:
    splitter = LineSplitter()
    found = [line for _ in range(100) for line in splitter.feed(b"x" * 10_000)]
    assert sum(map(len, found)) > 900_000
