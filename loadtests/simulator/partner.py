"""The simulated partner: one request in, one script of timed writes out. No sockets; the caller passes the time."""

from array import array
from collections.abc import Mapping
from functools import partial
from typing import Final

from loadtests.simulator import segments, sse_faults, wire_faults
from loadtests.simulator.admission import Remembered, authorize, check_model
from loadtests.simulator.answering import Voice, answer
from loadtests.simulator.answers import References
from loadtests.simulator.asks import parse
from loadtests.simulator.choice import Tally, strikes
from loadtests.simulator.config import SimulatorConfig
from loadtests.simulator.directives import Directives, directives, fault_of
from loadtests.simulator.draws import key_of, schedule
from loadtests.simulator.events import Ident
from loadtests.simulator.faults import Fault
from loadtests.simulator.ledger import Seen
from loadtests.simulator.refusals import error_reply, refusal
from loadtests.simulator.reply import Reply, Script, plan, script
from loadtests.simulator.request import Request
from loadtests.simulator.responses import response_id
from loadtests.simulator.sse_faults import bent_answer
from loadtests.simulator.stats import UNKNOWN_MODEL, Exchange, Stats
from loadtests.simulator.wire import Api, Ask, WireError

FAULT_HEADER: Final = b"x-simulator-fault"
_PROMPT_SLOTS: Final = 1 << 16


class Partner:
    """Answers completion requests by configuration; holds only counters and the faults in force."""

    def __init__(self, config: SimulatorConfig, references: References, started_unix_s: float) -> None:
        self.config = config
        self.started_s = int(started_unix_s)
        self._voice = Voice(references, config.seed, config.accuracy, config.generic_tokens)
        self._faults = config.faults
        self._tally = Tally()
        # How often each prompt came, by hash: bounded memory, and a repeated prompt still draws new times each time.
        self._repetitions = array("L", bytes(array("L").itemsize * _PROMPT_SLOTS))
        self._remembered = Remembered()
        self._served = 0
        self.stats = Stats(config.ids_kept, config.requests_kept)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults in force."""
        return self._faults

    def set_faults(self, faults: tuple[Fault, ...]) -> None:
        """Put other faults in force from the next request on; their limits count from zero."""
        self._faults = faults
        self._tally = Tally()

    def reset(self) -> None:
        """Forget all counts; requests in progress settle in the old ones."""
        self.stats = Stats(self.config.ids_kept, self.config.requests_kept)

    def complete(self, api: Api, request: Request, unix_s: float) -> tuple[Script, Exchange]:
        """Return what to write for a completion request, and what its end must be reported to."""
        self._served += 1
        request_id = f"sim-{self._served}"
        model, fault, stream = UNKNOWN_MODEL, None, False
        fields = dict(request.headers)
        try:
            authorize(api, fields, self.config.require_key)
            ask = parse(api, request.body)
            check_model(ask.model, self.config.models)
            model, stream = ask.model, ask.stream
            wishes = directives(ask.question)
            if wishes.question is not ask.question:
                ask = ask._replace(question=wishes.question)
            repetition = self._repetition(ask.question)
            fault = self._fault(ask, wishes, fields, request.nth, repetition)
            reply = self._reply(ask, wishes, fault, repetition, unix_s)
        except WireError as error:
            reply = error_reply(error, api)
        if api is Api.MESSAGES:
            reply = reply._replace(headers=(*reply.headers, ("request-id", request_id)))
        found = script(reply, request_id, keep_alive=request.keep_alive)
        if fault is not None and (segmented := segments.CHANGES.get(fault.kind)) is not None:
            found = segmented(found, fault)
        seen = Seen(request, fields.get(b"x-request-id", b"").decode("latin-1"), unix_s)
        return found, self.stats.begin(model, request_id, fault, reply.status, seen, stream=stream)

    def _fault(
        self, ask: Ask, wishes: Directives, fields: Mapping[bytes, bytes], nth: int, repetition: int
    ) -> Fault | None:
        """Return the fault this request meets: what it asks for itself, else the first in force that strikes."""
        given = fields.get(FAULT_HEADER)
        own = wishes.fault if given is None else fault_of(given.decode("latin-1"))
        faults = self._faults if own is None else (own,)
        return next((each for each in faults if strikes(each, ask, repetition, self._tally, nth)), None)

    def _reply(self, ask: Ask, wishes: Directives, fault: Fault | None, repetition: int, unix_s: float) -> Reply:
        if fault is not None and (error := refusal(fault, ask.api, unix_s)) is not None:
            return error
        if ask.previous_id is not None:
            ask = ask._replace(prompt_tokens=ask.prompt_tokens + self._remembered.tokens(ask.previous_id))
        config = self.config
        found = bent_answer(answer(ask, wishes, self._voice), fault)
        key = key_of(config.seed, ask.question, repetition)
        ident = Ident(f"{key & 0xFFFFFFFFFFFF:012x}{self._served:08x}", int(unix_s))
        if ask.store:
            self._remembered.keep(response_id(ident), ask.prompt_tokens + found.tokens)
        reply = plan(ask, found, ident, partial(schedule, config.latency, key))
        return reply if fault is None else _bent(reply, fault, ask.api)

    def _repetition(self, question: str) -> int:
        slot = key_of(0, question) % _PROMPT_SLOTS
        self._repetitions[slot] += 1
        return self._repetitions[slot] - 1


def _bent(reply: Reply, fault: Fault, api: Api) -> Reply:
    """Return `reply` as a fault of the wire or of the event stream changes it."""
    if (framed := wire_faults.CHANGES.get(fault.kind)) is not None:
        return framed(reply, fault)
    if (streamed := sse_faults.CHANGES.get(fault.kind)) is not None:
        return streamed(reply, fault, api)
    return reply
