"""A real Redis and a clock for the suites that every store must pass."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from rollout.adapters import open_store
from rollout.ports import Store

_LIMIT_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One redis-server process on a free port, without persistence unless it is asked for."""

    def __init__(self, directory: Path, *, persistent: bool = False, cluster: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._arguments += ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
        self._arguments += ["--repl-diskless-sync-delay", "0"]
        if cluster:
            self._arguments += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
        self._directory = directory
        self.start()

    def start(self) -> None:
        command = ["redis-server", *self._arguments, "--dir", str(self._directory)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + _LIMIT_S
        while not self.answers():
            assert self.process.poll() is None, "redis-server ended at its start"
            assert time.monotonic() < deadline_s, "redis-server did not start in time"
            time.sleep(0.01)

    def answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False

    def command(self, line: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(f"{line}\r\n".encode())
            return connection.recv(65_536)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    yield from running_redis()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be mistreated."""
    yield from running_redis()


@pytest.fixture
def new_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start more of them, with the options of `RedisServer`."""
    _need_redis()
    started: list[RedisServer] = []

    def start(**options: bool) -> RedisServer:
        directory = tmp_path / f"redis-{len(started)}"
        directory.mkdir()
        started.append(RedisServer(directory, **options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


def _need_redis() -> None:
    if shutil.which("redis-server") is None:
        cause = "redis-server is not installed: the Redis half of the store contract DID NOT RUN"
        pytest.fail(cause) if os.environ.get("CI") else pytest.skip(cause)


def running_redis() -> Iterator[RedisServer]:
    """A server in a folder of its own, until the generator is closed."""
    _need_redis()
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory))
        yield server
        server.kill()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server = request.getfixturevalue("shared_redis")
    server.command("FLUSHALL")
    return str(server.url)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = open_store(store_url)
    yield opened
    await opened.close()
