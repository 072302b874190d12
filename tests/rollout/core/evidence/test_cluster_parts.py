import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.cluster_parts import (
    VALUES_MAX,
    Cell,
    Part,
    cell_of,
    is_clustered,
    part_of,
    parts_of,
    stored,
    vectors_of,
)
from rollout.core.evidence.clusters import GROUPS, ClusterSums, add, cluster_sums
from rollout.core.evidence.plans import series_of, step_of
from rollout.core.evidence.score import Units, score
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.core.sums import VALUES_PER_EPOCH_MAX, SumKey, check_flush

HOUR_S, DAY_S = 3_600.0, 86_400.0
SHARES = (1_000, 5_000, 25_000, 50_000, 75_000, 100_000)


def gate(metric: str, kind: GateKind = GateKind.NONINFERIORITY, margin: float = 0.05, **more: object) -> Gate:
    name = f"{metric}-{kind}-{margin}"
    return Gate(name=name, role=Role.HARD, source="evidence", kind=kind, metric=metric, margin=margin, **more)


def flag(*gates: Gate, steps: int = 6) -> FeatureFlag:
    return FeatureFlag(
        feature="draft",
        candidate="inhouse",
        baseline="partner",
        bucket_by=UnitKind.USER,
        share_millipct=50_000,
        gates=gates,
        ramp=RampPlan(steps=tuple(Step(share=number + 1) for number in range(steps))),
        progress=Progress(phase=Phase.RUNNING, attempt=2, step=0, ramp_began_s=1_000.0, step_began_s=2_000.0),
    )


FLOOR = Gate(
    name="slo", role=Role.HARD, source="evidence", kind=GateKind.THRESHOLD, metric="form", limit=0.1, direction="lower"
)
FLAG = flag(gate("errors"), gate("thumbs"), gate("ttft_p95", margin=0.1), gate("ttft_p95", margin=0.2), gate("form"))
WITH_FLOOR = replace(FLAG, gates=(*FLAG.gates, FLOOR))
CELL = Cell(2_000_000, 3)


def test_a_part_knows_its_metrics() -> None:
    assert [part.metrics for part in parts_of(FLAG)] == [{"errors", "form", "ttft_p95"}, {"thumbs"}]


@pytest.mark.parametrize("kind", UnitKind)
def test_users_and_tenants_keep_their_arm(kind: UnitKind) -> None:
    assert is_clustered(replace(FLAG, bucket_by=kind)) == (kind in {UnitKind.USER, UnitKind.TENANT})


def test_series_of_one_age_make_a_part() -> None:
    early, late = parts_of(FLAG)
    assert (early.age_s, late.age_s) == (30.0, 3_600.0)
    assert [each.metric for each in early.series] == ["errors", "form", "ttft_p95", "ttft_p95"]
    assert [each.metric for each in late.series] == ["thumbs"]
    assert {part_of(FLAG, each) for each in series_of(FLAG)} == {early, late}
    assert early.seen_by == (0, 1, 2, 2)
    assert (early.width, early.values) == (3 * 2 + 4, 10 * GROUPS + 3 * 4)


def test_a_floor_has_a_column_of_its_own() -> None:
    early = parts_of(WITH_FLOOR)[0]
    assert (early.floors, early.width) == ((1,), 11)


def test_other_margins_are_another_part() -> None:
    assert parts_of(FLAG)[0].name != parts_of(flag(gate("errors", margin=0.06)))[0].name
    older = replace(FLAG, evidence=replace(FLAG.evidence, age="40s"))
    assert parts_of(FLAG)[0].name != parts_of(older)[0].name


def test_cells_are_steps_in_windows_that_grow() -> None:
    part, progress = replace(parts_of(FLAG)[0], windows=30), FLAG.progress
    windows = [
        cell_of(part, progress, 1_000.0 + hours * HOUR_S).window for hours in (0, 0.9, 1, 3.9, 4, 24, 168, 5_000)
    ]
    assert windows == [0, 0, 1, 1, 2, 4, 12, 29]
    assert cell_of(part, progress, 0.0) == Cell(step_of(progress), 0)


def test_few_windows_are_longer() -> None:
    part = replace(parts_of(FLAG)[0], windows=5)
    windows = [cell_of(part, FLAG.progress, 1_000.0 + days * DAY_S).window for days in (1, 2, 5, 20, 400)]
    assert windows == [0, 1, 2, 4, 4]


def eight_metrics() -> tuple[Gate, ...]:
    early = tuple(EarlyMargin(below=share, margin=0.05 + 100 / share) for share in SHARES[1:4])
    plain = [gate(metric, early=early) for metric in ("errors", "form", "thumbs")]
    latency = [gate(metric, early=early) for metric in ("ttft_p50", "ttft_p95", "ttft_p99", "total_p95", "itl_p95")]
    return (*plain, *latency)


