import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.cluster_requests import ClusterPlaces, WaitingRequests, arrived_s_of
from gateway.core.left_out import Why
from gateway.core.outcome import UNDER_WAY, Record
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from tests.gateway.test_recorder import RECORD

AGE_S = 30.0
GATE = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03, alpha=0.05
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    bucket_by=UnitKind.USER,
    revision=1,
    share_millipct=10_000,
    ramp=RampPlan(steps=(Step(share=10_000), Step(share=50_000))),
    gates=(GATE, replace(GATE, name="rated", metric="thumbs")),
    progress=Progress(phase=Phase.RUNNING, attempt=2, step=0, ramp_began_s=1_000.0, step_began_s=1_000.0),
)


def request(number: int, arrived_s: float = 100.0, took_s: float = 0.5, **changes: object) -> Record:
    changes = {
        "request_id": f"r{number}",
        "unit_digest": number,
        "at_s": arrived_s + took_s,
        "duration_s": took_s,
    } | changes
    return replace(RECORD, **changes)


def learned(*flags: FeatureFlag) -> ClusterPlaces:
    places = ClusterPlaces()
    for flag in flags:
        places.learn(compile_snapshot({flag.feature: flag}, flag.revision))
    return places


def test_places_are_known_by_revision() -> None:
    places = learned(FLAG, replace(FLAG, revision=2, share_millipct=50_000))
    found = places.of("draft", 1)
    assert found is not None
    assert (found.flag, [part.age_s for part in found.parts]) == (FLAG, [30.0, 3_600.0])
    assert places.of("draft", 3) is places.of("other", 1) is None
    assert (places.knows("draft"), places.knows("other"), bool(places)) == (True, False, True)
    assert places.ages_s == {30.0, 3_600.0}
    assert list(places.current) == ["draft"]


@pytest.mark.parametrize(
    "flag",
    [
        replace(FLAG, bucket_by=UnitKind.CONVERSATION),
        replace(FLAG, share_millipct=100_000),
        replace(FLAG, gates=()),
        replace(FLAG, progress=replace(FLAG.progress, phase=Phase.COMPLETED)),
    ],
)
def test_flags_that_gather_nothing_by_users_have_no_place(flag: FeatureFlag) -> None:
    places = learned(flag)
    assert not places
    assert (places.current, places.ages_s) == ({}, frozenset())


def test_gates_that_ask_for_too_much_gather_nothing() -> None:
    many = tuple(replace(GATE, name=f"g{n}", metric="ttft_p95", margin=0.01 * n) for n in range(1, 100))
    found = learned(replace(FLAG, gates=many)).of("draft", 1)
    assert found is not None
    assert found.parts == ()


def test_a_snapshot_is_learned_once_and_old_revisions_are_forgotten() -> None:
    places, snapshot = ClusterPlaces(), compile_snapshot({"draft": FLAG}, 1)
    places.learn(snapshot)
    first = places.of("draft", 1)
    places.learn(snapshot)
    places.learn(compile_snapshot({"draft": FLAG}, 2))
    assert places.of("draft", 1) is first
    places.learn(compile_snapshot({"draft": replace(FLAG, gates=(GATE,))}, 3))
    assert places.of("draft", 1) is not first
    for revision in range(2, 80):
        places.learn(compile_snapshot({"draft": replace(FLAG, revision=revision)}, revision))
    assert places.of("draft", 1) is None
    assert places.of("draft", 79) is not None


def test_every_request_of_a_user_is_handed_out_at_its_age() -> None:
    waiting = WaitingRequests(AGE_S)
    again = [request(7, 100.0 + turn, request_id=f"turn{turn}") for turn in range(3)]
    waiting.add(again)
    assert waiting.due(130.9, ()) == []
    assert waiting.due(131.0, ()) == again[:1]
    assert waiting.due(140.0, ()) == again[1:]
    assert len(waiting) == 0


def test_what_is_under_way_is_handed_out_once() -> None:
    waiting = WaitingRequests(AGE_S)
    open_yet = request(1, 100.0, 31.0, outcome=UNDER_WAY)
    younger = request(2, 101.5, 29.5, outcome=UNDER_WAY)
    assert waiting.due(131.0, [open_yet, younger]) == [open_yet]
    waiting.add([request(1, 100.0, 50.0)])
    assert waiting.due(140.0, [younger]) == [younger]


