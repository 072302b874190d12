"""When keys were last used, brought to the store in batches."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from rollout.core.errors import RolloutError
from rollout.ports import Store

_log = logging.getLogger(__name__)
FLUSH_EVERY_S = 60.0


class KeyUses:
    """Takes what one process noted (key id -> Unix seconds) and writes it, each key once per flush."""

    def __init__(self, store: Store, take: Callable[[], Mapping[str, float]]) -> None:
        """`take` hands over the uses since it was called before."""
        self._store, self._take = store, take
        self._unwritten: dict[str, float] = {}

    async def run(self, every_s: float = FLUSH_EVERY_S) -> None:
        """Flush for ever; a store that is away gets the uses later."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.flush()
            except RolloutError as fault:
                _log.debug("uses of keys stay unwritten: %s", fault.cause)

    async def close(self) -> None:
        """Write what is there at the end, if the store takes it; never raises."""
        with suppress(RolloutError):
            await self.flush()

    async def flush(self) -> None:
        """Write what is there, in one call. StoreUnavailable: it is kept for the next time."""
        self._unwritten.update(self._take())
        if self._unwritten:
            await self._store.touch_keys(dict(self._unwritten))
            self._unwritten.clear()
