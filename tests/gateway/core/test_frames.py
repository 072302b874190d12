import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.frames import FRAME_BYTES_MAX, FrameError, FrameReader, frame


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_split(messages: list[bytes], data) -> None:
    stream = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader, came = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += reader.feed(stream[start:end])
    assert came == messages


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_what_no_reader_takes_is_not_sent(size: int) -> None:
    with pytest.raises(FrameError, match=str(size)):
        frame(bytes(size))


@pytest.mark.parametrize("head", [b"\0\0\0\0", (FRAME_BYTES_MAX + 1).to_bytes(4, "big"), b"\xff\xff\xff\xff"])
def test_a_size_that_no_message_has_ends_the_reading(head: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(head)


def test_an_unfinished_frame_is_kept() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"one") + frame(b"two")[:-1]) == [b"one"]
    assert reader.feed(b"o") == [b"two"]
