"""Memory of streams that are open and say little."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from loadtests.bench import procfs
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import Held
from loadtests.bench.idle_client import Order
from loadtests.bench.subjects import KEY, Subject
from loadtests.bench.workloads import USERS, request_bytes, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.bench.stage import Stage, Standing

_SLOW_STREAMS_MAX = 500
_FILES_SPARE = 256
_FILES_PER_STREAM = 2
_WARM_UP_STREAMS = 64
_SETTLE_S = 1.0
_EVENTS_BEFORE = 7
_END_S = 30.0


def streams_possible(wanted: int, files_max: int) -> int:
    """A proxy needs two files per stream; what the limit leaves room for."""
    return max(0, min(wanted, (files_max - _FILES_SPARE) // _FILES_PER_STREAM))


def measure(stage: Stage, one: Standing, files_max: int) -> None:
    """Resident memory before, with all streams held, and after a while; the result goes to the stage."""
    subject = one.subject
    streams = streams_possible(stage.plan.idle_streams, files_max)
    if subject.slow:
        streams = min(streams, _SLOW_STREAMS_MAX)
    with _holding(stage, subject, _WARM_UP_STREAMS):
        time.sleep(_SETTLE_S)
    time.sleep(_SETTLE_S)
    before = procfs.used(one.session).rss_bytes
    with _holding(stage, subject, streams) as holder:
        # What a proxy keeps of the last events is full by then.
        time.sleep(_SETTLE_S + _EVENTS_BEFORE * stage.plan.trickle_s)
        held = procfs.used(one.session).rss_bytes
        time.sleep(stage.plan.hold_s)
        later = procfs.used(one.session).rss_bytes
        lost = _release(holder)
    stage.held.append(Held(subject.name, streams, before, held, later, stage.plan.hold_s, lost))
    stage.say(f"{streams} idle streams, {subject.name}: {(held - before) / streams / 1e3:.1f} KB each, {lost} lost")


@contextmanager
def _holding(stage: Stage, subject: Subject, streams: int) -> Iterator[subprocess.Popen[str]]:
    request = request_bytes(stream(), USERS[0], subject.port, KEY).decode()
    argv = ["taskset", "-c", str(stage.cores.load), sys.executable, "-m", "loadtests.bench.idle_client"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        try:
            assert holder.stdin is not None and holder.stdout is not None  # noqa: PT018, S101  for mypy
            holder.stdin.write(msgspec.json.encode(Order(subject.port, request, streams)).decode() + "\n")
            holder.stdin.flush()
            said = holder.stdout.readline().split()
            if said != ["held", str(streams)]:
                raise BenchError(
                    f"{subject.name} did not begin {streams} streams", " ".join(said) or "the client ended"
                )
            yield holder
        finally:
            holder.kill()


def _release(holder: subprocess.Popen[str]) -> int:
    """End the streams; how many had ended before."""
    text, _ = holder.communicate("\n", timeout=_END_S)
    found = text.split()
    if len(found) != 2 or found[0] != "lost":  # noqa: PLR2004  a word and a number
        raise BenchError("the client of idle streams ended early", text.strip())
    return int(found[1])
