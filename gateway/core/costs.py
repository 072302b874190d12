"""Adds up what requests cost, by key, until somebody takes it: a few integers for each request, off every path.

The tokens of an answer are paid at the price of the upstream that gave it, and charged to the arm that was assigned:
what a fallback costs is the candidate's doing. An attempt that failed has no token counts, so it costs nothing here.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

from msgspec.structs import astuple

from gateway.core.outcome import CALLER_ERRORS_FROM, Outcome
from rollout.core.cost import PAID_MAX_PICOUSD, TOKENS_MAX, CostSums, TokenPrice, one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.outcome import Record
    from gateway.core.shadowing import Answered
    from rollout.core.sums import SumKey

_OK = Outcome.OK.value
_FREE = TokenPrice()
_FIELDS = len(CostSums.__struct_fields__)


class Costs:
    """Sums since they were taken last. What is not priced is free, and counted all the same."""

    def __init__(self, prices: Mapping[str, TokenPrice]) -> None:
        """`prices`: by upstream."""
        self._prices = prices
        self._cells: dict[SumKey, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._cells)

    def count(self, key: SumKey, record: Record) -> None:
        """Add a request that was sent on to the sums under `key`: as adding what `cost.one` gives, in place."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = [0] * _FIELDS
        cell[0] += 1
        if record.outcome == _OK:
            cell[1] += 1
        prompt, completion = record.prompt_tokens, record.completion_tokens
        if prompt is None and completion is None:
            cell[2] += 0 < record.status < CALLER_ERRORS_FROM
            return
        prompt, completion = prompt or 0, completion or 0
        if prompt > TOKENS_MAX or completion > TOKENS_MAX:
            prompt, completion = min(prompt, TOKENS_MAX), min(completion, TOKENS_MAX)
        cell[3] += prompt
        cell[4] += completion
        prompt_picousd, completion_picousd = self._prices.get(record.upstream, _FREE)
        paid = prompt * prompt_picousd + completion * completion_picousd
        if paid:
            paid = min(paid, PAID_MAX_PICOUSD)
            cell[5] += paid
            cell[6] += paid * paid

    def count_shadow(self, key: SumKey, answered: Answered) -> None:
        """Add a shadow call that was answered."""
        usage = answered.usage
        counts = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        made = one(self._prices.get(answered.upstream, _FREE), *counts, accepted=True)
        cell = self._cells.setdefault(key, [0] * _FIELDS)
        cell[:] = map(add, cell, astuple(made))

    def take(self, most: int) -> dict[SumKey, CostSums]:
        """Give the sums under `most` keys, and forget them."""
        return {key: CostSums(*self._cells.pop(key)) for key in list(self._cells)[:most]}
