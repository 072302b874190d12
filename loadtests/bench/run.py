"""One benchmark run: everything the design promises, beside the peers, on pinned cores."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loadtests.bench import (
    idle,
    latency,
    machine,
    micro,
    peers,
    procfs,
    servers,
    subjects,
    summarize,
    targets,
    throughput,
)
from loadtests.bench.cores import assign_cores
from loadtests.bench.errors import BenchError
from loadtests.bench.estimates import estimate
from loadtests.bench.plot import svg
from loadtests.bench.report import markdown
from loadtests.bench.results import DecisionRow, Document, SkippedRow, encode
from loadtests.bench.stage import Stage
from loadtests.bench.subjects import GATHERING, OURS, Place, Subject
from loadtests.bench.workloads import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtests.bench.plan import Plan

_LOOK_S = 1.0


class Wanted(NamedTuple):
    """What a run is asked for: its size, the peers to measure beside, where to write."""

    plan: Plan
    peers: Sequence[str]
    output: Path | None


def run(wanted: Wanted) -> str:
    """Measure everything, write the report if asked to, return it as Markdown. Raises `BenchError`."""
    _require("wrk", "nginx", "taskset")
    cores = assign_cores(sorted(os.sched_getaffinity(0)), 1)
    assert cores is not None  # noqa: S101  one worker always finds a place
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="glidepath-bench-") as name:
        stage = Stage(Path(name), wanted.plan, cores, {})
        busy = _look_around(stage)
        versions = _find_makers(stage, wanted.peers)
        repeats = wanted.plan.decision_repeats
        decision = DecisionRow(micro.FEATURES, estimate(micro.decision_s(cores.subject[0], repeats)))
        _measure(stage)
    document = _document(stage, decision, busy, versions, time.monotonic() - began_s)
    if wanted.output is not None:
        _write(document, wanted.output)
    return markdown(document)


def _look_around(stage: Stage) -> float:
    """Share of the machine that is busy before anything is started; says so if that is too much."""
    before = procfs.cores_s()
    time.sleep(_LOOK_S)
    busy = machine.busy_share(before, procfs.cores_s(), _LOOK_S)
    if busy > machine.BUSY_SHARE:
        stage.say(f"WARNING: {busy:.0%} of the machine is busy: figures of this run say little")
    return busy


def _find_makers(stage: Stage, names: Sequence[str]) -> dict[str, str]:
    """Install the peers that were asked for, in place; gives the version of each that is there."""
    known = {peer.name: peer for peer in peers.PEERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"no peer is called {unknown[0]!r}", f"there are: {', '.join(known)}")
    stage.makers |= {OURS: subjects.glidepath, subjects.NGINX: subjects.proxy}
    starts: dict[str, Callable[[Path, Place], Subject]] = {
        peers.VLLM_ROUTER.name: subjects.vllm_router,
        peers.SGLANG_ROUTER.name: subjects.sglang_router,
        peers.LITELLM.name: subjects.litellm,
    }
    versions = {}
    for peer in (known[name] for name in names):
        program, reason = peers.install(peer, stage.say)
        if program is None:
            stage.skip(f"{peer.name} {peer.version}", reason)
            continue
        stage.makers[peer.name] = partial(starts[peer.name], program)
        versions[peer.name] = peer.version
    return versions


def _measure(stage: Stage) -> None:
    one = [stage.cores.subject]
    plan = stage.plan
    plain, streams = plan.plain[0].workload, plan.streams[0].workload
    with (
        stage.upstream(plain) as direct,
        stage.all_standing(direct.subject.port, plain, one) as standing,
        stage.standing(GATHERING, direct.subject.port, stage.cores.subject, plain) as gathering,
    ):
        throughput.measure(stage, [direct, *standing, gathering], plan.plain, "plain")
        latency.measure(stage, [direct, *standing, gathering], plain)
    with stage.upstream(streams) as direct, stage.all_standing(direct.subject.port, streams, one) as standing:
        throughput.measure(stage, [direct, *standing], plan.streams, "streams")
    _measure_paced(stage)
    _measure_idle(stage)
    _measure_scaling(stage)


def _measure_paced(stage: Stage) -> None:
    cells = stage.plan.paced
    (port,) = servers.free_ports(1)
    server = servers.own_upstream("paced", port, stage.cores.upstream, stage.plan.beat_s)
    with (
        servers.running(server, stage.folder, cells.workload),
        stage.all_standing(port, cells.workload, [stage.cores.subject]) as standing,
    ):
        throughput.measure(stage, standing, [cells], "paced")


def _measure_idle(stage: Stage) -> None:
    files_max = servers.raise_file_limit()
    possible = idle.streams_possible(stage.plan.idle_streams, files_max)
    if possible < stage.plan.idle_streams:
        stage.skip(f"more than {possible:,} idle streams", f"the system allows a process {files_max:,} open files")
    for name in list(stage.makers):
        (port,) = servers.free_ports(1)
        quiet = servers.own_upstream("quiet", port, stage.cores.upstream, stage.plan.trickle_s)
        try:
            with (
                servers.running(quiet, stage.folder, stream()),
                stage.standing(name, port, stage.cores.subject, stream()) as one,
            ):
                idle.measure(stage, one, files_max)
        except BenchError as error:
            stage.skip(f"idle streams of {name}", f"{error.cause}: {error.hint}")


def _measure_scaling(stage: Stage) -> None:
    available = sorted(os.sched_getaffinity(0))
    widths = []
    for workers in stage.plan.workers:
        cores = assign_cores(available, workers)
        if cores is None:
            stage.skip(f"{workers} workers", f"needs {workers + 1} cores, there are {len(available)}")
            continue
        stage.cores = cores
        widths.append(cores.subject)
    if not widths:
        return
    first = stage.plan.plain[0]
    with (
        stage.upstream(first.workload) as direct,
        stage.all_standing(direct.subject.port, first.workload, [widths[-1][:1], *widths]) as standing,
    ):
        wide = {one.subject.name for one in standing if len(one.subject.cores) > 1}
        both = [one for one in standing if one.subject.name in wide]
        if both:
            throughput.measure(stage, both, [first._replace(turns=stage.plan.scaling_turns)], "workers")


def _document(stage: Stage, decision: DecisionRow, busy: float, versions: dict[str, str], took_s: float) -> Document:
    plain, streams, workers = (stage.figures.get(block, []) for block in ("plain", "streams", "workers"))
    wide = [figure for figure in workers if figure.cell.workers > 1]
    paced = stage.figures.get("paced", [])
    rows = summarize.throughput(plain) + summarize.throughput(streams) + summarize.throughput(wide)
    scaling = summarize.scaling(workers)
    answered = summarize.latency(stage.answered)
    held = summarize.idle(stage.held)
    rust = [peer.name for peer in peers.PEERS if peer.rust_router]
    return Document(
        schema=1,
        plan=stage.plan.name,
        date=datetime.now(UTC).date().isoformat(),
        duration_s=round(took_s, 1),
        machine=machine.facts({OURS: f"request path {stage.form}"} | versions),
        noise=summarize.noise(stage.turns, stage.figures, busy),
        targets=(
            *targets.speed(rows, stage.plan.streams[0].workload.name, rust),
            *targets.per_cpu("requests", plain, rust),
            *targets.per_cpu("streams", streams, rust),
            *targets.per_cpu("paced streams", paced, rust),
            *targets.added_latency(answered),
            *targets.scaling(scaling, stage.plan.workers),
            *targets.idle(held),
            *targets.decision(decision),
            *targets.size(plain),
        ),
        throughput=rows + summarize.throughput(paced),
        scaling=scaling,
        latency=answered,
        idle=held,
        decision=decision,
        skipped=tuple(SkippedRow(each.what, each.reason) for each in stage.skipped),
    )


def _write(document: Document, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", encode(document)), ("md", markdown(document)), ("svg", svg(document))):
        (folder / f"latest.{name}").write_text(text, encoding="utf-8")


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}", "apt-get install wrk nginx-light util-linux")
