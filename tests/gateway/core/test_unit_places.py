from msgspec.structs import replace

from gateway.core.unit_places import Places, place_of
from rollout.core.claims import draw_of
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.plans import errors_key, key_of
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, RampPlan, Role, Step

GATE = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03, alpha=0.05
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=1,
    share_millipct=10_000,
    ramp=RampPlan(steps=(Step(share=10_000), Step(share=50_000))),
    gates=(GATE,),
    progress=Progress(phase=Phase.RUNNING, attempt=2, step=0, ramp_began_s=1_000.0, step_began_s=1_000.0),
)


def learned(*flags: FeatureFlag) -> Places:
    places = Places()
    for flag in flags:
        places.learn(compile_snapshot({flag.feature: flag}, flag.revision))
    return places


def test_a_place_is_what_the_flag_asks_of_units() -> None:
    gates = [replace(GATE, name=metric, metric=metric) for metric in ("errors", "thumbs", "ttft_p95")]
    floor = replace(GATE, name="slo", kind=GateKind.THRESHOLD, metric="total_p95", margin=None, limit=5.0)
    evidence = Evidence(age="20s", feedback_age="10m")
    place = place_of(replace(FLAG, gates=(*gates, floor), evidence=evidence))
    assert (place.draw, place.age_s, place.rated_after_s) == (draw_of(3, "draft"), 20.0, 600.0)
    assert (place.counts_errors, place.latencies) == (True, {"ttft_p95"})
    assert sorted(each.metric for each in place.series) == ["errors", "thumbs", "total_p95", "ttft_p95"]
    assert place_of(replace(FLAG, gates=gates[2:])).rated_after_s is None


def test_revisions_are_told_apart() -> None:
    later = replace(FLAG, revision=2, evidence=Evidence(age="5s"))
    places = learned(FLAG, later)
    assert [places.age_s_of("draft", revision) for revision in (1, 2, 3)] == [30.0, 5.0, None]
    assert places.age_s_of("ask", 1) is None
    assert [place.flag for place in places.current] == [later]


def test_the_longest_age_of_ratings_is_that_of_any_revision() -> None:
    rated = replace(FLAG, gates=(replace(GATE, metric="thumbs"),), evidence=Evidence(feedback_age="10m"))
    sooner = replace(rated, revision=2, evidence=Evidence(feedback_age="5m"))
    seen = [(), (FLAG,), (rated, sooner), (sooner,)]
    assert [learned(*flags).rated_after_s for flags in seen] == [0.0, 0.0, 600.0, 300.0]


def test_a_revision_that_says_something_else_replaces_its_own() -> None:
    """After a store that was lost."""
    other = replace(FLAG, evidence=Evidence(age="5s"))
    assert learned(FLAG, other).age_s_of("draft", 1) == 5.0
    places = learned(FLAG)
    before = places.of("draft", 1)
    places.learn(compile_snapshot({"draft": replace(FLAG)}, 9))
    assert places.of("draft", 1) is before


def test_what_gathers_nothing_has_no_place() -> None:
    for progress in (replace(FLAG.progress, phase=Phase.COMPLETED), replace(FLAG.progress, attempt=0)):
        places = learned(replace(FLAG, progress=progress))
        assert (places.of("draft", 1), places.current) == (None, ())


def test_margins_beyond_the_bounds_ask_for_nothing_and_break_nothing() -> None:
    many = tuple(replace(GATE, name=f"g{number}", metric="form", margin=0.01 * number) for number in range(1, 40))
    place = place_of(replace(FLAG, gates=many))
    assert (place.series, place.counts_errors) == ((), False)


def test_old_revisions_are_forgotten() -> None:
    places = learned(*(replace(FLAG, revision=revision) for revision in range(1, 100)))
    assert places.of("draft", 1) is None
    assert places.of("draft", 99) is not None


def test_a_snapshot_is_learned_once() -> None:
    snapshot = compile_snapshot({"draft": FLAG}, 1)
    places = Places()
    places.learn(snapshot)
    places.learn(snapshot)
    assert len(places.current) == 1


