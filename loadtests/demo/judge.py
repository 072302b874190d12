"""Judges a demo by what its callers saw, what vLLM counted and what the gateway measured (pure).

A check without enough samples fails: it has shown nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from loadtests.demo.binomial import acceptance
from loadtests.demo.course import Stage
from loadtests.demo.plan import GOOD, MOVING, PANEL_SIZE
from loadtests.demo.sample import ARMS, BASELINE, CANDIDATE, SPLIT, Sample

ALPHA: Final = 1e-4
KILL_BOUND_S: Final = 1.0
CONVERSATIONS_MIN: Final = 20
KILLED_REQUESTS_MIN: Final = 10
_PROBLEMS_SHOWN: Final = 3
_SUM_TOLERANCE: Final = 1e-6


class KillTimes(NamedTuple):
    """When the kill was called, when the call was answered, when its lifting was called: the callers' clock."""

    called_s: float
    answered_s: float
    lifted_s: float


class Quality(NamedTuple):
    """What the gateway measured from feedback: answers with a score, and the sum of the scores."""

    units: float
    total: float


class EngineCount(NamedTuple):
    """How many requests a vLLM counted; `features`: those whose candidate it is."""

    upstream: str
    features: Sequence[str]
    requests: int


class Evidence(NamedTuple):
    """All that is judged. `quality` is by (feature, assigned arm); `engines`: what each vLLM counted meanwhile."""

    stages: Sequence[Stage]
    kill: KillTimes
    samples: Sequence[Sample]
    feedback_problems: Sequence[str]
    engines: Sequence[EngineCount]
    quality: Mapping[tuple[str, str], Quality]


class Verdict(NamedTuple):
    """The outcome of one check, with its figures. `skipped`: it could not be made here, which is no failure."""

    check: str
    ok: bool
    found: str
    skipped: bool = False


