"""The part of the operator API that gives kept texts away as training data; role operator, and noted who did it."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from gateway.arena import VoteStore
from gateway.core.keeping import Texts
from gateway.core.kept_counts import count_kept, why_no_preference, why_no_rating
from gateway.core.training import marks_of, preferences, rated
from gateway.shadow_budget import is_spent
from gateway.spool_files import SpoolFiles
from rollout.api.problems import ProblemRoute
from rollout.core.errors import RolloutError, UnknownFeature
from rollout.core.model import KEEP_MAX_S, NAME_PATTERN, FeatureFlag
from rollout.core.votes import majorities

_log = logging.getLogger(__name__)
_NDJSON = "application/x-ndjson"
WHY_HEADER = "x-glidepath-why"
"""Of an export without lines: why there are none."""
Authorize = Callable[..., Callable[..., Awaitable[str] | str]]
Feature = Annotated[str, InPath(pattern=NAME_PATTERN)]
Format = Literal["preference", "rated"]
Wanted = Annotated[Format, Query(alias="format")]
Within = Annotated[float, Query(gt=0, le=KEEP_MAX_S, description="how far back, in seconds")]


class ExportNotNoted(RolloutError):  # noqa: N818  named like the faults in core.errors
    """Who exports must be written down first."""


class Exports(NamedTuple):
    """What exporting needs. `log`: the file in which each export is noted; `clock`: Unix time."""

    files: SpoolFiles
    store: VoteStore
    flags: Callable[[], Mapping[str, FeatureFlag]]
    log: Path
    clock: Callable[[], float]


def export_router(exports: Exports, authorize: Authorize) -> APIRouter:
    """Make the router to mount under /api/v1. `authorize`: as for the rollout API."""
    routes = APIRouter(tags=["export"], route_class=ProblemRoute)
    operator = Annotated[str, Depends(authorize("operator"))]

    @routes.get(
        "/features/{feature}/training-data",
        summary="Kept texts of this replica as JSON lines: preference pairs, or rated answers",
        response_class=StreamingResponse,
        responses={200: {"content": {_NDJSON: {}}}},
    )
    async def training_data(
        feature: Feature,
        actor: operator,
        wanted: Wanted = "preference",
        within_s: Within = KEEP_MAX_S,
    ) -> Response:
        flags = exports.flags()
        if feature not in flags:
            raise UnknownFeature(feature, flags)
        since_s = exports.clock() - within_s
        voted = majorities(await exports.store.votes(feature)) if wanted == "preference" else {}
        await asyncio.to_thread(_note, exports, actor, feature, wanted, since_s)
        lines = _lines(exports.files, feature, wanted, since_s, voted)
        first = await asyncio.to_thread(next, lines, b"")
        headers = {"cache-control": "no-store"}
        if not first:
            headers[WHY_HEADER] = await _why_none(exports, flags[feature], wanted, since_s)
        return StreamingResponse(chain((first,), lines), media_type=_NDJSON, headers=headers)

    return routes


async def _why_none(exports: Exports, flag: FeatureFlag, format_: Format, since_s: float) -> str:
    """Say in a line why there is nothing to export."""
    kept = await asyncio.to_thread(count_kept, exports.files.read(flag.feature, since_s))
    spent = await is_spent(exports.store, flag.feature, flag.shadow.daily_budget, exports.clock())
    tell = why_no_preference if format_ == "preference" else why_no_rating
    return tell(kept, flag.shadow, spent=spent)


def _lines(
    files: SpoolFiles, feature: str, format_: Format, since_s: float, voted: dict[str, tuple[int, int]]
) -> Iterator[bytes]:
    """Read twice: what was found about texts, of which only numbers stay in memory, then the texts one by one."""
    texts = (line for line in files.read(feature, since_s) if isinstance(line, Texts))
    if format_ == "preference":
        yield from preferences(texts, marks_of(files.read(feature, since_s), "judge"), voted)
    else:
        yield from rated(texts, marks_of(files.read(feature, since_s), "feedback"))


def _note(exports: Exports, actor: str, feature: str, format_: Format, since_s: float) -> None:
    """Write down who exports what, before they get it; raises ExportNotNoted."""
    entry = {"at_s": exports.clock(), "actor": actor, "feature": feature, "format": format_, "since_s": since_s}
    line = json.dumps(entry).encode() + b"\n"
    try:
        descriptor = os.open(exports.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as fault:
        cause = f"the export can't be noted in {exports.log}: {fault.strerror}"
        raise ExportNotNoted(cause, "see to it that the gateway can write its state_dir") from None
    _log.warning("texts of %s were exported as %s by %s", feature, format_, actor)
