"""Times one statement in an interpreter of its own, by the standard library's timeit."""

from __future__ import annotations

import re
import subprocess
import sys

from loadtests.bench.errors import BenchError

_RAW = re.compile(r"^raw times: (.*)$", re.MULTILINE)
_LOOPS = re.compile(r"^(\d+) loops?, best of", re.MULTILINE)
_SPIN = "sum(range(500_000))"

# 100 features, each with 20 rules that all have to be looked at, and a holdout to draw besides the split; every subject
# asks for another feature.
FEATURES = 100
RULES = 20
_DECISIONS = 1_000
_SETUP = f"""
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import Eligibility, FeatureFlag, Holdout, Subject
texts = ("plan", "region", "app", "version", "group")
kinds = (
    lambda name: {{"==": [{{"var": name}}, "value"]}},
    lambda name: {{"!=": [{{"var": name}}, "other"]}},
    lambda name: {{"in": [{{"var": name}}, ["one", "two", "value"]]}},
    lambda name: {{"starts_with": [{{"var": name}}, "val"]}},
    lambda name: {{">=": [{{"var": "age"}}, 18]}},
)
conditions = [kinds[number % 5](texts[number // 4]) for number in range({RULES})]
rules = Eligibility(attributes={{"and": conditions}})
attributes = dict.fromkeys(texts, "value") | {{"age": 30}}
names = [f"feature-{{number}}" for number in range({FEATURES})]
flags = {{
    name: FeatureFlag(
        feature=name, candidate="a", baseline="b", share_millipct=50_000, holdout=Holdout(5_000), eligibility=rules
    )
    for name in names
}}
snapshot = compile_snapshot(flags, 1)
asked = [
    (names[number % {FEATURES}], Subject(None, f"user-{{number}}", "tenant", f"request-{{number}}", attributes))
    for number in range({_DECISIONS})
]
assert all(decide(snapshot, *each).unit_kind for each in asked)
"""
_STATEMENT = "for name, subject in asked: decide(snapshot, name, subject)"


def parse(text: str) -> list[float]:
    """`python -m timeit -v -u usec` -> seconds per loop of each repeat. Raises `BenchError`."""
    raw, loops = _RAW.search(text), _LOOPS.search(text)
    if raw is None or loops is None:
        raise BenchError("timeit printed no times", text.strip()[-200:])
    return [float(part.removesuffix(" usec")) * 1e-6 / int(loops[1]) for part in raw[1].split(", ")]


def timed(statement: str, setup: str, *, number: int, repeats: int, core: int) -> list[float]:
    """CPU seconds per run of `statement`, `number` runs in each of `repeats`, on one core. Raises `BenchError`."""
    options = ["-v", "-p", "-u", "usec", "-n", str(number), "-r", str(repeats), "-s", setup]
    done = subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-m", "timeit", *options, statement],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError("a timed statement failed", (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return parse(done.stdout)


def spin_s(core: int) -> float:
    """The best of five runs of a fixed piece of work: how fast the core is at the moment."""
    return min(timed(_SPIN, "pass", number=1, repeats=5, core=core))


def decision_s(core: int, repeats: int) -> list[float]:
    """Seconds of one flag decision, once for each repeat, in a process of its own. Raises `BenchError`."""
    loops = timed(_STATEMENT, _SETUP, number=10, repeats=repeats, core=core)
    return [each / _DECISIONS for each in loops]
