"""Each check passes on evidence that is right and fails on the one fault it is there for."""

from collections.abc import Callable

import pytest

from loadtests.demo.course import Stage
from loadtests.demo.judge import (
    CONVERSATIONS_MIN,
    KILLED_REQUESTS_MIN,
    EngineCount,
    Evidence,
    KillTimes,
    Quality,
    Verdict,
    arms_kept,
    engine_answered,
    fresh_counts,
    judge,
    kill_held,
    kill_was_narrow,
    no_failures,
    nobody_flipped_back,
    quality_measured,
    share_held,
)
from loadtests.demo.plan import BREAKING, GOOD, MOVING, PANEL_SIZE
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample

LOW, HALF = Stage("5 %", 5_000, killed=False, first=2, until=3), Stage("50 %", 50_000, killed=False, first=3, until=4)
KILLED = Stage("killed", 50_000, killed=True, first=4, until=5)
LIFTED = Stage("lifted", 50_000, killed=False, first=5, until=7)
STAGES = (LOW, HALF, KILLED, LIFTED)
KILL = KillTimes(called_s=100.0, answered_s=100.01, lifted_s=104.0)


def sample(conversation: str, arm: str, revision: int = 3, **more: object) -> Sample:
    plain = {"feature": MOVING, "conversation": conversation, "panel": False, "started_s": 10.0 * revision}
    headers = {"assigned": arm, "served": arm, "reason": "SPLIT", "revision": revision}
    return Sample(**(plain | headers | more))  # type: ignore[arg-type]


def fresh(candidates: int, baselines: int, stage: Stage = HALF) -> list[Sample]:
    arms = [CANDIDATE] * candidates + [BASELINE] * baselines
    return [sample(f"c{stage.first}-{number}", arm, stage.first) for number, arm in enumerate(arms)]


def panel(arm_of: Callable[[int, Stage], str], stages: tuple[Stage, ...] = (LOW, HALF, LIFTED)) -> list[Sample]:
    return [
        sample(f"p{number}", arm_of(number, stage), stage.first, panel=True, started_s=stage.first + round_)
        for stage in stages
        for round_ in (0.1, 0.2)
        for number in range(PANEL_SIZE)
    ]


def growing(number: int, stage: Stage) -> str:
    return CANDIDATE if number * 100_000 < stage.share_millipct * PANEL_SIZE else BASELINE


def test_failures_are_counted_and_named() -> None:
    samples = [sample("a", CANDIDATE), *[sample(f"b{n}", CANDIDATE, problem="status 502") for n in range(3)]]
    verdict = no_failures(samples, ["status 404"])
    assert not verdict.ok
    assert verdict.found == "4 failed: status 502 (3 x); feedback: status 404 (1 x)"
    assert no_failures(samples[:1], []).ok
    assert not no_failures([], []).ok


def test_only_fresh_conversations_decided_by_the_revisions_split_count() -> None:
    samples = [
        *fresh(2, 3),
        sample("c3-0", CANDIDATE),
        sample("panel", CANDIDATE, panel=True),
        sample("late", CANDIDATE, LOW.first),
        sample("killed", BASELINE, reason="KILLED"),
    ]
    assert fresh_counts(HALF, samples) == (2, 5)


def test_a_killed_stage_counts_what_was_forced() -> None:
    assert fresh_counts(KILLED, [sample("a", BASELINE, KILLED.first, reason="KILLED")]) == (0, 1)


@pytest.mark.parametrize(
    ("candidates", "baselines", "ok"), [(50, 50, True), (69, 31, True), (70, 30, False), (30, 70, False)]
)
def test_the_share_is_judged_by_exact_bounds(candidates: int, baselines: int, ok: bool) -> None:  # noqa: FBT001
    assert share_held(HALF, fresh(candidates, baselines)).ok is ok


