"""The operator's port: the rollout API behind roles, metrics, health. Errors are problems (RFC 9457) with a hint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException as BaseHTTPException

from gateway.core.credentials import merged
from gateway.core.errors import ApiError
from rollout.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter

    from gateway.auth import Keyring
    from gateway.metrics import Metrics
    from gateway.recorder import Recorder

_HINT = {
    401: "send `Authorization: Bearer <key>` with a key of this gateway",
    404: "GET /openapi.json lists what there is",
}


def authorizer(keyring: Keyring) -> Callable[[str], Callable[[Request], str]]:
    """Role -> dependency that gives the caller's name. A role covers no other, except that admin covers all."""

    def of_role(role: str) -> Callable[[Request], str]:
        def check(request: Request) -> str:
            try:
                principal = keyring.find(merged(request.headers.raw), time.time())
            except ApiError:
                raise HTTPException(401, "no valid API key", {"www-authenticate": "Bearer"}) from None
            if role not in principal.roles and "admin" not in principal.roles:
                raise HTTPException(403, f"the key {principal.name!r} lacks the role {role!r}")
            return principal.name

        return check

    return of_role


def build_admin(rollout_api: APIRouter, metrics: Metrics, recorder: Recorder) -> FastAPI:
    """Make the app. Metrics and health need no key: the port is the operator's, on loopback unless configured."""
    app = FastAPI(title="Glidepath operator API", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(rollout_api, prefix="/api/v1")
    registry = CollectorRegistry()
    registry.register(metrics)

    @app.exception_handler(BaseHTTPException)
    async def http_error(_: Request, error: BaseHTTPException) -> Response:
        hint = _HINT.get(error.status_code, "")
        return problem(error.status_code, "refused", "Refused", str(error.detail), hint, headers=error.headers)

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        """Prometheus or OpenMetrics text."""
        recorder.drain()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Liveness."""
        return {"status": "ok"}

    return app
