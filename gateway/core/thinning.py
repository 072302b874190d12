"""A limit below which something is kept: halved where there is too much, doubled again after a quiet time.

It is held against a digest that is known before an arm is drawn, so it takes from both arms alike. Which limit counts
goes by the second in which a request arrived, so that the answer is the same whenever somebody asks: else of those that
came before the limit grew the slow ones would be kept, and the fast ones not.
"""

from __future__ import annotations

from math import floor, inf

QUIET_S = 120.0
CHANGES_MAX = 256
"""A limit grows once in a quiet time, and is halved at most 63 times oftener: this goes back for hours."""


class Thinning:
    """One limit and what it was before."""

    def __init__(self, whole: int) -> None:
        """`whole`: the limit while there is room for all."""
        self._whole = whole
        self._since: list[tuple[float, int]] = [(-inf, whole)]
        self._told_s = -inf
        self._quiet_since_s: float | None = None

    @property
    def limit(self) -> int:
        """For whoever comes next."""
        return self._since[-1][1]

    def at(self, arrived_s: float) -> int:
        """For whoever came then, Unix time."""
        for from_s, limit in reversed(self._since):
            if arrived_s >= from_s:
                return limit
        return self._since[0][1]

    def halve(self) -> None:
        """At once, for those that are here already as well; who was out stays out."""
        half = self.limit // 2
        self._since = [(from_s, min(limit, half)) for from_s, limit in self._since]
        self._quiet_since_s = None

    def halve_later(self, now_s: float, arrived_s: float) -> None:
        """For whoever comes from the next second on; never to nothing. `arrived_s`: of one that was too much.

        If that came under an earlier limit, what was done about it has yet to show.
        """
        self._quiet_since_s = None
        if arrived_s >= self._since[-1][0]:
            self._change(-(-self.limit // 2), now_s)

    def rest(self, now_s: float, *, quiet: bool, for_s: float = QUIET_S) -> None:
        """To be told now and then whether there is room for a multiple; after so long of it the limit is doubled."""
        if now_s < self._told_s:  # the clock was set back
            self._since, quiet = [(-inf, self.limit)], False
        self._told_s = now_s
        if not quiet or self._quiet_since_s is None:
            self._quiet_since_s = now_s
        elif self.limit < self._whole and now_s - self._quiet_since_s >= for_s:
            self._change(min(self._whole, max(1, 2 * self.limit)), now_s)
            self._quiet_since_s = now_s

    def _change(self, limit: int, now_s: float) -> None:
        """From the next whole second on: nobody has asked about those yet."""
        from_s = floor(now_s) + 1.0
        self._since = [*(each for each in self._since if each[0] < from_s), (from_s, limit)][-CHANGES_MAX:]
