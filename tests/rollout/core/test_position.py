import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.model import FeatureFlag, Kill
from rollout.core.position import ACCEPTED_GAP, NOWHERE, Position, Standing, accepted, compare, safer

FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", revision=3, share_millipct=25_000)
KILLED = Kill(on=True, actor="ann", at_s=1.0, reason="r")
positions = st.builds(Position, st.integers(0, 3), st.integers(0, 4))


@pytest.mark.parametrize(
    ("known", "found", "standing"),
    [
        (NOWHERE, (0, 0), Standing.FOLLOWS),
        (NOWHERE, (7, 4), Standing.FOLLOWS),
        ((7, 4), (7, 4), Standing.FOLLOWS),
        ((7, 4), (7, 5), Standing.FOLLOWS),
        ((7, 4), (7, 3), Standing.WENT_BACK),
        ((7, 4), (8, 5), Standing.REPLACED),
        ((7, 4), (0, 5), Standing.REPLACED),
        ((7, 4), (7, 0), Standing.EMPTIED),
        ((7, 4), (0, 0), Standing.EMPTIED),
        ((0, 4), (0, 0), Standing.EMPTIED),
        ((0, 4), (0, 3), Standing.FOLLOWS),  # from before there were generations
        ((0, 4), (9, 3), Standing.FOLLOWS),
        ((7, 0), (8, 0), Standing.REPLACED),
    ],
)
def test_what_a_store_has_become(known: tuple[int, int], found: tuple[int, int], standing: Standing) -> None:
    assert compare(Position(*known), Position(*found)) is standing


@given(positions, positions)
def test_what_is_accepted_follows_both(known: Position, found: Position) -> None:
    taken = accepted(known, found)
    if taken is None:
        assert compare(known, found) is Standing.FOLLOWS
    else:
        assert compare(known, taken) is Standing.FOLLOWS
        assert taken.version > max(known.version, found.version)
        assert taken.version - known.version >= ACCEPTED_GAP


def test_a_store_without_generations_keeps_what_it_has() -> None:
    assert accepted(Position(0, 4), Position(9, 0)) == Position(9, 4 + ACCEPTED_GAP)


@pytest.mark.parametrize(("known", "found"), [(25_000, 90_000), (25_000, 1_000), (25_000, 25_000)])
def test_the_smaller_share_is_the_safer(known: int, found: int) -> None:
    flags = safer({"f": replace(FLAG, share_millipct=known)}, {"f": replace(FLAG, share_millipct=found, revision=1)})
    assert flags == {"f": replace(FLAG, share_millipct=min(known, found))}


def test_a_kill_of_either_counts() -> None:
    killed = replace(FLAG, kill=KILLED)
    assert safer({"f": FLAG}, {"f": killed})["f"].kill == KILLED
    assert safer({"f": killed}, {"f": FLAG})["f"].kill == KILLED
    other = replace(FLAG, kill=replace(KILLED, actor="bob"))
    assert safer({"f": killed}, {"f": other})["f"].kill == KILLED


def test_what_only_one_has_is_in_force_as_known_or_not_at_all() -> None:
    assert safer({"f": FLAG}, {}) == {"f": FLAG}
    assert safer({}, {"f": FLAG}) == {}
