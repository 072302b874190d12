"""An upstream as the relay uses it: its endpoints with their pools, breakers and prepared heads, and its deadlines."""

from __future__ import annotations

from collections import Counter
from math import ceil
from random import random
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.balance import choose, endpoint_seed
from gateway.core.breaker import Breaker, BreakerLimits, BreakerState
from gateway.core.call import raw_text
from gateway.core.deadlines import Deadlines
from gateway.core.errors import RETRY_AFTER_MAX_S
from gateway.core.providers.heads import base_path, credentials_lines
from gateway.core.providers.wires import WIRES
from gateway.core.response_ids import mark_of
from gateway.core.retry import RetryBudget, RetryRules
from gateway.core.wire import upstream_head
from gateway.health import HEALTH_ANSWER_MAX_BYTES, HealthCheck
from gateway.http.client import Pool
from gateway.http.tls import client_context
from gateway.http.tunnel import proxy_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping
    from urllib.parse import SplitResult

    from gateway.http.tunnel import Proxy
    from gateway.settings import UpstreamSettings

EJECTED = BreakerState.EJECTED.value
"""As a kind of failure: no endpoint admits a request."""
NO_RETRIES = RetryRules(enabled=False)
UNHEALTHY = "unhealthy"
ENDPOINT_STATES = (*(state.value for state in BreakerState), UNHEALTHY)
_HEALTHY = BreakerState.HEALTHY
_ASIDE_MAX = 32


class Endpoint:
    """One base URL: a pool, a head per operation, the number of requests under way, and whether it may be asked.

    Whoever sends a request raises `outstanding`, takes a ticket from `breaker.on_sent`, and gives both back once.
    """

    __slots__ = ("aside", "breaker", "heads", "health", "label", "mark", "outstanding", "pool", "seed", "url")

    def __init__(
        self,
        url: str,
        pool: Pool,
        heads: Mapping[str, bytes],
        *,
        breaker: Breaker,
        label: str,
        aside: Pool,
        health: HealthCheck | None = None,
    ) -> None:
        self.url = url
        self.mark = mark_of(url)
        self.pool = pool
        self.heads = heads
        self.breaker = breaker
        self.label = label
        """Names it in metrics; unlike any other endpoint's of this upstream."""
        self.aside = aside
        """For shadow calls, so that no request ever waits for one or gets a connection that one has spoilt."""
        self.health = health
        self.seed = endpoint_seed(url)
        self.outstanding = 0

    @property
    def state(self) -> str:
        """One of `ENDPOINT_STATES`."""
        return UNHEALTHY if self.health is not None and not self.health.healthy else self.breaker.state.value

    def admits(self, now_s: float) -> bool:
        """Whether a request may be sent to it (`now_s`: perf_counter)."""
        return (self.health is None or self.health.healthy) and self.breaker.admits(now_s)

    def admits_at_s(self) -> float:
        """When a request may be sent to it at the earliest, as far as that can be known."""
        if self.health is not None and not self.health.healthy:
            return max(self.health.due_s, self.breaker.retry_at_s)
        return self.breaker.retry_at_s

    def sweep(self, now_s: float) -> None:
        """Expire connections and waits, ask for its health."""
        self.pool.sweep(now_s)
        self.aside.sweep(now_s)
        if self.health is not None:
            self.health.sweep(now_s)

    def close(self) -> None:
        """Close every connection."""
        self.pool.close()
        self.aside.close()
        if self.health is not None:
            self.health.close()


