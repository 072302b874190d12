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
    judges: frozenset[str] | None = None
    """Who may be shown its pairs, None for all."""
    keeps: bool = True
    """Whether its texts may be kept."""


class Tenants:
    """Terms by tenant; whoever is not listed has the defaults, each for itself."""

    def __init__(self, settings: Settings) -> None:
        regions = {name: upstream.region for name, upstream in settings.upstreams.items()}
        of_judges = {name: judge.region for name, judge in settings.judges.items()}
        self._terms = {name: _terms(tenant, regions, of_judges, name) for name, tenant in settings.tenants.items()}
        self._unlisted = _terms(settings.tenant_defaults, regions, of_judges, UNLISTED)

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


def _terms(
    tenant: TenantSettings, regions: Mapping[str, str | None], of_judges: Mapping[str, str | None], label: str
) -> Terms:
    limits = Limits(
        tenant.requests_per_minute,
        tenant.tokens_per_minute,
        tenant.concurrent_max,
        budget_microusd(tenant.budget_usd_per_day),
    )
    reach, judges = reachable(tenant.regions, regions), reachable(tenant.regions, of_judges)
    keeps = tenant.regions is None if tenant.keep_texts is None else tenant.keep_texts
    return Terms(limits, reach, tenant.priority, label, judges, keeps)
