from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.audit import record_change
from rollout.core.model import FeatureFlag, Kill, Prerequisite, Shadow
from rollout.core.promql import MetricQuery
from rollout.core.ramp_model import FailureRule, Gate, GateKind, GateMemory, Phase, Progress, RampPlan, Role, Step
from rollout.core.ramp_shown import Shown, encode_memory
from rollout.core.readings import Reading, measured, no_data, unusable
from rollout.doctor import Patient, examine
from rollout.follower import Follower
from rollout.ports import Store
from rollout.surroundings import Check, Surroundings

PLAN = RampPlan(steps=(Step(share=1_000, bake="1h"),))
QUERY = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="rate(errors[1m])",
    limit=0.5,
    failure=FailureRule(count=1),
)
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=900.0)


class Meter:
    """A metric source that answers each expression as it was told."""

    def __init__(self, **readings: Reading) -> None:
        self.readings = readings

    async def read(self, query: MetricQuery) -> Reading:
        if query.expression == "vector(1)":
            return self.readings.get("alive", measured(1.0, 1_000.0))
        return self.readings["gate"]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def patient(seeded: Store, follower: Follower, clock: Any) -> Patient:
    return Patient(seeded, follower, clock, Surroundings())


async def change(store: Store, feature: str, **changes: Any) -> FeatureFlag:
    flag = await store.get(feature)
    assert flag is not None
    after = replace(flag, **changes)
    entry = record_change(flag, after, actor="ann", command="set", reason="r", at_s=1.0)
    return await store.put_if_revision(after, flag.revision, entry)


async def found(patient: Patient, name: str, **around: Any) -> list[Check]:
    checks = await examine(patient._replace(around=patient.around._replace(**around)))
    return [each for each in checks if each.name == name]


async def results(patient: Patient, name: str, **around: Any) -> list[str]:
    return [each.result for each in await found(patient, name, **around)]


async def test_all_is_well_at_first(patient: Patient) -> None:
    checks = await examine(patient)
    assert {each.result for each in checks} == {"ok"}
    assert [each.name for each in checks] == [
        "store",
        "snapshot",
        "kills",
        "prerequisites",
        "controller",
        "prometheus",
    ]
    assert checks[0].text == "version 2, 2 features"


async def test_a_store_that_is_away_fails_and_the_rest_is_looked_at(patient: Patient, store_path: Any) -> None:
    store_path.rename(store_path.with_name("away"))
    assert await results(patient, "store") == ["fail"]
    assert await results(patient, "prerequisites") == ["ok"]
    await patient.follower.refresh()
    (snapshot,) = await found(patient, "snapshot")
    assert snapshot.result == "fail"


async def test_a_snapshot_that_ages_fails(patient: Patient, seeded: Store, clock: Any) -> None:
    clock.at_s += 6
    assert (await found(patient, "snapshot"))[0].text == "the store confirmed it 6 s ago"
    never = patient._replace(follower=Follower(seeded, clock))
    assert (await found(never, "snapshot"))[0].text == "the store confirmed it never"


async def test_a_store_that_lost_data_fails(
    patient: Patient, clock: Any, tmp_path: Any, seeded: Store, follower: Follower
) -> None:
    from rollout.adapters.sqlite import SqliteStore  # noqa: PLC0415  the one test that needs another store

    empty = SqliteStore(tmp_path / "other.db")
    follower._store = empty
    await follower.refresh()
    await empty.close()
    (snapshot,) = await found(patient, "snapshot")
    assert (snapshot.result, "has lost data" in snapshot.text) == ("fail", True)


async def test_kills_are_told(patient: Patient, seeded: Store, follower: Follower) -> None:
    await change(seeded, "draft", kill=Kill(on=True))
    await follower.kill_locally("summarize")
    assert [each.text for each in await found(patient, "kills")] == [
        "killed: draft",
        "killed on this replica alone: summarize",
    ]


async def test_prerequisites_that_do_not_fit_fail(patient: Patient, seeded: Store) -> None:
    await change(seeded, "draft", prerequisites=(Prerequisite("gone"),))
    assert await results(patient, "prerequisites") == ["fail"]


