"""The wall clock."""

import time


class WallClock:
    """A `Clock` that tells the host's time."""

    def now_s(self) -> float:
        """See `Clock.now_s`."""
        return time.time()
