"""Starts and ends the servers of a run, and knows when they are ready."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from loadtests.bench import nginx, procfs
from loadtests.bench.errors import BenchError
from loadtests.bench.subjects import KEY, Subject
from loadtests.bench.workloads import PATH, USERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.bench.workloads import Workload

_START_S = 120.0
_END_S = 10.0
_POLL_S = 0.05


def upstream(folder: Path, workload: Workload, port: int, core: int) -> Subject:
    """Nginx with the workload's constant, as a server to start."""
    return Subject("upstream", ("taskset", "-c", str(core), *nginx.upstream(folder, workload, port)), port, (core,), {})


def own_upstream(name: str, port: int, core: int, every_s: float) -> Subject:
    """One of the bench's own upstreams, "quiet" or "paced", as a server to start; `every_s`: between events."""
    module = {"quiet": "loadtests.bench.idle_upstream", "paced": "loadtests.bench.paced_upstream"}[name]
    argv = ("taskset", "-c", str(core), sys.executable, "-m", module, str(port), str(every_s))
    return Subject(f"{name} upstream", argv, port, (core,), {})


@contextmanager
def running(subject: Subject, folder: Path, workload: Workload) -> Iterator[int]:
    """Start a server in a session of its own, wait for its first good answer; gives the session. Raises `BenchError`.

    At the end every process of the session is gone.
    """
    log = folder / f"{subject.name}-{subject.port}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            _tethered(subject.argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=os.environ | subject.environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(subject, process, workload, log)
        yield process.pid
    finally:
        _end(process)


def _tethered(argv: tuple[str, ...]) -> list[str]:
    """The command, asked by the kernel to end with this process however that ends."""
    program = shutil.which(argv[0]) or argv[0]
    tether = [sys.executable, "-m", "loadtests.demo.tether", str(os.getpid()), str(signal.SIGTERM.value)]
    return [*tether, program, *argv[1:]]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    with suppress(ProcessLookupError):  # workers whose parent left them behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline_s = time.monotonic() + _END_S
    while procfs.used(process.pid).rss_bytes and time.monotonic() < deadline_s:  # the kernel takes them one by one
        time.sleep(_POLL_S)


def _wait_until_it_answers(subject: Subject, process: subprocess.Popen[bytes], workload: Workload, log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    last = "it did not listen"
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(_request(subject.port, workload), timeout=5) as answer:  # noqa: S310  loopback
                answer.read(1)
                return
        except urllib.error.HTTPError as error:
            last = f"it answered {error.code}"
            error.close()
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(_POLL_S)
    printed = log.read_text(errors="replace").strip().splitlines()[-2:]
    raise BenchError(f"{subject.name} did not start", " / ".join([last, *(line.strip() for line in printed)]))


def _request(port: int, workload: Workload) -> urllib.request.Request:
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    return urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", workload.body(USERS[0]).encode(), headers)


def form(admin_port: int) -> str:
    """Whether a gateway's request path is compiled or interpreted, as it says itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=5) as answer:
        return form_of(answer.read().decode())


def form_of(metrics: str) -> str:
    """Read the form from a metrics page."""
    found = re.search(r'^glidepath_build_info\{[^}]*compiled="(true|false)"', metrics, re.MULTILINE)
    return "unknown" if found is None else {"true": "compiled", "false": "interpreted"}[found[1]]


def free_ports(count: int) -> list[int]:
    """Ports nobody listened on a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def raise_file_limit() -> int:
    """Let this process and its children open as many files as the system allows; that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
