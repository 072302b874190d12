"""An upstream as the relay uses it: its endpoints' pools, prepared request heads, model name and deadlines."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.balance import least_outstanding
from gateway.core.call import raw_text
from gateway.core.deadlines import Deadlines
from gateway.core.retry import RetryBudget, RetryRules
from gateway.core.wire import upstream_head
from gateway.http.client import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import UpstreamSettings

NO_RETRIES = RetryRules(enabled=False)
PATH_OF_OPERATION = {"chat": "/chat/completions", "text_completion": "/completions"}


class Endpoint:
    """One base URL: a pool, a head per operation, and the number of requests under way."""

    __slots__ = ("heads", "outstanding", "pool", "url")

    def __init__(self, url: str, pool: Pool, heads: Mapping[str, bytes]) -> None:
        self.url = url
        self.pool = pool
        self.heads = heads
        self.outstanding = 0


class Upstream:
    """All endpoints of one named upstream."""

    __slots__ = (
        "deadlines",
        "endpoints",
        "model",
        "model_bytes",
        "name",
        "raw_model",
        "retry_budget",
        "retry_rules",
        "secrets",
    )

    def __init__(
        self,
        name: str,
        model: str,
        endpoints: tuple[Endpoint, ...],
        deadlines: Deadlines,
        *,
        secrets: tuple[str, ...] = (),
        retry_rules: RetryRules = NO_RETRIES,
        retry_budget_ratio: float = 0.0,
    ) -> None:
        self.name = name
        self.model = model
        self.model_bytes = model.encode("ascii", "replace")
        self.raw_model = raw_text(model)
        self.endpoints = endpoints
        self.deadlines = deadlines
        self.retry_rules = retry_rules
        self.retry_budget = RetryBudget(retry_budget_ratio)
        self.secrets = secrets
        """What no answer may repeat."""

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
    prefix = parts.path.rstrip("/")
    heads = {
        operation: upstream_head(prefix + path, parts.netloc, settings.kind, api_key)
        for operation, path in PATH_OF_OPERATION.items()
    }
    return Endpoint(url, pool, heads)