def test_the_whole_share_allows_no_exception() -> None:
    whole = Stage("100 %", 100_000, killed=False, first=3)
    assert share_held(whole, fresh(100, 0)).ok
    assert not share_held(whole, fresh(99, 1)).ok


def test_too_few_conversations_prove_nothing() -> None:
    half = CONVERSATIONS_MIN // 2
    assert share_held(HALF, fresh(half, CONVERSATIONS_MIN - half)).ok
    assert not share_held(HALF, fresh(half, CONVERSATIONS_MIN - half - 1)).ok


def test_a_growing_panel_keeps_its_arms() -> None:
    samples = panel(growing)
    assert arms_kept(STAGES, samples).ok
    verdict = nobody_flipped_back(STAGES, samples)
    assert verdict.ok
    assert verdict.found == f"panel on the candidate: 2 > 12 > 12 of {PANEL_SIZE}"


def test_forced_arms_of_the_kill_are_no_flips() -> None:
    forced = [sample("p0", BASELINE, revision, panel=True, reason="KILLED") for revision in (3, 4)]
    samples = [*panel(growing), *forced]
    assert arms_kept(STAGES, samples).ok
    assert nobody_flipped_back(STAGES, samples).ok


def test_a_stage_holds_all_its_revisions() -> None:
    resumed = [each._replace(revision=6) if each.revision == 5 else each for each in panel(growing)]
    assert arms_kept(STAGES, resumed).ok
    assert fresh_counts(LIFTED, [sample("a", CANDIDATE, 5), sample("b", BASELINE, 6)]) == (1, 2)


def test_a_flip_within_a_step_is_seen() -> None:
    samples = [*panel(growing), sample("p23", CANDIDATE, HALF.first, panel=True, started_s=3.15)]
    assert not arms_kept(STAGES, samples).ok


def test_another_arm_after_the_kill_is_seen() -> None:
    swapped = panel(lambda number, stage: growing(PANEL_SIZE - number if stage is LIFTED else number, stage))
    assert not arms_kept(STAGES, swapped).ok


def test_a_panel_conversation_that_missed_a_step_proves_nothing() -> None:
    samples = [each for each in panel(growing) if (each.conversation, each.revision) != ("p7", LIFTED.first)]
    verdict = arms_kept(STAGES, samples)
    assert not verdict.ok
    assert verdict.found.startswith(f"1 of {PANEL_SIZE}")


def test_a_flip_back_while_the_share_grows_is_seen() -> None:
    flipped = panel(lambda number, stage: BASELINE if (number, stage) == (0, HALF) else growing(number, stage))
    verdict = nobody_flipped_back(STAGES, flipped)
    assert not verdict.ok
    assert verdict.found.startswith("1 flips back")
    assert not nobody_flipped_back(STAGES, []).ok


def killed(count: int, **more: object) -> list[Sample]:
    forced = {"started_s": 102.0, "reason": "KILLED"} | more
    return [sample(f"k{number}", BASELINE, 4, **forced) for number in range(count)]


def test_a_candidate_answer_within_the_bound_is_allowed_and_told() -> None:
    verdict = kill_held(KILL, [*killed(KILLED_REQUESTS_MIN), sample("x", CANDIDATE, started_s=100.25)])
    assert verdict.ok
    assert "250 ms" in verdict.found


@pytest.mark.parametrize(("started_s", "ok"), [(99.9, True), (101.0, True), (101.01, False), (104.0, True)])
def test_a_candidate_answer_to_a_later_request_breaks_the_kill(started_s: float, ok: bool) -> None:  # noqa: FBT001
    samples = [*killed(KILLED_REQUESTS_MIN), sample("x", CANDIDATE, started_s=started_s)]
    assert kill_held(KILL, samples).ok is ok


def test_a_kill_without_traffic_proves_nothing() -> None:
    assert not kill_held(KILL, killed(KILLED_REQUESTS_MIN - 1)).ok
    assert kill_held(KILL, killed(KILLED_REQUESTS_MIN)).found.endswith("none started after the call")


