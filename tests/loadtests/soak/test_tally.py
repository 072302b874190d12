from loadtests.soak.answer import Fate
from loadtests.soak.tally import UNSEEN, Tally, problems_of, summed

ONE = Tally(
    "a", bytes([Fate.WHOLE, Fate.LEFT, Fate.REFUSED]), bytes([1, UNSEEN, 2]), bytes([0, 1, 0]), {"x": 1}, 0, 1.0
)
TWO = ONE._replace(run="b", problems={"x": 2, "y": 1})


def test_kept_and_left_calls_are_counted_apart() -> None:
    assert summed([ONE, TWO], left=False) == {Fate.WHOLE: 2, Fate.REFUSED: 2}
    assert summed([ONE, TWO], left=True) == {Fate.LEFT: 2}
    assert ONE.made == 3


def test_problems_of_several_drivers() -> None:
    assert problems_of([ONE, TWO]) == {"x": 3, "y": 1}
