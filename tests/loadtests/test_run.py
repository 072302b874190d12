"""A scenario from its file to its verdict: real locust, real sockets."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.errors import InvalidFileError, KeyRefusedError, LoadRunFailedError, LocustMissingError
from loadtests.run import run_scenario, shipped
from loadtests.simulator import Fault, FaultKind

REPOSITORY = Path(__file__).parents[2]
PROMPTS = REPOSITORY / "loadtests/scenarios/smoke-prompts.jsonl"
FEATURES = ("copilot/rewrite", "copilot/summarize", "copilot/draft")


def scenario(folder: Path, thresholds: str, duration_s: float = 3) -> Path:
    path = folder / "scenario.toml"
    path.write_text(
        f'users = 4\nrate = 20.0\nduration_s = {duration_s}\ntimeout_s = 5\nprompts = "{PROMPTS}"\n'
        f"[thresholds]\n{thresholds}\n"
    )
    return path


async def simulated_features(simulate, *faults):
    return await simulate(*faults, models=FEATURES, references=str(PROMPTS), accuracy=1.0)


async def run_load(simulator, path: Path, *more: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests", "load", str(path), "--base-url", simulator.base_url, *more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    return process.returncode or 0, output.decode()


@pytest.mark.system
async def test_a_good_run_passes_with_exit_code_0(simulate, tmp_path) -> None:
    simulator = await simulated_features(simulate)
    path = scenario(tmp_path, "ttft_p95_s = 2.0\ne2e_p95_s = 5.0\nexact_match_ratio = 1.0\nachieved_rate_ratio = 0.5")
    report_path = tmp_path / "report.json"
    code, output = await run_load(simulator, path, "--report", str(report_path))
    assert code == 0, output
    assert "ok: all thresholds held" in output
    report = json.loads(report_path.read_text())
    assert set(report["features"]) == set(FEATURES)
    assert report["total"]["errors"] == 0
    assert report["total"]["matched"] == report["total"]["scored"] == report["total"]["requests"] > 20
    # The simulator's own count, which the load generator cannot influence.
    assert simulator.partner.stats.snapshot()["requests"]["completed"] == report["total"]["requests"]


@pytest.mark.system
async def test_truncated_streams_fail_the_run_with_exit_code_1(simulate, tmp_path) -> None:
    simulator = await simulated_features(simulate, Fault(FaultKind.MISSING_DONE, rate=0.5))
    code, output = await run_load(simulator, scenario(tmp_path, "error_ratio = 0.01"))
    assert code == 1, output
    assert "breach: error ratio" in output
    assert "problem: truncated: no end marker" in output


@pytest.mark.system
async def test_a_share_without_arm_headers_cannot_be_judged_and_fails(simulate, tmp_path) -> None:
    simulator = await simulated_features(simulate)
    path = scenario(tmp_path, 'share = { "copilot/draft" = 0.25 }', duration_s=1)
    code, output = await run_load(simulator, path)
    assert code == 1, output
    assert "copilot/draft: no answer named its arm" in output


@pytest.mark.system
def test_sigterm_ends_the_load_generator_too(tmp_path) -> None:
    path = scenario(tmp_path, "", duration_s=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests", "load", str(path), "--base-url", "http://127.0.0.1:1/v1"],
        stdout=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline_s = time.monotonic() + 20
    try:
        while not (found := children.read_text().split()) or b"locust" not in _argv(found[0]):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) != 0
        assert not Path("/proc", found[0]).exists()
    finally:
        process.kill()
        process.wait()


def _argv(pid: str) -> bytes:
    return Path("/proc", pid, "cmdline").read_bytes()


def test_shipped_scenarios_are_found_by_name_and_others_by_path(tmp_path: Path) -> None:
    assert shipped("smoke").name == "smoke.toml"
    path = scenario(tmp_path, "")
    assert shipped(str(path)) == path
    with pytest.raises(InvalidFileError) as caught:
        shipped("smok")
    assert "smoke" in caught.value.hint


def test_without_locust_the_hint_names_the_extra(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "locust", None)
    with pytest.raises(LocustMissingError) as caught:
        run_scenario(scenario(tmp_path, ""), "http://127.0.0.1:1/v1", None)
    assert "make setup-dev" in caught.value.hint
    assert caught.value.exit_code != 0


@pytest.mark.parametrize(
    ("base_url", "prompts"), [("nonsense", None), ("http://127.0.0.1:1/v1", Path("/nonexistent.jsonl"))]
)
def test_what_cannot_run_is_refused_before_locust_starts(tmp_path: Path, base_url: str, prompts: Path | None) -> None:
    with pytest.raises(InvalidFileError):
        run_scenario(scenario(tmp_path, ""), base_url, None, prompts)


@pytest.mark.parametrize(("key", "told"), [(None, "without a key"), ("wrong", "with this key")])
def test_a_key_that_is_not_taken_ends_it_before_the_first_request(
    asking_url: str, tmp_path: Path, monkeypatch, key: str | None, told: str
) -> None:
    monkeypatch.delenv("GLIDEPATH_API_KEY", raising=False)
    with pytest.raises(KeyRefusedError, match=told) as caught:
        run_scenario(scenario(tmp_path, ""), asking_url, key)
    assert "GLIDEPATH_API_KEY" in caught.value.hint


@pytest.mark.system
def test_a_load_generator_that_dies_is_a_one_line_cause(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LOCUST_USERS", "not-a-number")
    with pytest.raises(LoadRunFailedError) as caught:
        run_scenario(scenario(tmp_path, "", duration_s=1), "http://127.0.0.1:1/v1", None)
    assert "\n" not in caught.value.cause + caught.value.hint
    assert "not-a-number" in caught.value.hint
