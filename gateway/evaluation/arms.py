"""Which two models an evaluation asks, from the configuration: through the gateway by their real names, or directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import nearest
from gateway.evaluation.asking import EvalArm
from gateway.pricing import pricing_of
from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import Settings, UpstreamSettings
    from rollout.core.cost import TokenPrice

_CHAT_KINDS = frozenset({"vllm", "openai"})
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  an address that was listened on


def arms_of_feature(settings: Settings, feature: str) -> tuple[str, str]:
    """Names of the upstreams of a feature. Raises `SettingsError`."""
    found = settings.features.get(feature)
    if found is None:
        near = nearest(feature, settings.features, count=1)
        known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(settings.features)) or 'none'}"
        raise SettingsError(f"there is no feature {feature!r} in the configuration", known)
    return found.candidate, found.baseline


def through_gateway(settings: Settings, name: str, arm: str, base_url: str | None, api_key: str | None) -> EvalArm:
    """An upstream, called by its model's name. `base_url`: of the gateway, None for where the configuration has it.

    The key must be one that may call models by their names. Raises `SettingsError`.
    """
    upstream = _upstream(settings, name)
    server = settings.server
    host = _EVERYWHERE.get(server.host, server.host)
    address = base_url or f"http://{host}:{server.port}/v1"
    return EvalArm(arm, name, address, upstream.model, api_key, _price(upstream), pricing_of(upstream).gpus)


def directly(settings: Settings, name: str, arm: str, keys: Mapping[str, str | None]) -> EvalArm:
    """An upstream at its own address. `keys`: by upstream. Raises `SettingsError` for one that speaks no chat."""
    upstream = _upstream(settings, name)
    if upstream.kind not in _CHAT_KINDS:
        raise SettingsError(
            f"upstream {name!r} is of kind {upstream.kind}, which can't be asked directly", "leave --direct away"
        )
    price, gpus = _price(upstream), pricing_of(upstream).gpus
    return EvalArm(arm, name, upstream.base_urls[0], upstream.model, keys.get(name), price, gpus)


def _upstream(settings: Settings, name: str) -> UpstreamSettings:
    upstream = settings.upstreams.get(name)
    if upstream is None:
        known = ", ".join(sorted(settings.upstreams)) or "none"
        raise SettingsError(f"there is no upstream {name!r} in the configuration", f"known: {known}")
    return upstream


def _price(upstream: UpstreamSettings) -> TokenPrice | None:
    """None where none was set: a model that costs nothing would win each comparison."""
    price = pricing_of(upstream).tokens
    return price if any(price) else None
