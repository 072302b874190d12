import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.carrying import (
    carried_at,
    carried_of,
    folded_name,
    last_over,
    replacing,
    vector_at,
    vector_of_carried,
    with_late,
)
from rollout.core.evidence.restart import Carried
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Progress
from rollout.core.sums import Replacement, SumKey, check_replacement

FLAG = FeatureFlag(feature="draft", candidate="a", baseline="b", progress=Progress(attempt=2, ramp_began_s=1_000.0))
SUMS = {SumKey("draft", 2, "old"): (1, 2), SumKey("draft", 1, "new"): (9,)}


@given(st.integers(0, 9_999), st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=20))
def test_what_is_carried_comes_back_bit_for_bit(epoch: int, logs: list[float]) -> None:
    carried = Carried(epoch, tuple(logs))
    vector = vector_of_carried(carried)
    back = carried_of("n", vector, len(logs))
    assert back == carried
    assert back is not None
    assert [math.copysign(1.0, each) for each in back.logs if each] == [
        math.copysign(1.0, each) for each in logs if each
    ]
    check_replacement(Replacement("draft", 1, {}, {"n": vector}))


def test_what_is_late_counts_for_the_copies_that_have_begun() -> None:
    assert with_late(Carried(7, (1.0, -2.0)), [0.5, 0.25]) == Carried(7, (1.5, -1.75))
    assert with_late(None, [0.5]) is None


def test_nothing_is_carried_as_nothing() -> None:
    assert carried_of("n", (), 2) is None
    assert carried_at(FLAG, SUMS, "new", 2) is None


@pytest.mark.parametrize(
    "vector", [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4, 5, 6), (-1, 2, 3, 4, 5), (1, 2**54, 0, 1, 0), (1, 1, 63, 1, 0)]
)
def test_what_was_carried_otherwise_is_refused_by_its_name(vector: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"'folded\.x' can't be read"):
        carried_of("folded.x", vector, 2)


@pytest.mark.parametrize(("now_s", "last"), [(0.0, -15), (1_000.0 + 120 + 600 + 29, -1), (1_750.0, 0), (1_870.0, 1)])
def test_an_epoch_is_over_when_nobody_can_send_its_units_any_more(now_s: float, last: int) -> None:
    assert last_over(FLAG, 30.0, now_s) == last


def test_names_of_what_is_folded() -> None:
    assert folded_name("form.ab") == "folded.form.ab"
    assert folded_name("form.ab", 3) == "folded.form.ab.3"


def test_a_replacement_tells_what_was_found_under_all_names() -> None:
    assert vector_at(FLAG, SUMS, "old") == (1, 2)
    asked = replacing(FLAG, SUMS, ["old"], {"new": [3]})
    assert asked == Replacement("draft", 2, {"old": (1, 2), "new": ()}, {"new": [3]})
