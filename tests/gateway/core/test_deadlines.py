import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.deadlines import FIRST_BYTE_HEADER, TOTAL_HEADER, Deadlines, asked, tighten
from gateway.core.errors import ApiError

LIMITS = Deadlines(first_byte_s=10.0, idle_s=5.0, total_s=60.0)


def test_without_headers_the_operators_bounds_hold() -> None:
    assert tighten(LIMITS, asked({b"host": b"h"})) is LIMITS


def test_a_caller_may_ask_for_less() -> None:
    assert tighten(LIMITS, asked({TOTAL_HEADER: b"2.5"})) == Deadlines(10.0, 5.0, 2.5)
    assert tighten(LIMITS, asked({FIRST_BYTE_HEADER: b"1"})) == Deadlines(1.0, 5.0, 60.0)
    assert tighten(LIMITS, asked({FIRST_BYTE_HEADER: b"1", TOTAL_HEADER: b"0.25"})) == Deadlines(1.0, 5.0, 0.25)


@given(st.floats(0.001, 999_999), st.floats(0.001, 999_999))
def test_never_for_more(total_s: float, first_byte_s: float) -> None:
    headers = {TOTAL_HEADER: b"%.3f" % total_s, FIRST_BYTE_HEADER: b"%.3f" % first_byte_s}
    tightened = tighten(LIMITS, asked(headers))
    assert all(0 < mine <= limit for mine, limit in zip(tightened, LIMITS, strict=True))


@pytest.mark.parametrize("value", [b"", b"0", b"0.0", b"-1", b"1e3", b"inf", b"nan", b"5s", b"1,5", b"9999999", b" 1"])
@pytest.mark.parametrize("name", [TOTAL_HEADER, FIRST_BYTE_HEADER])
def test_anything_else_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        asked({name: value})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, name.decode(), "invalid_header")
