"""The other workers, asked through the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.messages import FindAnswer, Found, Late, TakeFeedback, Taken, Unheard, Unknown
from gateway.feedback import LateFeedbackError, SilenceError, UnknownAnswerError

if TYPE_CHECKING:
    from gateway.channel import Channel
    from gateway.feedback import Rated

WITHIN_S = 0.5
"""How long the supervisor waits for the workers it asks."""
_PATIENCE_S = 0.75
"""How long a worker waits for the supervisor."""


class Peers:
    """Has a feedback counted exactly once: by the worker that gave the answer, or the newest one of that id."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def take(self, rated: Rated, tenant: str) -> str:
        """As `Others.take`. Two steps, so that two workers that know the same request id don't both count."""
        answers = await self._channel.ask(FindAnswer(tenant, rated.request_id), _PATIENCE_S)
        if answers is None:
            raise SilenceError
        found = [(answer.at_s, worker) for worker, answer in answers if isinstance(answer, Found)]
        if not found:
            heard_all = all(isinstance(answer, Unknown) for _, answer in answers)
            raise UnknownAnswerError if heard_all else SilenceError
        question = TakeFeedback(tenant, rated.request_id, rated.kind, rated.value)
        taken = await self._channel.ask(question, _PATIENCE_S, to=max(found)[1])
        return _feature(taken[0][1] if taken else Unheard())


def _feature(answer: object) -> str:
    if isinstance(answer, Taken):
        return answer.feature
    if isinstance(answer, Late):
        raise LateFeedbackError
    if isinstance(answer, Unknown):
        raise UnknownAnswerError
    raise SilenceError
