"""Runs wrk against one URL and reads what it prints."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from loadtests.bench.errors import BenchError
from loadtests.bench.workloads import USERS

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.bench.workloads import Workload

_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m),")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SOCKET = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\b", re.MULTILINE)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Load(NamedTuple):
    """What wrk saw: answers, over how long, latency percentiles, and answers that were no success."""

    requests: int
    duration_s: float
    p50_s: float
    p99_s: float
    failures: int

    @property
    def requests_per_s(self) -> float:
        """Throughput."""
        return self.requests / self.duration_s


def script(workload: Workload, key: str) -> str:
    """Lua for wrk: POST the workload with a bearer key, users taking turns; requests are built once."""
    head, tail = (part.replace("\\", "\\\\").replace("'", "\\'") for part in workload.parts)
    users = ", ".join(f"'{user}'" for user in USERS)
    return (
        'wrk.method = "POST"\n'
        'wrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "Bearer {key}"\n'
        f"local users, requests, turn = {{{users}}}, {{}}, 0\n"
        "init = function(args)\n"
        f"  for i, user in ipairs(users) do requests[i] = wrk.format(nil, nil, nil, '{head}' .. user .. '{tail}') end\n"
        "end\n"
        "request = function()\n"
        "  turn = turn % #requests + 1\n"
        "  return requests[turn]\n"
        "end\n"
    )


def run(url: str, lua: Path, *, connections: int, duration_s: int, core: int) -> Load:
    """Load `url` from one pinned thread. Raises `BenchError`."""
    argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--latency"]
    done = subprocess.run(
        [*argv, "--timeout", "30s", "-s", str(lua), url],
        capture_output=True,
        text=True,
        check=False,
        timeout=duration_s + 60,
    )
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}", "is the subject still running?")
    return parse(done.stdout)


def parse(text: str) -> Load:
    """Read wrk's report. Raises `BenchError` if it is none."""
    requests = _REQUESTS.search(text)
    latency = {percent: float(value) * _SECONDS[unit] for percent, value, unit in _LATENCY.findall(text)}
    if requests is None or len(latency) != 2:  # noqa: PLR2004  p50 and p99
        raise BenchError("wrk printed no report", text.strip()[-200:])
    bad, sockets = _BAD.search(text), _SOCKET.search(text)
    failures = (int(bad[1]) if bad else 0) + (sum(map(int, sockets.groups())) if sockets else 0)
    duration_s = float(requests[2]) * _SECONDS[requests[3]]
    return Load(int(requests[1]), duration_s, latency["50"], latency["99"], failures)
