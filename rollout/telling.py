"""Tells of every change, whoever made it: follows the audit log while this process leads.

Nothing is lost when another process takes over: it begins some way back, and an event's id follows from the change, so
receivers that keep ids take each change once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from rollout.core.errors import RolloutError
from rollout.core.webhooks import event_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout.core.webhooks import Event
    from rollout.ports import Clock, Store

_log = logging.getLogger(__name__)
LOOK_BACK_S = 300.0
LOOK_BACK_CHANGES = 500
_PAGE = 500


class Teller:
    """Publishes what the audit log gets."""

    def __init__(
        self, store: Store, clock: Clock, leading: Callable[[], bool], publish: Callable[[Event], None]
    ) -> None:
        self._store, self._clock, self._leading, self._publish = store, clock, leading, publish
        self._told_id: int | None = None

    async def run(self, every_s: float) -> None:
        """Take turns until cancelled."""
        while True:
            try:
                await self.turn()
            except RolloutError as fault:
                _log.debug("nobody is told of changes now: %s", fault.cause)
            except Exception:  # noqa: BLE001  telling must go on, whatever one entry holds
                _log.exception("a change could not be told")
            await asyncio.sleep(every_s)

    async def turn(self) -> None:
        """Publish what is new; RolloutError when the store can't be used."""
        if not self._leading():
            self._told_id = None
            return
        version = await self._store.version()
        if self._told_id is None or version < self._told_id:  # just taken over, or the store was exchanged
            self._told_id = max(0, version - LOOK_BACK_CHANGES)
        since_s = self._clock.now_s() - LOOK_BACK_S
        while self._told_id < version:
            entries = await self._store.audit(self._told_id, _PAGE)
            for entry in entries:
                self._told_id = entry.id
                if entry.at_s >= since_s:
                    self._publish(event_of(entry))
            if len(entries) < _PAGE:
                self._told_id = max(self._told_id, version)  # what came meanwhile is told already
