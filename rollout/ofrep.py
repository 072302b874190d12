"""OpenFeature's remote evaluation protocol as a FastAPI router, so that any OpenFeature SDK reads the same decision.

Mounted without a prefix, wherever a follower is. It only reads; it may be asked often.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from rollout.core import ofrep
from rollout.core.model import Snapshot

_FAILURE = {
    "type": "object",
    "required": ["errorCode"],
    "properties": {name: {"type": "string"} for name in ("key", "errorCode", "errorDetails")},
}
_EVALUATION = {
    "type": "object",
    "required": ["key", "reason", "variant", "value"],
    "properties": {name: {"type": "string"} for name in ("key", "reason", "variant", "value")}
    | {"metadata": {"type": "object"}},
}
_BULK = {
    "type": "object",
    "required": ["flags"],
    "properties": {"flags": {"type": "array", "items": {"oneOf": [_EVALUATION, _FAILURE]}}},
}
_CONTEXT = {
    "type": "object",
    "properties": {
        name: {"type": "string", "maxLength": ofrep.UNIT_MAX_CHARS}
        for name in ("targetingKey", "conversation", "user", "tenant")
    },
}
_ASKED = {"requestBody": {"content": {"application/json": {"schema": {"properties": {"context": _CONTEXT}}}}}}


def router(snapshot: Callable[[], Snapshot], asker: Callable[..., ofrep.Asker | Awaitable[ofrep.Asker]]) -> APIRouter:
    """Make the router. `asker`: FastAPI dependency that says what the caller may ask for, or raises."""
    routes = APIRouter(prefix="/ofrep/v1/evaluate", tags=["OFREP"])
    by_whom = Annotated[ofrep.Asker, Depends(asker)]

    async def evaluate_flag(key: str, request: Request, caller: by_whom) -> Response:
        """Evaluate one flag."""
        try:
            context = ofrep.read_context(await _body(request), caller)
        except ofrep.Refused as fault:
            return _answer(ofrep.failure(fault.code, fault.details, key))
        return _answer(ofrep.evaluate(snapshot(), key, context, caller))

    async def evaluate_flags(
        request: Request, caller: by_whom, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """Evaluate all flags that the caller may see."""
        try:
            context = ofrep.read_context(await _body(request), caller)
        except ofrep.Refused as fault:
            return _answer(ofrep.failure(fault.code, fault.details))
        return _tagged(ofrep.evaluate_all(snapshot(), context, caller), if_none_match)

    _add(routes, "/flags/{key}", evaluate_flag, _EVALUATION, {404: "no such flag"})
    _add(routes, "/flags", evaluate_flags, _BULK, {304: "the caller has this answer already"})
    return routes


def _add(
    routes: APIRouter, path: str, function: Callable[..., Any], shape: dict[str, Any], more: dict[int, str]
) -> None:
    told = {400: "the request can't be evaluated", 500: "no flags have been loaded yet", **more}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": text} | ({} if status == 304 else _json(_FAILURE))  # noqa: PLR2004  HTTP's number
        for status, text in told.items()
    }
    responses[200] = {"description": "evaluated"} | _json(shape)
    routes.add_api_route(path, function, methods=["POST"], responses=responses, openapi_extra=_ASKED)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > ofrep.BODY_MAX_BYTES:
            raise ofrep.Refused(ofrep.PARSE_ERROR, f"the body is larger than {ofrep.BODY_MAX_BYTES} bytes")
    return bytes(body)


def _answer(answered: ofrep.Answered) -> Response:
    return Response(ofrep.encode(answered.tree), answered.status, media_type="application/json")


def _tagged(answered: ofrep.Answered, if_none_match: str | None) -> Response:
    answer = _answer(answered)
    if answered.status != 200:  # noqa: PLR2004  HTTP's number
        return answer
    etag = ofrep.etag_of(bytes(answer.body))
    if ofrep.matches(if_none_match, etag):
        return Response(status_code=304, headers={"etag": etag})
    answer.headers["etag"] = etag
    return answer
