from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.words import plain, words_of


def test_what_people_type_in_different_ways_is_the_same() -> None:
    assert plain("  I\u2019m\u00a0 SORRY\n") == "i'm sorry"
    assert words_of("Straße, 12b!") == ["strasse", "12b"]


@given(st.text())
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    once = plain(text)
    assert plain(once).split() == once.casefold().split()
    assert once == once.strip()
    assert "  " not in once
