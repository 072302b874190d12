"""Which units have been counted: a Bloom filter for each draw, so that none is counted twice in bounded memory.

A unit is new if one of its bits was not set. The filter never takes a known unit for a new one; a new one it may take
for a known one, the more often the fuller it is. That thins by hash, which knows nothing of arms.

A filter that is full, and a day old, gives way to an empty one and is asked beside it until the next turn: else a busy
feature would end with no new units at all. Only units that were silent for a day and a turn can then be new again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rollout.core.errors import InvalidArgument
from rollout.core.sums import KEEP_S as SUMS_KEPT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGES = 8_192
PAGE_BITS = 8_192
"""8 MiB in all: 0.5 % of new units are taken for known ones at five million, 4 % at ten."""
PROBES = 4
DIGEST_BITS = 63
"""Digests are 1 to 2**63 - 1: they fit the integers of every store, and 0 stands for "no unit"."""
CLAIMS_PER_FLUSH_MAX = 2_000
KEEP_S = SUMS_KEPT_S
"""A draw's claims are forgotten when none was made for this long: a ramp that was paused as long has no sums either."""
FULL_UNITS = 8_000_000
"""So many new units, and a filter is full."""
TURN_S = 86_400.0
"""A full one is written to at least this long."""
REMEMBER_FLUSH_S = 600.0
"""The answer to a flush is remembered this long; give up sending it again before."""
_ID_MAX = 200


class Claim(NamedTuple):
    """A unit that wants to be counted. `draw`: whose coins they are, see `draw_of`."""

    feature: str
    draw: str
    digest: int


class Bits(NamedTuple):
    """Where a unit's bits are: all in one page."""

    page: int
    offsets: tuple[int, ...]


def draw_of(hash_version: int, salt: str) -> str:
    """Name the draw of all units of a feature: with another one everybody has another coin."""
    return blake2b(msgspec.json.encode((hash_version, salt)), digest_size=8).hexdigest()


def bits_of(digest: int) -> Bits:
    """Place a unit."""
    rest, page = divmod(digest, PAGES)
    rest, first = divmod(rest, PAGE_BITS)
    step = rest % PAGE_BITS | 1
    return Bits(page, tuple([(first + number * step) % PAGE_BITS for number in range(PROBES)]))


def check_claims(claims: Sequence[Claim], flush_id: str) -> None:
    """InvalidArgument for claims that no store would take."""
    if not (0 < len(flush_id) <= _ID_MAX and flush_id.isascii() and flush_id.isprintable()):
        raise InvalidArgument("claims need an id", f"1 to {_ID_MAX} characters of printable ASCII")
    if len(claims) > CLAIMS_PER_FLUSH_MAX:
        raise InvalidArgument("too many claims at once", f"at most {CLAIMS_PER_FLUSH_MAX}, else split them")
    if not all(0 < claim.digest < 1 << DIGEST_BITS for claim in claims):
        raise InvalidArgument("a unit's digest is out of range", f"digests have {DIGEST_BITS} bits and are not 0")


def claimed(page: bytearray, offsets: Sequence[int]) -> bool:
    """Set the bits in a page; whether one of them was not set before. Bits count as Redis counts them."""
    new = False
    for offset in offsets:
        index, mask = offset >> 3, 0x80 >> (offset & 7)
        if not page[index] & mask:
            page[index] |= mask
            new = True
    return new