def test_eight_metrics_fit_the_store_over_any_time() -> None:
    wide = flag(*eight_metrics())
    parts = parts_of(wide)
    assert sum(len(part.series) for part in parts) == 23
    cells = {
        cell_of(part, replace(wide.progress, step_began_s=1_000.0 + day * DAY_S // 10), 1_000.0 + hour * HOUR_S)
        for part in parts
        for day, until in enumerate((1, 2, 4, 8, 16, 400))
        for hour in range(24 * (until // 2), 24 * until)
    }
    assert len(cells) > len(SHARES)
    values = sum(part.values for part in parts) * len(cells)
    assert values <= VALUES_MAX < VALUES_PER_EPOCH_MAX


@pytest.mark.parametrize("gates", [tuple(gate("itl_p95", margin=0.01 * n) for n in range(1, 99)), eight_metrics()])
def test_what_does_not_fit_is_refused(gates: tuple[Gate, ...]) -> None:
    with pytest.raises(InvalidArgument, match="no room for so many steps and gates"):
        parts_of(flag(*gates, steps=30))


def test_a_flag_without_gates_or_ramp_has_no_parts() -> None:
    assert parts_of(flag()) == ()
    assert parts_of(replace(flag(gate("errors")), ramp=None))[0].windows > 30


ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1), st.integers(0, GROUPS - 1)), max_size=20)


def sums_of(part: Part, batch: list) -> list[ClusterSums]:
    """Each metric has seen other requests: the n-th of them all but the first n."""
    found = []
    for index in part.seen_by:
        rows = batch[index:]
        units = Units(
            np.full(len(rows), 20_000),
            np.array([row[0] for row in rows], bool),
            np.array([row[1] for row in rows], float),
            np.array([row[2] for row in rows], float),
        )
        found.append(cluster_sums(units, score(units), np.array([row[3] for row in rows], np.int64)))
    return found


@given(ROWS, ROWS)
def test_what_is_stored_is_read_again_and_adds_up(first: list, second: list) -> None:
    part = parts_of(WITH_FLOOR)[0]
    progress, total = WITH_FLOOR.progress, {}
    for batch in (first, second):
        vectors = vectors_of(part, "draft", progress, CELL, sums_of(part, batch))
        check_flush(vectors, "flush")
        for key, vector in vectors.items():
            total[key] = [one + other for one, other in zip(total.get(key, [0] * len(vector)), vector, strict=True)]
    expected = [add(*pair) for pair in zip(sums_of(part, first), sums_of(part, second), strict=True)]
    for index, series in enumerate(part.series):
        wanted = expected[index] if index in part.floors else replace(expected[index], outcome=(0,) * GROUPS)
        assert stored(part, series, "draft", progress, total) == {CELL: wanted}


def test_only_groups_that_were_seen_are_written() -> None:
    part = parts_of(FLAG)[0]
    vectors = vectors_of(part, "draft", FLAG.progress, CELL, sums_of(part, [(True, 1.0, 0.5, 7), (True, 0.0, 0.5, 9)]))
    assert {key.name.rpartition(".")[2] for key in vectors} == {"7", "9", "all"}


def test_cells_come_in_the_order_of_time_and_others_are_not_read() -> None:
    part, progress = parts_of(FLAG)[0], FLAG.progress
    sums: dict[SumKey, list[int]] = {}
    for cell in (Cell(10, 2), Cell(9, 2), Cell(9, 0)):
        sums |= vectors_of(part, "draft", progress, cell, sums_of(part, [(True, 1.0, 0.5, 7)]))
    sums |= vectors_of(part, "other", progress, CELL, sums_of(part, []))
    sums |= vectors_of(part, "draft", replace(progress, attempt=3), CELL, sums_of(part, []))
    sums |= vectors_of(parts_of(FLAG)[1], "draft", progress, CELL, sums_of(parts_of(FLAG)[1], []))
    assert list(stored(part, part.series[0], "draft", progress, sums)) == [Cell(9, 0), Cell(9, 2), Cell(10, 2)]


@pytest.mark.parametrize("damaged", ["7", "all"])
def test_damaged_sums_are_refused(damaged: str) -> None:
    part = parts_of(FLAG)[0]
    sums = vectors_of(part, "draft", FLAG.progress, CELL, sums_of(part, [(True, 1.0, 0.5, 7)]))
    (key,) = [key for key in sums if key.name.endswith(f".{damaged}")]
    for broken in ({**sums, key: sums[key][:-1]}, {name: row for name, row in sums.items() if name != key}):
        if damaged == "7" and key not in broken:
            continue
        with pytest.raises(InvalidArgument, match="not of this plan"):
            stored(part, part.series[0], "draft", FLAG.progress, broken)


@pytest.mark.parametrize("rest", ["1.0.128", "1.0.x", "1.5", "1.0.0.5", "x.0.all", ""])
def test_a_name_that_is_none_of_a_cell_is_refused(rest: str) -> None:
    part = parts_of(FLAG)[0]
    name = f"{part.name}.{rest}"
    with pytest.raises(InvalidArgument, match="can't be read"):
        stored(part, part.series[0], "draft", FLAG.progress, {SumKey("draft", 2, name): (1,) * part.width})
