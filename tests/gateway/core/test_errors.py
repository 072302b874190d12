import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import (
    RETRY_AFTER_MAX_S,
    ApiError,
    bad_body,
    invalid_key,
    nearest,
    render_body,
    unknown_model,
)

KNOWN = ["copilot/summarize", "copilot/rewrite", "copilot/draft"]
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text(st.characters(exclude_categories=["Cs"])), texts, texts)
def test_the_object_always_has_all_four_keys(message: str, param: str | None, code: str | None) -> None:
    rendered = json.loads(render_body(ApiError(400, message, "some_error", param=param, code=code)))
    assert rendered == {"error": {"message": message, "type": "some_error", "param": param, "code": code}}


@pytest.mark.parametrize(
    ("asked", "given"), [(None, None), (0, 0), (-5, 0), (7, 7), (RETRY_AFTER_MAX_S, 120), (86_400, 120)]
)
def test_retry_after_is_bounded(asked: int | None, given: int | None) -> None:
    assert ApiError(429, "m", "t", retry_after_s=asked).retry_after_s == given


def test_its_text_is_the_message() -> None:
    assert str(ApiError(400, "the message", "t")) == "the message"


def test_nearest_names_best_first() -> None:
    assert nearest("copilot/sumarise", KNOWN)[0] == "copilot/summarize"
    assert nearest("copilot/sumarise", KNOWN, count=1) == ["copilot/summarize"]
    assert nearest("zzz", KNOWN) == []


def test_an_unknown_model_is_a_404_that_names_the_nearest() -> None:
    error = unknown_model("copilot/sumarise", KNOWN)
    assert (error.status, error.type, error.param, error.code) == (
        404,
        "invalid_request_error",
        "model",
        "model_not_found",
    )
    assert "`copilot/sumarise`" in error.message
    assert "Did you mean `copilot/summarize`" in error.message


def test_nothing_is_proposed_when_nothing_is_near() -> None:
    assert "Did you mean" not in unknown_model("gpt-4o", KNOWN).message


def test_a_name_of_megabytes_is_cut_before_it_is_shown_or_compared() -> None:
    error = unknown_model("copilot/summarize" * 1_000_000, KNOWN)
    assert len(error.message) < 600


@given(st.text(string.printable, max_size=300))
def test_any_name_can_be_unknown(name: str) -> None:
    assert unknown_model(name, KNOWN).status == 404


def test_a_bad_key_is_a_401_that_shows_no_key() -> None:
    error = invalid_key()
    assert (error.status, error.type, error.code) == (401, "invalid_request_error", "invalid_api_key")


def test_a_bad_body_is_a_400() -> None:
    error = bad_body("text", param="stream", code="invalid_type")
    assert (error.status, error.message, error.type, error.param, error.code) == (
        400,
        "text",
        "invalid_request_error",
        "stream",
        "invalid_type",
    )
