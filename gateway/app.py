"""The public port besides the relay: models, feedback, health. Every error is an OpenAI error object."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway.core.credentials import merged
from gateway.core.errors import ApiError, bad_body, render_body, unknown_model
from gateway.core.outcome import SERVER_ERRORS_FROM
from gateway.core.routing import MODEL_PREFIX, Principal, callable_models
from gateway.core.wire import unavailable
from gateway.feedback import Feedback, LateFeedbackError, SilenceError, UnknownAnswerError
from gateway.openapi import RELAY_PATHS, describe_relay
from rollout.core.ofrep import Asker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.auth import Keyring
    from gateway.feedback import AnswerIndex, Others
    from gateway.recorder import Recorder
    from gateway.relay import Relay


def build_app(
    relay: Relay,
    recorder: Recorder,
    answers: AnswerIndex,
    ready: Callable[[], str | None],
    others: Others | None = None,
) -> FastAPI:
    """Make the app. `ready`: None, or why this worker should get no traffic; `others`: the other workers, if any."""
    app = FastAPI(title="Glidepath", docs_url=None, redoc_url=None, redirect_slashes=False, openapi_url="/openapi.json")
    describe_relay(app)
    _add_error_handlers(app)

    def caller(request: Request) -> Principal:
        return relay.keyring.find(merged(request.headers.raw), time.time())

    _add_relay_stubs(app)
    _add_models(app, relay, caller)
    _add_feedback(app, _taker(recorder, answers, others), caller)
    _add_health(app, ready)
    return app


def asker_of(keyring: Keyring) -> Callable[[Request], Asker]:
    """FastAPI dependency for `rollout.ofrep`: what the caller's key may ask for. Raises `ApiError` 401."""

    def ask(request: Request) -> Asker:
        principal = keyring.find(merged(request.headers.raw), time.time())
        return Asker(principal.tenant, principal.features)

    return ask


def _add_models(app: FastAPI, relay: Relay, caller: Callable[[Request], Principal]) -> None:
    @app.get("/v1/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """List what the caller's key may call."""
        names = _visible(relay, caller(request))
        if not _speaks_anthropic(request):
            return {"object": "list", "data": [_model(name) for name in names]}
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
        return {"data": [_anthropic_model(name) for name in names], "has_more": False, **ends}

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str, request: Request) -> dict[str, Any]:
        """Describe one model."""
        visible = _visible(relay, caller(request))
        if name not in visible:
            raise unknown_model(name, visible)
        return _anthropic_model(name) if _speaks_anthropic(request) else _model(name)


def _add_relay_stubs(app: FastAPI) -> None:
    """Give the relay paths a place in the router, so that other methods get 405 (POSTs never come here)."""

    async def not_relayed() -> Response:
        raise ApiError(404, "Write the path plainly, without escapes.", "invalid_request_error", code="not_found")

    for path in RELAY_PATHS:
        app.add_api_route(path, not_relayed, methods=["POST"], include_in_schema=False)


def _taker(
    recorder: Recorder, answers: AnswerIndex, others: Others | None
) -> Callable[[Feedback, str], Awaitable[str]]:
    """Count a feedback where its answer is known: here, or in another worker; the feature."""

    async def take(feedback: Feedback, tenant: str) -> str:
        if answers.find(feedback.request_id, tenant) is None:
            await recorder.settle()
        try:
            return answers.take(feedback, tenant, time.time()).feature
        except UnknownAnswerError:
            if others is None:
                raise
        return await others.take(feedback, tenant)

    return take


def _add_feedback(
    app: FastAPI, take: Callable[[Feedback, str], Awaitable[str]], caller: Callable[[Request], Principal]
) -> None:
    @app.post("/v1/feedback")
    async def give_feedback(feedback: Feedback, request: Request) -> dict[str, Any]:
        """Join a rating to the arm its request was assigned to."""
        tenant = caller(request).tenant
        try:
            feature = await take(feedback, tenant)
        except UnknownAnswerError:
            text = f"No answer with the request id `{feedback.request_id}` is known; it may have expired."
            raise ApiError(404, text, "invalid_request_error", param="request_id", code="request_not_found") from None
        except LateFeedbackError:
            text = "The answer is too old for feedback."
            raise ApiError(410, text, "invalid_request_error", param="request_id", code="feedback_too_late") from None
        except SilenceError:
            raise unavailable("not every worker answered", code="feedback_not_taken", retry_after_s=1) from None
        return {"object": "feedback", "request_id": feedback.request_id, "feature": MODEL_PREFIX + feature}


def _add_health(app: FastAPI, ready: Callable[[], str | None]) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Liveness: the event loop turns."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Readiness: send traffic here, or don't."""
        reason = ready()
        if reason is not None:
            raise unavailable(reason, code="not_ready", retry_after_s=1)
        return {"status": "ready"}


def _visible(relay: Relay, principal: Principal) -> list[str]:
    return callable_models(principal, relay.snapshot(), relay.upstream_of_model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "glidepath"}


def _speaks_anthropic(request: Request) -> bool:
    """Both SDK families list models on the same path."""
    return "anthropic-version" in request.headers


def _anthropic_model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return _answer(error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        kind = "server_error" if error.status_code >= SERVER_ERRORS_FROM else "invalid_request_error"
        text = f"{HTTPStatus(error.status_code).phrase}: {request.method} {request.url.path[:200]}"
        answer = _answer(ApiError(error.status_code, text, kind, code=_code_of(error.status_code)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:]) or None
        return _answer(bad_body(str(first["msg"]).removeprefix("Value error, "), param=param))

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        return _answer(ApiError(500, "The gateway failed.", "server_error", code="internal_error"))


def _code_of(status: int) -> str:
    return {404: "not_found", 405: "method_not_allowed"}.get(status, f"http_{status}")


def _answer(error: ApiError) -> Response:
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return Response(render_body(error), error.status, headers, media_type="application/json")