def test_a_place_knows_its_keys() -> None:
    place = place_of(replace(FLAG, gates=(replace(GATE, kind=GateKind.NONINFERIORITY),)))
    (series,) = place.series
    assert place.key(series, 3) == key_of("draft", FLAG.progress, series.prefix, 3)
    assert place.errors_key(3) == errors_key(FLAG, 3)


def test_features_that_are_no_more_and_ramps_that_are_over_are_forgotten() -> None:
    places = learned(FLAG)
    ended = replace(FLAG, revision=2, progress=replace(FLAG.progress, phase=Phase.COMPLETED))
    places.learn(compile_snapshot({"draft": ended}, 2))
    assert (places.of("draft", 1), places.latest("draft"), places.over) == (None, None, {"draft"})
    assert places.age_s_of("draft", 1) == 0.0  # nobody asks: nobody waits for it
    places = learned(FLAG)
    places.learn(compile_snapshot({"ask": replace(FLAG, feature="ask")}, 2))
    assert (places.of("draft", 1), places.age_s_of("draft", 1), places.over) == (None, None, frozenset())
    assert len(places._places) == 1


def test_a_ramp_at_a_share_that_draws_nothing_is_remembered() -> None:
    """It may go on."""
    paused = replace(FLAG, revision=2, share_millipct=0, progress=replace(FLAG.progress, phase=Phase.PAUSED))
    places = learned(FLAG, paused)
    place = places.of("draft", 1)
    assert place is not None
    assert (places.latest("draft"), places.current) == (place, ())


def test_the_latest_place_is_of_the_newest_revision() -> None:
    latest = learned(FLAG, replace(FLAG, revision=2)).latest("draft")
    assert latest is not None
    assert latest.flag.revision == 2


def test_margins_have_one_place_for_the_left_out_a_limit_has_its_own() -> None:
    wider = [replace(GATE, name=f"l{each}", metric="ttft_p95", margin=each) for each in (0.1, 0.2)]
    floor = replace(wider[0], name="slo", kind=GateKind.THRESHOLD, margin=None, limit=5.0)
    place = place_of(replace(FLAG, gates=(*wider, floor)))
    assert (len(place.covered), len({*place.covered.values()})) == (3, 2)
    assert {key.epoch for key in place.covered.values()} == {2}


def test_revisions_that_another_worker_has_seen_are_adopted() -> None:
    before, places = learned(FLAG, replace(FLAG, revision=2)), learned(replace(FLAG, revision=3))
    flags = before.flags_of([("draft", 2), ("draft", 1), ("draft", 1), ("draft", 9), ("ask", 1)])
    assert [each.revision for each in flags] == [1, 2]
    places.adopt(flags)
    found = [places.of("draft", revision) for revision in (1, 2, 3)]
    assert [each and each.flag.revision for each in found] == [1, 2, 3]
    latest = places.latest("draft")
    assert (latest and latest.flag.revision, len(places.current)) == (3, 1)
    places.adopt([replace(FLAG, revision=revision) for revision in range(4, 100)])
    assert [places.of("draft", revision) is None for revision in (35, 36, 99)] == [True, False, False]


def test_a_revision_is_kept_until_it_is_seen_here_too_but_not_of_a_ramp_that_is_over() -> None:
    begun, yet_to_begin = replace(FLAG, revision=2), replace(FLAG, progress=Progress())
    places = learned(yet_to_begin)
    places.adopt([begun])
    places.learn(compile_snapshot({"draft": yet_to_begin, "ask": replace(FLAG, feature="ask")}, 7))
    assert places.of("draft", 2) is not None
    places.learn(compile_snapshot({"draft": replace(yet_to_begin, revision=3)}, 8))
    assert places.of("draft", 2) is None
    places.adopt([begun])
    assert (places.of("draft", 2), places.latest("draft")) == (None, None)
