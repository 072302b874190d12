import gzip
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.inflate import InflateError, Inflater, InflateTooLargeError

PACK = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b" GZIP ": gzip.compress, b"deflate": zlib.compress}
GZIP_TWICE = gzip.compress(b"one, ") + gzip.compress(b"two")


def whole(inflater: Inflater, pieces: list[bytes]) -> bytes:
    body = b"".join(map(inflater.feed, pieces))
    inflater.end()
    return body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


@given(st.sampled_from(sorted(PACK)), st.binary(max_size=2_000), st.lists(st.integers(0, 5_000), max_size=8))
def test_any_body_in_any_pieces(coding: bytes, body: bytes, places: list[int]) -> None:
    assert whole(Inflater(coding, 2_000), cut(PACK[coding](body), places)) == body


@given(st.lists(st.integers(0, 100), max_size=8))
def test_several_gzip_members_are_one_body(places: list[int]) -> None:
    assert whole(Inflater(b"gzip", 100), cut(GZIP_TWICE, places)) == b"one, two"


def test_an_empty_body_is_whole() -> None:
    assert whole(Inflater(b"gzip", 1), [b""]) == b""


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b""])
def test_other_codings_are_refused(coding: bytes) -> None:
    with pytest.raises(InflateError):
        Inflater(coding, 10)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_bomb_stops_at_the_limit(step: int) -> None:
    inflater, bomb, got = Inflater(b"gzip", 1_000), gzip.compress(bytes(50_000_000)), []
    pieces = (bomb[start : start + step] for start in range(0, len(bomb), step))
    with pytest.raises(InflateTooLargeError):
        got.extend(map(inflater.feed, pieces))
    assert sum(map(len, got)) <= 1_000


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert whole(Inflater(b"gzip", 1_000), [gzip.compress(bytes(1_000))]) == bytes(1_000)
    with pytest.raises(InflateTooLargeError):
        Inflater(b"gzip", 1_000).feed(gzip.compress(bytes(1_001)))


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", b"plain text"),
        (b"gzip", gzip.compress(b"ok") + b"more"),
        (b"deflate", zlib.compress(b"ok") * 2),
        (b"gzip", gzip.compress(b"ok")[:-8] + b"\x00" * 8),
        (b"gzip", gzip.compress(b"cut")[:-1]),
        (b"gzip", b"\x1f"),
    ],
    ids=["plain", "more", "two", "checksum", "cut", "one byte"],
)
def test_damage_is_noticed(coding: bytes, data: bytes) -> None:
    with pytest.raises(InflateError):
        whole(Inflater(coding, 100), [data])


@given(st.sampled_from([b"gzip", b"deflate"]), st.lists(st.binary(max_size=50), max_size=10))
def test_nonsense_raises_nothing_else(coding: bytes, pieces: list[bytes]) -> None:
    inflater, body = Inflater(coding, 100), b""
    with suppress(InflateError, InflateTooLargeError):
        body = whole(inflater, pieces)
    assert len(body) <= 100
