import json
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.adapters.sqlite import SqliteStore
from rollout.code_operations import ApplyStopped, CodeOperations, read_wanted
from rollout.core.audit import record_change, replay
from rollout.core.codec import render_document
from rollout.core.configuration import EARLY_ACCESS, exported
from rollout.core.errors import (
    DocumentRefused,
    InvalidArgument,
    RevisionConflict,
    StoreReset,
    StoreUnavailable,
    UnknownFeature,
)
from rollout.core.ramp_model import GateMemory, Phase
from rollout.core.ramp_shown import decode_memory, encode_memory
from rollout.follower import Follower
from rollout.ports import Store
from rollout.surroundings import Surroundings

ENTRY: dict[str, Any] = {"candidate": "inhouse", "baseline": "partner"}
RAMP = {"steps": [{"share": 1_000, "bake": "1h"}, {"share": 50_000, "bake": "1h", "min_samples": 900}]}
RAMPED = ENTRY | {"ramp": RAMP}


def document(**features: dict[str, Any]) -> bytes:
    return json.dumps({"x-rollouts": features}).encode()


@pytest.fixture
def code(seeded: Store, follower: Follower, clock: Any) -> CodeOperations:
    rates = {"summarize": 2.0}
    return CodeOperations(seeded, follower, clock, Surroundings(rate_of=rates.get))


async def apply(code: CodeOperations, text: bytes, **changes: Any) -> Any:
    return await code.apply(text, **{"dry_run": False, "actor": "ann", "reason": "as reviewed"} | changes)


async def test_a_document_comes_into_force_and_the_log_replays_to_it(
    code: CodeOperations, seeded: Store, follower: Follower
) -> None:
    text = document(summarize=RAMPED | {"owner": "writing"}, rewrite=RAMPED)
    done = {each.proposal.feature: each for each in await apply(code, text)}
    assert {name: (each.proposal.action, each.revision) for name, each in done.items()} == {
        "summarize": ("change", 2),
        "rewrite": ("create", 1),
    }
    flags = (await seeded.load())[1]
    assert (flags["summarize"].owner, flags["summarize"].progress.phase) == ("writing", Phase.READY)
    assert follower.flags == flags
    entries = await seeded.audit()
    assert replay(entries) == flags
    assert {(each.command, each.actor, each.reason) for each in entries[2:]} == {("create", "ann", "as reviewed")}
    assert [each.proposal.action for each in await apply(code, text)] == ["same", "same"]
    assert len(await seeded.audit()) == len(entries)


async def test_a_dry_run_writes_nothing(code: CodeOperations, seeded: Store) -> None:
    before = await seeded.position()
    (outcome,) = await apply(code, document(summarize=RAMPED), dry_run=True, reason="")
    assert (outcome.proposal.action, outcome.revision) == ("change", 1)
    assert await seeded.position() == before


async def test_another_draw_ends_the_ramp_in_an_entry_of_its_own(code: CodeOperations, seeded: Store) -> None:
    await apply(code, document(summarize=RAMPED))
    flag = await seeded.get("summarize")
    assert flag is not None
    running = replace(flag, share_millipct=1_000, progress=replace(flag.progress, phase=Phase.RUNNING, step=0))
    entry = record_change(flag, running, actor="ann", command="start", reason="go", at_s=1.0)
    await seeded.put_if_revision(running, flag.revision, entry)
    (outcome,) = await apply(code, document(summarize=RAMPED | {"candidate": "newer"}))
    assert outcome.revision == 5
    flags = (await seeded.load())[1]
    history = await seeded.history("summarize")
    assert [each.command for each in history[:2]] == ["create", "end"]
    assert "candidate" not in history[1].details
    assert history[0].details["candidate"] == "newer"
    assert replay(await seeded.audit()) == flags
    assert (flags["summarize"].share_millipct, flags["summarize"].progress.phase) == (1_000, Phase.READY)


async def test_what_gates_remember_lasts_if_their_plan_does(code: CodeOperations, seeded: Store) -> None:
    await apply(code, document(summarize=RAMPED))
    memory = GateMemory(attempt=1, blind_since_s=7.0)
    await seeded.put_memory("summarize", 2, encode_memory(memory))
    await apply(code, document(summarize=RAMPED | {"owner": "me"}))
    assert decode_memory((await seeded.get_memory("summarize"))[1]) == memory
    await apply(code, document(summarize=RAMPED | {"rollback": {"mode": "staged"}}))
    assert decode_memory((await seeded.get_memory("summarize"))[1]) == GateMemory()


