import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from serving.errors import EngineError
from serving.lifecycle import Phase, RestartPolicy
from serving.logfile import EngineLog
from serving.preflight import free_port
from serving.spec import ModelSpec
from serving.supervisor import Launch, Supervisor, Timing
from tests.serving.conftest import Family

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
FAKE = (sys.executable, str(HERE / "fake_engine.py"))
QUICK = Timing(poll_s=0.02, health_every_s=0.05, health_failures=3, heartbeat_s=0.1, term_s=0.5, kill_s=5.0)
HASTY = RestartPolicy(first_delay_s=0.05, longest_delay_s=0.1)

Staged = Callable[..., "Stage"]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Stage:
    """One supervisor over one fake engine, and what it said."""

    def __init__(self, tmp_path: Path, family: Family, *flags: str, **spec: float) -> None:
        self.said: list[str] = []
        self.ready_file = tmp_path / "run" / "ready.json"
        self.spec = ModelSpec(
            model="/fake",
            served_name="fake",
            port=free_port("127.0.0.1"),
            **spec,  # type: ignore[arg-type]
        )
        self.log = EngineLog(tmp_path / "vllm.log")
        argv = (*FAKE, "--port", str(self.spec.port), *flags)
        self.supervisor = Supervisor(
            self.spec,
            Launch(argv, family.env),
            self.log,
            self.said.append,
            ready_file=self.ready_file,
            policy=HASTY,
            timing=QUICK,
        )

    async def run_to_error(self) -> EngineError:
        with pytest.raises(EngineError) as caught:
            await self.supervisor.run()
        assert self.supervisor.phase is Phase.FAILED
        assert not self.ready_file.exists()
        return caught.value

    def heard(self, words: str) -> bool:
        return any(words in line for line in self.said)


@pytest.fixture
def staged(tmp_path: Path, family: Family) -> Iterator[Callable[..., Stage]]:
    """Make stages; their logs are closed at the end."""
    stages: list[Stage] = []

    def make(*flags: str, **spec: float) -> Stage:
        stages.append(Stage(tmp_path, family, *flags, **spec))
        return stages[-1]

    yield make
    for stage in stages:
        stage.log.close()


async def test_it_gets_ready_says_so_and_stops_cleanly(
    staged: Staged, tmp_path: Path, family: Family, until: Until
) -> None:
    stage = staged("--family")
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    assert stage.said[-1] == f"READY {stage.spec.url}"
    assert stage.supervisor.phase is Phase.READY
    await until(lambda: len(family.pids()) == 4)  # the guard, the engine, its child and grandchild
    stage.supervisor.stop()
    await running
    assert stage.supervisor.phase is Phase.STOPPED
    assert not stage.ready_file.exists()
    assert family.pids() == set()
    assert "the fake engine runs" in (tmp_path / "vllm.log").read_text()


async def test_an_engine_that_dies_at_start_is_tried_again_and_then_given_up(
    staged: Staged, tmp_path: Path, family: Family
) -> None:
    stage = staged("--exit", "3", "--say", "QuuxError: the quux is loose")
    error = await stage.run_to_error()
    assert error.cause == "QuuxError: the quux is loose"
    assert error.log_tail == ("QuuxError: the quux is loose",)
    assert str(tmp_path / "vllm.log") in error.hint
    assert error.exit_code != 0
    assert stage.heard("again in 0.05 s")
    assert (tmp_path / "vllm.log").read_text().count("quux") == 2
    assert family.pids() == set()


async def test_a_cause_that_cannot_heal_is_not_tried_again(staged: Staged) -> None:
    stage = staged("--exit", "1", "--say", "OSError: [Errno 98] Address already in use")
    assert (await stage.run_to_error()).cause == "the port is already in use"
    assert not stage.heard("again in")


async def test_a_death_by_signal_is_named(staged: Staged) -> None:
    stage = staged("--signal", str(int(signal.SIGILL)))
    assert "SIGILL" in (await stage.run_to_error()).cause


async def test_an_engine_that_cannot_be_started_is_a_plain_error(staged: Staged, family: Family) -> None:
    stage = staged()
    stage.supervisor._launch = Launch(("/nonexistent/python",), family.env)
    error = await stage.run_to_error()
    assert "cannot start /nonexistent/python" in error.log_tail[0]


async def test_an_engine_that_hangs_at_start_is_killed_after_its_time(staged: Staged, family: Family) -> None:
    stage = staged("--hang", "--deaf", "--family", start_timeout_s=0.5)
    error = await stage.run_to_error()
    assert "not ready within 0.5 s (starting)" in error.cause
    assert stage.heard("still starting")
    assert family.pids() == set()


async def test_a_server_that_computes_nothing_is_not_ready(staged: Staged) -> None:
    stage = staged("--cold")
    assert "HTTP 500: the fake engine is cold" in (await stage.run_to_error()).cause
    assert not stage.heard("READY")


async def test_another_model_on_the_port_is_not_ours(staged: Staged) -> None:
    stage = staged("--name", "somebody-else", start_timeout_s=0.5)
    assert "starting" in (await stage.run_to_error()).cause


async def test_a_crash_after_ready_is_restarted(staged: Staged, family: Family, until: Until) -> None:
    stage = staged("--family")
    stage.supervisor._timing = QUICK._replace(health_every_s=60.0)  # the process's end is to be seen first
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    async with httpx2.AsyncClient(base_url=stage.spec.url, trust_env=False) as http:
        with pytest.raises(httpx2.HTTPError):
            await http.get("/crash")
    await until(lambda: not stage.ready_file.exists())
    await until(stage.ready_file.exists)
    await until(lambda: len(family.pids()) == 4)  # nothing of the first engine is left beside the second
    stage.supervisor.stop()
    await running
    assert stage.heard("vLLM died: vLLM ended with status 11; again in 0.05 s")