class Upstream:
    """All endpoints of one named upstream."""

    __slots__ = (
        "_only",
        "_seeds",
        "_turn",
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
        "settings",
    )

    def __init__(
        self, name: str, settings: UpstreamSettings, endpoints: tuple[Endpoint, ...], secrets: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.settings = settings
        """What else an exchange needs to know."""
        self.kind = settings.kind
        self.retry_rules = RetryRules(settings.retry.enabled, settings.retry.wait_max_s)
        self.retry_budget = RetryBudget(settings.retry.budget_ratio)
        self.model = model = settings.model
        self.model_bytes = model.encode("ascii", "replace")
        self.raw_model = raw_text(model)
        self.endpoints = endpoints
        self.deadlines = Deadlines(settings.first_byte_timeout_s, settings.idle_timeout_s, settings.total_timeout_s)
        self.secrets = secrets
        """What no answer may repeat."""
        self._only = endpoints[0] if len(endpoints) == 1 else None
        self._seeds = tuple(endpoint.seed for endpoint in endpoints)
        self._turn = 0

    def choose(self, affinity: bytes | str | None, now_s: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """Endpoint for the next request, None if none of those not yet `tried` admits one.

        `affinity`: what requests that belong together have in common (a conversation), if anything.
        """
        only, endpoints = self._only, self.endpoints
        if only is not None:
            if only.breaker.state is _HEALTHY and only.health is None and not tried:
                return only
            return only if only.admits(now_s) and only not in tried else None
        candidates = [i for i, each in enumerate(endpoints) if each.admits(now_s) and each not in tried]
        self._turn += 1
        key = None
        if affinity and self.settings.affinity:
            key = affinity.encode("utf-8", "replace") if isinstance(affinity, str) else affinity
        outstanding = [each.outstanding for each in endpoints]
        chosen = choose(outstanding, candidates, turn=self._turn, seeds=self._seeds, key=key)
        return endpoints[chosen] if chosen >= 0 else None

    def has_another(self, endpoint: Endpoint | None, now_s: float) -> bool:
        """Whether an endpoint beside this one takes a request now."""
        return any(each is not endpoint and each.admits(now_s) for each in self.endpoints)

    def endpoint_of(self, mark: str) -> Endpoint | None:
        """The endpoint of that mark, if it is (still) there."""
        return next((endpoint for endpoint in self.endpoints if endpoint.mark == mark), None)

    def retry_after_s(self, now_s: float) -> int:
        """When to come back if none was admitted: whole seconds, at least 1."""
        soonest_s = min(endpoint.admits_at_s() for endpoint in self.endpoints)
        return max(1, min(ceil(soonest_s - now_s), RETRY_AFTER_MAX_S))

    def sweep(self, now_s: float) -> None:
        """Expire idle connections and waits, ask for health (`now_s`: perf_counter)."""
        for endpoint in self.endpoints:
            endpoint.sweep(now_s)

    def close(self) -> None:
        """Close every connection."""
        for endpoint in self.endpoints:
            endpoint.close()


def build_upstream(
    name: str, settings: UpstreamSettings, api_key: str | None, proxy_credentials: str | None = None
) -> Upstream:
    """Make the runtime upstream from its settings; opens no connection.

    `proxy_credentials`: `user:password`. Raises `SettingsError` for TLS files that can't be used.
    """
    proxy = proxy_of(settings.proxy_url, proxy_credentials) if settings.proxy_url else None
    secure = any(urlsplit(url).scheme == "https" for url in settings.base_urls)
    tls = client_context(settings.tls, f"upstreams.{name}.tls") if secure else None
    plan = _Building(settings, api_key, tls, proxy)
    labels = _labels(settings.base_urls)
    endpoints = tuple(plan.endpoint(url, label) for url, label in zip(settings.base_urls, labels, strict=True))
    token = proxy.authorization.strip().rpartition(" ")[2] if proxy else ""
    secrets = (api_key, proxy_credentials, token)
    return Upstream(name, settings, endpoints, tuple(secret for secret in secrets if secret))


class _Building:
    """What the endpoints of one upstream have in common."""

    def __init__(
        self, settings: UpstreamSettings, api_key: str | None, tls: ssl.SSLContext | None, proxy: Proxy | None
    ) -> None:
        self.settings = settings
        self.api_key = api_key
        self.tls = tls
        self.proxy = proxy

    def endpoint(self, url: str, label: str) -> Endpoint:
        """Make the endpoint of one base URL."""
        parts = urlsplit(url)
        settings = self.settings
        prefix = base_path(settings.kind, parts.path)
        heads = {
            operation: self._head(parts, prefix + wire.path)
            for (operation, kind), wire in WIRES.items()
            if kind == settings.kind
        }
        limits = BreakerLimits(**settings.breaker.model_dump())
        return Endpoint(
            url,
            self._pool(parts, settings.connections_max, settings.waiting_max, settings.answer_max_bytes),
            heads,
            breaker=Breaker(limits),
            label=label,
            aside=self._pool(parts, _ASIDE_MAX, 1, settings.answer_max_bytes),
            health=self._health(parts),
        )

    def _health(self, parts: SplitResult) -> HealthCheck | None:
        health = self.settings.health
        if health is None:
            return None
        # The head of a request up to its own lines, but another method.
        head = b"GET" + self._head(parts, health.path).removeprefix(b"POST") + b"\r\n"
        pool = self._pool(parts, 1, 1, HEALTH_ANSWER_MAX_BYTES)
        # Workers started together shall not ask together.
        first_s = perf_counter() + random() * health.interval_s  # noqa: S311  no secret
        return HealthCheck(pool, head, health, first_s=first_s)

    def _pool(self, parts: SplitResult, connections_max: int, waiting_max: int, answer_max_bytes: int) -> Pool:
        secure = parts.scheme == "https"
        return Pool(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            tls=self.tls if secure else None,
            proxy=self.proxy,
            connections_max=connections_max,
            waiting_max=waiting_max,
            queue_timeout_s=self.settings.queue_timeout_s,
            connect_s=self.settings.connect_timeout_s,
            answer_max_bytes=answer_max_bytes,
        )

    def _head(self, parts: SplitResult, path: str) -> bytes:
        """Head for a path; a proxy is told the whole URL, except through a tunnel."""
        credentials = credentials_lines(self.settings.kind, self.api_key)
        if self.proxy is None or parts.scheme == "https":
            return upstream_head(path, parts.netloc, credentials)
        head = upstream_head(f"http://{parts.netloc}{path}", parts.netloc, credentials)
        return head + self.proxy.authorization.encode("ascii")


def _labels(urls: tuple[str, ...]) -> list[str]:
    """Host, port and path of each, with a number where one comes again."""
    seen: Counter[str] = Counter()
    labels = []
    for url in urls:
        label = url.partition("://")[2].rstrip("/")
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return labels
