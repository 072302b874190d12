"""Buckets as flagd's `fractional` draws them: unsigned murmur3_x86_32, seed 0, scaled to BUCKETS by a shift.

Hash version 3 hashes canonical CBOR of [salt, unit]; version 2 hashes the text salt + unit.
"""

from collections.abc import Callable

from mmh3 import mmh3_32_uintdigest

from rollout.core.model import BUCKETS

_ARRAY_OF_TWO = b"\x82"
_SHORT_TEXTS = 256


def _text_head(length: int) -> bytes:
    """Head of a CBOR text string (major type 3) in its shortest, canonical form."""
    if length < 24:  # noqa: PLR2004  the limits are CBOR's
        return bytes((0x60 + length,))
    for code, size in ((0x78, 1), (0x79, 2)):
        if length < 1 << (8 * size):
            return bytes((code,)) + length.to_bytes(size, "big")
    return b"\x7a" + length.to_bytes(4, "big")


_SHORT_HEADS = tuple(_text_head(length) for length in range(_SHORT_TEXTS))


def bucketer(hash_version: int, salt: str) -> Callable[[str], int]:
    """Make the function unit -> bucket in 0..BUCKETS-1 for one salt; ValueError for an unknown hash version."""
    if hash_version == 3:  # noqa: PLR2004  the versions are flagd's
        return _cbor_bucketer(salt)
    if hash_version == 2:  # noqa: PLR2004
        return _text_bucketer(salt)
    raise ValueError(f"unknown hash version {hash_version!r}: 2 and 3 exist")


def bucket(hash_version: int, salt: str, unit: str) -> int:
    """Bucket of one unit; for repeated use keep a `bucketer`."""
    return bucketer(hash_version, salt)(unit)


def _cbor_bucketer(salt: str) -> Callable[[str], int]:
    raw_salt = salt.encode()
    prefix = _ARRAY_OF_TWO + _text_head(len(raw_salt)) + raw_salt
    heads = tuple([prefix + head for head in _SHORT_HEADS])

    def draw(unit: str) -> int:
        raw = unit.encode()
        length = len(raw)
        head = heads[length] if length < _SHORT_TEXTS else prefix + _text_head(length)
        return (mmh3_32_uintdigest(head + raw) * BUCKETS) >> 32

    return draw


def _text_bucketer(salt: str) -> Callable[[str], int]:
    prefix = salt.encode()

    def draw(unit: str) -> int:
        return (mmh3_32_uintdigest(prefix + unit.encode()) * BUCKETS) >> 32

    return draw
