import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import pairs
from rollout.core.evidence.fixed_point import STEPS_PER_ONE
from rollout.core.evidence.ledger import MetricPlan, add, harm_log_value, noninferiority_log_value
from rollout.core.evidence.plans import vector_of
from rollout.core.evidence.rollback import attempt_alpha
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import ELEMENTS_MAX, SumKey

PROOF = Gate(
    name="as-good", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="judge", margin=0.1,
    early=(EarlyMargin(5_000, 0.2),),
)  # fmt: skip
HARM = replace(PROOF, name="worse", kind=GateKind.HARM, margin=0.05, early=())
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.375, direction="higher")
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    gates=(PROOF, HARM, FLOOR),
    progress=Progress(phase=Phase.RUNNING, attempt=2, step=0, ramp_began_s=100.0, step_began_s=100.0),
)
PLAN = MetricPlan((0.1, 0.2), (0.05, 0.1, 0.125))
EPOCH_S = pairs.EPOCH_S
WINS = st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=40)
Path = tuple[float, ...]


def test_a_plan_is_the_margins_of_proof_and_of_harm_and_what_floors_leave() -> None:
    assert pairs.plan_of(FLAG) == PLAN
    assert [pairs.harm_margin_of(gate) for gate in (PROOF, HARM, FLOOR)] == [0.1, 0.05, 0.125]
    assert pairs.harm_margin_of(replace(HARM, margin=None)) == 0.0
    others = (replace(HARM, metric="errors"), replace(HARM, source="promql"), replace(HARM, margin=None))
    assert pairs.plan_of(replace(FLAG, gates=others)) is None


@pytest.mark.parametrize("margin", [0.51, 3.0])
def test_no_win_rate_is_below_zero(margin: float) -> None:
    with pytest.raises(InvalidArgument, match="below one half"):
        pairs.plan_of(replace(FLAG, gates=(replace(HARM, margin=margin),)))


def test_a_plan_fits_one_vector() -> None:
    gates = tuple(replace(HARM, name=f"g{number}", margin=number / 100) for number in range(1, 19))
    with pytest.raises(InvalidArgument, match="too many margins"):
        pairs.plan_of(replace(FLAG, gates=gates))
    plan = pairs.plan_of(replace(FLAG, gates=gates[:-1]))
    assert plan is not None
    assert len(vector_of(pairs.gathered(plan, np.array([0.5])))) <= ELEMENTS_MAX


def test_the_moments_are_those_of_the_wins() -> None:
    moments = pairs.gathered(PLAN, np.array([1.0, 1.0, 0.5, 0.0])).moments
    assert (moments.units, moments.estimate, moments.n_eff) == (4, 0.125, 4.0)
    assert moments.contrast_squared == 0.75 * STEPS_PER_ONE
    assert pairs.gathered(PLAN, np.array([])).moments.estimate is None


@pytest.mark.parametrize("win", [-0.5, 1.5, math.nan])
def test_what_is_no_win_is_refused(win: float) -> None:
    with pytest.raises(InvalidArgument):
        pairs.gathered(PLAN, np.array([0.5, win]))


@given(WINS, WINS, st.randoms(use_true_random=False))
def test_merging_is_a_single_stream_in_any_order(first: list[float], second: list[float], random) -> None:
    together = first + second
    merged = add(pairs.gathered(PLAN, np.array(first)), pairs.gathered(PLAN, np.array(second)))
    assert merged == pairs.gathered(PLAN, np.array(together))
    random.shuffle(together)
    assert merged == pairs.gathered(PLAN, np.array(together))


def test_an_epoch_is_by_the_time_of_the_answers_not_of_the_score() -> None:
    assert [pairs.epoch_of(FLAG.progress, 100.0 + late) for late in (-5.0, 0.0, EPOCH_S - 1, EPOCH_S)] == [0, 0, 0, 1]
    later = [pairs.epoch_of(FLAG.progress, 100.0 + hours * EPOCH_S) for hours in (3.9, 4, 9, 60 * 24)]
    assert later == [1, 2, 3, 37]


def chances(past: Path, rate: Fraction) -> dict[float, Fraction]:
    """Ties come and go with what happened; the win rate stays what it is."""
    tie = Fraction(1 + sum(win == 0.5 for win in past), 10)
    return {1.0: rate - tie / 2, 0.5: tie, 0.0: 1 - rate - tie / 2}


def every_path(rate: Fraction, length: int, past: Path = ()) -> Iterator[tuple[Path, Fraction]]:
    if len(past) == length:
        yield past, Fraction(1)
        return
    for win, chance in chances(past, rate).items():
        for path, likely in every_path(rate, length, (*past, win)):
            yield path, chance * likely


