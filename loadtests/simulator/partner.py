"""The simulated partner: one request in, one script of timed writes out. No sockets; the caller passes the time."""

import difflib
from array import array
from collections import Counter
from typing import Final, NamedTuple

import msgspec

from loadtests.errors import InvalidFileError
from loadtests.simulator.answers import References, answer_to
from loadtests.simulator.chunks import Ident
from loadtests.simulator.config import SimulatorConfig
from loadtests.simulator.draws import key_of, schedule
from loadtests.simulator.faults import Fault, FaultList, choose
from loadtests.simulator.reply import Reply, Script, bend, bent_answer, error_reply, json_reply, plan, refusal, script
from loadtests.simulator.stats import UNKNOWN_MODEL, Exchange, Stats
from loadtests.simulator.wire import Api, Ask, WireError, parse
from loadtests.strict import convert

FAULTS_PATH: Final = "/simulator/faults"
STATS_PATH: Final = "/simulator/stats"
_APIS: Final = {api.value: api for api in Api}
_METHODS: Final = {
    **dict.fromkeys(_APIS, ("POST",)),
    "/v1/models": ("GET",),
    "/healthz": ("GET",),
    FAULTS_PATH: ("GET", "POST"),
    STATS_PATH: ("GET",),
}
_PROMPT_SLOTS: Final = 1 << 16


class Request(NamedTuple):
    """One HTTP request as read from the socket."""

    method: str
    path: str
    body: bytes = b""
    authorization: str | None = None
    keep_alive: bool = True


class Partner:
    """Answers requests by configuration; holds only counters and the faults in force."""

    def __init__(self, config: SimulatorConfig, references: References, started_unix_s: float) -> None:
        self._config = config
        self._references = references
        self._started = int(started_unix_s)
        self._faults = config.faults
        self._fired: Counter[Fault] = Counter()
        # How often each prompt came, by hash: bounded memory, and a repeated prompt still draws new times each time.
        self._repetitions = array("L", bytes(array("L").itemsize * _PROMPT_SLOTS))
        self._served = 0
        self.stats = Stats()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults in force."""
        return self._faults

    def set_faults(self, faults: tuple[Fault, ...]) -> None:
        """Put other faults in force from the next request on; their limits count from zero."""
        self._faults = faults
        self._fired.clear()

    def respond(self, request: Request, unix_s: float) -> tuple[Script, Exchange | None]:
        """Return what to write and, for a completion request, what its end must be reported to."""
        api = _APIS.get(request.path)
        if api is not None and request.method == "POST":
            return self._complete(api, request, unix_s)
        return script(self._control(request), "sim", keep_alive=request.keep_alive), None

    def _complete(self, api: Api, request: Request, unix_s: float) -> tuple[Script, Exchange]:
        self._served += 1
        model, fault = UNKNOWN_MODEL, None
        request_id = f"sim-{self._served}"
        try:
            self._authorize(request)
            ask = parse(api, request.body)
            self._check_model(ask.model)
            model = ask.model
            repetition = self._repetition(ask.question)
            fault = choose(self._faults, ask, repetition, self._fired.__getitem__)
            if fault is not None:
                self._fired[fault] += 1
            reply = self._reply(ask, fault, repetition, unix_s)
        except WireError as error:
            reply = error_reply(error)
        exchange = self.stats.begin(model, request_id, fault, reply.status)
        return script(reply, request_id, keep_alive=request.keep_alive), exchange

    def _reply(self, ask: Ask, fault: Fault | None, repetition: int, unix_s: float) -> Reply:
        """Raise WireError when the fault is an error status."""
        if fault is not None and (error := refusal(fault)) is not None:
            raise error
        config = self._config
        answer = answer_to(
            ask.question,
            self._references,
            seed=config.seed,
            accuracy=config.accuracy,
            generic_tokens=config.generic_tokens,
            max_tokens=ask.max_tokens,
        )
        answer = bent_answer(answer, fault)
        key = key_of(config.seed, ask.question, repetition)
        ident = Ident(f"{key & 0xFFFFFFFFFFFF:012x}{self._served:08x}", int(unix_s))
        return bend(plan(ask, answer, ident, schedule(config.latency, key, len(answer.pieces))), fault)

    def _repetition(self, question: str) -> int:
        slot = key_of(0, question) % _PROMPT_SLOTS
        self._repetitions[slot] += 1
        return self._repetitions[slot] - 1

    def _authorize(self, request: Request) -> None:
        wanted = self._config.require_key
        if wanted is None or request.authorization == f"Bearer {wanted}":
            return
        message = "You didn't provide an API key." if request.authorization is None else "Incorrect API key provided."
        raise WireError(401, message, code="invalid_api_key")

    def _check_model(self, model: str) -> None:
        if model in self._config.models:
            return
        nearest = difflib.get_close_matches(model[:200], self._config.models, n=1) or self._config.models[:1]
        message = f"The model `{model[:200]}` does not exist (this is a simulator; it has `{nearest[0]}`)."
        raise WireError(404, message, code="model_not_found")

    def _control(self, request: Request) -> Reply:
        methods = _METHODS.get(request.path)
        if methods is None:
            return error_reply(WireError(404, f"Unknown request URL: {request.method} {request.path[:200]}."))
        if request.method not in methods:
            allow = (("allow", ", ".join(methods)),)
            return error_reply(WireError(405, f"Method {request.method} is not allowed here.", headers=allow))
        if request.path == STATS_PATH:
            return json_reply(self.stats.snapshot())
        if request.path == FAULTS_PATH:
            return self._fault_control(request)
        return json_reply(self._models() if request.path == "/v1/models" else {"status": "ok", "simulator": True})

    def _models(self) -> dict[str, object]:
        models = [
            {"id": name, "object": "model", "created": self._started, "owned_by": "glidepath-simulator"}
            for name in self._config.models
        ]
        return {"object": "list", "data": models}

    def _fault_control(self, request: Request) -> Reply:
        if request.method == "POST":
            try:
                self.set_faults(convert(msgspec.json.decode(request.body), FaultList, "faults").faults)
            except InvalidFileError as error:
                return error_reply(WireError(400, f"{error.cause}; {error.hint}"))
            except msgspec.DecodeError as error:
                return error_reply(WireError(400, f"faults: {error}"))
        return json_reply(FaultList(self._faults))