async def test_upstreams_that_are_not_configured_fail(patient: Patient) -> None:
    assert await results(patient, "upstreams") == []
    assert await results(patient, "upstreams", upstreams=lambda: frozenset({"inhouse", "partner"})) == ["ok"]
    missing = await found(patient, "upstreams", upstreams=lambda: frozenset({"partner"}))
    assert [each.text for each in missing] == [
        "draft: candidate 'inhouse' is not configured",
        "summarize: candidate 'inhouse' is not configured",
    ]


async def test_judges_that_are_not_configured_are_warned_of(patient: Patient, seeded: Store) -> None:
    assert await results(patient, "judges", judges=lambda: frozenset({"third"})) == []
    await change(seeded, "draft", shadow=Shadow(judge="third"))
    assert await results(patient, "judges") == []
    assert await results(patient, "judges", judges=lambda: frozenset({"third"})) == ["ok"]
    (missing,) = await found(patient, "judges", judges=lambda: frozenset({"other"}))
    assert (missing.result, missing.hint) == ("warn", "configured: other")
    assert missing.text == "draft: 'third' is not configured, so nobody compares its answers"


async def test_a_ramp_without_a_controller_fails_while_it_runs(patient: Patient, seeded: Store, clock: Any) -> None:
    flag = await change(seeded, "draft", ramp=PLAN, progress=RUNNING)
    assert (await found(patient, "controller"))[0].text == "draft: no controller has looked at this revision"
    shown = Shown(flag.revision, Phase.RUNNING, 0, clock.now_s() - 4, "one")
    await seeded.put_memory("draft", flag.revision, encode_memory(GateMemory(), shown))
    assert await found(patient, "controller") == [Check("controller", "ok", "draft: one looked 4 s ago")]
    clock.at_s += 30
    (late,) = await found(patient, "controller")
    assert (late.result, late.text) == ("fail", "draft: looked at last 34 s ago")
    await change(seeded, "draft", progress=replace(RUNNING, phase=Phase.PAUSED))
    assert await results(patient, "controller") == ["warn"]


async def test_a_controller_is_not_asked_of_a_store_that_is_away(
    patient: Patient, seeded: Store, follower: Follower, store_path: Any
) -> None:
    await change(seeded, "draft", ramp=PLAN, progress=RUNNING)
    await follower.refresh()
    store_path.rename(store_path.with_name("away"))
    assert await results(patient, "controller") == ["fail"]


async def test_every_query_of_a_ramp_under_way_is_asked(patient: Patient, seeded: Store) -> None:
    await change(seeded, "draft", ramp=PLAN, gates=(QUERY,))
    assert await results(patient, "prometheus") == ["warn"]
    assert await results(patient, "gates", metrics=Meter()) == []
    await change(seeded, "draft", progress=RUNNING)
    assert await results(patient, "prometheus") == ["fail"]
    good = Meter(gate=measured(0.25, 999.0))
    assert await results(patient, "prometheus", metrics=good) == ["ok"]
    assert await found(patient, "gates", metrics=good) == [Check("gates", "ok", "draft: gate 'errors': 0.25")]
    absent = await found(patient, "gates", metrics=Meter(gate=no_data("the answer is empty")))
    assert [(each.result, each.text) for each in absent] == [("warn", "draft: gate 'errors': the answer is empty")]
    assert await results(patient, "gates", metrics=Meter(gate=unusable("bad query"))) == ["fail"]
    away = Meter(alive=unusable("no answer"))
    assert [each.text for each in await found(patient, "prometheus", metrics=away)] == ["no answer"]
    assert await results(patient, "gates", metrics=away) == []
    await change(seeded, "draft", gates=(replace(QUERY, query=" "),))
    (bad,) = await found(patient, "gates", metrics=good)
    assert (bad.result, bad.text) == ("fail", "draft: its gates: a PromQL query needs an expression")


async def test_the_mounting_process_may_have_checks_of_its_own(patient: Patient) -> None:
    async def more() -> list[Check]:
        return [Check("webhooks", "warn", "two wait")]

    assert await results(patient, "webhooks", checks=(more,)) == ["warn"]
