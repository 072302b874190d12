import pytest
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.bradley_terry import Comparison
from rollout.core.votes import VOTES_MAX, Choice, Vote, checked, comparisons, in_order, majorities, too_many

VOTE = Vote("draft", "0" * 32, "ann", Choice.CANDIDATE, "inhouse", "partner", 5.0)


def test_a_vote_is_kept_as_it_is() -> None:
    assert b'"choice":"both_bad"' in checked(replace(VOTE, choice=Choice.BOTH_BAD))


@pytest.mark.parametrize(
    "changed", [{"pair": "x"}, {"pair": "0" * 32 + "\n"}, {"voter": ""}, {"voter": "\ud800"}, {"feature": "../x"}]
)
def test_what_could_not_be_read_back_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="can't be kept"):
        checked(replace(VOTE, **changed))


def test_ties_are_half_wins_and_skips_nothing() -> None:
    votes = [replace(VOTE, choice=choice) for choice in Choice]
    assert comparisons(votes) == [Comparison("ann", "inhouse", "partner", win) for win in (1.0, 0.0, 0.5, 0.5)]


def test_order_is_by_time() -> None:
    votes = [replace(VOTE, at_s=9.0), replace(VOTE, voter="bob"), VOTE, replace(VOTE, pair="1" * 32)]
    assert in_order(votes) == [VOTE, votes[1], votes[3], votes[0]]


def test_majorities_leave_ties_out() -> None:
    even, won, lost, none = ("0" * 32, "1" * 32, "2" * 32, "3" * 32)
    votes = [
        replace(VOTE, pair=pair, voter=voter, choice=choice)
        for pair, voter, choice in (
            (even, "ann", Choice.CANDIDATE),
            (even, "bob", Choice.BASELINE),
            (won, "ann", Choice.CANDIDATE),
            (won, "bob", Choice.TIE),
            (lost, "ann", Choice.BASELINE),
            (lost, "bob", Choice.BASELINE),
            (lost, "eve", Choice.CANDIDATE),
            (none, "ann", Choice.SKIP),
        )
    ]
    assert majorities(votes) == {won: (1, 0), lost: (1, 2)}


def test_the_bound_is_told() -> None:
    assert str(VOTES_MAX) in too_many().cause
