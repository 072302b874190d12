"""Children are real `glidepath` processes."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtests.demo.child import Child, Command

pytestmark = pytest.mark.system
Until = Callable[[Callable[[], object]], Awaitable[None]]


def command(*arguments: str, stop_s: float = 10.0) -> Command:
    return Command("part", arguments, dict(os.environ), signal.SIGKILL, stop_s)


def simulator(folder: Path) -> Command:
    return command("simulator", "--port", "0", "--ready-file", str(folder / "ready"))


async def test_a_service_runs_until_it_is_stopped(tmp_path: Path, until: Until) -> None:
    child = Child(simulator(tmp_path), tmp_path / "logs" / "part.log")
    try:
        await until((tmp_path / "ready").exists)
        assert child.exit_code is None
        assert child.tail(5)[0].startswith("READY http://")
    finally:
        await child.stop()
    assert child.exit_code == 0
    await child.stop()


async def test_an_errand_ends_with_its_code_and_its_words(tmp_path: Path) -> None:
    child = Child(command("check", str(tmp_path / "missing.toml")), tmp_path / "part.log")
    assert await child.ended() == 2
    assert child.tail(2)[0].startswith("glidepath: no such file")
    assert child.tail(1)[0].startswith("  hint: ")


async def test_another_program_is_run_as_it_is(tmp_path: Path) -> None:
    child = Child(command("-c", "echo $0; exit 3")._replace(program="/bin/sh"), tmp_path / "part.log")
    assert await child.ended() == 3
    assert child.tail(1) == ["/bin/sh"]


async def test_who_does_not_end_in_time_is_made_to(tmp_path: Path, until: Until) -> None:
    child = Child(simulator(tmp_path)._replace(stop_s=0.1), tmp_path / "part.log")
    await until((tmp_path / "ready").exists)
    os.kill(child.pid, signal.SIGSTOP)  # it can't even hear SIGTERM
    await child.stop()
    assert child.exit_code == -signal.SIGKILL


async def test_a_log_is_new_at_each_start_and_its_drawn_lines_show_their_last_state(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("old\n", encoding="utf-8")
    child = Child(command("--version"), log)
    assert await child.ended() == 0
    assert not any("old" in line for line in child.tail(5))
    log.write_bytes(b"one\n 10 %\r 90 %\r\n\n  \n\xff done\n" + b"")
    assert child.tail(5) == ["one", " 90 %", "\ufffd done"]
    assert child.tail(1) == ["\ufffd done"]
    log.unlink()
    assert child.tail(1) == []
