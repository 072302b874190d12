"""Feedback for an answer that another worker gave."""

import pytest

from gateway.core import messages as say
from gateway.feedback import Feedback, LateFeedbackError, SilenceError, UnknownAnswerError
from gateway.peers import Peers

RATED = Feedback(request_id="r", rating=1)


class Line:
    """Answers as the supervisor would: what was found, and then what came of the feedback."""

    def __init__(self, found: object, taken: object = None) -> None:
        self.answers = {say.FindAnswer: found, say.TakeFeedback: taken}
        self.asked: list[tuple[say.Question, int | None]] = []

    async def ask(self, question: say.Question, within_s: float, to: int | None = None) -> object:
        assert within_s > 0
        self.asked.append((question, to))
        return self.answers[type(question)]


async def test_the_worker_that_knows_it_counts_it() -> None:
    found = ((1, say.Unknown()), (2, say.Found(5.0)), (3, say.Unheard()))
    line = Line(found, ((2, say.Taken("draft")),))
    assert await Peers(line).take(RATED, "acme") == "draft"
    assert line.asked == [(say.FindAnswer("acme", "r"), None), (say.TakeFeedback("acme", "r", "rating", 1.0), 2)]


async def test_of_two_that_know_it_the_newer_answer_counts() -> None:
    line = Line(((1, say.Found(7.0)), (2, say.Found(5.0))), ((1, say.Taken("draft")),))
    await Peers(line).take(RATED, "acme")
    assert [to for _, to in line.asked] == [None, 1]


@pytest.mark.parametrize(
    ("found", "taken", "error"),
    [
        ((), None, UnknownAnswerError),
        (((1, say.Unknown()), (2, say.Unknown())), None, UnknownAnswerError),
        (((1, say.Unknown()), (2, say.Unheard())), None, SilenceError),
        (None, None, SilenceError),
        (((1, say.Found(1.0)),), ((1, say.Late()),), LateFeedbackError),
        (((1, say.Found(1.0)),), ((1, say.Unknown()),), UnknownAnswerError),
        (((1, say.Found(1.0)),), ((1, say.Unheard()),), SilenceError),
        (((1, say.Found(1.0)),), (), SilenceError),
        (((1, say.Found(1.0)),), None, SilenceError),
    ],
)
async def test_what_else_may_come(found: object, taken: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        await Peers(Line(found, taken)).take(RATED, "acme")
