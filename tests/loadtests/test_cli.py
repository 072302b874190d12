"""The commands as processes, the way an operator runs them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

REPOSITORY = Path(__file__).parents[2]
PROMPTS = REPOSITORY / "loadtests/scenarios/smoke-prompts.jsonl"


def run(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtests", *argv], capture_output=True, text=True, timeout=60, check=False, env=env
    )


def ready(path: Path, process: subprocess.Popen[str]) -> str:
    deadline_s = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return path.read_text().strip()


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_announces_itself_answers_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    config = tmp_path / "partner.toml"
    config.write_text("accuracy = 0.0\n[latency]\nttft_median_s = 60\n")
    argv = ["simulator", "--port", "0", "--config", str(config), "--references", str(PROMPTS), "--accuracy", "1"]
    options = ["--ttft-median-s", "0", "--inter-token-median-s", "0", "--ready-file", str(tmp_path / "ready")]
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests", *argv, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        base_url = ready(tmp_path / "ready", process)
        prompt = json.loads(PROMPTS.read_text().splitlines()[0])
        body = {"model": "simulated-partner", "messages": prompt["messages"]}
        answer = httpx2.post(f"{base_url}/chat/completions", json=body, timeout=60)
        assert answer.json()["choices"][0]["message"]["content"] == prompt["reference"]
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert output.startswith(f"READY {base_url} ")
    assert "simulator" in output
    assert errors == ""


@pytest.mark.system
@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["simulator", "--config", "/nonexistent.toml"], "cannot read"),
        (["simulator", "--accuracy", "2"], "accuracy"),
        (["simulator", "--references", "/nonexistent.jsonl"], "cannot read"),
        (["simulator", "--require-key-env", "SURELY_NOT_SET"], "SURELY_NOT_SET"),
        (["simulator", "--host", "192.0.2.1", "--port", "0"], "cannot listen"),
        (["load", "no-such-scenario"], "no scenario"),
        (["load", "smoke", "--base-url", "nonsense"], "not a base URL"),
    ],
)
def test_foreseeable_faults_are_a_cause_and_a_hint(argv: list[str], cause: str) -> None:
    found = run(*argv)
    assert found.returncode != 0
    first, hint = found.stderr.splitlines()
    assert first.startswith("glidepath: ")
    assert cause in first
    assert hint.startswith("  hint: ")


@pytest.mark.system
def test_a_key_is_taken_from_the_environment_not_from_the_command_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests", "simulator", "--port", "0", "--require-key-env", "PARTNER_KEY",
         "--ready-file", str(tmp_path / "ready")],
        env={"PARTNER_KEY": "k"}, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        base_url = ready(tmp_path / "ready", process)
        assert httpx2.post(f"{base_url}/chat/completions", json={}, timeout=60).status_code == 401
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.system
def test_help_names_both_commands_without_importing_heavy_parts() -> None:
    found = run("--help")
    assert "simulator" in found.stdout
    assert "load" in found.stdout
    probe = "import sys, loadtests.cli; print({'httptools', 'locust', 'msgspec', 'mmh3'} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert imported.stdout.strip() == "set()"
