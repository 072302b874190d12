import pytest
from msgspec.structs import replace

from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer, CheckSample
from gateway.core.held_units import Ratings
from gateway.core.outcome import Record
from gateway.core.request_outcomes import RequestOutcomes, latencies_of
from gateway.core.unit_outcomes import ABSENT, BEYOND
from gateway.core.yardsticks import UNITS_MIN
from rollout.core.evidence.cluster_parts import Part, parts_of
from rollout.core.ramp_model import Gate, GateKind, Role
from tests.gateway.core.test_cluster_requests import FLAG, GATE, request

ALL = 100_000


def part_of(*gates: Gate) -> Part:
    return parts_of(replace(FLAG, gates=gates))[0]


def gate(metric: str, margin: float = 0.1) -> Gate:
    return replace(GATE, name=f"{metric}{margin}", metric=metric, margin=margin)


PLAIN, RATED, CHECKED = (part_of(gate(metric)) for metric in ("errors", "thumbs", "form"))
SLOW = part_of(gate("total_p50"), gate("total_p50", 0.5))


def answered(number: int, **changes: object) -> Record:
    return request(number, **({"outcome": "ok", "attempts": 1} | changes))


def test_an_answer_is_good_and_a_failure_bad() -> None:
    outcomes = RequestOutcomes()
    assert outcomes.of(answered(1), PLAIN) == (1.0,)
    assert outcomes.of(answered(2, outcome="timeout"), PLAIN) == (0.0,)
    assert outcomes.of(answered(3, outcome="cancelled"), PLAIN) == (1.0,)
    assert outcomes.of(answered(4, outcome="cancelled", status=0), PLAIN) == (None,)


def test_ratings_are_of_the_request_and_the_last_one_counts() -> None:
    outcomes, first, second = RequestOutcomes(), answered(1), answered(1, request_id="r2")
    outcomes.add_rating(first, "thumbs", 1.0, 100.0)
    outcomes.add_rating(first, "thumbs", 0.0, 100.0)
    assert outcomes.of(first, RATED) == (0.0,)
    assert outcomes.of(second, RATED) == (0.5,)


@pytest.mark.parametrize(("millipct", "found"), [(0, ABSENT), (ALL, 0.0)])
def test_checks_are_of_a_sample(millipct: int, found: float) -> None:
    outcomes, one = RequestOutcomes(CheckSample(millipct)), answered(1)
    outcomes.add_check(CheckedAnswer("r1", 1.0, "draft", 1, "candidate", "user", 5, Checks(empty=True), 1, "acme"))
    assert outcomes.of(one, CHECKED) == (found,)
    assert outcomes.of(answered(2), CHECKED) == ((ABSENT if not millipct else None),)


def test_latencies_are_held_against_those_of_the_baseline_before() -> None:
    outcomes = RequestOutcomes()
    assert outcomes.of(answered(1), SLOW) == (ABSENT, ABSENT)
    past = [answered(n, took_s=2.0, assigned="baseline", request_id=f"b{n}") for n in range(1, UNITS_MIN + 1)]
    outcomes.learn(131.0, [(each, SLOW) for each in past], {"draft": (SLOW,), "other": (PLAIN,)})
    assert outcomes.of(answered(1, arrived_s=131.5), SLOW) == (ABSENT, ABSENT)
    late = answered(1, arrived_s=132.0, took_s=2.6)
    by_margin = {series.margin: found for series, found in zip(SLOW.series, outcomes.of(late, SLOW), strict=True)}
    assert by_margin == {0.1: 0.0, 0.5: 1.0}
    assert outcomes.of(replace(late, assigned="baseline"), SLOW) == (0.0, 0.0)


