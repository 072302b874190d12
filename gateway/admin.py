"""The operator's port: the rollout API behind roles, metrics, health. Errors are problems (RFC 9457) with a hint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException as BaseHTTPException

from gateway.body_limit import BodyLimit
from gateway.core.credentials import merged
from gateway.core.errors import ApiError
from rollout.api.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from fastapi import APIRouter
    from prometheus_client.metrics_core import Metric

    from gateway.auth import Keyring

_HINT = {
    401: "send `Authorization: Bearer <key>` with a key of this gateway",
    404: "GET /openapi.json lists what there is",
}


def authorizer(keyring: Keyring) -> Callable[..., Callable[[Request], str]]:
    """Roles of which one is needed -> dependency that gives the caller's name.

    A role covers no other, except that admin covers all. Who is a voter and nothing else that is asked for gets no
    further than to the features of the key: votes are given on kept texts. `request.state.opened` says which these are,
    None for all.
    """

    def of_role(*roles: str) -> Callable[[Request], str]:
        def check(request: Request) -> str:
            try:
                principal = keyring.find(merged(request.headers.raw), time.time())
            except ApiError:
                raise HTTPException(401, "no valid API key", {"www-authenticate": "Bearer"}) from None
            if not {*roles, "admin"}.intersection(principal.roles):
                raise HTTPException(403, f"the key {principal.name!r} lacks the role {' or '.join(map(repr, roles))}")
            feature = request.path_params.get("feature")
            votes_only = not {*roles, "admin"}.difference({"voter"}).intersection(principal.roles)
            if votes_only and feature and principal.features is not None and feature not in principal.features:
                raise HTTPException(403, f"the key {principal.name!r} doesn't open {feature!r}")
            request.state.opened = principal.features if votes_only else None
            return principal.name

        return check

    return of_role


class Workers(Protocol):
    """The processes that do the work, as the operator's port needs them."""

    async def collect(self) -> Collector:
        """What all of them have counted up to now; bounded in time."""
        ...

    async def catch_up(self) -> None:
        """Have all of them read the store now; bounded in time."""
        ...

    def unready(self) -> str | None:
        """None, or why this replica should get no traffic."""
        ...


def build_admin(rollout_api: APIRouter, workers: Workers) -> FastAPI:
    """Make the app. Metrics and health need no key: the port is the operator's, on loopback unless configured."""
    app = FastAPI(title="Glidepath operator API", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(rollout_api, prefix="/api/v1")

    @app.exception_handler(BaseHTTPException)
    async def http_error(_: Request, error: BaseHTTPException) -> Response:
        hint = getattr(error, "hint", "") or _HINT.get(error.status_code, "")
        return problem(error.status_code, "refused", "Refused", str(error.detail), hint, headers=error.headers)

    add_metrics(app, workers.collect)

    app.add_middleware(BodyLimit)

    @app.middleware("http")
    async def reach_workers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Whoever has changed something finds it in force: the workers need not wait for their next poll."""
        answer = await call_next(request)
        if request.method not in {"GET", "HEAD"}:
            await workers.catch_up()
        return answer

    add_probes(app, workers.unready)
    return app


class Families(Collector):
    """Metric families that are made when scraped."""

    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterable[Metric]:
        """As the parent."""
        return self._make()


def add_metrics(app: FastAPI, collect: Callable[[], Awaitable[Collector]]) -> None:
    """Add the metrics page: Prometheus or OpenMetrics text."""

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        registry = CollectorRegistry()
        registry.register(await collect())
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)


def add_probes(app: FastAPI, unready: Callable[[], str | None]) -> None:
    """Add probes that no load can delay. `unready`: None, or why this process isn't."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Liveness."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Readiness of the replica: at least one worker accepts, and it isn't draining."""
        reason = unready()
        if reason is not None:
            return problem(503, "not-ready", "Not ready", reason, "", headers={"retry-after": "1"})
        return Response(b'{"status":"ready"}', media_type="application/json")
