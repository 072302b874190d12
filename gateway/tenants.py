"""What the configuration says of each tenant, as the request path needs it: limits, reachable upstreams, priority."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.admission.limits import Limits, Price, budget_microusd
from gateway.core.residency import reachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import Settings
    from gateway.settings.sections import TenantSettings

UNLISTED = "other"


class Terms(NamedTuple):
    """One tenant's. `label`: for metrics, its name if the configuration lists it."""

    limits: Limits
    reach: frozenset[str] | None
    priority: str | None
    label: str


class Tenants:
    """Terms by tenant; whoever is not listed has the defaults, each for itself."""

    def __init__(self, settings: Settings) -> None:
        regions = {name: upstream.region for name, upstream in settings.upstreams.items()}
        self._terms = {name: _terms(tenant, regions, name) for name, tenant in settings.tenants.items()}
        self._unlisted = _terms(settings.tenant_defaults, regions, UNLISTED)

    def of(self, tenant: str) -> Terms:
        """The terms of that tenant."""
        return self._terms.get(tenant, self._unlisted)

    def limits_of(self, tenant: str) -> Limits:
        """Its limits alone, for `Admission.replace`."""
        return self.of(tenant).limits


def prices(settings: Settings) -> dict[str, Price]:
    """The price of one token, by upstream."""
    return {
        name: Price(upstream.price.input_usd, upstream.price.output_usd)
        for name, upstream in settings.upstreams.items()
    }


def _terms(tenant: TenantSettings, regions: Mapping[str, str | None], label: str) -> Terms:
    limits = Limits(
        tenant.requests_per_minute,
        tenant.tokens_per_minute,
        tenant.concurrent_max,
        budget_microusd(tenant.budget_usd_per_day),
    )
    return Terms(limits, reachable(tenant.regions, regions), tenant.priority, label)
