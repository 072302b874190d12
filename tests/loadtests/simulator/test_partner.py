"""The partner's decisions, request in, script out, without sockets."""

import json

import pytest

from loadtests.simulator.answers import References
from loadtests.simulator.config import SimulatorConfig
from loadtests.simulator.draws import Latency
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.partner import Partner, Request
from loadtests.simulator.reply import Script

CHAT = "/v1/chat/completions"


def partner(*faults: Fault, answers: dict[str, str] | None = None, **config: object) -> Partner:
    return Partner(SimulatorConfig(faults=faults, **config), References(answers or {}, ()), 1_000.5)


def post(path: str = CHAT, *, question: str = "q", authorization: str | None = None, **more: object) -> Request:
    body = {"model": "simulated-partner", "messages": [{"role": "user", "content": question}], **more}
    return Request("POST", path, json.dumps(body).encode(), authorization)


def answer(found: Script) -> tuple[int, dict]:
    head, _, body = b"".join(write.data for write in found.writes).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def times(found: Script) -> list[float]:
    return [write.due_s for write in found.writes]


def test_the_same_run_replays_and_a_repeated_prompt_draws_new_times() -> None:
    first, second = partner(seed=3), partner(seed=3)
    one = [times(first.respond(post(stream=True), 0)[0]) for _ in range(3)]
    two = [times(second.respond(post(stream=True), 0)[0]) for _ in range(3)]
    assert one == two
    assert one[0] != one[1]
    assert times(partner(seed=4).respond(post(stream=True), 0)[0]) != one[0]


def test_other_requests_in_between_do_not_change_the_times() -> None:
    quiet, busy = partner(), partner()
    for number in range(20):
        busy.respond(post(question=f"other {number}"), 0)
    assert times(quiet.respond(post(), 0)[0]) == times(busy.respond(post(), 0)[0])


def test_a_known_prompt_gets_its_reference_on_each_endpoint() -> None:
    found = partner(answers={"q": "the answer"}, accuracy=1.0)
    assert answer(found.respond(post(), 0)[0])[1]["choices"][0]["message"]["content"] == "the answer"
    text = found.respond(post("/v1/completions", prompt=" q"), 0)[0]
    assert answer(text)[1]["choices"][0]["text"] == "the answer"
    response = found.respond(post("/v1/responses", input="q"), 0)[0]
    assert answer(response)[1]["output"][0]["content"][0]["text"] == "the answer"


@pytest.mark.parametrize("given", [None, "Bearer wrong", "secret"])
def test_without_the_required_key_the_answer_is_401(given: str | None) -> None:
    found = partner(require_key="secret")
    status, body = answer(found.respond(post(authorization=given), 0)[0])
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert "secret" not in json.dumps(body)


def test_with_the_required_key_it_answers() -> None:
    assert answer(partner(require_key="s").respond(post(authorization="Bearer s"), 0)[0])[0] == 200


def test_an_unknown_model_is_404_with_the_nearest_name_and_counted_under_one_name() -> None:
    found = partner()
    for number in range(100):
        status, body = answer(found.respond(post(model=f"simulated-partnr-{number}"), 0)[0])
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert "simulated-partner" in body["error"]["message"]
    assert list(found.stats.snapshot()["models"]) == ["(unknown)"]


def test_a_bad_body_is_400() -> None:
    assert answer(partner().respond(Request("POST", CHAT, b"{"), 0)[0])[0] == 400


def test_an_error_status_counts_as_started_with_its_status_and_fault() -> None:
    found = partner(Fault(FaultKind.STATUS, status=529))
    script, exchange = found.respond(post(), 0)
    assert answer(script)[0] == 529
    assert exchange is not None
    stats = found.stats.snapshot()
    assert (stats["statuses"], stats["faults"]) == ({"529": 1}, {"status": 1})


def test_a_limited_fault_strikes_its_number_of_requests_and_again_after_being_set() -> None:
    fault = Fault(FaultKind.STATUS, limit=2)
    found = partner(fault)
    assert [answer(found.respond(post(), 0)[0])[0] for _ in range(4)] == [503, 503, 200, 200]
    found.set_faults((fault,))
    assert answer(found.respond(post(), 0)[0])[0] == 503


def test_a_huge_answer_is_timed_like_any_other() -> None:
    found = partner(Fault(FaultKind.HUGE_ANSWER, size_bytes=100_000), latency=Latency(1, 0, 1, 0))
    script, _ = found.respond(post(), 0)
    assert times(script) == [2.0]
    assert len(answer(script)[1]["choices"][0]["message"]["content"]) == 100_000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/simulator/stats", 200),
        ("GET", "/simulator/faults", 200),
        ("GET", CHAT, 405),
        ("POST", "/healthz", 405),
        ("GET", "/nowhere", 404),
    ],
)
def test_other_paths(method: str, path: str, status: int) -> None:
    script, exchange = partner().respond(Request(method, path), 0)
    assert answer(script)[0] == status
    assert exchange is None


def test_models_lists_the_configured_names() -> None:
    script, _ = partner(models=("a", "b")).respond(Request("GET", "/v1/models"), 0)
    assert [model["id"] for model in answer(script)[1]["data"]] == ["a", "b"]


def test_faults_are_switched_at_run_time_and_read_back() -> None:
    found = partner()
    body = b'{"faults": [{"kind": "reset", "rate": 0.5}]}'
    status, shown = answer(found.respond(Request("POST", "/simulator/faults", body), 0)[0])
    assert (status, shown["faults"][0]["rate"]) == (200, 0.5)
    assert found.faults == (Fault(FaultKind.RESET, rate=0.5),)
    assert answer(found.respond(Request("GET", "/simulator/faults"), 0)[0])[1] == shown


@pytest.mark.parametrize("body", [b"{", b'{"faults": [{"kind": "rest"}]}', b'{"fault": []}', b"[]"])
def test_bad_faults_are_refused_and_the_old_ones_stay(body: bytes) -> None:
    fault = Fault(FaultKind.RESET)
    found = partner(fault)
    assert answer(found.respond(Request("POST", "/simulator/faults", body), 0)[0])[0] == 400
    assert found.faults == (fault,)
