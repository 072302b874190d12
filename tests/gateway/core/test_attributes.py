import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.attributes import ENTRIES_MAX, NAME_MAX_CHARS, RAW_MAX_BYTES, TEXT_MAX_CHARS, with_attributes
from rollout.core.model import NO_ATTRIBUTES, Subject

ANN = Subject("c", "ann", "acme", "r")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=TEXT_MAX_CHARS)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=NAME_MAX_CHARS)
values = texts | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


def read(metadata: object) -> Subject | None:
    return with_attributes(ANN, Raw(metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()))


@given(metadata=st.dictionaries(names, values | st.none(), max_size=ENTRIES_MAX), ascii_only=st.booleans())
def test_what_metadata_says_are_attributes(metadata: dict[str, object], *, ascii_only: bool) -> None:
    found = with_attributes(ANN, Raw(json.dumps(metadata, ensure_ascii=ascii_only).encode()))
    assert found == ANN._replace(attributes=metadata)
    assert {name: type(value) for name, value in found.attributes.items()} == {
        name: type(value) for name, value in metadata.items()
    }


@pytest.mark.parametrize("nothing", [{}, None])
def test_without_metadata_there_are_no_attributes(nothing: object) -> None:
    found = read(nothing)
    assert found == ANN
    assert found.attributes is NO_ATTRIBUTES


def test_metadata_at_its_bounds_is_read_however_it_is_written() -> None:
    largest = {f"{number:02d}" + "😀" * (NAME_MAX_CHARS - 2): "😀" * TEXT_MAX_CHARS for number in range(ENTRIES_MAX)}
    raw = json.dumps(largest, indent=1).encode()
    assert len(raw) < RAW_MAX_BYTES
    assert read(raw) == ANN._replace(attributes=largest)


@pytest.mark.parametrize(
    "metadata",
    [
        {str(number): "v" for number in range(ENTRIES_MAX + 1)},
        {"n" * (NAME_MAX_CHARS + 1): "v"},
        {"n": "v" * (TEXT_MAX_CHARS + 1)},
        {"n": {"inner": "v"}},
        {"n": ["v"]},
        {"n": 2**53 + 1},
        [],
        "text",
        7,
        True,
        b'{"n":',
        b'{"n":"\xff"}',
        b'{"n":"\\ud800"}',
        b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"n":' + b"9" * 100_000 + b"}",
        b'{"n":"v"' + b" " * RAW_MAX_BYTES + b"}",
    ],
)
def test_what_cant_be_read_or_is_too_much_is_a_fault(metadata: object) -> None:
    assert read(metadata) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    found = read(raw)
    assert found is None or found[:4] == ANN[:4]


@pytest.mark.parametrize("name", ["tenant", "user", "conversation", "request", "attributes"])
def test_metadata_never_says_who_asks(name: str) -> None:
    found = read({name: "another"})
    assert found[:4] == ANN[:4]
