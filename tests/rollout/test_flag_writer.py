"""What every written command leaves in the store; who it is for has its own tests."""

import logging
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core import flag_changes as changes
from rollout.core import ramp_commands
from rollout.core.audit import record_change
from rollout.core.audit import replay as replayed
from rollout.core.errors import CommandRepeated, IdempotencyKeyUsed, InvalidArgument, RevisionConflict, UnknownFeature
from rollout.core.flag_changes import Changed
from rollout.core.model import FeatureFlag, Prerequisite
from rollout.core.once import CommandKey
from rollout.core.ramp_model import GateMemory, GateRecord, Phase, Progress, RampPlan, Rollback, Step
from rollout.core.ramp_shown import decode_memory, encode_memory
from rollout.flag_writer import Command, FlagWriter
from rollout.follower import Follower
from rollout.ports import Store

PLAN = RampPlan(steps=(Step(share=1_000), Step(share=50_000)))
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=900.0, step_began_s=950.0)
FAILING = GateMemory(attempt=1, gates={"errors": GateRecord(streak=1, fails_s=(999.0,), counted_s=999.0)})


@pytest.fixture
def writer(seeded: Store, follower: Follower, clock: Any) -> FlagWriter:
    return FlagWriter(seeded, follower, clock)


def renamed(flag: FeatureFlag, memory: GateMemory, owner: str = "ops") -> Changed:
    return Changed(replace(flag, owner=owner), memory)


def command(writer: FlagWriter, name: str = "own", key: CommandKey | None = None, actor: str = "ann") -> Command:
    return writer.command(name, "summarize", actor=actor, reason=" it is time ", key=key)


async def run_ramp(store: Store) -> None:
    before = await store.get("summarize")
    assert before is not None
    after = replace(
        before, ramp=PLAN, progress=RUNNING, share_millipct=1_000, rollback=Rollback(partner_capacity_check=True)
    )
    entry = record_change(before, after, actor="config", command="start", reason="r", at_s=1.0)
    await store.put_if_revision(after, before.revision, entry)
    await store.put_memory("summarize", 2, encode_memory(FAILING))


async def test_a_change_is_written_and_in_force(writer: FlagWriter, seeded: Store) -> None:
    done = await writer.at_revision(command(writer), 1, renamed)
    assert (done.flag.owner, done.flag.revision, done.replayed) == ("ops", 2, False)
    assert writer.follower.flags["summarize"] == done.flag
    (entry, *_) = await seeded.history("summarize")
    assert (entry.command, entry.actor, entry.reason, entry.at_s) == ("own", "ann", "it is time", 1_000.0)
    assert replayed(await seeded.audit()) == (await seeded.load())[1]


async def test_a_change_for_another_revision_is_refused(writer: FlagWriter) -> None:
    with pytest.raises(RevisionConflict) as conflict:
        await writer.at_revision(command(writer), 2, renamed)
    assert conflict.value.current is not None
    assert conflict.value.current.revision == 1
    with pytest.raises(UnknownFeature):
        await writer.at_revision(command(writer)._replace(feature="sumarize"), 1, renamed)


async def test_a_command_needs_a_reason(writer: FlagWriter) -> None:
    with pytest.raises(InvalidArgument):
        writer.command("own", "summarize", actor="ann", reason="  ")


async def test_the_gates_remember_their_failures_across_a_command(writer: FlagWriter, seeded: Store) -> None:
    await run_ramp(seeded)
    order = command(writer).order
    step = partial(ramp_commands.extend, order=order, seconds=60.0)
    await writer.at_revision(command(writer), 2, partial(changes.by_step, step=step))
    stored = await seeded.get_memory("summarize")
    assert stored is not None
    assert (stored[0], decode_memory(stored[1])) == (3, FAILING)


