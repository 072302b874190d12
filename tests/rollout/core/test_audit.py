from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core import commands
from rollout.core.audit import as_of, record_change, replay
from rollout.core.model import BUCKETS, FeatureFlag, Kill

NEW = FeatureFlag(feature="f", candidate="a", baseline="b")
WHO: dict[str, Any] = {"actor": "ann", "reason": "why", "at_s": 1.5}

steps = st.one_of(
    st.integers(0, BUCKETS).map(lambda share: lambda flag: replace(flag, share_millipct=share)),
    st.just(commands.unkill),
    st.text(max_size=5).map(lambda why: lambda flag: commands.kill(flag, actor="bob", reason=why, at_s=2.0)),
    st.just(lambda flag: commands.rename_upstreams(flag, "x", flag.baseline)),
)


def test_an_entry_tells_before_and_after() -> None:
    before = replace(NEW, revision=4, share_millipct=1_000)
    entry = record_change(before, replace(before, share_millipct=5_000), command="set-share", **WHO)
    assert (entry.revision_before, entry.revision_after) == (4, 5)
    assert (entry.share_before_millipct, entry.share_after_millipct) == (1_000, 5_000)
    assert entry.details == {"share_millipct": 5_000}
    assert (entry.id, entry.actor, entry.command, entry.reason, entry.at_s) == (0, "ann", "set-share", "why", 1.5)


def test_a_creation_holds_the_whole_flag() -> None:
    entry = record_change(None, NEW, command="create", **WHO)
    assert (entry.revision_before, entry.revision_after, entry.share_before_millipct) == (0, 1, 0)
    assert replay([entry]) == {"f": replace(NEW, revision=1)}


@given(st.lists(steps, max_size=12))
def test_replay_yields_the_current_state(changes: list[Any]) -> None:
    flag = replace(NEW, revision=1)
    entries = [record_change(None, NEW, command="create", **WHO)]
    for change in changes:
        after = change(flag)
        entries.append(record_change(flag, after, command="change", **WHO))
        flag = replace(after, revision=flag.revision + 1)
    assert replay(entries) == {"f": flag}


def test_replay_keeps_features_apart() -> None:
    other = replace(NEW, feature="g", kill=Kill(on=True))
    entries = [record_change(None, flag, command="create", **WHO) for flag in (NEW, other)]
    assert replay(entries) == {"f": replace(NEW, revision=1), "g": replace(other, revision=1)}


@given(st.lists(steps, max_size=12), st.data())
def test_any_revision_can_be_looked_up(changes: list[Any], data: st.DataObject) -> None:
    flags, entries = [replace(NEW, revision=1)], [record_change(None, NEW, command="create", **WHO)]
    for change in changes:
        entries.append(record_change(flags[-1], change(flags[-1]), command="change", **WHO))
        flags.append(replace(change(flags[-1]), revision=flags[-1].revision + 1))
    revision = data.draw(st.integers(1, len(flags)))
    newest_first = entries[::-1]
    assert as_of(newest_first, revision) == (entries[revision - 1], flags[revision - 1])
    assert as_of(newest_first, 0) == as_of(newest_first, len(flags) + 1) == (None, None)
    if revision > 1:
        assert as_of(newest_first[:-1], revision) == (entries[revision - 1], None)
