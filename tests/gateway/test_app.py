"""The public port besides the relay, through the same protocol that serves it."""

import httpx2
import pytest
from msgspec.structs import replace

from gateway.app import build_app
from gateway.auth import first_key_record
from gateway.feedback import AnswerIndex, Others, SilenceError, UnknownAnswerError
from gateway.metrics import Metrics
from gateway.recorder import Recorder

CALL = {"model": "copilot/draft", "user": "u", "messages": []}


class Public:
    """The port, and what is behind it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.answers = AnswerIndex(self.metrics)
        self.recorder = Recorder(self.metrics, self.answers)
        self.unready: str | None = None
        self.others: Others | None = None

    def app(self, relay):
        return build_app(relay, self.recorder, self.answers, lambda: self.unready, self)

    async def take(self, rated, tenant: str) -> str:
        """As the other workers do."""
        if self.others is None:
            raise UnknownAnswerError
        return await self.others.take(rated, tenant)


@pytest.fixture
async def public(relay_gateway, upstream, wire, stack) -> Public:
    server = await upstream(wire.plain('{"choices":[]}'))
    public = Public()
    gateway = await relay_gateway(
        candidate=server.port, baseline=server.port, record=public.recorder.record, app=public.app
    )
    public.gateway = gateway
    public.client = await stack.enter_async_context(
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{gateway.port}",
            headers={"authorization": f"Bearer {wire.key}"},
            trust_env=False,
            timeout=60,
        )
    )
    return public


def error_of(answer: httpx2.Response) -> dict[str, str | None]:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_models_are_the_features_and_for_whom_may_the_models(public, wire) -> None:
    listed = (await public.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["copilot/draft", "moe-1", "gpt-1"]
    own = replace(first_key_record("gp-own", 0.0, name="own"), features=("other",), model_bypass=False)
    public.gateway.relay.keyring.replace([own])
    answer = await public.client.get("/v1/models", headers={"authorization": "Bearer gp-own"})
    assert answer.json()["data"] == []


async def test_one_model_by_its_name_with_the_slash(public) -> None:
    answer = await public.client.get("/v1/models/copilot/draft")
    assert answer.json() == {"id": "copilot/draft", "object": "model", "created": 0, "owned_by": "glidepath"}
    unknown = await public.client.get("/v1/models/copilot/drat")
    assert unknown.status_code == 404
    assert "`copilot/draft`" in error_of(unknown)["message"]


async def test_models_in_anthropics_shape(public, wire) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    listed = (await public.client.get("/v1/models", headers=headers)).json()
    assert [model["display_name"] for model in listed["data"]] == ["copilot/draft", "moe-1", "gpt-1"]
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "copilot/draft", "gpt-1")
    one = await public.client.get("/v1/models/copilot/draft", headers=headers)
    assert one.json() == listed["data"][0]
    own = replace(first_key_record("gp-own", 0.0, name="own"), features=("other",), model_bypass=False)
    public.gateway.relay.keyring.replace([own])
    none = await public.client.get("/v1/models", headers={**headers, "authorization": "Bearer gp-own"})
    assert none.json() == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/copilot/draft", "/v1/feedback"])
@pytest.mark.parametrize("authorization", ["", "Bearer gp-wrong", "Basic x"])
async def test_without_a_key_nothing(public, path: str, authorization: str) -> None:
    method = "POST" if path.endswith("feedback") else "GET"
    body = {"request_id": "r", "rating": 1} if method == "POST" else None
    answer = await public.client.request(method, path, json=body, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/v1/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/feedback", 405, "method_not_allowed"),
        ("POST", "/v1/chat/%63ompletions", 404, "not_found"),
    ],
)
async def test_wrong_paths_and_methods_get_an_error_object(
    public, method: str, path: str, status: int, code: str
) -> None:
    answer = await public.client.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["code"] == code
    assert ("allow" in answer.headers) == (status == 405)


async def test_feedback_on_an_answer_counts_for_its_assigned_arm(public) -> None:
    asked = await public.client.post("/v1/chat/completions", json=CALL)
    request_id = asked.headers["x-request-id"]
    given = await public.client.post("/v1/feedback", json={"request_id": request_id, "rating": 1})
    assert given.json() == {"object": "feedback", "request_id": request_id, "feature": "copilot/draft"}
    assert public.metrics.quality_sum.series == {("draft", asked.headers["x-glidepath-assigned"], "rating"): 1.0}
    again = await public.client.post("/v1/feedback", json={"request_id": request_id, "rating": -1})
    assert again.status_code == 200
    assert list(public.metrics.quality_sum.series.values()) == [0.0]
    assert list(public.metrics.quality_units.series.values()) == [1.0]


async def test_feedback_on_nothing_known_is_a_404_and_late_a_410(public) -> None:
    body = {"request_id": "req_unknown", "accepted": True}
    unknown = await public.client.post("/v1/feedback", json=body)
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "request_not_found")
    asked = await public.client.post("/v1/chat/completions", json=CALL)
    public.answers._age_max_s = -1.0
    late = await public.client.post("/v1/feedback", json={**body, "request_id": asked.headers["x-request-id"]})
    assert (late.status_code, error_of(late)["code"]) == (410, "feedback_too_late")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"request_id":"r"}', None),
        (b'{"request_id":"r","rating":5}', "rating"),
        (b'{"request_id":"r","rating":1,"score":1}', None),
        (b'{"rating":1}', "request_id"),
        (b'{"request_id":"r","rating":1,"x":1}', "x"),
        (b'{"request_id":"r","score":NaN}', "score"),
        (b"{", None),
        (b"\xff", None),
        (b"", None),
        (b"[]", None),
    ],
)
async def test_bad_feedback_is_a_400(public, body: bytes, param: str | None) -> None:
    answer = await public.client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param


async def test_health_needs_no_key(public) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await public.client.get(path, headers={"authorization": ""})
        assert answer.status_code == 200


async def test_not_ready_is_a_503_with_its_reason_while_alive(public) -> None:
    public.unready = "draining"
    answer = await public.client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert error_of(answer)["message"] == "draining"
    assert (await public.client.get("/healthz")).status_code == 200


async def test_the_relay_is_in_the_openapi_document(public) -> None:
    paths = (await public.client.get("/openapi.json")).json()["paths"]
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/feedback", "/healthz"} <= set(paths)


async def test_a_fault_of_our_own_is_a_500_that_tells_nothing(public) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    public.gateway.relay.snapshot = broken
    answer = await public.client.get("/v1/models")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    assert "secret" not in answer.text


class Another:
    """A worker that knows every answer, or says nothing."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.took: list[tuple[str, str, str, float]] = []

    async def take(self, rated, tenant: str) -> str:
        if self.silent:
            raise SilenceError
        self.took.append((tenant, rated.request_id, rated.kind, rated.value))
        return "other"


async def test_feedback_on_an_answer_of_another_worker_is_counted_there(public) -> None:
    public.others = another = Another()
    given = await public.client.post("/v1/feedback", json={"request_id": "elsewhere", "accepted": True})
    assert given.json() == {"object": "feedback", "request_id": "elsewhere", "feature": "copilot/other"}
    assert another.took == [("default", "elsewhere", "accepted", 1.0)]
    assert public.metrics.feedback.series == {}


async def test_the_other_workers_are_not_asked_about_our_own_answers(public) -> None:
    public.others = another = Another()
    request_id = (await public.client.post("/v1/chat/completions", json=CALL)).headers["x-request-id"]
    given = await public.client.post("/v1/feedback", json={"request_id": request_id, "rating": 1})
    assert given.json()["feature"] == "copilot/draft"
    assert another.took == []


async def test_when_the_others_are_silent_the_caller_may_try_again(public) -> None:
    public.others = Another(silent=True)
    given = await public.client.post("/v1/feedback", json={"request_id": "elsewhere", "rating": 1})
    assert (given.status_code, error_of(given)["code"]) == (503, "feedback_not_taken")
    assert given.headers["retry-after"] == "1"
