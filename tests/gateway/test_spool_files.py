from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.core.keeping import Mark, encode
from gateway.spool_files import HOUR_S, SpoolFiles
from tests.gateway.texts import NOW_S, texts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def files(folder: Path) -> SpoolFiles:
    return SpoolFiles(folder)


def put(files: SpoolFiles, number: int, at_s: float = NOW_S, ttl_s: float = 7_200.0, feature: str = "draft") -> None:
    files.append(feature, at_s, ttl_s, encode(texts(number, at_s)))


def numbers(
    files: SpoolFiles, feature: str = "draft", since_s: float = 0.0, *, newest_first: bool = False
) -> list[int]:
    return [int(line.id, 16) for line in files.read(feature, since_s, newest_first=newest_first)]


def test_texts_come_back_by_feature_and_hour(files: SpoolFiles) -> None:
    put(files, 3, NOW_S + HOUR_S)
    put(files, 1)
    put(files, 2)
    put(files, 9, feature="ask")
    assert (numbers(files), numbers(files, "ask"), numbers(files, "other")) == ([1, 2, 3], [9], [])
    assert numbers(files, newest_first=True) == [3, 1, 2]
    assert numbers(files, since_s=NOW_S + 1) == [3]
    assert numbers(files, since_s=NOW_S + 2 * HOUR_S) == []
    assert len(files.files()) == 3


def test_nobody_else_may_read_them_and_names_say_nothing(files: SpoolFiles, folder: Path) -> None:
    before = os.umask(0)
    try:
        put(files, 1, feature="secret-project")
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.name.removesuffix(".jsonl").split("-")[1:] == ["1000", "1002"]
    assert "secret" not in path.name


def test_damaged_lines_cost_only_themselves(files: SpoolFiles, folder: Path) -> None:
    put(files, 1)
    (path,) = folder.iterdir()
    with path.open("ab") as file:
        file.write(b"{damaged\n")
    put(files, 2)
    with path.open("ab") as file:
        file.write(encode(Mark("0" * 32, NOW_S, "judge", "x", 1.0))[:-3])
    assert numbers(files) == [1, 2]


def test_what_a_killed_process_left_half_written_costs_nothing_of_the_next(files: SpoolFiles, folder: Path) -> None:
    put(files, 1)
    (path,) = folder.iterdir()
    for cut in (1, 3, 40):
        with path.open("ab") as file:
            file.write(encode(texts(8))[:-cut])
        put(files, cut + 1)
    assert numbers(files) == [1, 8, 2, 4, 41], "without its line's end alone it is whole"


def test_what_a_full_disk_took_half_of_is_taken_back(files: SpoolFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    put(files, 1)
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        put(files, 2)
    monkeypatch.undo()
    put(files, 3)
    assert numbers(files) == [1, 3]


def test_time_is_up_by_the_file_or_by_the_flag_whichever_is_sooner(files: SpoolFiles) -> None:
    put(files, 1, ttl_s=2 * HOUR_S)
    put(files, 2, NOW_S + HOUR_S, ttl_s=10 * HOUR_S)
    began_s = 1_000 * HOUR_S
    assert files.sweep(began_s + 2 * HOUR_S - 1, {}, 1 << 20) == 0
    assert files.sweep(began_s + 2 * HOUR_S, {}, 1 << 20) == 1
    assert numbers(files) == [2]
    assert files.sweep(began_s + 4 * HOUR_S, {"draft": 4 * HOUR_S, "ask": HOUR_S}, 1 << 20) == 0
    assert files.sweep(began_s + 5 * HOUR_S, {"draft": 4 * HOUR_S}, 1 << 20) == 1
    assert files.files() == []


def test_a_longer_time_later_does_not_keep_what_was_promised_to_go(files: SpoolFiles) -> None:
    put(files, 1, ttl_s=HOUR_S)
    assert files.sweep(NOW_S + HOUR_S, {"draft": 90 * 24 * HOUR_S}, 1 << 20) == 1


def test_the_oldest_go_when_there_are_too_many(files: SpoolFiles) -> None:
    for number in range(4):
        put(files, number, NOW_S + number * HOUR_S, 90 * HOUR_S, feature=f"f{number % 2}")
    size = files.size_bytes()
    assert files.sweep(NOW_S, {}, size) == 0
    assert files.sweep(NOW_S, {}, size - 1) == 1
    assert (numbers(files, "f0"), numbers(files, "f1")) == ([2], [1, 3])
    assert files.sweep(NOW_S, {}, 0) == 3


def test_files_of_others_are_left_alone(files: SpoolFiles, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("note.txt", "a-b-c.jsonl", "x.jsonl", "a-1-2.txt"):
        (folder / name).write_text("x")
    assert (files.files(), files.size_bytes(), files.sweep(1e12, {}, 0)) == ([], 0, 0)
    assert len(list(folder.iterdir())) == 4


def test_a_folder_that_is_not_there_is_empty(files: SpoolFiles) -> None:
    assert (numbers(files), files.files(), files.size_bytes(), files.sweep(NOW_S, {}, 0)) == ([], [], 0, 0)


def test_a_file_that_goes_while_it_is_read_is_no_fault(files: SpoolFiles) -> None:
    put(files, 1)
    put(files, 2, NOW_S + HOUR_S)
    reading = files.read("draft")
    assert next(reading).id == texts(1).id
    files.sweep(1e12, {}, 0)
    assert list(reading) == []
