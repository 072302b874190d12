import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.left_out import Why
from gateway.core.outcome import UNDER_WAY, Outcome, Record
from gateway.core.units import PATIENCE_S, End, Unit, Waiting, end_of, is_unit, success_of, unit_of
from tests.gateway.test_recorder import RECORD

AGE_S = 60.0
FIRST = replace(RECORD, unit_digest=7, at_s=100.0, duration_s=0.5)


def request(digest: int, arrived_s: float, took_s: float = 0.5, **changes: object) -> Record:
    return replace(FIRST, unit_digest=digest, at_s=arrived_s + took_s, duration_s=took_s, **changes)


def waiting_room(most: int = 50_000) -> Waiting:
    return Waiting(lambda *_: AGE_S, most)


def test_a_unit_is_what_was_assigned_whoever_served_it() -> None:
    found = unit_of(FIRST, AGE_S)
    assert found == Unit(99.5, 7, "draft", 1, True, AGE_S, FIRST.request_id, 1.0, End.ANSWERED, 0.5, tenant="acme")
    hidden = unit_of(replace(FIRST, served="baseline", attempts=2, failed_outcome="timeout"), AGE_S)
    assert hidden == found._replace(success=0.0)
    assert not unit_of(replace(FIRST, assigned="baseline", served="baseline"), AGE_S).candidate


def test_who_is_not_known_or_was_never_sent_on_is_no_unit() -> None:
    assert is_unit(FIRST)
    assert not is_unit(replace(FIRST, unit_digest=0))
    assert not is_unit(replace(FIRST, attempts=0, outcome="refused"))
    assert not is_unit(replace(FIRST, client_retries=1))


@pytest.mark.parametrize(
    ("change", "gap_s"),
    [
        ({}, 0.25),
        ({"completion_tokens": 2}, 1.0),
        ({"completion_tokens": 1}, None),
        ({"completion_tokens": None}, None),
        ({"ttft_s": None}, None),
        ({"ttft_s": 2.0}, 0.0),  # another clock
    ],
)
def test_the_gap_is_what_lies_between_tokens(change: dict, gap_s: float | None) -> None:
    streamed = replace(FIRST, stream=True, duration_s=1.5, ttft_s=0.5, completion_tokens=5)
    found = unit_of(replace(streamed, **change), AGE_S)
    assert (found.gap_s, found.stream) == (gap_s, True)


@pytest.mark.parametrize(
    ("change", "success"),
    [
        ({}, 1.0),
        ({"attempts": 2}, 0.0),
        ({"attempts": 2, "outcome": Outcome.CANCELLED}, 0.0),
        *(
            ({"outcome": each, "cause": "x", "status": 500}, 0.0)
            for each in (
                *(Outcome.CALLER_ERROR, Outcome.RATE_LIMITED, Outcome.UPSTREAM_ERROR, Outcome.UNREACHABLE),
                *(Outcome.TIMEOUT, Outcome.TRUNCATED, Outcome.REFUSED),
            )
        ),
        ({"outcome": Outcome.CANCELLED, "status": 200}, 1.0),
        ({"outcome": Outcome.CANCELLED, "status": 200, "duration_s": 50.0}, 1.0),
        ({"outcome": Outcome.CANCELLED, "status": 200, "attempts": 2}, 0.0),
        ({"outcome": Outcome.CANCELLED, "status": 0, "duration_s": PATIENCE_S - 1}, None),
        ({"outcome": Outcome.CANCELLED, "status": 0, "duration_s": PATIENCE_S}, 0.0),
        ({"outcome": Outcome.CANCELLED, "status": 503, "duration_s": PATIENCE_S}, 0.0),
        ({"outcome": Outcome.TIMEOUT, "cause": "caller_stalled"}, None),
        ({"outcome": Outcome.TRUNCATED, "cause": "draining"}, None),
        ({"outcome": UNDER_WAY, "status": 200}, 1.0),
        ({"outcome": UNDER_WAY, "status": 0}, 0.0),
        ({"outcome": UNDER_WAY, "status": 503}, 0.0),
        ({"outcome": UNDER_WAY, "status": 200, "attempts": 2}, 0.0),
    ],
)
def test_what_a_request_came_to(change: dict, success: float | None) -> None:
    assert success_of(replace(FIRST, **change)) == success


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({}, End.ANSWERED),
        ({"attempts": 2}, End.ANSWERED),
        ({"outcome": Outcome.TIMEOUT}, End.FAILED),
        ({"outcome": Outcome.CALLER_ERROR, "status": 400}, End.FAILED),
        ({"outcome": Outcome.CANCELLED, "status": 200, "duration_s": 50.0}, End.LEFT),
        ({"outcome": Outcome.CANCELLED, "status": 0, "duration_s": PATIENCE_S - 1}, End.LEFT),
        ({"outcome": Outcome.CANCELLED, "status": 0, "duration_s": PATIENCE_S}, End.FAILED),
        ({"outcome": Outcome.TIMEOUT, "cause": "caller_stalled"}, End.OUTSIDE),
        ({"outcome": Outcome.TRUNCATED, "cause": "draining"}, End.OUTSIDE),
        ({"outcome": UNDER_WAY, "status": 200}, End.OPEN),
    ],
)
def test_how_far_it_came_for_its_caller(change: dict, end: End) -> None:
    assert end_of(replace(FIRST, **change)) is end