async def test_an_alarm_is_logged(writer: FlagWriter, seeded: Store, caplog: pytest.LogCaptureFixture) -> None:
    await run_ramp(seeded)
    step = partial(ramp_commands.roll_back, order=command(writer).order)
    with caplog.at_level(logging.WARNING, "rollout.flag_writer"):
        await writer.until_written(command(writer), partial(changes.by_step, step=step))
    assert [record.getMessage() for record in caplog.records] == [
        "summarize: rolled back: it is time",
        "summarize: rolling back without knowing what the baseline bears",
    ]


async def test_a_configuration_that_does_not_hold_together_is_refused(writer: FlagWriter, seeded: Store) -> None:
    def needing(feature: str, flag: FeatureFlag, memory: GateMemory) -> Changed:
        return Changed(replace(flag, prerequisites=(Prerequisite(feature),)), memory)

    with pytest.raises(InvalidArgument, match="which is not there"):
        await writer.at_any_revision(command(writer), partial(needing, "drafts"))
    await writer.at_any_revision(command(writer), partial(needing, "draft"))
    with pytest.raises(InvalidArgument, match="circle"):
        await writer.at_any_revision(command(writer)._replace(feature="draft"), partial(needing, "summarize"))
    assert (await seeded.load())[1]["draft"].revision == 1


async def test_what_changes_nothing_is_no_revision(writer: FlagWriter) -> None:
    flag = await writer.until_written(command(writer), Changed)
    assert flag.revision == 1


class TestKeys:
    key = CommandKey("k1", "digest")

    async def test_a_repeated_command_gives_the_flag_as_its_first_coming_left_it(self, writer: FlagWriter) -> None:
        first = await writer.at_revision(command(writer, key=self.key), 1, renamed)
        for revision in (2, 3):
            await writer.at_revision(command(writer), revision, partial(renamed, owner=f"{revision}"))
        again = await writer.at_revision(command(writer, key=self.key), 4, renamed)
        assert (again.flag, again.replayed) == (first.flag, True)
        anywhere = await writer.at_any_revision(command(writer, key=self.key), renamed)
        assert (anywhere.flag, anywhere.replayed) == (first.flag, True)
        assert (await writer.get("summarize")).owner == "3"

    async def test_it_is_somebody_elses_or_another_command(self, writer: FlagWriter) -> None:
        await writer.at_revision(command(writer, key=self.key), 1, renamed)
        for other in (command(writer, key=CommandKey("k1", "other")), command(writer, key=self.key, actor="eve")):
            with pytest.raises(IdempotencyKeyUsed):
                await writer.at_revision(other, 2, renamed)

    async def test_one_that_changes_nothing_is_noted(self, writer: FlagWriter) -> None:
        await writer.until_written(command(writer, key=self.key), Changed)
        for change in (Changed, renamed):
            with pytest.raises(CommandRepeated) as repeated:
                await writer.until_written(command(writer, key=self.key), change)
            done = await writer.replay(command(writer, key=self.key), repeated.value.outcome)
            assert (done.flag.revision, done.flag.owner, done.replayed) == (1, "", True)

    async def test_a_refusal_is_not_remembered(self, writer: FlagWriter) -> None:
        with pytest.raises(RevisionConflict):
            await writer.at_revision(command(writer, key=self.key), 9, renamed)
        assert not (await writer.at_revision(command(writer, key=self.key), 1, renamed)).replayed

    async def test_the_slower_of_two_twins_is_answered_too(self, writer: FlagWriter) -> None:
        def twin(flag: FeatureFlag, memory: GateMemory) -> Changed:
            raise RevisionConflict("summarize", 1, flag)

        await writer.at_revision(command(writer, key=self.key), 1, renamed)
        slow = SlowWriter(writer)
        done = await slow.at_revision(command(writer, key=self.key), 2, twin)
        assert (done.flag.revision, done.replayed) == (2, True)


class SlowWriter(FlagWriter):
    """One that asked for the key before its twin had written."""

    def __init__(self, writer: FlagWriter) -> None:
        super().__init__(writer._store, writer.follower, writer._clock)
        self.asked = 0

    async def _recalled(self, command: Command) -> Any:
        self.asked += 1
        return None if self.asked == 1 else await super()._recalled(command)
