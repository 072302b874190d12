"""A test that can't fail proves nothing: put a plausible defect into the product, and see its invariant told."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase as Stage
from hypothesis import settings
from msgspec.structs import replace

from rollout import controller as controllers
from rollout import last_good
from rollout.controller import Controller
from rollout.core import bucketing, evaluate, gates, ramp, ramp_commands, ramp_holds, ramp_moves, ramp_plan
from rollout.core import lease as rules
from rollout.core.audit import record_change
from rollout.core.gates import Result
from rollout.core.model import EMPTY_SNAPSHOT, FeatureFlag
from rollout.core.ramp_model import Rollback
from rollout.core.ramp_table import unchanged
from rollout.follower import Follower
from tests.rollout.invariants import documents, fleet, histories, plans
from tests.rollout.invariants.histories import Told, fleet_life, led, on_sqlite, replica_life
from tests.rollout.invariants.ramp_world import World, live

if TYPE_CHECKING:
    from collections.abc import Callable

Patch = tuple[Any, str, Any]


def redrawn(flag: FeatureFlag) -> str:
    return f"{flag.feature}-{flag.share_millipct}"


def unguarded(snapshot: Any, feature: Any, subject: Any) -> Any:
    return snapshot.features[feature].decide(subject)


PROPERTIES: dict[str, tuple[Patch, Callable[[], None]]] = {
    "01: each share draws anew": ((FeatureFlag, "split_salt", property(redrawn)), documents.treated_stay_treated),
    "02: another hash than flagd's": (
        (evaluate, "bucketer", lambda _, salt: bucketing.bucketer(2, salt)),
        documents.flagd_core_decides_the_same,
    ),
    "02: a replica that restarts forgets": (
        (last_good, "read", lambda _: None),
        documents.a_decision_depends_on_document_and_context_alone,
    ),
    "03: one draw for split and samples": (
        (evaluate, "bucketer", lambda version, _: bucketing.bucketer(version, "salt")),
        lambda: documents.shares_and_samples_are_independent(3, "s", 5_000),
    ),
    "04: a fault fails the request": (
        (evaluate, "decide", unguarded),
        documents.whatever_comes_in_it_is_an_arm_and_a_reason,
    ),
    "16: a smaller share treats others": (
        (FeatureFlag, "split_salt", property(redrawn)),
        documents.a_cut_exposes_nobody_new,
    ),
    "20: no revision in a decision": (
        (evaluate, "_fixed", lambda flag, reason: evaluate._baseline(flag.feature, flag.baseline, reason)),
        documents.a_decision_carries_what_a_log_line_needs,
    ),
    "22: steps need not bake": (
        (ramp_plan, "_plan_faults", lambda *_: ()),
        plans.what_is_wrong_is_refused_and_nothing_else,
    ),
    "22: nobody counts what will come": (
        (ramp_plan, "_rate_warnings", lambda *_: ()),
        plans.samples_that_cannot_come_in_time_are_warned_of,
    ),
}


@pytest.mark.parametrize("defect", PROPERTIES)
def test_a_property_notices(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, holds = PROPERTIES[defect]
    monkeypatch.setattr(*patch)
    if hasattr(holds, "hypothesis"):
        # Any counterexample will do; the shortest takes long to find.
        hasty = settings(phases=[Stage.generate], max_examples=1_000, derandomize=True)
        monkeypatch.setattr(holds, "_hypothesis_internal_use_settings", hasty)
    with pytest.raises((AssertionError, KeyError, TypeError, ExceptionGroup)):
        holds()


def never_ending(gate: Any, record: Any, verdict: Any, **times: Any) -> Any:
    """A row of FAILs that no PASS ends."""
    return record if verdict.result is Result.PASS else gates.remember(gate, record, verdict, **times)


def by_anybody(of: Any, step: int) -> bool:
    given = of.progress.approval
    return given is not None and (given.feature, given.step) == (of.feature, step)


TICKS: dict[str, Patch] = {
    "05: a kill leaves the ramp running": (ramp, "_under_kill", lambda of, _: unchanged(of)),
    "06: without enough samples": (ramp_holds, "_samples", lambda *_: ()),
    "06: without baking": (ramp_holds, "_baking", lambda *_: ()),
    "07: NaN is a number": (gates, "isnan", lambda _: False),
    "08: a FAIL never counts": (ramp, "has_failed", lambda *_: False),
    "09: a PASS ends no row": (ramp, "remember", never_ending),
    "16: a rollback that raises": (ramp_moves, "lowered", lambda of, *_: (min(100_000, of.share_millipct + 1_000), ())),
    "17: no approval is asked for": (ramp_holds, "_approval", lambda *_: ()),
    "17: of any revision": (ramp_holds, "is_approved", by_anybody),
    "18: no cooldown": (ramp_commands, "_refuse_cooling", lambda *_: None),
    "21: whatever the baseline bears": (
        ramp_moves,
        "lowered",
        lambda of, target, _: (min(target, of.share_millipct), ()),
    ),
}


@pytest.mark.parametrize("defect", TICKS)
def test_the_witness_notices(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*TICKS[defect])
    if "NaN" in defect:
        monkeypatch.setattr(gates, "isfinite", lambda _: True)
    for seed in range(20):
        world = World(Rollback(to_share=500, partner_capacity_check=True))
        live(world, Random(seed), 1_500)
        if any(each.startswith(defect[:2]) for each in world.witness.broken):
            return
    pytest.fail("nothing was noticed")


class Forgetful:
    """A store that gives a new controller no memory."""

    def __init__(self, store: Any) -> None:
        self._store, self._asked = store, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get_memory(self, feature: str) -> Any:
        told = await self._store.get_memory(feature)
        first, self._asked = not self._asked, True
        return None if first else told


def without_comparing(held: Any, token: int | None, _stored: int, expected: int) -> Any:
    return rules.Verdict.DONE if rules.may_write(held, token) else rules.Verdict.STALE


def without_verdicts(*flags: Any, verdicts: Any, **said: Any) -> Any:
    del verdicts
    return record_change(*flags, **said)


def fleets() -> Told:
    return histories.together([on_sqlite(fleet_life, seed, 500) for seed in range(4)])


def lone_fleets() -> Told:
    return histories.together([on_sqlite(histories.lone_fleet_life, seed, 300) for seed in range(4)])


def restarts() -> Told:
    told = []
    for seed in range(3):
        spared, _ = led(histories.enduring_life(seed, 120, crash=False))
        crashed, one = led(histories.enduring_life(seed, 120, crash=True))
        told.append(one._replace(broken=[*one.broken, *(["11: other commits"] if crashed != spared else [])]))
    return histories.together(told)


def emptied(follower: Follower, *fault: Any) -> None:
    follower.snapshot = EMPTY_SNAPSHOT
    noted(follower, *fault)


noted = Follower._note

STORES: dict[str, tuple[Patch, Callable[[], Told]]] = {
    "10: no fencing": ((rules, "may_write", lambda *_: True), lone_fleets),
    "10: no comparing": ((rules, "judge_write", without_comparing), fleets),
    "11: a new controller forgets": (
        (fleet, "Controller", lambda store, world: Controller(Forgetful(store), world)),  # type: ignore[arg-type]
        restarts,
    ),
    "12: the last writer wins": ((rules, "judge_write", without_comparing), fleets),
    "13: decisions without their measurements": (
        (controllers, "record_change", without_verdicts),
        lone_fleets,
    ),
    "13: details that are not all": (
        (controllers, "record_change", lambda _, after, **said: record_change(after, after, **said)),
        lone_fleets,
    ),
    "05: a local kill is not obeyed": (
        (Follower, "_overlaid", lambda _, flag: flag),
        lambda: led(replica_life(1, 300)),
    ),
    "14: what a fault leaves is nothing": ((Follower, "_note", emptied), lambda: led(replica_life(1, 300))),
    "14: what is known is not saved": ((last_good, "write", lambda *_: None), lambda: led(replica_life(1, 300))),
    "14: more than was committed": (
        (
            Follower,
            "_overlaid",
            lambda _, flag: replace(flag, share_millipct=min(100_000, flag.share_millipct + 30_000)),
        ),
        lambda: led(replica_life(1, 300)),
    ),
}


@pytest.mark.parametrize("defect", STORES)
def test_the_ledger_notices(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, life = STORES[defect]
    monkeypatch.setattr(*patch)
    assert any(each.startswith(defect[:2]) for each in life().broken)
