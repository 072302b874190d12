"""What the process that mounts the operator API knows of the world beside the store: given to it, never asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rollout.core.cost import Pricing
    from rollout.ports import MetricSource

CheckResult = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """One thing that was looked at, what was found, and what to do about it."""

    name: str
    result: CheckResult
    text: str
    hint: str = ""


class Surroundings(NamedTuple):
    """A function that gives None doesn't know. `rate_of`: units per second of a feature now, both arms together.

    `upstreams`, `attributes`, `judges`: names in the configuration. `metrics`: what PromQL gates are read from; None:
    nothing is configured. `checks`: more for the doctor; each is bounded in time. `prices`: now, by upstream.
    """

    rate_of: Callable[[str], float | None] = lambda _: None
    upstreams: Callable[[], frozenset[str] | None] = lambda: None
    attributes: Callable[[], frozenset[str] | None] = lambda: None
    judges: Callable[[], frozenset[str] | None] = lambda: None
    metrics: MetricSource | None = None
    checks: Sequence[Callable[[], Awaitable[Sequence[Check]]]] = ()
    prices: Callable[[], Mapping[str, Pricing]] = dict
