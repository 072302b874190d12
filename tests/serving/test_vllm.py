"""The real thing: vLLM from its environment, serving the demo model."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from serving import cli, environment, spec
from serving.errors import InstallError
from tests.serving.conftest import Family
from tests.serving.test_cli import RUN

pytestmark = [pytest.mark.vllm, pytest.mark.system]

START_S = 240.0


def needed() -> None:
    """Skip, loudly, without vLLM or the demo weights; fail on CI, where both must be there."""
    model = spec.load(cli.MODELS / "demo-good.toml")
    missing = "" if Path(model.model).is_dir() else f"no demo weights at {model.model}"
    try:
        environment.find(None, os.environ)
    except InstallError as error:
        missing = f"{error.cause}; {error.hint}"
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@contextmanager
def serving(
    tmp_path: Path, family: Family, eventually: Callable[..., None]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `glidepath serving up demo-good` until it is ready; give the process and the URL."""
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-c", RUN, "serving", "up", "demo-good", "--port", "0", "--ready-file", str(ready)]
    command += ["--log-file", str(tmp_path / "vllm.log")]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        command, env={**family.env, "PYTHONPATH": root}, cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: ready.exists() or process.poll() is not None, START_S)
        assert ready.exists(), process.stdout and process.stdout.read()
        yield process, json.loads(ready.read_text())["url"]


def test_it_serves_the_demo_model_and_sigterm_leaves_nothing(
    tmp_path: Path, family: Family, eventually: Callable[..., None]
) -> None:
    needed()
    with serving(tmp_path, family, eventually) as (process, url):
        with httpx2.Client(base_url=url, trust_env=False, timeout=60) as http:
            assert http.get("/health").status_code == 200
            (model,) = http.get("/v1/models").json()["data"]
            assert model["id"] == "demo-moe-good"
            body = {"model": "demo-moe-good", "prompt": "a", "max_tokens": 5, "ignore_eos": True}
            assert http.post("/v1/completions", json=body).json()["usage"]["completion_tokens"] == 5
            chat = {"model": "demo-moe-good", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
            assert http.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["content"]
        process.terminate()
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert f"READY {url}\n" in said
    assert "weights loaded" in said
    assert not (tmp_path / "ready.json").exists()
    assert family.pids() == set()


def test_kill_9_leaves_nothing_not_even_the_engine_core(
    tmp_path: Path, family: Family, eventually: Callable[..., None]
) -> None:
    needed()
    with serving(tmp_path, family, eventually) as (process, _):
        assert len(family.pids()) >= 4, "the supervisor, the guard, the server and the engine core"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        eventually(lambda: family.pids() == set(), 10.0)
