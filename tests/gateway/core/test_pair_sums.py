from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.judging.score import Lost, Result, Scored, Spared
from gateway.core.pair_sums import Entry, PairBooks, summed
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.coverage import shadow_key
from rollout.core.evidence.pairs import EPOCH_S, OVER, VERSIONS_MAX, gathered, pairs_key, plan_of, replies_key
from rollout.core.evidence.plans import vector_of
from rollout.core.evidence.silence import Watch, watched_key
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey, merge
from rollout.core.unit_digest import digester

GATE = Gate(name="as-good", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="judge", margin=0.1)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=7,
    salt="s",
    gates=(GATE,),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=-1, ramp_began_s=1_000.0, step_began_s=1_000.0),
)
PLAN = plan_of(FLAG)
SEEN = watched_key("draft", FLAG.progress, 1_000.0 + EPOCH_S, Watch.PAIRS)
SCORED = Scored(
    request_id="r1",
    feature="draft",
    revision=7,
    tenant="acme",
    unit_kind="conversation",
    unit="c1",
    assigned="baseline",
    candidate="inhouse",
    baseline="partner",
    w=1.0,
    result=Result.CANDIDATE,
    judge="third",
    judge_version="v1",
    paired_at_s=1_000.0 + EPOCH_S,
    at_s=9_999.0,
)


def learnt(*flags: FeatureFlag) -> PairBooks:
    books = PairBooks()
    for number, flag in enumerate(flags):
        snapshot = compile_snapshot({flag.feature: flag}, number)
        books.learn(snapshot)
        books.learn(snapshot)
    return books


@pytest.fixture
def books() -> PairBooks:
    return learnt(FLAG)


def test_new_pairs_are_added_to_the_epoch_in_which_both_answers_were_there(books: PairBooks) -> None:
    assert PLAN is not None
    wins = (1.0, 0.0, 0.5)
    found = [books.score(replace(SCORED, w=win), asked=True) for win in wins]
    entries = [(entry, True) for entry, _ in filter(None, found)]
    assert summed(entries) == {
        replies_key("draft", FLAG.progress, "v1"): [3, 0],
        pairs_key("draft", FLAG.progress, PLAN, "v1", 1): vector_of(gathered(PLAN, np.array(wins))),
        SEEN: [0, 3],
    }


def test_known_units_and_lost_pairs_count_as_asked_only(books: PairBooks) -> None:
    again, lost = books.score(SCORED, asked=True), books.lose(Lost("draft", 7, "v1"))
    nameless, same = books.lose(Lost("draft", 7, "")), books.score(SCORED, asked=False)
    assert None not in (again, lost, nameless, same)
    assert summed([(again[0], False), (lost, True), (nameless, True), (same[0], False)]) == {
        replies_key("draft", FLAG.progress, "v1"): [1, 1],
        replies_key("draft", FLAG.progress, ""): [0, 1],
        SEEN: [0, 2],
    }


def test_pairs_without_a_score_by_rule_are_looked_at_and_nothing_else(books: PairBooks) -> None:
    spared = books.spare(Spared("draft", 7, SCORED.paired_at_s))
    assert spared is not None
    assert summed([(spared, True)]) == {SEEN: [0, 1]}
    assert learnt(replace(FLAG, gates=())).spare(Spared("draft", 7, 0.0)) is None


def test_a_claim_is_of_the_unit_and_of_the_version(books: PairBooks) -> None:
    def claimed(**changes: object):
        found = books.score(replace(SCORED, **changes), asked=True)
        assert found is not None
        return found[1]

    first = claimed()
    assert first == claimed(request_id="r2", w=0.0)
    assert first.digest == digester("s")(UnitKind.CONVERSATION, "c1")
    assert first.draw != claimed(judge_version="v2").draw
    assert first.digest != claimed(unit="c2").digest != claimed(unit_kind="user", unit="c2").digest
    alone = claimed(unit_kind="", unit="")
    assert alone.digest == digester("s")(UnitKind.REQUEST, "r1") == claimed(unit="").digest


@pytest.mark.parametrize(
    "flag",
    [
        replace(FLAG, gates=()),
        replace(FLAG, progress=replace(FLAG.progress, attempt=0)),
        replace(FLAG, progress=replace(FLAG.progress, phase=Phase.COMPLETED)),
    ],
)
def test_nothing_is_counted_where_nobody_asks(flag: FeatureFlag) -> None:
    books = learnt(flag)
    assert (books.score(SCORED, asked=True), books.lose(Lost("draft", 7, "v1"))) == (None, None)
    assert books.unplaced == 0


