import pytest

from loadtests.simulator.admission import Remembered, authorize, check_model
from loadtests.simulator.wire import Api, WireError

VERSION = {b"anthropic-version": b"2023-06-01"}


@pytest.mark.parametrize(
    ("api", "headers"),
    [
        (Api.CHAT, {b"authorization": b"Bearer right"}),
        (Api.RESPONSES, {b"api-key": b"right"}),
        (Api.MESSAGES, {b"x-api-key": b"right", **VERSION}),
        (Api.MESSAGES, {b"authorization": b"Bearer right", **VERSION}),
    ],
)
def test_the_key_comes_as_each_vendor_sends_it(api: Api, headers: dict) -> None:
    authorize(api, headers, "right")
    with pytest.raises(WireError) as caught:
        authorize(api, headers, "other")
    assert (caught.value.status, caught.value.message) == (401, "Incorrect API key provided.")


@pytest.mark.parametrize("headers", [{}, {b"authorization": b"right"}, {b"x-api-key": b"right"}])
def test_no_key_in_the_right_place_is_a_401(headers: dict) -> None:
    with pytest.raises(WireError, match="didn't provide"):
        authorize(Api.CHAT, headers, "right")
    authorize(Api.CHAT, headers, None)


def test_anthropics_version_is_required() -> None:
    with pytest.raises(WireError, match="anthropic-version: header is required") as caught:
        authorize(Api.MESSAGES, {}, None)
    assert caught.value.status == 400
    authorize(Api.MESSAGES, VERSION, None)


def test_an_unknown_model_is_a_404_with_the_nearest() -> None:
    check_model("a-model", ("a-model",))
    with pytest.raises(WireError, match="`a-model`") as caught:
        check_model("b-model", ("x", "a-model"))
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    with pytest.raises(WireError, match="`x`"):
        check_model("?", ("x", "a-model"))


def test_answers_are_remembered_up_to_a_bound() -> None:
    remembered = Remembered()
    for number in range(10_001):
        remembered.keep(f"r{number}", number)
    assert remembered.tokens("r10000") == 10_000
    with pytest.raises(WireError, match="'r0' not found") as caught:
        remembered.tokens("r0")
    assert caught.value.code == "previous_response_not_found"
