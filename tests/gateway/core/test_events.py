import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import (
    EVENT_MAX_BYTES,
    StreamTooLargeError,
    events_of,
    from_the_last,
    payload_of,
    split_whole,
)

EVENTS = [b"data: 1\n\n", b"event: x\ndata: 2\n\n", b": hi\n\n", b"data: 3\n\n"]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_whole_events_and_the_begun_one(ending: bytes) -> None:
    events = [event.replace(b"\n", ending) for event in EVENTS]
    whole, rest = split_whole(b"".join(events) + b"data: 4")
    assert (whole, rest) == (b"".join(events), b"data: 4")
    assert list(events_of(whole)) == events
    assert list(from_the_last(whole, 2)) == events[:-3:-1]
    assert list(from_the_last(whole, 9)) == events[::-1]


def test_nothing_whole() -> None:
    assert split_whole(b"data: 1\n") == (b"", b"data: 1\n")
    assert list(events_of(b"")) == []


def test_a_begun_event_has_a_limit() -> None:
    whole = b"data: 1\n\n"
    assert split_whole(whole + b"x" * EVENT_MAX_BYTES)[0] == whole
    with pytest.raises(StreamTooLargeError):
        split_whole(whole + b"x" * (EVENT_MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"event: a\ndata: x\ndata:  y\nid: 3\n\n", b"x\n y"),
        (b": comment\n\n", b""),
        (b"data: x\r\ndata: y\r\n\r\n", b"x\ny"),
    ],
)
def test_payload(event: bytes, payload: bytes) -> None:
    assert payload_of(event) == payload


@given(st.binary(max_size=200))
def test_nothing_is_lost(data: bytes) -> None:
    whole, rest = split_whole(data)
    assert whole + rest == data
    assert b"".join(events_of(whole)) == whole
