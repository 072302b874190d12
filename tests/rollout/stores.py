"""Stores with rivals, that go away, that lose what they held; and a ramp under way in one."""

from pathlib import Path

from msgspec.structs import replace

from rollout.adapters.sqlite import SqliteStore
from rollout.core.audit import record_change
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Phase, Progress, RampPlan, Rollback, Step
from rollout.ports import Store


class ContendedStore(SqliteStore):
    """A real store in which, after each of the first `rivals` reads, somebody else writes first."""

    rivals = 0

    async def get(self, feature: str) -> FeatureFlag | None:
        flag = await super().get(feature)
        if flag is not None and self.rivals:
            self.rivals -= 1
            after = replace(flag, owner=f"{flag.owner}x")
            entry = record_change(flag, after, actor="rival", command="own", reason="r", at_s=1.0)
            await self.put_if_revision(after, flag.revision, entry)
        return flag


class Outage:
    """Takes the store away and brings it back."""

    def __init__(self, store_path: Path) -> None:
        self._path, self._away = store_path, store_path.with_name("away")

    def begin(self) -> None:
        self._path.rename(self._away)

    def end(self) -> None:
        self._away.rename(self._path)


def remove(store_path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        store_path.with_name(f"{store_path.name}{suffix}").unlink(missing_ok=True)


def lose(store_path: Path) -> None:
    """Have the store begin anew, with nothing in it."""
    remove(store_path)
    store_path.touch()


PLAN = RampPlan(steps=(Step(share=1_000), Step(share=50_000)))
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=900.0, step_began_s=950.0)
_INSTANT = Rollback()


async def run_ramp(store: Store, rollback: Rollback = _INSTANT) -> None:
    """Have the ramp of `summarize` under way at revision 2."""
    before = await store.get("summarize")
    assert before is not None
    after = replace(before, ramp=PLAN, progress=RUNNING, share_millipct=50_000, rollback=rollback)
    entry = record_change(before, after, actor="config", command="start", reason="r", at_s=1.0)
    await store.put_if_revision(after, before.revision, entry)
