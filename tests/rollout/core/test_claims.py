import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.claims import (
    CLAIMS_PER_FLUSH_MAX,
    PAGE_BITS,
    PAGES,
    PROBES,
    Claim,
    bits_of,
    check_claims,
    claimed,
    draw_of,
)
from rollout.core.errors import InvalidArgument

DIGEST = st.integers(1, 2**63 - 1)


@given(DIGEST)
def test_a_unit_has_its_bits_in_one_page(digest: int) -> None:
    page, offsets = bits_of(digest)
    assert 0 <= page < PAGES
    assert all(0 <= offset < PAGE_BITS for offset in offsets)
    assert len(set(offsets)) == PROBES
    assert bits_of(digest) == (page, offsets)


@given(st.lists(DIGEST, max_size=50))
def test_a_known_unit_is_never_taken_for_a_new_one(digests: list[int]) -> None:
    pages: dict[int, bytearray] = {}
    seen = set()
    for digest in digests:
        page, offsets = bits_of(digest)
        new = claimed(pages.setdefault(page, bytearray(PAGE_BITS // 8)), offsets)
        assert not (new and digest in seen)
        seen.add(digest)


def test_a_page_as_full_as_at_five_million_units_takes_few_new_ones_for_known() -> None:
    chance = random.Random(5)
    page = bytearray(PAGE_BITS // 8)

    def fresh(number: int) -> int:
        return sum(claimed(page, bits_of(chance.randrange(1, 2**63)).offsets) for _ in range(number))

    assert fresh(5_000_000 // PAGES) >= 600
    copy = bytes(page)
    taken = 0
    for _ in range(4_000):
        taken += not claimed(bytearray(copy), bits_of(chance.randrange(1, 2**63)).offsets)
    assert taken <= 40


def test_bits_are_counted_from_the_high_end_as_redis_does() -> None:
    page = bytearray(2)
    assert claimed(page, (0, 15))
    assert bytes(page) == b"\x80\x01"
    assert not claimed(page, (0, 15))
    assert claimed(page, (0, 8))


def test_another_salt_or_version_is_another_draw() -> None:
    draws = {draw_of(version, salt) for version in (2, 3) for salt in ("draft", "draft2", "")}
    assert len(draws) == 6
    assert draw_of(3, "draft") == draw_of(3, "draft")


@pytest.mark.parametrize("digest", [0, -1, 2**63])
def test_digests_out_of_range_are_refused(digest: int) -> None:
    with pytest.raises(InvalidArgument, match="digest"):
        check_claims([Claim("draft", "d", digest)], "1")


@pytest.mark.parametrize("flush", ["", "ä", "\n", "x" * 201])
def test_claims_need_an_id(flush: str) -> None:
    with pytest.raises(InvalidArgument, match="id"):
        check_claims([], flush)


def test_a_flush_of_too_many_claims_is_refused() -> None:
    claims = [Claim("draft", "d", 1)] * CLAIMS_PER_FLUSH_MAX
    check_claims(claims, "1")
    with pytest.raises(InvalidArgument, match="too many"):
        check_claims([*claims, claims[0]], "1")
