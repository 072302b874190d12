"""As many requests as a subject can take: subjects beside each other, order rotated from turn to turn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtests.bench import machine, micro, procfs, wrk
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import Cell, Figure, Turn
from loadtests.bench.subjects import DIRECT, KEY
from loadtests.bench.workloads import PATH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtests.bench.plan import Cells
    from loadtests.bench.stage import Stage, Standing

_WARM_UP_S = 1


def measure(stage: Stage, standing: Sequence[Standing], cells: Sequence[Cells], block: str) -> None:
    """Every subject under every workload, turn by turn; figures go to the stage."""
    scripts: dict[str, Path] = {}
    for each in cells:
        scripts[each.workload.name] = stage.folder / f"{each.workload.name.replace(' ', '-')}.lua"
        scripts[each.workload.name].write_text(wrk.script(each.workload, KEY), encoding="utf-8")
    stage.figures.setdefault(block, [])
    for number in range(max(each.turns for each in cells)):
        stage.turns.append(Turn(block, number, micro.spin_s(stage.cores.subject[0])))
        for one in rotated(standing, number):
            for each in cells:
                if number < each.turns and one.subject.takes_part(number):
                    _attempt(stage, one, each, scripts[each.workload.name], (block, number))


def _attempt(stage: Stage, one: Standing, cells: Cells, lua: Path, when: tuple[str, int]) -> None:
    block, turn = when
    title = f"turn {turn + 1}, {cells.workload.name}, {one.subject.name} (cores: {len(one.subject.cores)})"
    try:
        figure = _one(stage, one, cells, lua, turn)
    except BenchError as error:  # the others' figures are still worth having
        stage.skip(title, f"{error.cause}: {error.hint}")
        return
    stage.figures[block].append(figure)
    stage.say(f"{title}: {figure.requests_per_s:,.0f}/s")


def rotated(standing: Sequence[Standing], turn: int) -> list[Standing]:
    """Each turn begins with another subject."""
    start = turn % len(standing)
    return [*standing[start:], *standing[:start]]


def _one(stage: Stage, one: Standing, cells: Cells, lua: Path, turn: int) -> Figure:
    subject = one.subject
    url = f"http://127.0.0.1:{subject.port}{PATH}"
    if turn == 0:
        wrk.run(url, lua, connections=cells.connections, duration_s=_WARM_UP_S, core=stage.cores.load)
        time.sleep(subject.rests_s)
    cores, before, began_s = procfs.cores_s(), procfs.used(one.session).cpu_s, time.perf_counter()
    load = wrk.run(url, lua, connections=cells.connections, duration_s=stage.plan.measure_s, core=stage.cores.load)
    busy_s = procfs.used(one.session).cpu_s - before
    time.sleep(subject.rests_s)
    wall_s = time.perf_counter() - began_s
    cpu_s = procfs.used(one.session).cpu_s - before
    return Figure(
        turn,
        Cell(subject.name, cells.workload.name, 1 if subject.name == DIRECT else len(subject.cores), cells.connections),
        load.requests_per_s,
        1_000 * cpu_s / max(1, load.requests),
        load.p50_s,
        load.p99_s,
        load.failures,
        busy_s / (load.duration_s * len(subject.cores)),
        machine.foreign_share(subject.cores, cores, cpu_s, wall_s),
    )