def test_too_many_are_thinned_by_user_not_by_request() -> None:
    waiting = WaitingRequests(AGE_S, most=4)
    few, many = 1, 2**63 - 1
    waiting.add([request(many, request_id=f"a{n}") for n in range(3)])
    waiting.add([request(few, request_id=f"b{n}") for n in range(3)])
    waiting.add([request(many, request_id="late")])
    assert {each.unit_digest for each in waiting.due(200.0, ())} == {few}
    assert waiting.thinned == 4


def test_users_come_back_when_there_is_room_again_whoever_is_slow() -> None:
    waiting, many = WaitingRequests(AGE_S, most=4), 2**63 - 1
    waiting.add([request(1, request_id=f"b{n}") for n in range(4)])
    waiting.add([request(many, request_id="early")])
    for second in range(200, 400):
        assert not waiting.due(float(second), ()) or second == 200
    waiting.add([request(many, 210.0, 180.0, request_id="slow"), request(many, 390.0, request_id="new")])
    assert [each.request_id for each in waiting.due(500.0, ())] == ["new"]


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 50), st.booleans()), max_size=30), st.integers(1, 9))
def test_each_request_comes_once_whenever_it_settles(requests: list[tuple[int, float, bool]], every: int) -> None:
    waiting, found = WaitingRequests(AGE_S), []
    records = [
        request(digest, 100.0 + at, 60.0 if slow else 0.5, request_id=f"r{number}")
        for number, (digest, at, slow) in enumerate(requests)
    ]
    settled: set[str] = set()
    for second in range(100, 240, every):
        ready = [each for each in records if each.at_s <= second and each.request_id not in settled]
        settled |= {each.request_id for each in ready}
        waiting.add(ready)
        open_yet = [each for each in records if arrived_s_of(each) <= second < each.at_s]
        due = waiting.due(second, open_yet)
        assert all(arrived_s_of(each) < second - AGE_S for each in due)
        found += due
    waiting.add([each for each in records if each.request_id not in settled])
    found += waiting.due(500.0, ())
    assert sorted(each.request_id for each in found) == sorted(each.request_id for each in records)


def test_requests_of_two_tenants_may_have_one_id_and_of_one_tenant_too() -> None:
    waiting = WaitingRequests(AGE_S)
    settled = [
        request(1, request_id="same", tenant="acme", outcome="ok"),
        request(2, request_id="same", tenant="zoo", outcome="timeout"),
        request(1, 101.0, request_id="same", tenant="acme", outcome="timeout"),
    ]
    waiting.add(settled)
    assert waiting.due(140.0, ()) == settled
    slow = [request(1, 120.0, 31.0, request_id="slow", tenant=name, outcome=UNDER_WAY) for name in ("acme", "zoo")]
    assert waiting.due(151.0, slow[:1]) == slow[:1]
    waiting.add([request(1, 120.0, 32.0, request_id="slow", tenant="zoo")])
    assert [each.tenant for each in waiting.due(153.0, slow[:1])] == ["zoo"]
    waiting.add([request(1, 120.0, 40.0, request_id="slow", tenant="acme")])
    assert waiting.due(200.0, ()) == []


@given(st.lists(st.sampled_from([-50.0, -3.0, 0.0, 1.0, 2.0, 60.0]), max_size=20))
def test_whatever_the_clock_does_each_request_comes_once(steps: list[float]) -> None:
    """Also one that is under way at several looks, and settles in between."""
    waiting, now_s, found = WaitingRequests(AGE_S), 131.0, []
    quick, slow = request(1), request(2, 100.0, 31.0, outcome=UNDER_WAY)
    waiting.add([quick])
    for step_s in steps:
        now_s += step_s
        found += waiting.due(now_s, [slow])
    waiting.add([request(2, 100.0, 90.0)])
    for step_s in (*steps, 500.0):
        now_s = max(600.0, now_s + step_s)
        found += waiting.due(now_s, ())
    assert sorted(each.request_id for each in found) == ["r1", "r2"]


