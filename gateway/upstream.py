"""An upstream as the relay uses it: its endpoints' pools, prepared request heads, model name and deadlines."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.balance import least_outstanding
from gateway.core.call import raw_text
from gateway.core.deadlines import Deadlines
from gateway.core.providers.heads import base_path, credentials_lines
from gateway.core.providers.wires import WIRES
from gateway.core.response_ids import mark_of
from gateway.core.retry import RetryBudget, RetryRules
from gateway.core.wire import upstream_head
from gateway.http.client import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import UpstreamSettings

NO_RETRIES = RetryRules(enabled=False)


class Endpoint:
    """One base URL: a pool, a head per operation, and the number of requests under way."""

    __slots__ = ("heads", "mark", "outstanding", "pool", "url")

    def __init__(self, url: str, pool: Pool, heads: Mapping[str, bytes]) -> None:
        self.url = url
        self.mark = mark_of(url)
        self.pool = pool
        self.heads = heads
        self.outstanding = 0


class Upstream:
    """All endpoints of one named upstream."""

    __slots__ = (
        "deadlines",
        "endpoints",
        "kind",
        "model",
        "model_bytes",
        "name",
        "raw_model",
        "retry_budget",
        "retry_rules",
        "secrets",
        "wires",
    )

    def __init__(
        self,
        name: str,
        model: str,
        endpoints: tuple[Endpoint, ...],
        deadlines: Deadlines,
        *,
        kind: str = "vllm",
        secrets: tuple[str, ...] = (),
        retry_rules: RetryRules = NO_RETRIES,
        retry_budget_ratio: float = 0.0,
    ) -> None:
        self.name = name
        self.model = model
        self.model_bytes = model.encode("ascii", "replace")
        self.raw_model = raw_text(model)
        self.kind = kind
        self.wires = {operation: wire for (operation, of_kind), wire in WIRES.items() if of_kind == kind}
        self.endpoints = endpoints
        self.deadlines = deadlines
        self.retry_rules = retry_rules
        self.retry_budget = RetryBudget(retry_budget_ratio)
        self.secrets = secrets
        """What no answer may repeat."""

    def endpoint_of(self, mark: str) -> Endpoint | None:
        """The endpoint of that mark, if it is (still) there."""
        return next((endpoint for endpoint in self.endpoints if endpoint.mark == mark), None)

    def choose(self, avoid: Endpoint | None = None) -> Endpoint:
        """Endpoint for the next request; not `avoid` if there is another."""
        endpoints = self.endpoints
        if len(endpoints) == 1:
            return endpoints[0]
        endpoints = tuple(endpoint for endpoint in endpoints if endpoint is not avoid)
        return endpoints[least_outstanding([endpoint.outstanding for endpoint in endpoints])]

    def sweep(self, now_s: float) -> None:
        """Expire idle connections."""
        for endpoint in self.endpoints:
            endpoint.pool.sweep(now_s)

    def close(self) -> None:
        """Close every connection."""
        for endpoint in self.endpoints:
            endpoint.pool.close()


def build_upstream(name: str, settings: UpstreamSettings, api_key: str | None) -> Upstream:
    """Make the runtime upstream from its settings; opens no connection."""
    deadlines = Deadlines(settings.first_byte_timeout_s, settings.idle_timeout_s, settings.total_timeout_s)
    endpoints = tuple(_endpoint(url, settings, api_key) for url in settings.base_urls)
    rules = RetryRules(settings.retry.enabled, settings.retry.wait_max_s)
    return Upstream(
        name,
        settings.model,
        endpoints,
        deadlines,
        kind=settings.kind,
        secrets=(api_key,) if api_key else (),
        retry_rules=rules,
        retry_budget_ratio=settings.retry.budget_ratio,
    )


def _endpoint(url: str, settings: UpstreamSettings, api_key: str | None) -> Endpoint:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    pool = Pool(
        host,
        parts.port or (443 if secure else 80),
        tls=ssl.create_default_context() if secure else None,
        connections_max=settings.connections_max,
        connect_s=settings.connect_timeout_s,
    )
    path = base_path(settings.kind, parts.path)
    credentials = credentials_lines(settings.kind, api_key)
    heads = {
        operation: upstream_head(path + wire.path, parts.netloc, credentials)
        for (operation, kind), wire in WIRES.items()
        if kind == settings.kind
    }
    return Endpoint(url, pool, heads)