def test_those_of_an_age_may_be_seen_in_parts() -> None:
    whole, parted, late = RequestOutcomes(), RequestOutcomes(), answered(1, arrived_s=132.0, took_s=2.6)
    past = [(answered(n, took_s=2.0, assigned="baseline", request_id=f"b{n}"), SLOW) for n in range(UNITS_MIN)]
    whole.learn(131.0, past, {"draft": (SLOW,)})
    for part in (past[:30], past[30:]):
        parted.see(part, {"draft": (SLOW,)})
    parted.learn(131.0, (), {"draft": (SLOW,)})
    assert parted.of(late, SLOW) == whole.of(late, SLOW) != (ABSENT, ABSENT)


def test_a_margin_beyond_the_age_takes_all_margins_with_it() -> None:
    outcomes = RequestOutcomes()
    past = [answered(n, took_s=25.0, assigned="baseline", request_id=f"b{n}") for n in range(1, UNITS_MIN + 1)]
    both = part_of(gate("total_p50"), gate("total_p50", 0.5), gate("errors"))
    outcomes.learn(131.0, [(each, both) for each in past], {"draft": (both,)})
    found = zip(both.series, outcomes.of(answered(1, arrived_s=132.0), both), strict=True)
    assert sorted((series.metric, outcome) for series, outcome in found) == [
        ("errors", 1.0),
        ("total_p50", BEYOND),
        ("total_p50", BEYOND),
    ]


def test_ratings_and_floors_need_no_yardstick() -> None:
    floor = replace(
        GATE, name="slo", kind=GateKind.THRESHOLD, metric="total_p50", margin=None, limit=3.0, role=Role.HARD
    )
    limited = part_of(floor)
    assert latencies_of([PLAIN, RATED, CHECKED, limited]) == frozenset()
    assert latencies_of([SLOW, PLAIN]) == {"total_p50"}
    assert RequestOutcomes().of(answered(1), limited) == (1.0,)


def test_ratings_of_two_tenants_are_kept_apart_whatever_their_ids() -> None:
    outcomes = RequestOutcomes()
    first, second = answered(1, request_id="same", tenant="acme"), answered(1, request_id="same", tenant="zoo")
    outcomes.add_rating(first, "thumbs", 1.0, 100.0)
    outcomes.add_rating(second, "thumbs", 0.0, 100.0)
    assert outcomes.of(first, RATED) == (1.0,)
    assert outcomes.of(second, RATED) == (0.0,)


def test_checks_of_two_tenants_are_kept_apart_whatever_their_ids() -> None:
    outcomes = RequestOutcomes(CheckSample(ALL))
    of_acme = CheckedAnswer("same", 1.0, "draft", 1, "candidate", "user", 5, Checks(empty=True), 1, "acme")
    outcomes.add_check(of_acme)
    outcomes.add_check(replace(of_acme, checks=Checks(empty=False), tenant="zoo"))
    first, second = (answered(1, request_id="same", tenant=tenant) for tenant in ("acme", "zoo"))
    assert [outcomes.of(each, CHECKED) for each in (first, second)] == [(0.0,), (1.0,)]


def test_what_was_checked_goes_with_the_requests_that_are_handed_over() -> None:
    before, after = RequestOutcomes(CheckSample(ALL)), RequestOutcomes(CheckSample(ALL))
    before.add_check(CheckedAnswer("r1", 1.0, "draft", 1, "candidate", "user", 5, Checks(empty=True), 1, "acme"))
    requests = [answered(1), answered(2)]
    handed = before.give_away(requests)
    assert handed == ((1, requests[0].tenant, "r1", True),)
    assert before.give_away(requests) == ()
    after.receive(handed)
    assert [after.of(each, CHECKED) for each in requests] == [(0.0,), (None,)]


def test_ratings_are_let_go_of_in_time_and_losses_are_told() -> None:
    outcomes, records = RequestOutcomes(), [answered(number) for number in (1, 2, 3)]
    outcomes._ratings = Ratings(ratings_most=2)
    for each in records:
        outcomes.add_rating(each, "thumbs", 1.0, 100.0)
    assert outcomes.lost == 1
    outcomes.forget_ratings(101.0)
    assert [outcomes.of(each, RATED) for each in records] == [(0.5,)] * 3