def test_who_is_thinned_while_under_way_is_counted_once() -> None:
    waiting = WaitingRequests(AGE_S, most=1)
    waiting.add([request(2**63 - 1), request(2**63 - 2)])
    slow = request(2**63 - 3, 100.0, 31.0, outcome=UNDER_WAY)
    assert [waiting.due(second, [slow]) for second in (131.0, 132.0)] == [[], []]
    waiting.add([slow])
    assert (waiting.thinned, len(waiting)) == (3, 0)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(1, 2**63 - 1)), max_size=30),
    st.lists(st.integers(0, 50), max_size=5).map(sorted),
    st.integers(1, 30),
)
def test_how_many_wait_is_known_whoever_came_or_went(
    requests: list[tuple[float, int]], looks: list[int], most: int
) -> None:
    waiting = WaitingRequests(AGE_S, most)
    waiting.add(request(digest, 100.0 + at, request_id=f"r{n}") for n, (at, digest) in enumerate(requests))
    assert len(waiting) + waiting.thinned == len(requests)
    assert len(waiting) <= most
    for second in looks:
        before = len(waiting)
        due = waiting.due(130.0 + second, ())
        assert len(waiting) == before - len(due)
        assert due == sorted(due, key=arrived_s_of)
    left = len(waiting)
    assert sum(map(len, waiting.give_away(7))) == left
    assert len(waiting) == 0


def test_what_waits_is_handed_over_whole_however_old_it_is_by_then() -> None:
    before, after = WaitingRequests(AGE_S), WaitingRequests(AGE_S)
    waiting = [request(number, 100.0 + number) for number in range(5)]
    before.add(waiting)
    assert after.due(500.0, ()) == []
    parts = list(before.give_away(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert len(before) == 0
    for part in parts:
        after.receive(part)
    assert (before.due(500.0, ()), after.due(500.0, ())) == ([], waiting)


def test_revisions_of_another_worker_are_taken_over() -> None:
    old, new = (
        replace(FLAG, share_millipct=5_000, evidence=replace(FLAG.evidence, age="20s")),
        replace(FLAG, revision=2),
    )
    before, after = learned(old, new), learned(new)
    flags = before.flags_of([request(1), request(2), request(3, revision=2), request(4, revision=9)])
    assert flags == (old, new)
    mine, current = after.of("draft", 2), after.current
    after.adopt(flags)
    taken = after.of("draft", 1)
    assert taken is not None
    assert (taken.flag, after.of("draft", 2)) == (old, mine)
    assert after.ages_s == {20.0, 30.0, 3_600.0}
    assert after.current is current
    after.adopt(replace(FLAG, revision=revision) for revision in range(3, 80))
    assert after.of("draft", 1) is None
    assert after.of("draft", 79) is not None


def test_features_that_are_no_more_and_ramps_that_are_over_are_forgotten() -> None:
    ended = replace(FLAG, revision=2, progress=replace(FLAG.progress, phase=Phase.COMPLETED))
    for snapshot in ({"draft": ended}, {"ask": replace(FLAG, feature="ask")}):
        places = learned(FLAG)
        places.learn(compile_snapshot(snapshot, 2))
        assert (places.of("draft", 1), places.latest("draft"), places.knows("draft")) == (None, None, False)


def test_who_is_given_up_is_told() -> None:
    lost: list[tuple[str, Why]] = []
    waiting = WaitingRequests(AGE_S, most=2, lose=lambda record, why: lost.append((record.request_id, why)))
    large = 2**62
    waiting.add([request(1), request(large), request(2), request(large + 1)])
    assert lost == [(f"r{large}", Why.THINNED), (f"r{large + 1}", Why.THINNED)]
    lost.clear()
    assert (waiting.give_up(), len(waiting)) == (2, 0)
    assert lost == [("r1", Why.ENDED), ("r2", Why.ENDED)]


def test_a_place_knows_where_the_left_out_are_counted() -> None:
    place = learned(FLAG).latest("draft")
    assert place is not None
    assert place.covered.keys() == {each.prefix for part in place.parts for each in part.series}
    assert {key.name.partition(".")[2].partition(".")[0] for key in place.covered.values()} == {"requests"}
