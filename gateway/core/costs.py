"""Adds up what requests cost, by key, until somebody takes it: a few integers for each request, off every path.

The tokens of an answer are paid at the price of the upstream that gave it, and charged to the arm that was assigned:
what a fallback costs is the candidate's doing. An attempt that failed has no token counts, so it costs nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.outcome import CALLER_ERRORS_FROM, Outcome
from rollout.core.cost import PAID_MAX_PICOUSD, TOKENS_MAX, CostSums, TokenPrice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.outcome import Record
    from gateway.core.shadowing import Answered
    from rollout.core.sums import SumKey

_OK = Outcome.OK.value
_FREE = TokenPrice()


class Costs:
    """Sums since they were taken last. What is not priced is free, and counted all the same."""

    def __init__(self, prices: Mapping[str, TokenPrice]) -> None:
        """`prices`: by upstream."""
        self._prices = prices
        self._cells: dict[SumKey, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def count(self, key: SumKey, record: Record) -> None:
        """Add a request that was sent on to the sums under `key`."""
        answered = 0 < record.status < CALLER_ERRORS_FROM
        accepted = record.outcome == _OK
        self._add(key, record.upstream, record.prompt_tokens, record.completion_tokens, accepted, answered)

    def count_shadow(self, key: SumKey, answered: Answered) -> None:
        """Add a shadow call that was answered."""
        usage = answered.usage
        prompt, completion = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        self._add(key, answered.upstream, prompt, completion, True, True)

    def take(self, most: int) -> dict[SumKey, CostSums]:
        """Give the sums under `most` keys, and forget them."""
        return {key: CostSums(*self._cells.pop(key)) for key in list(self._cells)[:most]}

    def _add(  # noqa: PLR0917  once per request: keywords would cost
        self,
        key: SumKey,
        upstream: str,
        prompt: int | None,
        completion: int | None,
        accepted: bool,  # noqa: FBT001  likewise
        answered: bool,  # noqa: FBT001  likewise
    ) -> None:
        """As adding what `cost.one` gives, in place."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = [0] * len(CostSums.__struct_fields__)
        cell[0] += 1
        cell[1] += accepted
        if prompt is None and completion is None:
            cell[2] += answered
            return
        prompt, completion = min(prompt or 0, TOKENS_MAX), min(completion or 0, TOKENS_MAX)
        paid = min(self._prices.get(upstream, _FREE).of(prompt, completion), PAID_MAX_PICOUSD)
        cell[3] += prompt
        cell[4] += completion
        cell[5] += paid
        cell[6] += paid * paid