async def test_a_ready_engine_that_stops_answering_is_replaced(staged: Staged, tmp_path: Path, until: Until) -> None:
    sick = tmp_path / "sick"
    stage = staged("--sick", str(sick))
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    sick.touch()
    await until(lambda: stage.heard("stopped answering"))
    assert not stage.ready_file.exists()
    sick.unlink()
    await until(stage.ready_file.exists)
    stage.supervisor.stop()
    await running


async def test_a_killed_guard_takes_nothing_with_it_that_stays(staged: Staged, family: Family, until: Until) -> None:
    stage = staged()
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    (guard,) = family.running(b"guard.py")
    os.kill(guard, signal.SIGKILL)
    await until(lambda: not stage.ready_file.exists())
    await until(stage.ready_file.exists)
    assert len(family.pids()) == 2
    stage.supervisor.stop()
    await running
    assert family.pids() == set()


async def test_running_requests_may_finish_and_readiness_goes_first(
    staged: Staged, tmp_path: Path, family: Family, until: Until
) -> None:
    busy = tmp_path / "busy"
    busy.touch()
    stage = staged("--busy", str(busy))
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    stage.supervisor.stop()
    await until(lambda: stage.supervisor.phase is Phase.DRAINING)
    assert not stage.ready_file.exists()
    assert len(family.pids()) == 2, "the engine still works on the request"
    busy.unlink()
    await running
    assert stage.supervisor.phase is Phase.STOPPED


@pytest.mark.parametrize("again", [True, False])
async def test_the_grace_is_bounded_and_can_be_cut_short(
    staged: Staged,
    tmp_path: Path,
    family: Family,
    until: Until,
    again: bool,  # noqa: FBT001
) -> None:
    busy = tmp_path / "busy"
    busy.touch()
    stage = staged("--busy", str(busy), drain_grace_s=600.0 if again else 0.1)
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    stage.supervisor.stop()
    if again:
        await until(lambda: stage.supervisor.phase is Phase.DRAINING)
        stage.supervisor.stop()
    await running
    assert family.pids() == set()


async def test_an_engine_that_ignores_sigterm_is_killed(staged: Staged, family: Family, until: Until) -> None:
    stage = staged("--deaf", "--family")
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    stage.supervisor.stop()
    await running
    assert family.pids() == set()


async def test_stop_before_anything_started_starts_nothing(staged: Staged) -> None:
    stage = staged()
    stage.supervisor.stop()
    await stage.supervisor.run()
    assert stage.supervisor.phase is Phase.STOPPED
    assert stage.said == []


async def test_stop_while_starting(staged: Staged, tmp_path: Path, family: Family, until: Until) -> None:
    stage = staged("--hang")
    running = asyncio.create_task(stage.supervisor.run())
    await until(lambda: "runs" in (tmp_path / "vllm.log").read_text())
    stage.supervisor.stop()
    await running
    assert stage.supervisor.phase is Phase.STOPPED
    assert family.pids() == set()


async def test_stop_while_backing_off(staged: Staged, family: Family, until: Until) -> None:
    stage = staged("--exit", "1")
    stage.supervisor._policy = RestartPolicy(first_delay_s=600.0, longest_delay_s=600.0)
    running = asyncio.create_task(stage.supervisor.run())
    await until(lambda: stage.supervisor.phase is Phase.BACKOFF)
    assert family.pids() == set()
    stage.supervisor.stop()
    await running
    assert stage.supervisor.phase is Phase.STOPPED


async def test_a_cancelled_supervisor_leaves_nothing(staged: Staged, family: Family, until: Until) -> None:
    stage = staged("--deaf", "--family")
    running = asyncio.create_task(stage.supervisor.run())
    await until(stage.ready_file.exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not stage.ready_file.exists()
    assert family.pids() == set()


@pytest.mark.parametrize("flags", [("--family",), ("--family", "--deaf"), ("--family", "--hang")])
def test_kill_9_of_the_supervisor_leaves_no_process(
    tmp_path: Path, family: Family, eventually: Callable[..., None], flags: tuple[str, ...]
) -> None:
    ready, log = tmp_path / "ready.json", tmp_path / "vllm.log"
    port = str(free_port("127.0.0.1"))
    argv = [sys.executable, "-m", "tests.serving.run_supervisor", port, str(ready), str(log), *FAKE, "--port", port]
    with subprocess.Popen([*argv, *flags], env=family.env, stdout=subprocess.DEVNULL) as supervisor:
        eventually(lambda: len(family.pids()) == 5 and log.exists() and log.stat().st_size)
        supervisor.kill()
    eventually(lambda: family.pids() == set())
    assert supervisor.returncode == -signal.SIGKILL


def test_sigterm_of_the_supervisor_ends_with_status_0(
    tmp_path: Path, family: Family, eventually: Callable[..., None]
) -> None:
    ready, port = tmp_path / "ready.json", str(free_port("127.0.0.1"))
    argv = [sys.executable, "-m", "tests.serving.run_supervisor", port, str(ready), str(tmp_path / "l"), *FAKE]
    with subprocess.Popen([*argv, "--port", port], env=family.env, stdout=subprocess.DEVNULL) as supervisor:
        eventually(ready.exists)
        supervisor.terminate()
        assert supervisor.wait(timeout=60) == 0
    assert not ready.exists()
    assert family.pids() == set()
