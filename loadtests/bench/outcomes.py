"""Times what evidence costs: `python -m loadtests.bench.outcomes [CORE] [REPEATS]`.

One worker's records of half a minute, 300 units a second with eight metrics, from the settled record to the vectors
that a store adds; without the store. The second figure is with `errors` alone: mostly what a unit costs whatever its
metrics.
"""

from __future__ import annotations

import sys
from statistics import median

from loadtests.bench.micro import spin_s, timed

METRICS = ("errors", "form", "itl_p50", "itl_p95", "total_p50", "total_p95", "ttft_p50", "ttft_p95")
UNITS = 9_000
"""Of the baseline and the candidate, in 30 s."""
_SETUP = """
from random import Random
from msgspec.structs import replace
from gateway.core.checks.sampling import CheckSample
from gateway.core.outcome import Record
from gateway.core.unit_sums import Books
from gateway.core.units import Waiting
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, RampPlan, Role, Step
gates = tuple(
    Gate(name=each, role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric=each, margin=0.1)
    for each in {metrics}
)
progress = Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=1.0, step_began_s=1.0)
flag = FeatureFlag(
    feature="draft", candidate="a", baseline="b", revision=1, share_millipct=50_000,
    ramp=RampPlan(steps=(Step(share=50_000),)), gates=gates, progress=progress,
)
snapshot = compile_snapshot({{"draft": flag}}, 1)
random = Random(7)
def record(number):
    arm, took_s = random.choice(("candidate", "baseline")), random.lognormvariate(1.0, 0.5)
    return Record(
        f"r{{number}}", 100.0 + number / 300 + took_s, "chat", "draft", arm, arm, "SPLIT", "conversation", 5, 1, "acme",
        arm, True, 200, "ok" if random.random() > 0.02 else "timeout", "", 1, 0, 0.001, took_s / 5, took_s, 100,
        random.randint(2, 300), unit_digest=random.getrandbits(62) + 1,
    )
records = [record(number) for number in range({units})]
def counted():
    books = Books(CheckSample(10_000), lambda unit: False)
    books.learn(snapshot)
    waiting = Waiting(books.places.age_s_of)
    for start in range(0, len(records), 64):
        waiting.add(records[start : start + 64])
    found = 0
    for second in range(130, 162):
        judged = books.judged(float(second), waiting.due(float(second), ()))
        claims = [unit.claim for unit in judged]
        found += len(judged)
        books.summed(judged)
    assert found == len(records), found
counted()
"""


def costs_us(core: int, repeats: int, metrics: tuple[str, ...] = METRICS) -> list[float]:
    """Microseconds of one unit and metric, once for each repeat. Raises `BenchError`."""
    setup = _SETUP.format(metrics=metrics, units=UNITS)
    return [
        each * 1e6 / UNITS / len(metrics) for each in timed("counted()", setup, number=1, repeats=repeats, core=core)
    ]


def main() -> None:
    """Print both figures, and how long a fixed piece of work took."""
    core, repeats = (int(each) for each in (*sys.argv[1:3], "0", "5")[:2])
    for metrics in (METRICS, METRICS[:1]):
        each = costs_us(core, repeats, metrics)
        line = f"{len(metrics)} metrics: {median(each):.2f} us per outcome and metric (best {min(each):.2f})"
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"a fixed piece of work: {spin_s(core) * 1e3:.1f} ms\n")


if __name__ == "__main__":
    main()