@pytest.mark.parametrize("stopped_at", [math.inf, 1.05])
@pytest.mark.parametrize("kind", ["proof", "harm", "no harm at all"])
def test_no_wealth_is_expected_under_the_null(kind: str, stopped_at: float) -> None:
    # Every path of five pairs, stopped as soon as the value looks good, or never; harm restarted at each pair.
    rate = Fraction(1, 2) if kind == "no harm at all" else Fraction(4, 10)
    expected, certain = 0.0, Fraction(0)
    for path, likely in every_path(rate, 5):
        each = [pairs.gathered(PLAN, np.array([win])) for win in path]
        looks = [
            noninferiority_log_value(PLAN, 0.1, each[:seen])
            if kind == "proof"
            else harm_log_value(PLAN, 0.1, dict(enumerate(each[:seen])))
            for seen in range(1, 6)
        ]
        values = [math.exp(look) for look in looks]
        expected += float(likely) * next((value for value in values if value >= stopped_at), values[-1])
        certain += likely
    assert certain == 1
    assert expected <= 1.0
    assert kind == "no harm at all" or expected > 1.0 - 1e-8, "at the margin it is a martingale: nothing is given away"


def version_after(past: Path) -> str:
    """A judge that is exchanged each time its verdict is unwelcome."""
    return f"v{sum(win == 0.0 for win in past)}"


def test_exchanging_the_judge_at_will_gains_nothing() -> None:
    # The versions' values, each with its part of alpha, are one e-value: whichever decides, the level holds.
    expected, plan = 0.0, pairs.plan_of(FLAG)
    assert plan is not None
    for path, likely in every_path(Fraction(4, 10), 5):
        sums: dict[SumKey, list[int]] = {}
        for place, win in enumerate(path):
            key = pairs.pairs_key("draft", FLAG.progress, plan, version_after(path[:place]), place)
            sums[key] = vector_of(pairs.gathered(plan, np.array([win])))
        versions = pairs.by_version(FLAG, plan, sums)
        for version in versions:
            log_value = noninferiority_log_value(plan, 0.1, [part for _, _, part in version.parts])
            expected += float(likely) * math.exp(log_value) * attempt_alpha(1.0, pairs.number_of(version, versions))
    assert expected <= 1.0


def sums_of(*made: tuple[str, int]) -> dict[SumKey, list[int]]:
    """A pair for each (version, epoch)."""
    vector = vector_of(pairs.gathered(PLAN, np.array([1.0])))
    return {pairs.pairs_key("draft", FLAG.progress, PLAN, version, epoch): vector for version, epoch in made}


@pytest.mark.parametrize(
    ("made", "in_force", "number"),
    [
        ((("a", 3),), "a", 1),
        ((("b", 0), ("b", 1), ("a", 2)), "a", 2),
        ((("b", 0), ("a", 0)), "b", 2),  # who knows who was first: both have the second part of alpha
        ((("a", 0), ("b", 2), ("a", 5)), "a", 1),  # turned back: its own sums go on
        ((("a", 0), ("b", 2), ("a", 3), ("b", 3)), "b", 2),
        ((("a", 0), ("b", 1), ("c", 2), ("d", 2)), "d", 4),
    ],
)
def test_the_version_that_scored_last_is_in_force(made: tuple, in_force: str, number: int) -> None:
    versions = pairs.by_version(FLAG, PLAN, sums_of(*made))
    assert (versions[-1].version, pairs.number_of(versions[-1], versions)) == (in_force, number)


def test_sums_of_other_attempts_features_plans_and_metrics_are_not_mixed_in() -> None:
    sums = sums_of(("a", 0), ("a", 1))
    vector = next(iter(sums.values()))
    later = replace(FLAG.progress, attempt=3)
    sums[pairs.pairs_key("draft", later, PLAN, "x", 7)] = vector
    sums[pairs.pairs_key("other", FLAG.progress, PLAN, "x", 7)] = vector
    sums[pairs.pairs_key("draft", FLAG.progress, MetricPlan((0.3,), ()), "x", 7)] = vector
    sums[pairs.replies_key("draft", FLAG.progress, "x")] = [1, 2]
    sums[SumKey("draft", 2, "units.5000")] = [1, 2]
    (found,) = pairs.by_version(FLAG, PLAN, sums)
    assert (found.version, found.first, found.last) == ("a", 0, 1)
    assert [part.moments.units for _, _, part in found.parts] == [1, 1]


def test_a_damaged_vector_is_refused() -> None:
    sums = {key: vector[:-1] for key, vector in sums_of(("a", 0)).items()}
    with pytest.raises(InvalidArgument):
        pairs.by_version(FLAG, PLAN, sums)


def test_what_was_lost_by_nobody_known_counts_against_everybody() -> None:
    sums = {
        pairs.replies_key("draft", FLAG.progress, "a"): [10, 1],
        pairs.replies_key("draft", FLAG.progress, ""): [0, 4],
        pairs.replies_key("draft", replace(FLAG.progress, attempt=1), "a"): [100, 100],
    }
    assert pairs.replies_of(FLAG, "a", sums) == (10, 5)
    assert pairs.replies_of(FLAG, "b", sums) == pairs.replies_of(FLAG, pairs.UNKNOWN, sums) == (0, 4)
