"""How many pairs a judge may still be shown today: one count over all workers and replicas, leased from the store.

Like shadow calls (`gateway.core.shadow_allowance`) it owes nothing: without a block, or without the store, nobody is
asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.admission.meter import MONEY, Meter

if TYPE_CHECKING:
    from gateway.core.admission.leasing import Leasing


class Budget:
    """The pairs per UTC day of one judge. Times are Unix seconds."""

    def __init__(self, judge: str, pairs_per_day: int, leasing: Leasing) -> None:
        self._leasing = leasing
        self._meter = Meter("judge", judge, MONEY, pairs_per_day)
        leasing.keep(self._meter)

    def spent(self, now_s: float) -> bool:
        """Whether there is nothing left today, as far as is known."""
        self._meter.roll(now_s)
        return self._meter.exhausted and self._meter.free < 1

    def take(self, now_s: float) -> bool:
        """Whether one more pair may be shown, which then counts; else a block is asked for."""
        meter = self._meter
        meter.roll(now_s)
        if meter.free < 1:
            meter.moved_at_s = now_s
            meter.peak = meter.wanted = max(meter.peak, 1)
            self._leasing.use(meter) if meter.exhausted else self._leasing.need(meter)
            return False
        meter.free -= 1
        self._leasing.use(meter)
        return True

    def give_back(self) -> None:
        """The pair just counted was not shown after all."""
        self._meter.free += 1
