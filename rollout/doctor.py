"""Whether everything a rollout leans on is in order: a list of checks, each ok, warn or fail, with what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidDocument, RolloutError
from rollout.core.position import Standing
from rollout.core.prerequisites import check_prerequisites
from rollout.core.promql import MetricQuery
from rollout.core.ramp_flag import is_watched, queries_of
from rollout.core.ramp_model import Phase
from rollout.core.ramp_shown import decode_shown
from rollout.core.readings import ReadingKind
from rollout.surroundings import Check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from rollout.core.model import FeatureFlag
    from rollout.follower import Follower
    from rollout.ports import Clock, MetricSource, Store
    from rollout.surroundings import CheckResult, Surroundings

AGE_MAX_S = 5.0
"""A follower polls four times a second."""
UNSEEN_MAX_S = 10.0
"""A controller that looks keeps what it saw at least every five seconds."""
QUERIES_MAX = 100
_RUNS = (Phase.RUNNING, Phase.MONITORING)
_OF_READING: Mapping[ReadingKind, CheckResult] = {
    ReadingKind.OK: "ok",
    ReadingKind.NO_DATA: "warn",
    ReadingKind.ERROR: "fail",
}


class Patient(NamedTuple):
    """What is looked at."""

    store: Store
    follower: Follower
    clock: Clock
    around: Surroundings


async def examine(patient: Patient) -> list[Check]:
    """Look at everything once, in bounded time; what can't be read is a check that failed, never an error."""
    flags = dict(patient.follower.flags)
    checks = [await _store(patient, flags), _snapshot(patient), *_kills(patient, flags), _prerequisites(flags)]
    checks += [each async for each in _controller(patient, flags)]
    checks += [*_upstreams(patient, flags), *_judges(patient, flags), *await _metrics(patient, flags)]
    for more in patient.around.checks:
        checks += await more()
    return checks


async def _store(patient: Patient, flags: dict[str, FeatureFlag]) -> Check:
    """Read the store; `flags` are then its, else they stay those in force here."""
    try:
        version, stored = await patient.store.load()
    except RolloutError as fault:
        return Check("store", "fail", fault.cause, fault.hint)
    flags.clear()
    flags.update(stored)
    return Check("store", "ok", f"version {version}, {len(stored)} features")


def _snapshot(patient: Patient) -> Check:
    follower = patient.follower
    age_s = follower.age_s(patient.clock.now_s())
    if follower.standing is not Standing.FOLLOWS:
        hint = "restore its data, or `glidepath rollout accept-loss`"
        return Check(
            "snapshot", "fail", f"the store has lost data: {follower.standing}; what was known is in force", hint
        )
    if follower.last_error is not None:
        return Check("snapshot", "fail", follower.last_error.cause, follower.last_error.hint)
    if age_s > AGE_MAX_S:
        told = "never" if age_s == float("inf") else f"{age_s:.0f} s ago"
        return Check("snapshot", "fail", f"the store confirmed it {told}", "see the gateway's log for what keeps it")
    return Check("snapshot", "ok", f"confirmed {age_s:.1f} s ago")


def _kills(patient: Patient, flags: Mapping[str, FeatureFlag]) -> Iterator[Check]:
    killed = sorted(name for name, flag in flags.items() if flag.kill.on)
    if killed:
        yield Check("kills", "warn", f"killed: {', '.join(killed)}", "`glidepath rollout unkill` lifts a kill")
    here = sorted(patient.follower.killed_locally)
    if here:
        yield Check("kills", "warn", f"killed on this replica alone: {', '.join(here)}", "see its kill file")
    if not killed and not here:
        yield Check("kills", "ok", "none")


def _prerequisites(flags: Mapping[str, FeatureFlag]) -> Check:
    try:
        check_prerequisites(flags)
    except InvalidDocument as fault:
        return Check("prerequisites", "fail", fault.cause, fault.hint)
    return Check("prerequisites", "ok", "they fit together")


async def _controller(patient: Patient, flags: Mapping[str, FeatureFlag]) -> AsyncIterator[Check]:
    watched = [flag for flag in flags.values() if is_watched(flag)]
    if not watched:
        yield Check("controller", "ok", "no ramp to look at")
    for flag in watched:
        yield await _looked_at(patient, flag)


