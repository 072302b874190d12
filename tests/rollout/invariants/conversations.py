"""Conversations that last while the share grows, and what a line of the access log says of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import parse
from gateway.core.outcome import Record
from gateway.core.routing import ASSIGNED_HEADER, PINNED, Plan, Principal, plan
from rollout.core import evaluate
from rollout.core.model import Arm, FeatureFlag, Kill

CALLER = Principal("key_1", "name", "tenant", None, frozenset(), model_bypass=False)
LINE = {"feature", "revision", "hash_version", "bucket", "assigned", "served", "reason"}


def turn(flag: FeatureFlag, number: int, began: str = "") -> Plan:
    call = parse(b'{"model":"copilot/f","user":"u%d","messages":[]}' % number, {}, "tenant", "r")
    headers = {ASSIGNED_HEADER: began.encode()} if began else {}
    return plan(call, CALLER, evaluate.compile_snapshot({"f": flag}, 1), {}, None, headers)


@given(st.lists(st.integers(0, 100_000), min_size=2, max_size=6), st.integers(0, 999), st.booleans())
def a_conversation_keeps_its_arm(some: list[int], number: int, killed: bool) -> None:  # noqa: FBT001
    """Its caller tells the assigned arm back; under a kill it is the baseline's."""
    flags = [
        FeatureFlag(feature="f", candidate="a", baseline="b", sticky=True, share_millipct=share)
        for share in sorted(some)
    ]
    began = turn(flags[0], number).assigned
    for flag in flags[1:]:
        told = turn(flag, number, began)
        assert told.assigned == began
        drawn = turn(flag, number)
        assert (told.reason == PINNED) == (drawn.assigned != began)
        if told.reason == PINNED:
            assert told.decision is not None
            assert (told.decision.bucket, told.decision.unit_kind) == (-1, None)
    off = FeatureFlag(
        feature="f", candidate="a", baseline="b", sticky=True, share_millipct=100_000, kill=Kill(on=killed)
    )
    assert (turn(off, number, began).assigned == Arm.BASELINE) == (killed or began == Arm.BASELINE)


def a_line_has_all_that_a_decision_says() -> None:
    assert set(Record.__struct_fields__) >= LINE
