"""One blocking client connection that times answers itself.

Plain sockets through `http.client`, because a load generator's own stream readers wait for whole buffers or lines and
report a time to first token that is too long (or that of the headers). Under gevent the same code is cooperative.
"""

import http.client
import select
import time
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from loadtests.errors import InvalidFileError
from loadtests.stream import StreamRecorder, StreamResult, observe_body
from loadtests.workload import PATH, PlannedRequest

_READ_BYTES: Final = 64 * 1024
_OK: Final = 200
_UNAUTHORIZED: Final = 401


class CallResult(NamedTuple):
    """How one request went. `status` is None when no answer came; `problem` is None when all of it was right."""

    status: int | None
    problem: str | None
    arm: str | None = None
    assigned: str | None = None
    seen: StreamResult | None = None


class Caller:
    """Sends requests one after another over one kept-alive connection."""

    def __init__(
        self, base_url: str, api_key: str | None, timeout_s: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidFileError(f"not a base URL: {base_url!r}", "expected something like http://127.0.0.1:8080/v1")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname, url.port, timeout=timeout_s)
        self._base = url.path.rstrip("/")
        self._path = self._base + PATH
        self._headers = {"content-type": "application/json"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._clock = clock

    def call(self, request: PlannedRequest) -> CallResult:
        """Send one request and read its whole answer; network faults become a problem of the result, not an error."""
        try:
            return self._call(request)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return CallResult(None, f"connection: {type(error).__name__}")

    def takes_key(self) -> bool:
        """Ask for the list of models; False when the key, or its absence, is what refuses that."""
        try:
            self._connect()
            self._connection.request("GET", f"{self._base}/models", headers=self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return True  # whatever it is, the run tells it
        return answer.status != _UNAUTHORIZED

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self, request: PlannedRequest) -> CallResult:
        self._connect()
        headers = self._headers | {"x-conversation-id": request.conversation}
        sent_at_s = self._clock()
        self._connection.request("POST", self._path, request.body, headers)
        answer = self._connection.getresponse()
        status, arm = answer.status, answer.getheader("x-glidepath-arm")
        assigned = answer.getheader("x-glidepath-assigned")
        if status != _OK:
            answer.read()
            return CallResult(status, f"status {status}", arm, assigned)
        try:
            seen = self._read(answer, request, sent_at_s)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return CallResult(status, f"truncated: {type(error).__name__}", arm, assigned)
        return CallResult(status, seen.problem, arm, assigned, seen)

    def _connect(self) -> None:
        """Open the connection before the clock starts, also when the peer has closed an idle one."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()
        if self._connection.sock is None:
            self._connection.connect()

    def _read(self, answer: http.client.HTTPResponse, request: PlannedRequest, sent_at_s: float) -> StreamResult:
        if not request.stream:
            seen = observe_body(answer.read())
            e2e_s = self._clock() - sent_at_s
            return StreamResult(e2e_s, None, (), seen.text, seen.finish_reason, seen.usage, seen.done, seen.error)
        recorder = StreamRecorder(sent_at_s)
        while data := answer.read1(_READ_BYTES):
            recorder.feed(data, self._clock())
        return recorder.finish(self._clock())