async def _looked_at(patient: Patient, flag: FeatureFlag) -> Check:
    try:
        kept = await patient.store.get_memory(flag.feature)
    except RolloutError as fault:
        return Check("controller", "fail", f"{flag.feature}: {fault.cause}", fault.hint)
    shown = decode_shown(None if kept is None else kept[1])
    age_s = float("inf") if shown is None else patient.clock.now_s() - shown.at_s
    if shown is not None and age_s <= UNSEEN_MAX_S:
        return Check("controller", "ok", f"{flag.feature}: {shown.holder} looked {max(0.0, age_s):.0f} s ago")
    told = "no controller has looked at this revision" if shown is None else f"looked at last {age_s:.0f} s ago"
    hint = "is a gateway with a controller running, and can it write to the store?"
    return Check("controller", "fail" if flag.progress.phase in _RUNS else "warn", f"{flag.feature}: {told}", hint)


def _upstreams(patient: Patient, flags: Mapping[str, FeatureFlag]) -> Iterator[Check]:
    known = patient.around.upstreams()
    if known is None:
        return
    missing = [
        f"{flag.feature}: {arm} {name!r}"
        for flag in flags.values()
        for arm, name in (("candidate", flag.candidate), ("baseline", flag.baseline))
        if name not in known
    ]
    for each in missing:
        yield Check("upstreams", "fail", f"{each} is not configured", f"configured: {', '.join(sorted(known))}")
    if not missing:
        yield Check("upstreams", "ok", "every feature's are configured")


def _judges(patient: Patient, flags: Mapping[str, FeatureFlag]) -> Iterator[Check]:
    known = patient.around.judges()
    wanted = [(flag.feature, flag.shadow.judge) for flag in flags.values() if flag.shadow.judge]
    missing = [(feature, judge) for feature, judge in wanted if known is not None and judge not in known]
    for feature, judge in missing:
        named = f"configured: {', '.join(sorted(known or ())) or 'none'}"
        yield Check("judges", "warn", f"{feature}: {judge!r} is not configured, so nobody compares its answers", named)
    if known is not None and wanted and not missing:
        yield Check("judges", "ok", "every feature's are configured")


async def _metrics(patient: Patient, flags: Mapping[str, FeatureFlag]) -> list[Check]:
    """Ask Prometheus whether it answers, and every query of a ramp that is under way."""
    asking = [flag for flag in flags.values() if any(gate.source == "promql" for gate in flag.gates)]
    source = patient.around.metrics
    if source is None:
        result: CheckResult = "fail" if any(map(is_watched, asking)) else "warn" if asking else "ok"
        needed = f"; gates of {', '.join(flag.feature for flag in asking)} ask it" if asking else ", and none is needed"
        return [Check("prometheus", result, f"none is configured{needed}", "see [prometheus]" if asking else "")]
    alive = await source.read(MetricQuery("vector(1)"))
    if alive.kind is ReadingKind.ERROR:
        return [Check("prometheus", "fail", alive.reason, "is its address right, and is it running?")]
    queries = [pair for flag in asking if is_watched(flag) for pair in _queries(flag, patient.clock.now_s())]
    found = await asyncio.gather(*(_asked(source, *pair) for pair in queries[:QUERIES_MAX]))
    return [Check("prometheus", "ok", "it answers"), *found]


def _queries(flag: FeatureFlag, now_s: float) -> list[tuple[str, MetricQuery | str]]:
    """Give the ramp's queries by gate, or what is wrong with them."""
    try:
        return [(f"{flag.feature}: gate {name!r}", query) for name, query in queries_of(flag, now_s).items()]
    except ValueError as fault:
        return [(f"{flag.feature}: its gates", str(fault))]


async def _asked(source: MetricSource, gate: str, query: MetricQuery | str) -> Check:
    if isinstance(query, str):
        return Check("gates", "fail", f"{gate}: {query}", "correct the query in the document")
    reading = await source.read(query)
    told = f"{reading.value:g}" if reading.value is not None else reading.reason
    hint = "" if reading.kind is ReadingKind.OK else "until it is answered the gate holds the ramp"
    return Check("gates", _OF_READING[reading.kind], f"{gate}: {told}", hint)
