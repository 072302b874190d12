"""Messages as frames on a byte stream: four bytes of length (big endian), then the message."""

from __future__ import annotations

FRAME_BYTES_MAX = 8 * 1024 * 1024
_HEAD_BYTES = 4


class FrameError(Exception):
    """The stream holds no frame here, or one that is too large; nothing after it can be read."""


def frame(message: bytes) -> bytes:
    """Put the length before a message. Raises `FrameError` for one that no reader would take."""
    if not 0 < len(message) <= FRAME_BYTES_MAX:
        raise FrameError(f"a message of {len(message)} bytes does not fit into a frame")
    return len(message).to_bytes(_HEAD_BYTES, "big") + message


class FrameReader:
    """Cuts a byte stream, however it was split, into messages. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what one read brought; the messages that are whole now. Raises `FrameError`."""
        held = self._held
        held += data
        messages, start = [], 0
        while len(held) - start >= _HEAD_BYTES:
            size = int.from_bytes(held[start : start + _HEAD_BYTES], "big")
            if not 0 < size <= FRAME_BYTES_MAX:
                raise FrameError(f"a frame announces {size} bytes")
            end = start + _HEAD_BYTES + size
            if len(held) < end:
                break
            messages.append(bytes(held[start + _HEAD_BYTES : end]))
            start = end
        del held[:start]
        return messages
