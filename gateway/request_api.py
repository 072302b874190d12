"""The part of the operator API that tells where a request went and why; role viewer."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from msgspec.structs import asdict
from pydantic import BaseModel

from gateway.core.call import REQUEST_ID_MAX_CHARS
from gateway.core.explaining import Document, story
from gateway.core.messages import Answer, Requests
from gateway.core.outcome import Record
from rollout.api.problems import problem
from rollout.core.audit import AuditEntry, as_of
from rollout.core.errors import RolloutError
from rollout.core.share import format_share

Authorize = Callable[[str], Callable[..., Awaitable[str] | str]]
_PAGE = 500
_PAGES_MAX = 10
"""5 000 changes of one feature are looked through for the document that was in force."""


class Sought(NamedTuple):
    """What all workers know of a request id: Records, newest first; since when they know all (Unix time).

    `silent`: workers that did not answer in time.
    """

    records: tuple[Record, ...]
    complete_since_s: float
    silent: int


class StepView(BaseModel):
    """One line of the story."""

    check: str
    found: str


class RequestView(BaseModel):
    """One settled request. `record`: as a line of the access log; `share*`: the candidate's as committed then.

    `document` is the change that made the revision in force, null if the audit log can't tell.
    """

    record: dict[str, Any]
    share_millipct: int | None
    share: str | None
    document: dict[str, Any] | None
    steps: list[StepView]


class RequestsView(BaseModel):
    """The requests of one id, newest first. `store`: "ok", or why the documents are missing."""

    request_id: str
    requests: list[RequestView]
    complete_since_s: float
    silent_workers: int
    store: str


def sought(answers: list[Answer]) -> Sought:
    """Join what each worker said."""
    told = [answer for answer in answers if isinstance(answer, Requests)]
    records = sorted((record for answer in told for record in answer.records), key=lambda record: -record.at_s)
    since_s = max((answer.complete_since_s for answer in told), default=float("inf"))
    return Sought(tuple(records), since_s, len(answers) - len(told))


def request_router(
    find: Callable[[str], Awaitable[Sought]],
    history: Callable[[str, int, int | None], Awaitable[list[AuditEntry]]],
    authorize: Authorize,
) -> APIRouter:
    """Make the router to mount under /api/v1. `history`: as `Store.history`; `authorize`: as for the rollout API."""
    routes = APIRouter(tags=["requests"])

    @routes.get("/requests", dependencies=[Depends(authorize("viewer"))], response_model=RequestsView)
    async def explain_request(
        request_id: Annotated[str, Query(min_length=1, max_length=REQUEST_ID_MAX_CHARS)],
    ) -> RequestsView | Response:
        found = await find(request_id)
        if not found.records:
            return _unknown(request_id, found)
        store, views = "ok", []
        for record in found.records:
            document = Document()
            try:
                document = await _document(record, history)
            except RolloutError as fault:
                store = fault.cause
            views.append(_view(record, document))
        return RequestsView(
            request_id=request_id,
            requests=views,
            complete_since_s=found.complete_since_s,
            silent_workers=found.silent,
            store=store,
        )

    return routes


async def _document(record: Record, history: Callable[[str, int, int | None], Awaitable[list[AuditEntry]]]) -> Document:
    """Look for the document that was in force. Raises what the store raises."""
    if not (record.feature and record.revision):
        return Document()
    entries: list[AuditEntry] = []
    before_id = None
    for _ in range(_PAGES_MAX):
        page = await history(record.feature, _PAGE, before_id)
        entries += page
        if len(page) < _PAGE:
            break
        before_id = page[-1].id
    return Document(*as_of(entries, record.revision))


def _view(record: Record, document: Document) -> RequestView:
    change = document.change
    share_millipct = None if change is None else change.share_after_millipct
    return RequestView(
        record=asdict(record) | {"trace": None if record.trace is None else asdict(record.trace)},
        share_millipct=share_millipct,
        share=None if share_millipct is None else format_share(share_millipct),
        document=None if change is None else asdict(change),
        steps=[StepView(**step._asdict()) for step in story(record, document)],
    )


def _unknown(request_id: str, found: Sought) -> Response:
    """404, with how far back ids are known; 503 if that can't be said now."""
    if found.silent or found.complete_since_s == float("inf"):
        detail = f"{found.silent} workers did not answer in time, and no other knows {request_id!r}"
        hint = "try again; if they stay silent, see glidepath_workers and the log"
        return problem(503, "workers-silent", "Not all workers answered", detail, hint, headers={"Retry-After": "1"})
    since = datetime.fromtimestamp(found.complete_since_s, UTC).isoformat(timespec="seconds")
    hint = (
        f"known are all that ended since {since}, but for those of a worker that died; "
        "one under way is not known yet; the access log, if there is one, goes back further"
    )
    return problem(
        404,
        "unknown-request",
        "No such request is known",
        f"no settled request with the id {request_id!r} is known",
        hint,
        complete_since_s=found.complete_since_s,
    )
