import pytest

from rollout.core.errors import InvalidArgument
from rollout.core.once import OUTCOME_BYTES_MAX, Once, checked


def test_a_printable_key_and_a_bounded_outcome_pass() -> None:
    once = Once("6f9619ff-8b86 d011", b"x" * OUTCOME_BYTES_MAX)
    assert checked(once) is once


@pytest.mark.parametrize(
    "once", [Once("", b""), Once("k" * 201, b""), Once("k\n", b""), Once("ü", b""), Once("k", b"x" * 65_537)]
)
def test_others_are_refused(once: Once) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked(once)
    assert refused.value.hint
