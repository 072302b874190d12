"""`glidepath demo` and `glidepath up` as a user runs them: real processes, real vLLM, and nothing left behind."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest

from loadtests.demo.ports import free_ports

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for what is left behind as only Linux can"),
]
GLIDEPATH = (sys.executable, "-m", "gateway.cli")
OPTIONS = ("--port", "--admin-port", "--vllm-port", "--simulator-port", "--prometheus-port")
LIMIT_S = 600
GONE_S = 20
GOOD_EXACT_MATCH = 90.0
PR_SET_CHILD_SUBREAPER = 36
PARTNER_VARIABLES = {"OPENAI_API_KEY", "GLIDEPATH_PARTNER_MODEL", "GLIDEPATH_PARTNER_BASE_URL"}


def environment() -> Mapping[str, str]:
    """Without anything that would call, or pay for, a real partner."""
    return {name: value for name, value in os.environ.items() if name not in PARTNER_VARIABLES}


def wait_until(condition: Callable[[], object], limit_s: float) -> None:
    give_up_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_s, f"not within {limit_s} s"
        time.sleep(0.05)


def children() -> dict[int, str]:
    """Living children of this process by id, with what they run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
    return found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Folder of a stack. Orphans become children of this process, so that none can hide; one left fails the test."""
    prctl = ctypes.CDLL(None).prctl
    before = children()
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield tmp_path / "state"
        with contextlib.suppress(AssertionError):
            wait_until(lambda: children().keys() <= before.keys(), GONE_S)
        left = {pid: line for pid, line in children().items() if pid not in before}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == {}
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def prometheus() -> None:
    if shutil.which("prometheus") is None:
        message = "prometheus is missing: the PromQL floor is NOT shown (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command, given = (*GLIDEPATH, *arguments), {**environment(), **changes}
    return subprocess.run(command, check=False, timeout=LIMIT_S, capture_output=True, text=True, env=given)


def refused(result: subprocess.CompletedProcess[str], cause: str) -> None:
    """The command failed with one line of cause and one of what to do."""
    assert result.returncode not in {0, 130, 143}, result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    *_, told, hint = result.stderr.splitlines()
    assert re.match(f"glidepath: .*{cause}", told), result.stderr
    assert re.match(r"  hint: \S", hint), result.stderr


def spec(folder: Path, **changes: str) -> Path:
    """A copy of the demo model's spec with other values."""
    package = find_spec("serving")
    assert package is not None
    assert package.submodule_search_locations is not None
    models = Path(package.submodule_search_locations[0]) / "models"
    lines = [
        line
        for line in (models / "demo-good.toml").read_text(encoding="utf-8").splitlines()
        if line.partition("=")[0].strip() not in {"model", *changes}
    ]
    weights = f'"{models.parent / "demo_model" / "weights" / "good"}"'
    lines += [f"{key} = {value}" for key, value in ({"model": weights} | changes).items()]
    path = folder / "spec.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.vllm
@pytest.mark.usefixtures("prometheus")
def test_the_demo_shows_every_thing_it_promises(state: Path) -> None:
    result = run("demo", "--state-dir", str(state))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
    for share in ("1 %", "5 %", "25 %", "50 %", "50 %, kill lifted", "100 %"):
        assert re.search(rf"ok +share at {share} ", result.stdout), result.stdout
    for check in ("no failed request", "kill holds within 1 s", "nobody flips back", "ramp of summarize saves money"):
        assert re.search(rf"ok +{check}", result.stdout), result.stdout
    for check in (
        "answers of inhouse come from vLLM",
        "answers of inhouse-worse come from vLLM",
        "ramp of summarize runs to its end +DRAFT > READY > RUNNING > PAUSED > RUNNING > MONITORING > COMPLETED",
        "a lifted kill leaves the ramp paused +PAUSED at 50 %",
        r"evidence decides each step +quality and errors proven before 4 of 4 steps; e-values of quality: \d",
        "the PromQL floor holds at each step +promql-errors passed 6 of 6 times",
        "status summarize exits with 0 +exit code 0",
        r"rewrite: worse checkpoint is rolled back +share 0 % after [\d.]+ s: quality-harm FAIL",
        "rewrite: no step beyond it +50 % > 0 %",
        r"proofread: error burst is rolled back +share 0 % after [\d.]+ s: errors-harm FAIL",
        "proofread: no caller sees a failure +[1-9]",
        "proofread: no step beyond it +20 % > 50 % > 0 %",
        r"reply: latency regression is rolled back +share 0 % after [\d.]+ s: latency-harm FAIL",
        "reply: no step beyond it +20 % > 50 % > 0 %",
        *(f"{feature}: nobody has the candidate after it +0 of" for feature in ("rewrite", "proofread", "reply")),
        *(f"status {feature} exits with 1 +exit code 1" for feature in ("proofread", "reply")),
    ):
        assert re.search(rf"ok +{check}", result.stdout), result.stdout
    told = r"[\d.e+]+ +[\d.]+ +[+-][\d.]+ \[[+-][\d.]+, [+-][\d.]+\]"
    assert re.search(rf"summarize +good checkpoint +promoted to 100 % .* quality +{told}", result.stdout)
    assert re.search(
        rf"rewrite +worse checkpoint +rolled back +[\d.]+ s +\d+ +\d+ of \d+ +quality-harm +{told}", result.stdout
    )
    assert re.search(r"saved so far +\$0\.\d+ \[\$0\.\d+, \$0\.\d+\]", result.stdout), result.stdout
    # Each hold says why, with what is and what it must become.
    assert re.search(r"summarize: RUNNING, step \d of 0\.\.4, share .*; baking: [\d.]+ s of \d s", result.stdout)
    exact = dict(
        re.findall(r"(rewrite|summarize|draft) +(?:in-house|worse) .* ([\d.]+)%\s*$", result.stdout, re.MULTILINE)
    )
    assert min(float(exact[feature]) for feature in ("summarize", "draft")) >= GOOD_EXACT_MATCH, exact
    assert float(exact["rewrite"]) < GOOD_EXACT_MATCH, exact


