import msgspec
import pytest

from loadtests.simulator.faults import LEAK, ErrorBody, Fault, FaultKind
from loadtests.simulator.refusals import WORDS, error_body, error_reply, refusal
from loadtests.simulator.reply import Reply
from loadtests.simulator.wire import Api, WireError


def refused(kind: FaultKind = FaultKind.STATUS, api: Api = Api.CHAT, **figures: object) -> Reply:
    found = refusal(Fault(kind, **figures), api, 1_700_000_000.0)
    assert found is not None
    return found


def body(reply: Reply) -> dict:
    return msgspec.json.decode(reply.data)


@pytest.mark.parametrize("status", [*WORDS, 418, 599])
def test_every_status_may_be_asked_for_and_has_all_four_keys(status: int) -> None:
    found = refused(status=status)
    assert found.status == status
    assert set(body(found)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"), (404, "not_found_error"),
     (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error"), (502, "api_error")],
)  # fmt: skip
def test_anthropics_errors_have_its_shape(status: int, kind: str) -> None:
    found = body(refused(api=Api.MESSAGES, status=status))
    assert (found["type"], found["error"]["type"]) == ("error", kind)
    assert set(found["error"]) == {"type", "message"}


@pytest.mark.parametrize(
    ("figures", "header"),
    [
        ({}, None),
        ({"retry_after_s": 7.0}, "7"),
        ({"retry_after_s": 0.5}, "0.5"),
        ({"retry_after_s": 7.0, "retry_after_date": True}, "Tue, 14 Nov 2023 22:13:27 GMT"),
    ],
)
def test_a_wait_comes_as_seconds_or_as_a_date_or_not(figures: dict, header: str | None) -> None:
    assert dict(refused(status=429, **figures).headers).get("retry-after") == header


@pytest.mark.parametrize("api", Api)
def test_words_may_be_given_and_a_secret_leaked(api: Api) -> None:
    found = body(refused(api=api, message="no", code="c", leak=True))
    assert found["error"]["message"] == f"no ({LEAK})"
    assert found["error"].get("code", "c") == "c"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            ErrorBody.NESTED,
            {"error": {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}},
        ),
        (ErrorBody.DETAIL, {"detail": "no"}),
        (ErrorBody.STRING, {"error": "no"}),
    ],
)
def test_shapes_that_proxies_make_of_it(shape: ErrorBody, expected: dict) -> None:
    assert body(refused(status=500, body=shape, message="no")) == expected


def test_html_and_nothing_at_all() -> None:
    page = refused(status=502, body=ErrorBody.HTML)
    assert ("content-type", "text/html") in page.headers
    assert page.data.startswith(b"<html>")
    empty = refused(status=503, body=ErrorBody.EMPTY, retry_after_s=1.0)
    assert (empty.data, empty.length, empty.headers) == (b"", 0, (("retry-after", "1"),))


def test_an_error_as_a_success() -> None:
    found = refused(status=200, message="no")
    assert (found.status, body(found)["error"]["message"]) == (200, "no")


@pytest.mark.parametrize(("given", "status"), [({}, 307), ({"status": 302}, 302)])
def test_a_redirect_names_another_place(given: dict, status: int) -> None:
    found = refused(FaultKind.REDIRECT, location="http://other/", **given)
    assert (found.status, dict(found.headers)["location"]) == (status, "http://other/")


def test_prompts_are_refused_in_azures_and_openais_words() -> None:
    azure = refused(FaultKind.CONTENT_REFUSED)
    assert (azure.status, body(azure)["error"]["code"]) == (400, "content_filter")
    assert body(azure)["error"]["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    overflow = refused(FaultKind.CONTEXT_OVERFLOW)
    assert (overflow.status, body(overflow)["error"]["code"]) == (400, "context_length_exceeded")


def test_other_faults_refuse_nothing() -> None:
    assert refusal(Fault(FaultKind.RESET), Api.CHAT, 0) is None


def test_a_refused_request_is_worded_by_its_endpoint() -> None:
    error = WireError(404, "none", code="c", headers=(("allow", "GET"),))
    assert error_body(None, error)["error"]["code"] == "c"
    found = error_reply(error, Api.MESSAGES)
    assert (found.status, body(found)["error"]["type"]) == (404, "not_found_error")
    assert ("allow", "GET") in found.headers
