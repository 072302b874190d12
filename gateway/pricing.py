"""What the configuration says of each upstream's price, as cost is reckoned with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.cost import Gpus, Pricing, token_price

if TYPE_CHECKING:
    from gateway.settings import Settings, UpstreamSettings

_MICROUSD = 1_000_000


def pricing(settings: Settings) -> dict[str, Pricing]:
    """The price of each upstream, by name."""
    return {name: pricing_of(upstream) for name, upstream in settings.upstreams.items()}


def pricing_of(upstream: UpstreamSettings) -> Pricing:
    """One upstream's."""
    price = upstream.price
    gpus = Gpus(price.gpus, round(price.gpu_usd_per_hour * _MICROUSD))
    return Pricing(token_price(price.input_usd, price.output_usd), gpus)
