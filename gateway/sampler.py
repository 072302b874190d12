"""Whoever looks at answers of a feature as they pass: shadow calls, free checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.attempt import Attempt
    from gateway.core.call import Call
    from gateway.core.providers.wires import Wire
    from gateway.core.routing import Plan
    from gateway.delivery import Delivery, Owner


class Sampler(Protocol):
    """Decides per answer whether it is in a sample."""

    def deliver(
        self,
        owner: Owner,
        answer: Attempt,
        wire: Wire,
        call: Call,
        chosen: Plan,
        *,
        request_id: str,
        fallen_back: bool,
        tap: Callable[[bytes], bytes] | None = None,
    ) -> Delivery:
        """As `gateway.delivery.deliver`; an answer outside of any sample passes as ever.

        `fallen_back`: whether the baseline answers for the candidate; `tap`: of another sampler that looks on.
        """
        ...
