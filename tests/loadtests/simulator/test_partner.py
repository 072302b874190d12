"""The partner's decisions, request in, script out, without sockets."""

import json

import pytest

from loadtests.simulator.answers import References
from loadtests.simulator.config import SimulatorConfig
from loadtests.simulator.draws import Latency
from loadtests.simulator.faults import STREAM_ONLY, Fault, FaultKind
from loadtests.simulator.partner import Partner
from loadtests.simulator.reply import Script
from loadtests.simulator.request import Request
from loadtests.simulator.stats import Ending, Exchange
from loadtests.simulator.wire import Api

CHAT = "/v1/chat/completions"
VERSION = {b"anthropic-version": b"2023-06-01"}


def partner(*faults: Fault, answers: dict[str, str] | None = None, **config: object) -> Partner:
    return Partner(SimulatorConfig(faults=faults, **config), References(answers or {}, ()), 1_000.5)


def post(
    path: str = CHAT, *, question: str = "q", headers: dict[bytes, bytes] | None = None, **more: object
) -> Request:
    body = {"model": "simulated-partner", "messages": [{"role": "user", "content": question}], **more}
    return Request("POST", path, json.dumps(body).encode(), tuple((headers or {}).items()))


def complete(partner: Partner, request: Request) -> tuple[Script, Exchange]:
    return partner.complete(Api(request.path), request, 0)


def answer(found: Script) -> tuple[int, dict]:
    head, _, body = b"".join(write.data for write in found.writes).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def times(found: Script) -> list[float]:
    return [write.due_s for write in found.writes]


def test_the_same_run_replays_and_a_repeated_prompt_draws_new_times() -> None:
    first, second = partner(seed=3), partner(seed=3)
    one = [times(complete(first, post(stream=True))[0]) for _ in range(3)]
    two = [times(complete(second, post(stream=True))[0]) for _ in range(3)]
    assert one == two
    assert one[0] != one[1]
    assert times(complete(partner(seed=4), post(stream=True))[0]) != one[0]


def test_other_requests_in_between_do_not_change_the_times() -> None:
    quiet, busy = partner(), partner()
    for number in range(20):
        complete(busy, post(question=f"other {number}"))
    assert times(complete(quiet, post())[0]) == times(complete(busy, post())[0])


def test_a_known_prompt_gets_its_reference_on_each_endpoint() -> None:
    found = partner(answers={"q": "the answer"}, accuracy=1.0)
    assert answer(complete(found, post())[0])[1]["choices"][0]["message"]["content"] == "the answer"
    text = complete(found, post("/v1/completions", prompt=" q"))[0]
    assert answer(text)[1]["choices"][0]["text"] == "the answer"
    response = complete(found, post("/v1/responses", input="q"))[0]
    assert answer(response)[1]["output"][0]["content"][0]["text"] == "the answer"


@pytest.mark.parametrize("given", [{}, {b"authorization": b"Bearer wrong"}])
def test_without_the_required_key_the_answer_is_401(given: dict) -> None:
    found = partner(require_key="secret")
    status, body = answer(complete(found, post(headers=given))[0])
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert "secret" not in json.dumps(body)


def test_with_the_required_key_it_answers() -> None:
    assert answer(complete(partner(require_key="s"), post(headers={b"authorization": b"Bearer s"}))[0])[0] == 200


def test_an_unknown_model_is_404_with_the_nearest_name_and_counted_under_one_name() -> None:
    found = partner()
    for number in range(100):
        status, body = answer(complete(found, post(model=f"simulated-partnr-{number}"))[0])
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert "simulated-partner" in body["error"]["message"]
    assert list(found.stats.snapshot()["models"]) == ["(unknown)"]


def test_a_bad_body_is_400() -> None:
    assert answer(complete(partner(), Request("POST", CHAT, b"{"))[0])[0] == 400


def test_an_error_status_counts_as_started_with_its_status_and_fault() -> None:
    found = partner(Fault(FaultKind.STATUS, status=529))
    script, exchange = complete(found, post())
    assert answer(script)[0] == 529
    assert exchange is not None
    stats = found.stats.snapshot()
    assert (stats["statuses"], stats["faults"]) == ({"529": 1}, {"status": 1})