def judge(evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the verdict of every check on what callers saw."""
    moving = [sample for sample in evidence.samples if sample.feature == MOVING]
    good = [sample for sample in evidence.samples if sample.feature in GOOD]
    return (
        no_failures(evidence.samples, evidence.feedback_problems),
        *(share_held(stage, moving) for stage in evidence.stages if not stage.killed),
        arms_kept(evidence.stages, moving),
        nobody_flipped_back(evidence.stages, moving),
        kill_held(evidence.kill, moving),
        kill_was_narrow(evidence.kill, good),
        *(engine_answered(evidence.samples, engine) for engine in evidence.engines),
        quality_measured(evidence.samples, evidence.quality),
    )


def no_failures(samples: Sequence[Sample], feedback_problems: Sequence[str]) -> Verdict:
    """Check that every request got a whole answer and every feedback was taken."""
    problems = Counter(sample.problem for sample in samples if sample.problem is not None)
    problems.update(f"feedback: {problem}" for problem in feedback_problems)
    if problems:
        found = "; ".join(f"{text} ({times} x)" for text, times in problems.most_common(_PROBLEMS_SHOWN))
        return Verdict("no failed request", ok=False, found=f"{problems.total()} failed: {found}")
    return Verdict("no failed request", ok=bool(samples), found=f"{len(samples)} requests, all answered in full")


def fresh_counts(stage: Stage, samples: Iterable[Sample]) -> tuple[int, int]:
    """Return (assigned to the candidate, all) of the conversations drawn fresh in a stage, by the flag's revision."""
    arms = {
        sample.conversation: sample.assigned
        for sample in samples
        if not sample.panel and stage.holds(sample.revision) and (stage.killed or sample.reason == SPLIT)
    }
    return sum(arm == CANDIDATE for arm in arms.values()), len(arms)


def share_held(stage: Stage, samples: Iterable[Sample]) -> Verdict:
    """Check the measured share of a stage's fresh conversations against exact binomial bounds."""
    check = f"share at {stage.name}"
    candidates, conversations = fresh_counts(stage, samples)
    if conversations < CONVERSATIONS_MIN:
        return Verdict(check, ok=False, found=f"only {conversations} conversations, too few to judge")
    low, high = acceptance(conversations, stage.share, ALPHA)
    found = f"{candidates} of {conversations} conversations ({candidates / conversations:.1%}); {low} to {high} allowed"
    return Verdict(check, low <= candidates <= high, found)


def arms_kept(stages: Sequence[Stage], samples: Iterable[Sample]) -> Verdict:
    """Check that each conversation of the panel was there at every step and had one arm as long as the share stayed."""
    check = "a conversation keeps its arm"
    visits = _panel_visits(stages, samples)
    steps = sum(not stage.killed for stage in stages)
    absent = PANEL_SIZE - sum(len({stage for stage, _ in seen}) == steps for seen in visits.values())
    if absent:
        return Verdict(check, ok=False, found=f"{absent} of {PANEL_SIZE} panel conversations missed a step")
    changed = sum(_changed_within_a_share(seen) for seen in visits.values())
    if changed:
        return Verdict(check, ok=False, found=f"{changed} of {PANEL_SIZE} panel conversations changed at one share")
    requests = sum(len(seen) for seen in visits.values())
    return Verdict(check, ok=True, found=f"{PANEL_SIZE} conversations, {requests} requests, before and after the kill")


def nobody_flipped_back(stages: Sequence[Stage], samples: Iterable[Sample]) -> Verdict:
    """Check that no conversation of the panel went from the candidate to the baseline while the share grew."""
    check = "nobody flips back as the share grows"
    visits = _panel_visits(stages, samples)
    back = sum(
        (before, after) == (CANDIDATE, BASELINE)
        for seen in visits.values()
        for (_, before), (_, after) in pairwise(seen)
    )
    counts = [sum((stage, CANDIDATE) in seen for seen in visits.values()) for stage in stages if not stage.killed]
    found = f"panel on the candidate: {' > '.join(map(str, counts))} of {len(visits)}"
    return Verdict(check, bool(visits) and not back, f"{back} flips back; {found}" if back else found)


def kill_held(kill: KillTimes, samples: Iterable[Sample]) -> Verdict:
    """Check that no request which started later than the bound after the kill was served by the candidate."""
    check = f"kill holds within {KILL_BOUND_S:.0f} s"
    during = [sample for sample in samples if kill.called_s <= sample.started_s < kill.lifted_s]
    late = [sample for sample in during if sample.started_s > kill.called_s + KILL_BOUND_S]
    if len(late) < KILLED_REQUESTS_MIN:
        return Verdict(check, ok=False, found=f"only {len(late)} requests while killed, too few to judge")
    wrong = sum(sample.served == CANDIDATE for sample in late)
    last_s = max((sample.started_s - kill.called_s for sample in during if sample.served == CANDIDATE), default=None)
    last = "none started after the call" if last_s is None else f"the last one started {last_s * 1000:.0f} ms after it"
    return Verdict(check, not wrong, f"{wrong} of {len(late)} later requests on the candidate; {last}")


def kill_was_narrow(kill: KillTimes, samples: Iterable[Sample]) -> Verdict:
    """Check that the candidate went on answering the other features."""
    count = sum(
        sample.feature != MOVING and sample.served == CANDIDATE and kill.answered_s < sample.started_s < kill.lifted_s
        for sample in samples
    )
    return Verdict("kill touches no other feature", count > 0, f"{count} requests of others on the candidate meanwhile")


def engine_answered(samples: Iterable[Sample], engine: EngineCount) -> Verdict:
    """Check that a vLLM counted exactly the requests which callers saw served by its features' candidate."""
    served = sum(sample.served == CANDIDATE and sample.feature in engine.features for sample in samples)
    found = f"it counted {engine.requests} requests, callers saw {served}"
    return Verdict(f"answers of {engine.upstream} come from vLLM", ok=0 < served == engine.requests, found=found)


def quality_measured(samples: Iterable[Sample], quality: Mapping[tuple[str, str], Quality]) -> Verdict:
    """Check that the gateway's quality per feature and arm is that of the answers, and that there is one for each."""
    check = "quality per arm measured"
    expected: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for sample in samples:
        if sample.matched is not None and sample.assigned is not None:
            expected[sample.feature, sample.assigned].append(sample.matched)
    features = sorted({feature for feature, _ in expected})
    for feature in features or [MOVING]:
        for arm in ARMS:
            scores, measured = expected[feature, arm], quality.get((feature, arm), Quality(0, 0))
            if not scores or measured.units != len(scores) or abs(measured.total - sum(scores)) > _SUM_TOLERANCE:
                wanted = f"{sum(scores)} right of {len(scores)}"
                found = f"{feature}, {arm}: the gateway has {measured.total:g} of {measured.units:g}, callers {wanted}"
                return Verdict(check, ok=False, found=found)
    return Verdict(check, ok=True, found=", ".join(f"{arm} {_ratio(expected, arm):.1%}" for arm in ARMS))


def _ratio(scores: Mapping[tuple[str, str], Sequence[bool]], arm: str) -> float:
    found = [score for (_, each), each_scores in scores.items() if each == arm for score in each_scores]
    return sum(found) / len(found)


_Visit = tuple[Stage, str]


def _panel_visits(stages: Sequence[Stage], samples: Iterable[Sample]) -> dict[str, list[_Visit]]:
    """Return each panel conversation's (stage, arm) in the order of stages, without those of the kill."""
    shown = [stage for stage in stages if not stage.killed]
    visits: defaultdict[str, list[_Visit]] = defaultdict(list)
    split = [
        sample for sample in samples if sample.panel and sample.reason == SPLIT and sample.assigned and sample.revision
    ]
    for sample in sorted(split, key=lambda each: (each.revision, each.started_s)):
        if (stage := next((each for each in shown if each.holds(sample.revision)), None)) is not None:
            visits[sample.conversation].append((stage, sample.assigned or ""))
    return dict(visits)


def _changed_within_a_share(seen: Sequence[_Visit]) -> bool:
    arms: defaultdict[int, set[str]] = defaultdict(set)
    for stage, arm in seen:
        arms[stage.share_millipct].add(arm)
    return any(len(found) > 1 for found in arms.values())