@contextlib.contextmanager
def started(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen((*GLIDEPATH, *arguments), stdout=output, stderr=output, env=environment())
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.vllm
@pytest.mark.usefixtures("prometheus")
def test_up_stays_and_its_curl_line_works(state: Path) -> None:
    ports = [word for option, port in zip(OPTIONS, free_ports(), strict=False) for word in (option, str(port))]
    log = state.with_name("up.log")
    with started(log, "up", "--state-dir", str(state), *ports) as up:
        wait_until(lambda: up.poll() is not None or "Ctrl-C stops everything" in log.read_text("utf-8"), LIMIT_S)
        text = log.read_text("utf-8")
        assert up.poll() is None, text
        for name in ("curl", "glidepath"):
            (line,) = re.findall(rf"^ +({name} .*)$", text, re.MULTILINE)
            line = line.replace("glidepath", " ".join(GLIDEPATH), 1)
            answer = subprocess.run(line, shell=True, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S602  as a user pastes it
            if name == "curl":
                assert "finish_reason" in answer
                assert answer.rstrip().endswith("data: [DONE]")
        (url,) = re.findall(r"^Prometheus (http://\S+)$", text, re.MULTILINE)
        wait_until(lambda: scrapes(url), LIMIT_S)
        up.terminate()
        assert up.wait(60) == 0


def scrapes(url: str) -> bool:
    """Whether a Prometheus has metrics of the gateway."""
    asked = httpx2.get(f"{url}/api/v1/query", params={"query": "glidepath_share_ratio"}, trust_env=False)
    return bool(asked.json()["data"]["result"])


@pytest.mark.vllm
def test_killing_the_demo_leaves_nothing(state: Path) -> None:
    log = state.with_name("demo.log")
    with started(log, "demo", "--state-dir", str(state)) as demo:
        wait_until(lambda: "vllm: ready" in log.read_text("utf-8") or demo.poll() is not None, LIMIT_S)
        assert demo.poll() is None, log.read_text("utf-8")
        demo.kill()
        demo.wait()


@pytest.mark.vllm
def test_a_signal_while_starting_ends_everything(state: Path) -> None:
    log = state.with_name("demo.log")
    with started(log, "demo", "--state-dir", str(state)) as demo:
        wait_until(lambda: "gateway: ready" in log.read_text("utf-8") or demo.poll() is not None, LIMIT_S)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 128 + signal.SIGINT
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"model": '"./nowhere"'}, "nowhere"), ({"extra_args": '["--no-such-flag"]'}, "--no-such-flag")],
    ids=["missing model directory", "vLLM dies at start"],
)
def test_a_model_that_can_not_be_served_is_one_line(state: Path, changes: dict[str, str], cause: str) -> None:
    result = run("demo", "--state-dir", str(state), "--model", str(spec(state.parent, **changes)))
    refused(result, cause)
    assert result.returncode != 0


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize("option", OPTIONS)
def test_a_taken_port_is_one_line(state: Path, taken: int, option: str) -> None:
    result = run("up", "--state-dir", str(state), option, str(taken))
    refused(result, f"port {taken} on 127.0.0.1")
    assert option in result.stderr
    assert not (state / "logs").exists()


def test_a_model_spec_that_is_not_there_is_one_line(state: Path) -> None:
    result = run("demo", "--state-dir", str(state), "--model", str(state / "none.toml"))
    refused(result, "cannot read the model spec")
    assert result.returncode != 0


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_missing_prometheus_is_said_loudly(state: Path, command: str) -> None:
    result = run(command, "--state-dir", str(state), "--model", str(state / "none.toml"), PATH=str(state))
    assert "glidepath: WARNING: no prometheus binary; apt-get install prometheus" in result.stderr
    refused(result, "cannot read the model spec")
