"""A thin client of the operator API, for the commands."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx2

from rollout.core.errors import InvalidArgument, RolloutError
from rollout.core.keys import KEY_PREFIX
from rollout.core.model import NAME_PATTERN
from rollout.core.once import Once, checked

NDJSON = "application/x-ndjson"
_LIMIT_S = 10.0
_KEY_ID = r"[A-Za-z0-9_-]{1,64}"
_EXIT_CODES = {401: 5, 403: 5, 404: 4, 409: 1, 412: 3, 422: 2, 428: 2, 503: 5}
_UNREACHABLE = 5
_FORBIDDEN = 403
_JSON = {"Content-Type": "application/json"}
_SERVER_FAULT = 500
_AUTHORITY = {401, 403}  # these may come from in front of the API


class ApiFault(RolloutError):  # noqa: N818  named like the faults in core.errors
    """The API refused, or nobody answered. `passing`: it may be over in a moment, as while a gateway restarts."""

    def __init__(self, cause: str, hint: str, exit_code: int, *, passing: bool = False, status: int = 0) -> None:
        super().__init__(cause, hint)
        self.exit_code, self.passing, self.status = exit_code, passing, status


class Client:
    """One connection to an admin address; every fault is an ApiFault."""

    replayed = False
    """Whether the last answer was given before, to a command with the same idempotency key."""
    why_none = ""
    """What the last answer in pieces says of why it has none."""

    def __init__(self, admin_url: str, api_key: str | None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._address = admin_url.rstrip("/")
        try:
            # A proxy in the environment is meant for the internet, not for an admin port.
            self._http = httpx2.Client(
                base_url=f"{self._address}/api/v1", headers=headers, timeout=_LIMIT_S, trust_env=False
            )
        except (httpx2.InvalidURL, UnicodeError, ValueError) as fault:
            raise ApiFault(
                f"cannot use {admin_url!r} with this key: {fault}", "see --admin-url and --api-key", 2
            ) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def features(self) -> dict[str, Any]:
        """GET /features."""
        return self._call("GET", "/features")

    def feature(self, feature: str) -> dict[str, Any]:
        """GET one feature."""
        return self._call("GET", _path(feature))

    def cost(self, feature: str) -> dict[str, Any]:
        """GET what its ramp costs."""
        return self._call("GET", f"{_path(feature)}/cost")

    def set_share(
        self, feature: str, share_millipct: int, revision: int, reason: str, key: str | None = None
    ) -> dict[str, Any]:
        """PUT the share for that revision."""
        body = {"share_millipct": share_millipct, "reason": reason}
        return self._call("PUT", f"{_path(feature)}/share", body, _conditions(revision, key))

    def kill(self, feature: str, reason: str, key: str | None = None) -> dict[str, Any]:
        """POST a kill."""
        return self._call("POST", f"{_path(feature)}/kill", {"reason": reason}, _conditions(None, key))

    def unkill(self, feature: str, reason: str, key: str | None = None) -> dict[str, Any]:
        """POST the lifting of a kill."""
        return self._call("POST", f"{_path(feature)}/unkill", {"reason": reason}, _conditions(None, key))

    def ramp(
        self, feature: str, verb: str, body: dict[str, Any], revision: int | None, key: str | None = None
    ) -> dict[str, Any]:
        """POST one of the ramp's verbs; those that only stop need no revision."""
        return self._call("POST", f"{_path(feature)}/ramp/{verb}", body, _conditions(revision, key))

    def enrol(self, feature: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        """POST a wish for early access, or with a "decision" what becomes of it."""
        path = f"{_path(feature)}/enrolments" + ("/decision" if "decision" in body else "")
        return self._call("POST", path, body, _conditions(None, key))

    def accept_loss(self, reason: str) -> dict[str, Any]:
        """POST that the store is to be taken as it is."""
        return self._call("POST", "/store/accept-loss", {"reason": reason})

    def audit(self, after: int) -> Iterator[bytes]:
        """GET the audit log of all features, in pieces of JSON lines; ends with the newest entry."""
        yield from self._lines(f"/audit?after={after}")

    def training_data(self, feature: str, format_: str, within_s: float | None) -> Iterator[bytes]:
        """GET kept texts of the replica that answers, in pieces of JSON lines."""
        asked = {"format": format_} if within_s is None else {"format": format_, "within_s": repr(within_s)}
        yield from self._lines(f"{_path(feature)}/training-data?{urlencode(asked)}")

    def ratings(self, feature: str) -> dict[str, Any]:
        """GET what people's votes say."""
        return self._call("GET", f"{_path(feature)}/ratings")

    def history(self, feature: str, limit: int, before: int | None) -> dict[str, Any]:
        """GET a page of the audit log."""
        return self._call("GET", f"{_path(feature)}/history{_page(limit, before)}")

    def explain(self, feature: str, subject: dict[str, Any]) -> dict[str, Any]:
        """POST a subject to explain."""
        return self._call("POST", f"{_path(feature)}/explain", subject)

    def documents(self) -> dict[str, Any]:
        """GET the whole document."""
        return self._call("GET", "/documents")

    def apply(self, document: bytes, *, dry_run: bool, anew: bool, reason: str) -> dict[str, Any]:
        """PUT a document of some features."""
        _refuse_undecodable({"reason": reason})
        asked = urlencode({"dry_run": str(dry_run).lower(), "anew": str(anew).lower(), "reason": reason})
        return self._call("PUT", f"/documents?{asked}", headers=_JSON, document=document)

    def plan(self, feature: str, document: bytes | None, units_per_s: float | None) -> dict[str, Any]:
        """POST for a dry run of a ramp: of the document's, or of the one in force."""
        asked = "" if units_per_s is None else f"?units_per_s={units_per_s!r}"
        return self._call("POST", f"{_path(feature)}/plan{asked}", headers=_JSON, document=document)

    def doctor(self) -> dict[str, Any]:
        """GET what the gateway finds of itself."""
        return self._call("GET", "/doctor")

    def has_role(self, role: str) -> bool:
        """Ask whether the key has this role."""
        try:
            self._call("GET", f"/roles/{role}")
        except ApiFault as fault:
            if fault.status == _FORBIDDEN:
                return False
            raise
        return True

    def request(self, request_id: str) -> dict[str, Any]:
        """GET what became of a request."""
        return self._call("GET", f"/requests?request_id={quote(request_id, safe='')}")

    def keys(self, *, dead_too: bool) -> dict[str, Any]:
        """GET /keys."""
        return self._call("GET", f"/keys?all={str(dead_too).lower()}")

    def create_key(self, order: dict[str, Any]) -> dict[str, Any]:
        """POST a key to make."""
        return self._call("POST", "/keys", order)

    def rotate_key(self, key_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """POST a successor to make."""
        return self._call("POST", f"{_key_path(key_id)}/rotate", wanted)

    def revoke_key(self, key_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """POST the end of a key."""
        return self._call("POST", f"{_key_path(key_id)}/revoke", wanted)

    def key_history(self, limit: int, before: int | None) -> dict[str, Any]:
        """GET a page of the keys' audit log."""
        return self._call("GET", f"/keys/history{_page(limit, before)}")

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        document: bytes | None = None,
    ) -> dict[str, Any]:
        _refuse_undecodable(body or {})
        with self._faults_told():
            answer = self._http.request(method, path, json=body, content=document, headers=headers)
        content = _json_object(answer)
        if answer.is_success and content is not None:
            self.replayed = answer.headers.get("idempotency-replayed") == "true"
            return content
        raise self._fault(answer)

    def _lines(self, path: str) -> Iterator[bytes]:
        with self._faults_told(), self._http.stream("GET", path) as answer:
            if not answer.is_success or answer.headers.get("content-type") != NDJSON:
                answer.read()
                raise self._fault(answer)
            self.why_none = answer.headers.get("x-glidepath-why", "")
            yield from answer.iter_bytes()

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.RequestError, httpx2.InvalidURL) as fault:
            cause = f"no answer from {self._address}: {fault or type(fault).__name__}"
            hint = "is the gateway running, and is this its admin address?"
            raise ApiFault(cause, hint, _UNREACHABLE, passing=True) from fault

    def _fault(self, answer: httpx2.Response) -> ApiFault:
        content = _json_object(answer)
        ours = content is not None and "detail" in content and ("hint" in content or answer.status_code in _AUTHORITY)
        if content is None or not ours:
            cause = f"{self._address} answered {answer.status_code}, not as the operator API does"
            return ApiFault(cause, _strange(answer.status_code), _UNREACHABLE, passing=True)
        return _refusal(answer.status_code, content)


def _strange(status: int) -> str:
    """Say what to do about an answer that is no problem: a crash of the API is one, and so is any other server."""
    is_admin = "is this the admin address of a gateway?"
    return f"look in the gateway's log, that has the fault; else: {is_admin}" if status >= _SERVER_FAULT else is_admin


def _path(feature: str) -> str:
    if not re.fullmatch(NAME_PATTERN, feature):
        raise InvalidArgument(f"{feature!r} can't be a feature's name", "use letters, digits, '.', '_' and '-'")
    return f"/features/{feature}"


def _conditions(revision: int | None, key: str | None) -> dict[str, str]:
    headers = {} if revision is None else {"If-Match": f'"{revision}"'}
    return headers if key is None else headers | {"Idempotency-Key": checked(Once(key, b"")).key}


def _key_path(key_id: str) -> str:
    """A path for what looks like an id; a key given by mistake must not travel as one."""
    if not re.fullmatch(_KEY_ID, key_id) or key_id.startswith(KEY_PREFIX):
        raise InvalidArgument("that can't be a key's id", "ids begin with key_: see `glidepath keys list`")
    return f"/keys/{key_id}"


def _page(limit: int, before: int | None) -> str:
    return f"?limit={limit}" + ("" if before is None else f"&before={before}")


def _refuse_undecodable(body: dict[str, Any]) -> None:
    """Refuse what Python made of bytes on the command line that are no UTF-8: JSON can't carry it."""
    for name, value in body.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as fault:
            raise InvalidArgument(f"{name} {value!r} is not UTF-8 text", "check the terminal's encoding") from fault


def _json_object(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        content = answer.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _refusal(status: int, content: dict[str, Any]) -> ApiFault:
    hint = str(content.get("hint") or "")
    if status in _AUTHORITY and not hint:
        hint = "give a key with the needed role: --api-key, GLIDEPATH_API_KEY or GLIDEPATH_KEY_FILE"
    current = content.get("current")
    if current is not None:
        hint += f"; it is now at revision {current['revision']} with {current['share']}"
    further = content.get("faults", [])[1:]
    if further:
        hint += f"; further faults: {'; '.join(map(str, further))}"
    if content.get("written"):
        hint += f"; written before that: {', '.join(map(str, content['written']))}"
    code = _EXIT_CODES.get(status, 1)
    return ApiFault(str(content["detail"]), hint, code, passing=status >= _SERVER_FAULT, status=status)