@pytest.mark.parametrize("arm", ["candidate", "baseline"])
@given(st.sampled_from(Outcome), st.integers(1, 2), st.sampled_from([0, 200, 400, 503]), st.floats(0, 100))
def test_the_arm_has_no_say_in_how_it_is_judged(arm: str, outcome, attempts, status, took_s) -> None:
    record = request(7, 0.0, took_s, outcome=outcome, attempts=attempts, status=status)
    assert unit_of(replace(record, assigned=arm, served=arm, upstream=arm), AGE_S)[7:] == unit_of(record, AGE_S)[7:]


@pytest.mark.parametrize("arm", ["candidate", "baseline"])
@given(st.integers(0, 2), st.sampled_from([0, 200, 400, 503]), st.floats(0, 100))
def test_leaving_an_answer_that_has_begun_changes_nothing(arm: str, attempts, status, took_s) -> None:
    reading = request(7, 0.0, took_s, outcome=UNDER_WAY, attempts=attempts, status=status, assigned=arm)
    left = replace(reading, outcome=Outcome.CANCELLED, cause="left")
    if status == 200 or attempts > 1:
        assert success_of(left) == success_of(reading)
    else:
        assert success_of(left) == (0.0 if took_s >= PATIENCE_S else None)


def test_units_become_due_at_their_age_in_order_of_arrival() -> None:
    waiting = waiting_room()
    waiting.add([request(1, 101.7), request(2, 100.2, 30.0), request(3, 100.2)])
    assert waiting.due(100.2 + AGE_S, []) == []
    assert [unit.digest for unit in waiting.due(101.0 + AGE_S, [])] == [2, 3]
    assert len(waiting) == 1
    assert [unit.digest for unit in waiting.due(102.9 + AGE_S, [])] == [1]
    assert waiting.due(1_000.0, []) == []


def test_the_first_request_stands_for_the_unit_however_slow_it_was() -> None:
    waiting = waiting_room()
    failed = {"outcome": Outcome.TIMEOUT}
    waiting.add([request(1, 120.0), request(1, 100.0, 40.0, **failed), request(1, 110.0)])
    (unit,) = waiting.due(180.0, [])
    assert (unit.arrived_s, unit.success) == (100.0, 0.0)