def test_a_limited_fault_strikes_its_number_of_requests_and_again_after_being_set() -> None:
    fault = Fault(FaultKind.STATUS, limit=2)
    found = partner(fault)
    assert [answer(complete(found, post())[0])[0] for _ in range(4)] == [503, 503, 200, 200]
    found.set_faults((fault,))
    assert answer(complete(found, post())[0])[0] == 503


def test_a_huge_answer_is_timed_like_any_other() -> None:
    found = partner(Fault(FaultKind.HUGE_ANSWER, size_bytes=100_000), latency=Latency(1, 0, 1, 0))
    script, _ = complete(found, post())
    assert times(script) == [2.0]
    assert len(answer(script)[1]["choices"][0]["message"]["content"]) == 100_000


@pytest.mark.parametrize(
    "kind", [kind for kind in FaultKind if kind not in (FaultKind.HUGE_ANSWER, FaultKind.HUGE_EVENT)]
)
@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_strikes_every_endpoint_that_it_can(kind: FaultKind, api: Api, *, stream: bool) -> None:
    fault = Fault(kind, size_bytes=1000, gap_s=0)
    request = post(api.value, prompt="q", input="q", max_tokens=99, stream=stream, headers=VERSION)._replace(nth=1)
    script, exchange = complete(partner(fault), request)
    plain, _ = complete(partner(), request)
    spared = kind in STREAM_ONLY and not stream
    assert exchange.seen.fault == (None if spared else kind.value)
    # A drip and a split send the same bytes at other times.
    assert (script == plain) == spared


def test_a_request_may_ask_for_its_fault_by_header_or_in_its_prompt() -> None:
    found = partner(Fault(FaultKind.STATUS, status=500))
    asked = post(headers={b"x-simulator-fault": b'{"kind":"status","status":429}'})
    assert answer(complete(found, asked)[0])[0] == 429
    assert answer(complete(found, post(question="q [[fault:context_overflow]]"))[0])[0] == 400
    assert answer(complete(found, post())[0])[0] == 500
    assert (
        answer(complete(found, post(headers={b"x-simulator-fault": b"rest"}))[0])[1]["error"]["code"] == "bad_directive"
    )


def test_a_prompt_with_directives_is_still_the_known_prompt() -> None:
    found = partner(answers={"q": "the answer"}, accuracy=1.0)
    body = answer(complete(found, post(question="q [[fault:duplicate_headers]]"))[0])[1]
    assert body["choices"][0]["message"]["content"] == "the answer"


def test_a_later_request_continues_an_earlier_answer() -> None:
    found = partner()
    _, first = answer(complete(found, post("/v1/responses", input="hello"))[0])
    more = post("/v1/responses", input="hello", previous_response_id=first["id"])
    _, second = answer(complete(found, more)[0])
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] == first["usage"]["total_tokens"] + first["usage"]["input_tokens"]
    unknown = post("/v1/responses", input="hello", previous_response_id="resp_none")
    status, body = answer(complete(found, unknown)[0])
    assert (status, body["error"]["code"]) == (400, "previous_response_not_found")
    _, third = answer(complete(found, post("/v1/responses", input="hello", store=False))[0])
    forgotten = post("/v1/responses", input="hello", previous_response_id=third["id"])
    assert answer(complete(found, forgotten)[0])[0] == 400


def test_anthropics_answers_name_the_request_in_its_header() -> None:
    script, _ = complete(partner(), post("/v1/messages", max_tokens=9, headers=VERSION))
    assert b"\r\nrequest-id: sim-1\r\n" in script.writes[0].data
    status, body = answer(complete(partner(), post("/v1/messages", max_tokens=9))[0])
    assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")


def test_counts_are_forgotten_on_demand_and_what_is_in_progress_settles_in_the_old_ones() -> None:
    found = partner()
    _, exchange = complete(found, post(headers={b"x-request-id": b"mine"}))
    before = found.stats
    assert before.ledger.tallies("mine")["arrived"] == 1
    found.reset()
    exchange.settle(Ending.COMPLETED)
    assert before.snapshot()["requests"]["completed"] == 1
    assert found.stats.snapshot()["requests"]["started"] == 0
