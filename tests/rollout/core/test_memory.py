import pytest

from rollout.core.errors import InvalidArgument
from rollout.core.memory import MEMORY_BYTES_MAX, checked


def test_a_memory_is_bounded() -> None:
    assert checked(b"x" * MEMORY_BYTES_MAX) == b"x" * MEMORY_BYTES_MAX
    with pytest.raises(InvalidArgument, match="too large"):
        checked(b"x" * (MEMORY_BYTES_MAX + 1))
