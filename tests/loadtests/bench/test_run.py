import os
import shutil
from pathlib import Path

import pytest

from loadtests.bench.errors import BenchError
from loadtests.bench.plan import QUICK
from loadtests.bench.results import decode
from loadtests.bench.run import Wanted, run

NEEDED = ("wrk", "nginx", "taskset")


@pytest.mark.system
def test_a_quick_run_measures_everything_without_a_failure(tmp_path: Path) -> None:
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing and "CI" not in os.environ:
        pytest.skip(f"NOT RUN, not installed: {', '.join(missing)}")
    text = run(Wanted(QUICK._replace(idle_streams=50), (), tmp_path))
    document = decode((tmp_path / "latest.json").read_bytes())
    assert text == (tmp_path / "latest.md").read_text()
    assert (tmp_path / "latest.svg").read_text().startswith("<svg ")
    single = [row for row in document.throughput if row.workers == 1]
    proxies, plain = ("nginx", "glidepath"), ("1 KB request", "100 KB request")
    measured = {(each, subject) for each in (*plain, "stream of 64 events") for subject in ("direct", *proxies)}
    measured |= {(each, "glidepath, evidence") for each in plain}
    measured |= {("paced stream of 64 events", subject) for subject in proxies}
    assert {(row.workload, row.subject) for row in single} == measured
    assert all(row.requests_per_s.value > 0 and row.cpu_s_per_1000.value > 0 for row in single)
    assert sum(row.failures for row in document.throughput) == 0
    assert sum(row.failures for row in document.latency) == 0
    assert {(row.subject, row.streams, row.lost) for row in document.idle} == {("glidepath", 50, 0), ("nginx", 50, 0)}
    assert document.decision is not None
    published = "".join(each.read_text() for each in tmp_path.iterdir())
    assert "glidepath-bench-" not in published


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchError, match="not installed: wrk, nginx, taskset") as raised:
        run(Wanted(QUICK, (), None))
    assert "apt-get" in raised.value.hint


def test_an_unknown_peer_is_refused_before_anything_is_started() -> None:
    if any(shutil.which(program) is None for program in NEEDED):
        pytest.skip("NOT RUN, a program is not installed")
    with pytest.raises(BenchError, match="no peer is called 'traefik'") as raised:
        run(Wanted(QUICK, ("traefik",), None))
    assert raised.value.hint == "there are: vllm-router, sglang-router, litellm"
