import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credentials import merged, presented

NAMES = (b"authorization", b"x-api-key", b"api-key")


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({b"authorization": b"Bearer k"}, b"k"),
        ({b"authorization": b"bEARER \t k "}, b"k"),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"Basic k"}, None),
        ({b"authorization": b"k"}, None),
        ({b"x-api-key": b"k"}, b"k"),
        ({b"api-key": b" k "}, b"k"),
        ({b"x-api-key": b"k", b"api-key": b"k"}, b"k"),
        ({b"x-api-key": b"k", b"api-key": b"j"}, None),
        ({b"authorization": b"Bearer k", b"x-api-key": b"k"}, b"k"),
        ({b"authorization": b"Bearer k", b"x-api-key": b"j"}, None),
        ({b"authorization": b"Basic k", b"x-api-key": b"k"}, None),
        ({b"authorization": b"Bearer k", b"api-key": b""}, None),
        ({b"authorization": b"Bearer k", b"x-api-key": b"k", b"api-key": b"j"}, None),
    ],
)
def test_where_a_key_is_found(headers: dict[bytes, bytes], key: bytes | None) -> None:
    assert presented({b"host": b"h", **headers}) == key


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        ([], {}),
        ([(b"a", b"1"), (b"b", b"2")], {b"a": b"1", b"b": b"2"}),
        ([(b"a", b"1"), (b"a", b"1")], {b"a": b"1"}),
        ([(b"a", b"1"), (b"a", b"2")], {b"a": b"1, 2"}),
    ],
)
def test_a_repeated_header_is_one_value(lines: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> None:
    assert merged(lines) == headers


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"Bearer k", b"Bearer j", b"k", b"j", b""]))))
def test_a_key_is_found_only_when_every_line_says_so(lines: list[tuple[bytes, bytes]]) -> None:
    said = {value.removeprefix(b"Bearer ") if name == b"authorization" else value for name, value in lines}
    if presented(merged(lines)) in {b"k", b"j"}:
        assert said == {presented(merged(lines))}
