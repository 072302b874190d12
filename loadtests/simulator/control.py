"""The paths besides the completions: models, health, and what operates and reads the simulator itself."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeVar
from urllib.parse import parse_qs

import msgspec

from loadtests.errors import InvalidFileError
from loadtests.simulator.faults import FaultList, Seconds
from loadtests.simulator.partner import Partner
from loadtests.simulator.refusals import error_reply
from loadtests.simulator.reply import Reply, Script, json_reply, script
from loadtests.simulator.request import Request
from loadtests.simulator.stats import Exchange
from loadtests.simulator.wire import Api, WireError
from loadtests.strict import convert

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS_PATH: Final = "/simulator/faults"
STATS_PATH: Final = "/simulator/stats"
REQUESTS_PATH: Final = "/simulator/requests"
TALLIES_PATH: Final = "/simulator/tallies"
RESET_PATH: Final = "/simulator/reset"
LISTENER_PATH: Final = "/simulator/listener"
_MODELS: Final = "/v1/models"
_LAST: Final = 20
_IDS_ASKED_MAX: Final = 10_000
_APIS: Final = {api.value: api for api in Api}

T = TypeVar("T")


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long new connections are refused, and whether the open ones are dropped."""

    refuse_s: Seconds
    drop: bool = False


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids whose counts are asked for."""

    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=_IDS_ASKED_MAX)]


class Listener(Protocol):
    """The simulator's port."""

    @property
    def open_count(self) -> int:
        """Return how many connections are open now."""

    @property
    def total(self) -> int:
        """Return how many connections there were so far."""

    def refuse(self, seconds: float, *, drop: bool) -> None:
        """Refuse new connections for so long."""


class Desk:
    """Takes each request to the partner or answers it itself."""

    def __init__(self, partner: Partner, listener: Listener) -> None:
        self._partner = partner
        self._listener = listener
        self._paths: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("GET", "/health"): self._health,
            ("GET", "/healthz"): self._health,
            ("GET", _MODELS): self._list_models,
            ("GET", FAULTS_PATH): self._show_faults,
            ("POST", FAULTS_PATH): self._set_faults,
            ("GET", STATS_PATH): self._stats,
            ("GET", REQUESTS_PATH): self._requests,
            ("POST", TALLIES_PATH): self._tallies,
            ("POST", RESET_PATH): self._reset,
            ("POST", LISTENER_PATH): self._close_listener,
        }

    def respond(self, request: Request, unix_s: float) -> tuple[Script, Exchange | None]:
        """Return what to write and, for a completion request, what its end must be reported to."""
        api = _APIS.get(request.path)
        if api is not None and request.method == "POST":
            return self._partner.complete(api, request, unix_s)
        try:
            reply = self._answer(request)
        except WireError as error:
            reply = error_reply(error)
        return script(reply, "sim", keep_alive=request.keep_alive), None

    def _answer(self, request: Request) -> Reply:
        found = self._paths.get((request.method, request.path))
        if found is not None:
            return found(request)
        if request.method == "GET" and request.path.startswith(f"{_MODELS}/"):
            return self._one_model(request)
        methods = [method for method, path in self._paths if path == request.path]
        methods += ["POST"] * (request.path in _APIS)
        if methods:
            allow = (("allow", ", ".join(methods)),)
            raise WireError(405, f"Method {request.method} is not allowed here.", headers=allow)
        raise WireError(404, f"Unknown request URL: {request.method} {request.path[:200]}.")

    def _health(self, _: Request) -> Reply:
        return json_reply({"status": "ok", "simulator": True})

    def _list_models(self, request: Request) -> Reply:
        models = [self._model(name, request) for name in self._partner.config.models]
        if not request.has(b"anthropic-version"):
            return json_reply({"object": "list", "data": models})
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]}
        return json_reply({"data": models, "has_more": False, **ends})

    def _one_model(self, request: Request) -> Reply:
        name = request.path.removeprefix(f"{_MODELS}/")
        if name not in self._partner.config.models:
            raise WireError(404, f"The model `{name[:200]}` does not exist.", code="model_not_found")
        return json_reply(self._model(name, request))

    def _model(self, name: str, request: Request) -> dict[str, Any]:
        created_s = self._partner.started_s
        if not request.has(b"anthropic-version"):
            return {"id": name, "object": "model", "created": created_s, "owned_by": "glidepath-simulator"}
        created_at = datetime.fromtimestamp(created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"type": "model", "id": name, "display_name": name, "created_at": created_at, "lifecycle": "active"}

    def _show_faults(self, _: Request) -> Reply:
        return json_reply(FaultList(self._partner.faults))

    def _set_faults(self, request: Request) -> Reply:
        self._partner.set_faults(_read(request, FaultList, "faults").faults)
        return self._show_faults(request)

    def _stats(self, _: Request) -> Reply:
        connections = {"open": self._listener.open_count, "total": self._listener.total}
        return json_reply(self._partner.stats.snapshot() | {"connections": connections})

    def _requests(self, request: Request) -> Reply:
        asked = parse_qs(request.query)
        identifier = asked.get("id", [None])[0]
        count = asked.get("last", [str(_LAST)])[0]
        if not count.isascii() or not count.isdigit():
            raise WireError(400, "`last` must be a number.", param="last")
        ledger = self._partner.stats.ledger
        tallies = None if identifier is None else ledger.tallies(identifier)
        return json_reply({"requests": ledger.last(int(count), identifier), "tallies": tallies})

    def _tallies(self, request: Request) -> Reply:
        """Each id's counts in the order of the question: arrived, completed, aborted, broken."""
        tallies = self._partner.stats.ledger.tallies
        asked = _read(request, Asked, "tallies").ids
        return json_reply({"tallies": [list(tallies(each).values()) for each in asked]})

    def _reset(self, request: Request) -> Reply:
        self._partner.reset()
        return self._stats(request)

    def _close_listener(self, request: Request) -> Reply:
        closing = _read(request, Closing, "listener")
        self._listener.refuse(closing.refuse_s, drop=closing.drop)
        return json_reply(closing)


def _read(request: Request, shape: type[T], what: str) -> T:
    try:
        return convert(msgspec.json.decode(request.body), shape, what)
    except InvalidFileError as error:
        raise WireError(400, f"{error.cause}; {error.hint}") from None
    except msgspec.DecodeError as error:
        raise WireError(400, f"{what}: {error}") from None
