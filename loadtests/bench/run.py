"""One benchmark run: every subject beside the others, order rotated, repeated, on pinned cores."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.bench import subjects, wrk
from loadtests.bench.errors import BenchError
from loadtests.bench.peers import find_vllm_router
from loadtests.bench.report import Figure, rows, table
from loadtests.bench.workloads import Workload, non_stream, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.bench.subjects import Subject

_START_S = 30.0
_WARM_UP_S = 1
_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
_PATH = "/v1/chat/completions"
OURS = "glidepath"


def run(*, duration_s: int, repeats: int, connections: list[int], output: Path | None) -> str:
    """Measure both workloads and return the Markdown tables. Raises `BenchError`."""
    _require("wrk", "nginx", "taskset")
    router = find_vllm_router(_say)
    figures: list[Figure] = []
    forms: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as name:
        for workload in (non_stream(), stream()):
            forms.add(_measure_workload(Path(name), workload, router, figures, (duration_s, repeats, connections)))
    text = f"{OURS} ran {', '.join(sorted(forms))}.\n\n{table(figures, OURS)}"
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "latest.md").write_text(text, encoding="utf-8")
        (output / "latest.json").write_text(json.dumps(_document(figures, forms), indent=1) + "\n", encoding="utf-8")
    return text


def _measure_workload(
    folder: Path, workload: Workload, router: Path | None, figures: list[Figure], plan: tuple[int, int, list[int]]
) -> str:
    """Add the figures of one workload; the form the gateway ran in."""
    duration_s, repeats, connections = plan
    cores = subjects.assign_cores(sorted(os.sched_getaffinity(0)))
    ports = _free_ports(6)
    lua = folder / "post.lua"
    lua.write_text(wrk.script(workload.body, subjects.KEY))
    tested = [
        subjects.nginx(folder, ports[0], ports[1], cores.subject),
        subjects.glidepath(folder, ports[0], ports[2], ports[3], cores.subject),
    ]
    if router is not None:
        tested.append(subjects.vllm_router(router, ports[0], ports[4], ports[5], cores.subject))
    with ExitStack() as stack:
        stack.enter_context(_running(subjects.upstream(folder, workload, ports[0], cores.upstream), folder))
        pids = {each.name: stack.enter_context(_running(each, folder)) for each in tested}
        _split_traffic(ports[3])
        form = _form(ports[3])
        for turn in range(repeats):
            for each in tested[turn % len(tested) :] + tested[: turn % len(tested)]:
                for count in connections:
                    figure = _measure(each, workload, lua, pids[each.name], (turn, count, duration_s, cores.load))
                    figures.append(figure)
                    _say(f"{workload.name}, {count} connections, {each.name}: {figure.requests_per_s:,.0f}/s")
    return form


def _measure(subject: Subject, workload: Workload, lua: Path, pid: int, plan: tuple[int, int, int, int]) -> Figure:
    turn, connections, duration_s, core = plan
    url = f"http://127.0.0.1:{subject.port}{_PATH}"
    wrk.run(url, lua, connections=connections, duration_s=_WARM_UP_S, core=core)
    before = _cpu_ticks(pid)
    load = wrk.run(url, lua, connections=connections, duration_s=duration_s, core=core)
    cpu_us = (_cpu_ticks(pid) - before) * _TICK_US / max(1, load.requests)
    return Figure(
        turn,
        workload.name,
        subject.name,
        connections,
        load.requests_per_s,
        cpu_us,
        load.p50_s,
        load.p99_s,
        load.failures,
    )


@contextmanager
def _running(subject: Subject, folder: Path) -> Iterator[int]:
    """Start a server, wait for its port, stop it at the end; gives its process id (taskset execs)."""
    log = folder / f"{subject.name.replace(' ', '-')}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            subject.argv, stdout=sink, stderr=sink, env=os.environ | subject.environment, cwd=folder
        )
    try:
        _wait_for_port(subject, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(subject: Subject, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", subject.port)) == 0:
                return
        time.sleep(0.05)
    last = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise BenchError(f"{subject.name} did not start", " / ".join(last) or "it printed nothing")


def _split_traffic(admin_port: int) -> None:
    """Give the candidate half of the traffic, so that the split is part of what is measured."""
    url = f"http://127.0.0.1:{admin_port}/api/v1/features/summarize"
    headers = {"authorization": f"Bearer {subjects.KEY}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        revision = answer.headers["etag"]
    body = json.dumps({"share": "50%", "reason": "benchmark"}).encode()
    change = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/share", body, headers | {"if-match": revision}, method="PUT"
    )
    try:
        urllib.request.urlopen(change, timeout=5).close()  # noqa: S310  loopback
    except urllib.error.URLError as error:
        raise BenchError(f"could not set the share: {error}", "see the gateway's log") from None


def _form(admin_port: int) -> str:
    """Whether the gateway's request path is compiled or interpreted, as the gateway itself says."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=5) as answer:
        return form_of(answer.read().decode())


def form_of(metrics: str) -> str:
    """Read the form from a metrics page."""
    found = re.search(r'^glidepath_build_info\{[^}]*compiled="(true|false)"', metrics, re.MULTILINE)
    return "unknown" if found is None else {"true": "compiled", "false": "interpreted"}[found[1]]


def _cpu_ticks(pid: int) -> int:
    """User and system time of a process, clock ticks (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}", "apt-get install wrk nginx-light util-linux")


def _document(figures: list[Figure], forms: set[str]) -> dict[str, object]:
    cells = dict.fromkeys((f.workload, f.connections) for f in figures)
    return {
        "cores": os.cpu_count(),
        "forms": sorted(forms),
        "results": [
            {
                "workload": workload,
                "connections": count,
                "rows": [row._asdict() for row in rows(figures, workload, count)],
            }
            for workload, count in cells
        ],
    }


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
