"""The MetricSource of a Prometheus, or of what answers as one (Thanos, Mimir, VictoriaMetrics)."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from rollout.core.errors import InvalidArgument
from rollout.core.promql import Expected, judge, qualified
from rollout.core.readings import Reading, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.core.promql import MetricQuery
    from rollout.ports import Clock

LIMIT_S = 10.0
LIMIT_MAX_S = 120.0
BODY_MAX_BYTES = 1_000_000
_CONNECTIONS_MAX = 200
"""More than a controller asks at once (16 ramps, 4 gates each, up to 3 queries): to wait here may be in vain."""
_SECRET_MAX_CHARS = 8_192


class PrometheusAccess(NamedTuple):
    """Files that open the door. They are read anew for each query, so that a rotated secret is in force at once."""

    bearer_file: Path | None = None
    """Holds a token."""
    basic_file: Path | None = None
    """Holds "name:password"."""


_OPEN = PrometheusAccess()


class PrometheusSource:
    """One Prometheus, asked with instant queries.

    InvalidArgument for an address or a combination that can't be meant; nothing is connected before the first read.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        limit_s: float = LIMIT_S,
        access: PrometheusAccess = _OPEN,
        ca_file: Path | None = None,
    ) -> None:
        """Ask `url` (the part before /api/v1), each read within `limit_s`; `ca_file`: who may sign its certificate."""
        if access.bearer_file is not None and access.basic_file is not None:
            raise InvalidArgument("Prometheus can't be asked with a token and a password at once", "give one of them")
        if not 0 < limit_s <= LIMIT_MAX_S:
            raise InvalidArgument(f"{limit_s} s is no time limit for a query", f"give 0 to {LIMIT_MAX_S:g} seconds")
        self._address, self._clock, self._limit_s, self._access = _address(url), clock, limit_s, access
        self._http = httpx2.AsyncClient(
            verify=_trust(ca_file),
            timeout=None,  # `_ask` bounds the whole, a server that drips included
            limits=httpx2.Limits(max_connections=_CONNECTIONS_MAX),
            follow_redirects=False,  # a redirect could carry the credentials elsewhere
            trust_env=False,
            # Unpacked, an answer would no longer be bounded by what is read.
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    async def read(self, query: MetricQuery) -> Reading:
        """See `MetricSource.read`."""
        value, newest, samples = await asyncio.gather(
            self._ask(query.expression, query),
            self._ask_if(query.newest, query),
            self._ask_if(query.samples, query),
        )
        return qualified(query, self._clock.now_s(), value, newest, samples)

    async def close(self) -> None:
        """See `MetricSource.close`."""
        await self._http.aclose()

    async def _ask_if(self, expression: str, query: MetricQuery) -> Reading | None:
        return await self._ask(expression, query) if expression.strip() else None

    async def _ask(self, expression: str, query: MetricQuery) -> Reading:
        try:
            async with asyncio.timeout(self._limit_s):
                status, body = await self._post(expression, query.max_age_s)
        except TimeoutError:
            return unusable(f"no answer from {self._address} within {self._limit_s:g} s")
        except _UnfitError as fault:
            return unusable(str(fault))
        except Exception as fault:  # noqa: BLE001  whatever happens here must hold a ramp, not end its controller
            return unusable(f"no answer from {self._address}: {fault or type(fault).__name__}")
        return judge(status, body, Expected(self._clock.now_s(), query.max_age_s))

    async def _post(self, expression: str, max_age_s: float) -> tuple[int, bytes]:
        """Post the form: an expression in a URL would be limited in length and appear in access logs.

        No `time` goes along: the time of the server's own clock in the answer shows a clock that is wrong.
        """
        form = {
            "query": expression,
            "timeout": f"{max(1, int(self._limit_s * 1_000))}ms",
            # Heeded from 2.43 on; an older server lets plain selectors look back as far as it is configured to.
            "lookback_delta": f"{max(1, int(max_age_s * 1_000))}ms",
        }
        headers = await asyncio.to_thread(_credentials, self._access)
        async with self._http.stream("POST", f"{self._address}/api/v1/query", data=form, headers=headers) as answer:
            return answer.status_code, await _bounded(answer)


class _UnfitError(Exception):
    """A file or an answer that can't be used; its text says why and holds no secret."""


async def _bounded(answer: httpx2.Response) -> bytes:
    packing = answer.headers.get("content-encoding", "identity")
    if packing != "identity":
        raise _UnfitError(f"the answer is packed as {packing[:40]!r}, though none was asked for")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > BODY_MAX_BYTES:
            raise _UnfitError(f"the answer is larger than {BODY_MAX_BYTES} bytes")
    return bytes(body)


def _credentials(access: PrometheusAccess) -> dict[str, str]:
    if access.bearer_file is not None:
        return {"authorization": f"Bearer {_secret(access.bearer_file)}"}
    if access.basic_file is not None:
        secret = _secret(access.basic_file)
        if ":" not in secret:
            raise _UnfitError(f"{access.basic_file} must hold name:password")
        return {"authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {}


def _secret(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            secret = file.read(_SECRET_MAX_CHARS + 1).strip()
    except (OSError, UnicodeError) as fault:
        raise _UnfitError(f"the secret in {path} can't be read: {type(fault).__name__}") from None
    if not (0 < len(secret) <= _SECRET_MAX_CHARS and secret.isascii() and secret.isprintable()):
        raise _UnfitError(f"{path} holds no usable secret")
    return secret


def _address(url: str) -> str:
    hint = 'write the part before /api/v1, as in "http://prometheus:9090"'
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError, UnicodeError) as fault:
        raise InvalidArgument("the URL of Prometheus is not usable", hint) from fault
    if parts.userinfo:
        raise InvalidArgument("the URL of Prometheus holds credentials", "put them into a file: it would be shown")
    if parts.scheme not in {"http", "https"} or not parts.host or parts.query or parts.fragment:
        raise InvalidArgument(f"the URL of Prometheus, {url!r}, is not usable", hint)
    return url.rstrip("/")


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise InvalidArgument(f"the certificates in {ca_file} can't be used: {fault}", "give a PEM file") from fault