def test_who_is_under_way_at_the_age_is_not_missing() -> None:
    waiting = waiting_room()
    slow = {"outcome": UNDER_WAY, "status": 0}
    waiting.add([request(1, 120.0)])
    under_way = [request(1, 100.0, 61.0, **slow), request(2, 100.5, 60.5, **slow), request(3, 130.0, 31.0, **slow)]
    due = waiting.due(161.0, under_way)
    assert [(unit.digest, unit.arrived_s, unit.success) for unit in due] == [(1, 100.0, 0.0), (2, 100.5, 0.0)]
    waiting.add([request(1, 100.0, 70.0), request(2, 100.5, 200.0)])  # they settle after all: too late
    assert [unit.digest for unit in waiting.due(500.0, [])] == []  # the third is not under way any more, nor settled


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 75)), max_size=20), st.floats(0, 1))
def test_who_settles_before_the_age_is_judged_by_how_it_ended(requests, offset_s: float) -> None:
    """Looked at each second, at any offset from it; what is seen under way in between is forgotten again."""
    waiting, found = waiting_room(), {}
    for second in range(140):
        now_s = second + offset_s
        waiting.add(
            request(digest, arrived_s, took_s)
            for digest, (arrived_s, took_s) in enumerate(requests, 1)
            if now_s - 1 < arrived_s + took_s <= now_s
        )
        under_way = [
            request(digest, arrived_s, now_s - arrived_s + 1e-6, outcome=UNDER_WAY, status=0)
            for digest, (arrived_s, took_s) in enumerate(requests, 1)
            if arrived_s <= now_s - AGE_S / 2 and now_s < arrived_s + took_s
        ]
        found |= {unit.digest: unit for unit in waiting.due(now_s, under_way)}
    assert found.keys() == set(range(1, len(requests) + 1))
    for digest, (_, took_s) in enumerate(requests, 1):
        if took_s < AGE_S:
            assert (found[digest].end, found[digest].success) == (End.ANSWERED, 1.0)
        elif took_s > AGE_S + 2.0:
            assert (found[digest].end, found[digest].success) == (End.OPEN, 0.0)


def test_features_have_units_of_their_own() -> None:
    waiting = waiting_room()
    waiting.add([request(1, 100.0), request(1, 101.0, feature="ask")])
    assert [unit.feature for unit in waiting.due(500.0, [])] == ["draft", "ask"]


def test_a_clock_that_was_set_back_doesnt_stop_the_counting() -> None:
    waiting = waiting_room()
    waiting.add([request(1, 5_000.0)])
    assert len(waiting.due(5_100.0, [])) == 1
    assert waiting.due(1_000.0, []) == []
    waiting.add([request(2, 1_001.0)])
    assert [unit.digest for unit in waiting.due(1_100.0, [])] == [2]


def test_too_many_are_thinned_by_digest_alone_and_stay_away() -> None:
    waiting = waiting_room(most=4)
    large = 2**62
    waiting.add([request(large + number, 100.0) for number in range(3)])
    waiting.add([request(number + 1, 100.0) for number in range(4)])
    assert (len(waiting), waiting.thinned) == (4, 3)
    waiting.add([request(large, 101.0), request(1, 101.0)])
    assert (len(waiting), waiting.thinned) == (4, 4)
    waiting.add([request(2**61, 100.0)])
    assert (len(waiting), waiting.thinned) == (4, 5)
    assert [unit.digest for unit in waiting.due(500.0, [])] == [1, 2, 3, 4]
    waiting.add([request(large, 600.0)])
    assert waiting.due(900.0, []) == []


def test_room_again_lets_larger_digests_in_but_nobody_who_was_given_up() -> None:
    waiting, large = waiting_room(most=4), 2**62
    waiting.add([request(number, 100.0) for number in (1, 2, 3, 4, large)])
    for second in range(200, 400):
        waiting.due(float(second), [])
    waiting.add([request(large, 390.0), request(large + 1, 390.0)])
    assert [unit.digest for unit in waiting.due(500.0, [])] == [large + 1]


def test_of_those_that_came_while_there_was_no_room_the_slow_ones_stay_away_too() -> None:
    waiting, large = waiting_room(most=4), 2**62
    waiting.add([request(number, 100.0) for number in (1, 2, 3, 4, large)])
    for second in range(200, 290):
        waiting.due(float(second), [])
    waiting.add([request(large + 1, 289.0)])
    for second in range(290, 330):
        waiting.due(float(second), [])
    waiting.add([request(large + 2, 289.0, 40.0), request(large + 3, 329.0)])
    assert [unit.digest for unit in waiting.due(500.0, [])] == [large + 3]


