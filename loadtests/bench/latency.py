"""What a subject adds to the time of an answer at a fixed rate of requests."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from loadtests.bench import micro
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import Answered, Turn
from loadtests.bench.openloop import Order, Result
from loadtests.bench.subjects import KEY
from loadtests.bench.throughput import rotated
from loadtests.bench.workloads import USERS, request_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.bench.stage import Stage, Standing
    from loadtests.bench.workloads import Workload

_CONNECTIONS = 32
_GRACE_S = 60
_ROOM = 1.2


def measure(stage: Stage, standing: Sequence[Standing], workload: Workload) -> None:
    """Every subject at every rate it can take, turn by turn; results go to the stage."""
    takers = {rate_per_s: able(stage, standing, rate_per_s) for rate_per_s in stage.plan.rates_per_s}
    for number in range(stage.plan.rate_turns):
        stage.turns.append(Turn("latency", number, micro.spin_s(stage.cores.subject[0])))
        for one in rotated(standing, number):
            for rate_per_s in stage.plan.rates_per_s:
                if one.subject.name not in takers[rate_per_s]:
                    continue
                _attempt(stage, one, workload, rate_per_s, number)


def _attempt(stage: Stage, one: Standing, workload: Workload, rate_per_s: int, turn: int) -> None:
    title = f"turn {turn + 1}, {one.subject.name} at {rate_per_s:,} requests/s"
    try:
        result = _one(stage, one, workload, rate_per_s)
    except BenchError as error:  # the others' figures are still worth having
        stage.skip(title, f"{error.cause}: {error.hint}")
        return
    time.sleep(one.subject.rests_s)
    stage.answered.append(_answered(turn, one.subject.name, rate_per_s, result))
    shown = ", ".join(f"{percentile} {value * 1e3:.2f} ms" for percentile, value in result.latency_s.items())
    stage.say(f"{title}: {shown or 'no good answer'}")


def able(stage: Stage, standing: Sequence[Standing], rate_per_s: int) -> set[str]:
    """Those that took more than the rate when they could: the others would only show a queue that grows."""
    found = set()
    for one in standing:
        best = max(
            (figure.requests_per_s for figure in stage.figures["plain"] if figure.cell.subject == one.subject.name),
            default=0.0,
        )
        if best > rate_per_s * _ROOM:
            found.add(one.subject.name)
        else:
            stage.skip(f"{one.subject.name} at {rate_per_s:,} requests/s", f"it takes no more than {best:,.0f}/s")
    return found


def _answered(turn: int, subject: str, rate_per_s: int, result: Result) -> Answered:
    return Answered(turn, subject, rate_per_s, result.latency_s, result.failures, result.queued, result.lag_p99_s)


def _one(stage: Stage, one: Standing, workload: Workload, rate_per_s: int) -> Result:
    requests = tuple(request_bytes(workload, user, one.subject.port, KEY).decode() for user in USERS)
    order = Order(one.subject.port, requests, rate_per_s, stage.plan.rate_s, _CONNECTIONS)
    return run(order, stage.cores.load)


def run(order: Order, core: int) -> Result:
    """Carry out an order in a pinned process of its own. Raises `BenchError`."""
    done = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-m", "loadtests.bench.openloop"],
        input=msgspec.json.encode(order),
        capture_output=True,
        check=False,
        timeout=order.warm_up_s + order.duration_s + _GRACE_S,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchError("the open-loop client failed", " ".join(last))
    return msgspec.json.decode(done.stdout, type=Result)