def test_the_other_features_must_go_on() -> None:
    other = sample("o", CANDIDATE, feature="draft", started_s=102.0)
    assert kill_was_narrow(KILL, [other]).ok
    assert not kill_was_narrow(KILL, [other._replace(served=BASELINE)]).ok
    assert not kill_was_narrow(KILL, [other._replace(feature=MOVING)]).ok
    assert not kill_was_narrow(KILL, [other._replace(started_s=99.0)]).ok


@pytest.mark.parametrize(("counted", "ok"), [(2, True), (1, False), (3, False)])
def test_vllm_must_have_counted_what_callers_saw(counted: int, ok: bool) -> None:  # noqa: FBT001
    others = [sample("o", CANDIDATE, feature=BREAKING)]
    assert engine_answered([*fresh(2, 5), *others], EngineCount("inhouse", GOOD, counted)).ok is ok


def test_no_in_house_answer_proves_nothing() -> None:
    assert not engine_answered(fresh(0, 5), EngineCount("inhouse", GOOD, 0)).ok


SCORED = [
    sample("a", CANDIDATE, matched=True),
    sample("b", CANDIDATE, matched=False),
    sample("c", BASELINE, matched=True),
    sample("d", BASELINE, problem="status 500"),
]
MEASURED = {(MOVING, CANDIDATE): Quality(2, 1.0), (MOVING, BASELINE): Quality(1, 1.0)}


def test_quality_is_told_per_arm() -> None:
    assert quality_measured(SCORED, MEASURED) == Verdict(
        "quality per arm measured", ok=True, found="candidate 50.0%, baseline 100.0%"
    )


@pytest.mark.parametrize("wrong", [Quality(1, 1.0), Quality(2, 2.0), Quality(0, 0.0)])
def test_the_gateway_must_have_measured_the_same(wrong: Quality) -> None:
    verdict = quality_measured(SCORED, MEASURED | {(MOVING, CANDIDATE): wrong})
    assert not verdict.ok
    assert "callers 1 right of 2" in verdict.found


def test_each_arm_needs_a_measurement() -> None:
    assert not quality_measured(SCORED[:2], MEASURED).ok
    assert not quality_measured(SCORED[:2], {(MOVING, CANDIDATE): Quality(2, 1.0)}).ok
    assert not quality_measured([], {}).ok


def test_a_whole_run_is_judged_check_by_check() -> None:
    samples = [
        *fresh(5, 95, LOW),
        *fresh(50, 50, HALF),
        *fresh(45, 55, LIFTED),
        *panel(growing),
        *killed(20),
        sample("o", CANDIDATE, feature="draft", started_s=102.0),
        sample("o2", BASELINE, feature="draft", started_s=102.0),
    ]
    # vLLM is not the candidate of this one, nor must it hide that the kill touched others.
    broken = [sample(f"b{arm}", arm, 1, feature=BREAKING, started_s=102.0) for arm in (CANDIDATE, BASELINE)]
    samples = [each._replace(matched=True) for each in (*samples, *broken)]
    quality = {
        (feature, arm): Quality(count, float(count))
        for feature in (MOVING, "draft", BREAKING)
        for arm in (CANDIDATE, BASELINE)
        if (count := sum((each.feature, each.assigned) == (feature, arm) for each in samples))
    }
    served = sum(each.served == CANDIDATE and each.feature != BREAKING for each in samples)
    evidence = Evidence(STAGES, KILL, samples, [], [EngineCount("inhouse", GOOD, served)], quality)
    assert [verdict for verdict in judge(evidence) if not verdict.ok] == []
    assert {verdict.check for verdict in judge(evidence)} >= {"share at 5 %", "share at 50 %", "share at lifted"}
    missed = evidence._replace(engines=[EngineCount("inhouse", GOOD, served - 1)])
    assert not judge(missed)[-2].ok
