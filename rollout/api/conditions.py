"""What a change comes with: the revision it is made for (If-Match), and a key that makes it happen once."""

import json
import re
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from rollout.api.problems import PreconditionMissing
from rollout.core.errors import InvalidArgument
from rollout.core.model import NAME_PATTERN
from rollout.core.once import KEY_MAX, CommandKey, digest_of

_ETAG = re.compile(r'"?([0-9]{1,18})"?')
_HINT = 'read the feature and send its ETag, as in If-Match: "7"'
REPLAYED = "idempotency-replayed"

FeatureName = Annotated[str, Path(pattern=NAME_PATTERN)]
_IfMatch = Annotated[str | None, Header(description='the revision it is made for, as "7"; 428 without')]


def etag(revision: int) -> str:
    """Write a flag's revision as an ETag."""
    return f'"{revision}"'


def _revision(if_match: _IfMatch = None) -> int:
    if if_match is None:
        raise PreconditionMissing("this change needs the revision it was made for", _HINT)
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise InvalidArgument(f"If-Match {if_match!r} is not one revision", 'send a single ETag, as in If-Match: "7"')
    return int(match[1])


async def _command_key(
    request: Request,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=KEY_MAX, pattern=r"^[ -~]+$")] = None,
) -> CommandKey | None:
    if idempotency_key is None:
        return None
    try:
        body = json.dumps(json.loads(await request.body() or "null"), sort_keys=True)
    except (ValueError, RecursionError) as fault:
        raise InvalidArgument("the body is not JSON", "see /openapi.json for its shape") from fault
    return CommandKey(idempotency_key, digest_of(request.method.encode(), request.url.path.encode(), body.encode()))


Revision = Annotated[int, Depends(_revision)]
"""The revision of If-Match; 428 without one."""

Key = Annotated[CommandKey | None, Depends(_command_key)]
"""The idempotency key with a digest of method, path and body; None without one."""