async def test_what_was_written_before_a_rival_is_told(
    seeded: Store, follower: Follower, clock: Any, store_path: Any
) -> None:
    class Contended(SqliteStore):
        async def load(self) -> Any:
            found = await super().load()
            flag = found[1]["summarize"]
            after = replace(flag, owner="rival")
            entry = record_change(flag, after, actor="bob", command="own", reason="r", at_s=1.0)
            await self.put_if_revision(after, flag.revision, entry)
            return found

    contended = Contended(store_path)
    code = CodeOperations(contended, follower, clock, Surroundings())
    text = document(draft=ENTRY | {"owner": "me"}, summarize=ENTRY | {"owner": "me"})
    with pytest.raises(ApplyStopped) as stopped:
        await apply(code, text)
    await contended.close()
    assert isinstance(stopped.value.fault, RevisionConflict)
    assert (stopped.value.feature, stopped.value.written, stopped.value.exit_code) == ("summarize", ("draft",), 3)
    flags = (await seeded.load())[1]
    assert (flags["draft"].owner, flags["summarize"].owner) == ("me", "rival")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"{", "not JSON"),
        (b'{"x-rollouts": {}}', "no features"),
        (document(f=ENTRY | {"ownr": "me"}), "did you mean 'owner'"),
        (document(f=ENTRY | {"prerequisites": [{"feature": "g"}]}), "'f' needs 'g'"),
        (document(f=ENTRY | {"ramp": {"steps": [{"share": 1}]}, "gates": [{}]}), "gates"),
    ],
)
async def test_a_bad_document_is_refused_whole(code: CodeOperations, seeded: Store, text: bytes, cause: str) -> None:
    before = await seeded.position()
    with pytest.raises(DocumentRefused, match=cause):
        await apply(code, text)
    assert await seeded.position() == before


async def test_a_change_needs_a_reason_and_the_store(code: CodeOperations, store_path: Any) -> None:
    with pytest.raises(InvalidArgument, match="reason"):
        await apply(code, document(summarize=ENTRY), reason=" ")
    store_path.rename(store_path.with_name("away"))
    with pytest.raises(StoreUnavailable):
        await apply(code, document(summarize=ENTRY), dry_run=True)


async def test_a_store_that_lost_its_data_is_neither_compared_with_nor_filled(
    follower: Follower, clock: Any, tmp_path: Any
) -> None:
    empty = SqliteStore(tmp_path / "empty.db")
    code = CodeOperations(empty, follower, clock, Surroundings())
    for dry_run in (True, False):
        with pytest.raises(StoreReset, match="emptied"):
            await apply(code, document(summarize=ENTRY), dry_run=dry_run)
    assert (await empty.load())[1] == {}
    await empty.close()


async def test_what_is_exported_changes_nothing_here_and_fills_an_empty_store(
    code: CodeOperations, seeded: Store, clock: Any, tmp_path: Any
) -> None:
    await apply(code, document(summarize=RAMPED, rewrite=ENTRY | {"share_millipct": 7_000, "kill": {"on": True}}))
    flags = (await seeded.load())[1]
    whole = json.dumps(render_document(flags)).encode()
    for text in (
        whole,
        *(document(**{f: exported(flags[f], with_state=each) for f in flags}) for each in (True, False)),
    ):
        assert {each.proposal.action for each in await apply(code, text, dry_run=True)} == {"same"}
    empty = SqliteStore(tmp_path / "empty.db")
    other = CodeOperations(empty, Follower(empty, clock), clock, Surroundings())
    await apply(other, whole)
    copied = (await empty.load())[1]
    await empty.close()
    assert {name: replace(flag, revision=0, progress=flag.progress) for name, flag in copied.items()} == {
        name: replace(flag, revision=0) for name, flag in flags.items()
    }


async def test_a_ramp_is_planned_at_the_traffic_there_is(code: CodeOperations) -> None:
    with pytest.raises(DocumentRefused, match="has no ramp"):
        await code.plan("summarize", b"", None)
    with pytest.raises(UnknownFeature):
        await code.plan("sumarize", b"", None)
    await apply(code, document(summarize=RAMPED, rewrite=RAMPED))
    measured = await code.plan("summarize", b"", None)
    assert (measured.units_per_s, [step.needs_s for step in measured.steps]) == (2.0, [3_600.0, 3_600.0])
    given = await code.plan("summarize", b"", 0.1)
    assert (given.units_per_s, given.steps[1].needs_s) == (0.1, 18_000.0)
    unknown = await code.plan("rewrite", b"", None)
    assert (unknown.units_per_s, unknown.total_s) == (None, float("inf"))
    longer = {"steps": [{"share": 1_000, "bake": "2h"}]}
    other = await code.plan("draft", document(draft=ENTRY | {"ramp": longer}), None)
    assert other.total_s == 7_200.0


def test_it_is_told_which_state_a_document_gives() -> None:
    listed = {"audience": "listed", "early_access": []}
    wanted = read_wanted(document(f=ENTRY | {"eligibility": listed}, g=ENTRY))
    assert wanted["f"].given == {"candidate", "baseline", "eligibility", EARLY_ACCESS}
    assert wanted["g"].given == {"candidate", "baseline"}
