import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core import commands
from rollout.core.errors import InvalidArgument, ShareIncreaseRefused
from rollout.core.model import BUCKETS, FeatureFlag, Kill

FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", revision=3, share_millipct=20_000)
KILLED = commands.kill(FLAG, actor="ann", reason="errors", at_s=12.5)


@given(st.integers(0, BUCKETS))
def test_set_share_changes_the_share_alone(millipct: int) -> None:
    assert commands.set_share(FLAG, millipct) == replace(FLAG, share_millipct=millipct)


@pytest.mark.parametrize("millipct", [-1, BUCKETS + 1])
def test_a_share_out_of_range_is_refused(millipct: int) -> None:
    with pytest.raises(InvalidArgument, match="is not a share"):
        commands.set_share(FLAG, millipct)


def test_a_killed_feature_may_only_shrink() -> None:
    assert commands.set_share(KILLED, 20_000).share_millipct == 20_000
    assert commands.set_share(KILLED, 0).kill.on
    with pytest.raises(ShareIncreaseRefused, match="is killed"):
        commands.set_share(KILLED, 20_001)


def test_a_feature_killed_on_this_replica_may_only_shrink_too() -> None:
    assert commands.set_share(FLAG, 20_000, killed_locally=True) == FLAG
    assert commands.set_share(FLAG, 5, killed_locally=True).share_millipct == 5
    with pytest.raises(ShareIncreaseRefused, match="killed on this replica"):
        commands.set_share(FLAG, 20_001, killed_locally=True)


def test_lifting_a_kill_restores_the_flag_as_it_was() -> None:
    assert KILLED.kill == Kill(on=True, actor="ann", at_s=12.5, reason="errors")
    assert KILLED.share_millipct == 20_000
    assert commands.unkill(KILLED) == FLAG


def test_upstreams_can_be_renamed() -> None:
    assert commands.rename_upstreams(FLAG, "x", "y") == replace(FLAG, candidate="x", baseline="y")


def test_a_reason_is_required_and_bounded() -> None:
    assert commands.checked_reason("  because ") == "because"
    for text, cause in ((" \n", "needs a reason"), ("x" * 501, "501 characters")):
        with pytest.raises(InvalidArgument, match=cause):
            commands.checked_reason(text)