def test_of_those_given_up_so_many_are_remembered_as_may_wait() -> None:
    waiting, large = waiting_room(most=2), 2**62
    waiting.add([request(number, 100.0) for number in (1, 2, large, large + 1, large + 2)])
    for second in range(200, 400):
        waiting.due(float(second), [])
    waiting.add([request(large + number, 390.0) for number in range(3)])
    assert [unit.digest for unit in waiting.due(500.0, [])] == [large]


REQUESTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 80), st.integers(1, 90)), max_size=20)


@given(REQUESTS, st.randoms(use_true_random=False))
def test_how_fast_requests_settle_changes_nothing_about_who_stands_for_whom(requests, random) -> None:
    """Looked at each second; a request is under way until it has settled."""
    first: dict[int, int] = {}
    for digest, arrived, _ in requests:
        first[digest] = min(arrived, first.get(digest, arrived))
    waiting, found = waiting_room(), []
    random.shuffle(requests)
    for now in range(180):
        waiting.add(
            request(digest, arrived, took) for digest, arrived, took in requests if arrived + took in {now, now + 0.0}
        )
        under_way = [
            request(digest, arrived, now - arrived, outcome=UNDER_WAY, status=0)
            for digest, arrived, took in requests
            if arrived <= now < arrived + took
        ]
        found += waiting.due(now, under_way)
    seen: dict[int, float] = {}
    for unit in found:
        seen.setdefault(unit.digest, unit.arrived_s)
    assert seen == first


def test_requests_that_are_no_units_dont_wait() -> None:
    waiting = waiting_room()
    others = [request(0, 100.0), request(1, 100.0, attempts=0)]
    waiting.add(others)
    assert len(waiting) == 0
    assert waiting.due(500.0, others) == []


def test_each_revision_has_its_age() -> None:
    ages = {1: 10.0, 2: 60.0}
    waiting = Waiting(lambda feature, revision: ages.get(revision) if feature == "draft" else None)
    waiting.add([request(1, 100.0), request(2, 100.5, revision=2), request(3, 100.0, revision=3)])
    assert (len(waiting), waiting.ageless) == (2, 1)
    assert [unit.digest for unit in waiting.due(111.0, [])] == [1]
    waiting.add([request(4, 100.9), request(5, 101.0), request(6, 100.9, revision=2)])  # the first is late
    assert [unit.digest for unit in waiting.due(161.0, [])] == [2, 6, 5]


@given(REQUESTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_neither_order_nor_batches_change_who_is_handed_out(requests, random, parts) -> None:
    records = [request(*each) for each in requests]
    straight, shuffled = waiting_room(), waiting_room()
    straight.add(records)
    random.shuffle(records)
    for start in range(parts):
        shuffled.add(records[start::parts])
    key = [(unit.digest, unit.arrived_s) for unit in straight.due(1_000.0, [])]
    assert [(unit.digest, unit.arrived_s) for unit in shuffled.due(1_000.0, [])] == key


def test_who_is_given_up_is_told() -> None:
    lost: list[tuple[int, Why]] = []
    ages: dict[str, float] = {"draft": AGE_S}
    waiting = Waiting(lambda feature, _: ages.get(feature), 2, lambda unit, why: lost.append((unit.digest, why)))
    large = 2**62
    waiting.add([request(number, 100.0) for number in (1, large, 2, large + 1)])
    waiting.add([request(3, 100.0, feature="ask")])
    assert lost == [(large, Why.THINNED), (large + 1, Why.THINNED), (3, Why.UNPLACED)]
    lost.clear()
    assert (waiting.give_up(), len(waiting)) == (2, 0)
    assert lost == [(1, Why.ENDED), (2, Why.ENDED)]
