import json
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.access_log import BATCHES_MAX, AccessLog, pieces
from gateway.core.trace import Trace
from tests.gateway.records import SETTLED

RECORD = replace(
    SETTLED,
    at_s=1.5,
    served="baseline",
    reason="split",
    upstream="partner",
    attempts=2,
    key_id="key_1",
    failed_cause="reset",
    trace=Trace("a" * 32, "b" * 16),
    hash_version=3,
)


def test_each_record_is_one_line_of_json(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    log.take([RECORD, msgspec.structs.replace(RECORD, request_id='with "quotes"\n')])
    log.take([RECORD])
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert [line["request_id"] for line in lines] == ["r", 'with "quotes"\n', "r"]
    assert lines[0]["failed_cause"] == "reset"
    decided = ("feature", "revision", "hash_version", "bucket", "assigned", "served", "reason")
    assert [lines[0][name] for name in decided] == ["draft", 1, 3, 5, "candidate", "baseline", "split"]
    assert lines[0]["ttft_s"] is None
    assert lines[0]["trace"]["trace_id"] == "a" * 32
    assert not log.dropped


def test_a_log_may_be_rotated_away(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    log.take([RECORD])
    log.close()
    path.rename(tmp_path / "access.log.1")
    log = AccessLog(path)
    log.take([RECORD])
    log.close()
    assert path.read_bytes() == (tmp_path / "access.log.1").read_bytes()


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    log.take([RECORD, RECORD])
    log.close()
    assert log.dropped == 2


def test_a_writer_that_hangs_costs_lines_not_time(tmp_path: Path, monkeypatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        leave.wait()

    monkeypatch.setattr(AccessLog, "_append", hang)
    log = AccessLog(tmp_path / "access.log")
    log.take([RECORD])
    entered.wait()
    for _ in range(BATCHES_MAX + 3):
        log.take([RECORD])
    assert log.dropped == 3
    leave.set()
    log.close()


def test_standard_output_gets_the_same_lines(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(None)
    log.take([RECORD] * 50)
    log.close()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["request_id"] for line in lines] == ["r"] * 50
    assert log.dropped == 0


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 40))
def test_pieces_are_whole_lines_as_small_as_a_pipe_wants(lengths: list[int], piece_max: int) -> None:
    lines = b"".join(b"x" * length + b"\n" for length in lengths)
    cut = list(pieces(lines, piece_max))
    assert b"".join(cut) == lines
    for piece in cut:
        assert piece.endswith(b"\n")
        assert len(piece) <= piece_max or piece.count(b"\n") == 1


def test_a_full_disk_costs_the_lines_that_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog(Path("/dev/full"))
    log.take([RECORD] * 3)
    log.close()
    assert log.dropped == 3
