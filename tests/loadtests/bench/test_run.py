import json
import os
import shutil
from pathlib import Path

import pytest

from loadtests.bench import run as bench
from loadtests.bench.errors import BenchError

NEEDED = ("wrk", "nginx", "taskset")


@pytest.mark.system
def test_a_short_run_measures_every_subject_without_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing and "CI" not in os.environ:
        pytest.skip(f"NOT RUN, not installed: {', '.join(missing)}")
    monkeypatch.setattr(bench, "find_vllm_router", lambda _say: None)
    text = bench.run(duration_s=1, repeats=1, connections=[8], output=tmp_path)
    assert "| glidepath |" in text
    document = json.loads((tmp_path / "latest.json").read_text())
    assert [result["workload"] for result in document["results"]] == ["non-stream", "stream of 64 events"]
    for result in document["results"]:
        assert {row["subject"] for row in result["rows"]} == {"glidepath", "nginx proxy_pass"}
        assert all(row["requests_per_s"] > 0 and row["failures"] == 0 and row["cpu_us"] > 0 for row in result["rows"])


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchError, match="not installed: wrk, nginx, taskset") as raised:
        bench.run(duration_s=1, repeats=1, connections=[1], output=None)
    assert "apt-get" in raised.value.hint


@pytest.mark.parametrize(
    ("page", "form"),
    [
        ('x 1\nglidepath_build_info{compiled="true",version="1"} 1.0\n', "compiled"),
        ('glidepath_build_info{version="1",compiled="false"} 1.0\n', "interpreted"),
        ("x 1\n", "unknown"),
    ],
)
def test_which_form_was_measured_is_read_from_the_gateway(page: str, form: str) -> None:
    assert bench.form_of(page) == form