def test_pairs_belong_to_the_step_of_their_revision() -> None:
    later = replace(FLAG, revision=8, progress=replace(FLAG.progress, step=0, step_began_s=1_500.0))
    books = learnt(FLAG, later)
    names = []
    for revision in (7, 8):
        found = books.score(replace(SCORED, revision=revision), asked=False)
        assert found is not None
        names += [key.name.split(".")[3] for key in summed([(found[0], True)]) if key.name.startswith("judge.")]
    assert names == ["1000000", "1500000"]


def test_revisions_nobody_knows_are_counted_as_such() -> None:
    books = learnt(*(replace(FLAG, revision=number) for number in range(1, 70)))
    assert books.score(replace(SCORED, revision=5), asked=True) is None
    assert books.score(replace(SCORED, feature="other"), asked=True) is None
    assert books.unplaced == 2
    assert books.score(replace(SCORED, revision=6), asked=True) is not None


def test_gates_that_cannot_be_judged_cost_no_count_of_losses() -> None:
    books = learnt(replace(FLAG, gates=(replace(GATE, margin=0.9),)))
    found = books.score(SCORED, asked=True)
    assert found is not None
    assert summed([(found[0], True)]) == {replies_key("draft", FLAG.progress, "v1"): [1, 0], SEEN: [0, 1]}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, None]), st.sampled_from(["v1", "v2"]), st.booleans()), max_size=30
    ),
    st.integers(0, 30),
    st.randoms(use_true_random=False),
)
def test_batches_of_any_size_in_any_order_add_the_same(
    rows: list[tuple[float | None, str, bool]], split: int, random: Random
) -> None:
    place = learnt(FLAG).lose(Lost("draft", 7, ""))
    assert place is not None
    entries = [(Entry(place.place, version, 0, win, asked=True), new) for win, version, new in rows]
    whole = summed(entries)
    random.shuffle(entries)
    parts = [summed(entries[:split]), summed(entries[split:])]
    merged: dict[SumKey, list[int]] = {}
    for part in parts:
        for key, vector in part.items():
            merged[key] = merge(merged.get(key, []), vector)
    assert merged == whole


def test_shadow_calls_are_counted_by_the_arm_that_was_asked(books: PairBooks) -> None:
    key = shadow_key("draft", FLAG.progress)
    asked = [(arm, answered) for arm in ("candidate", "baseline") for answered in (True, False)]
    at_s = 1_000.0 + EPOCH_S
    found = [books.call("draft", 7, arm, answered=answered, at_s=at_s) for arm, answered in asked]
    calls = [(key, tuple(int(place == index) for place in range(4))) for index in range(4)]
    assert found == [(each, (SEEN, (1, 0))) for each in calls]
    assert learnt(replace(FLAG, gates=())).call("draft", 7, "candidate", answered=False, at_s=at_s) == ()


def test_more_versions_than_there_is_room_for_are_not_counted_and_told(books: PairBooks) -> None:
    def entries(version: str, scored: Scored = SCORED) -> tuple[Entry, Entry]:
        found = books.score(replace(scored, judge_version=version), asked=False)
        lost = books.lose(Lost("draft", 7, version))
        assert found is not None
        assert lost is not None
        assert (found[1] is None) is (found[0].version == OVER)
        return found[0], lost

    for number in range(VERSIONS_MAX):
        assert {each.version for each in entries(f"v{number}")} == {f"v{number}"}
    late = entries("late")
    assert ({each.version for each in late}, books.over) == ({OVER}, 2)
    assert summed([(each, True) for each in late]) == {replies_key("draft", FLAG.progress, OVER): [0, 2], SEEN: [0, 1]}
    assert {each.version for each in entries("v0")} == {"v0"}  # the first ones go on
    assert books.lose(Lost("draft", 7, "")) is not None
    again = replace(FLAG, revision=8, progress=replace(FLAG.progress, attempt=2))
    books.learn(compile_snapshot({"draft": again}, 8))
    assert entries("late", replace(SCORED, revision=8))[0].version == "late"  # another attempt, other versions
    assert (entries("v0")[0].version, books.over) == ("v0", 2)  # of the attempt before


def test_features_that_are_no_more_and_ramps_that_are_over_are_forgotten(books: PairBooks) -> None:
    assert books.score(SCORED, asked=True) is not None
    ended = replace(FLAG, revision=9, progress=replace(FLAG.progress, phase=Phase.COMPLETED))
    books.learn(compile_snapshot({"draft": ended}, 9))
    assert (books.score(SCORED, asked=True), books.unplaced, books._versions) == (None, 0, {})
    books.learn(compile_snapshot({"ask": replace(FLAG, feature="ask")}, 10))
    assert (books.score(SCORED, asked=True), books.unplaced, list(books._places)) == (None, 1, ["ask"])
