"""Errors, retries, deadlines and cancellation with the official openai package."""

from __future__ import annotations

import asyncio

import openai
from checks import API_KEY, BASE_URL, MODEL, check, direct_only, faulty, main, raised

CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=30)
PATIENT = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, timeout=30)


def ask(prompt: str, client: openai.OpenAI = CLIENT, **more: object) -> object:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}], **more)


@check
def a_bad_key() -> None:
    client = openai.OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    error = raised(openai.AuthenticationError, lambda: ask("hi", client))
    assert error.code == "invalid_api_key"


@check
def an_unknown_model() -> None:
    error = raised(
        openai.NotFoundError,
        lambda: CLIENT.chat.completions.create(model="nope", messages=[{"role": "user", "content": "x"}]),
    )
    assert error.code == "model_not_found"


@check
def a_bad_request() -> None:
    error = raised(openai.BadRequestError, lambda: ask("hi", extra_body={"max_tokens": "many"}))
    assert error.param
    assert error.request_id


@check
def a_context_overflow() -> None:
    error = raised(openai.BadRequestError, lambda: ask(faulty("context_overflow")))
    assert error.code == "context_length_exceeded"


@check
def a_refused_prompt() -> None:
    error = raised(openai.BadRequestError, lambda: ask(faulty("content_refused")))
    assert error.code == "content_filter"


@check
def a_content_filter() -> None:
    assert ask(faulty("content_filter")).choices[0].finish_reason == "content_filter"


@check
def a_rate_limit_says_when() -> None:
    error = raised(openai.RateLimitError, lambda: ask(faulty("status", status=429, retry_after_s=7)))
    assert int(error.response.headers["retry-after"]) >= 1


@direct_only
def each_status_is_its_own_exception() -> None:
    kinds = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        409: openai.ConflictError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        502: openai.InternalServerError,
        503: openai.InternalServerError,
        504: openai.InternalServerError,
        529: openai.InternalServerError,
    }
    for status, kind in kinds.items():
        error = raised(kind, lambda status=status: ask(faulty("status", status=status)))
        assert error.status_code == status
        assert error.body["message"]


@direct_only
def default_retries_get_over_two_failures() -> None:
    for status in (408, 409, 429, 500, 503):
        raw = PATIENT.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=[{"role": "user", "content": faulty("status", status=status, limit=2, retry_after_s=0.01)}],
        )
        assert raw.retries_taken == 2
        assert raw.parse().choices[0].message.content


@direct_only
def default_retries_get_over_a_reset() -> None:
    for kind in ("reset", "close", "reset_in_head"):
        assert ask(faulty(kind, limit=1), PATIENT).choices[0].message.content


@direct_only
def without_retries_the_first_failure_counts() -> None:
    prompt = faulty("status", status=500, limit=1)
    raised(openai.InternalServerError, lambda: ask(prompt))
    assert ask(prompt).choices[0].message.content


@check
def what_is_not_to_be_repeated_is_not() -> None:
    prompt = faulty("context_overflow", limit=1)
    raised(openai.BadRequestError, lambda: ask(prompt, PATIENT))
    assert ask(prompt).choices[0].message.content


@direct_only
def a_reset_connection() -> None:
    raised(openai.APIConnectionError, lambda: ask(faulty("reset")))


@check
def a_timeout() -> None:
    client = CLIENT.with_options(timeout=0.3)
    raised(openai.APITimeoutError, lambda: ask(faulty("black_hole"), client))


@check
def a_cut_stream_is_an_error() -> None:
    stream = ask(faulty("cut_stream", events=3), stream=True)
    try:
        list(stream)
    except Exception:  # noqa: BLE001  the package lets the transport's own error through
        return
    raise AssertionError("a cut stream ended as if it were whole")


@check
def an_error_event_is_an_error() -> None:
    stream = ask(faulty("error_event", events=2, status=500), stream=True)
    raised(openai.APIError, lambda: list(stream))


@check
def a_stream_may_be_left() -> None:
    stream = ask(faulty("slow_body", delay_s=1), stream=True)
    next(iter(stream))
    stream.close()
    assert ask("hi").choices[0].message.content


@check
async def a_call_may_be_cancelled() -> None:
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as client:
        messages = [{"role": "user", "content": faulty("black_hole")}]
        call = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=messages))
        await asyncio.sleep(0.2)
        call.cancel()
        done, _ = await asyncio.wait([call])
        assert all(each.cancelled() for each in done)
        again = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
        assert again.choices[0].message.content


@check
def unusual_streams_are_understood() -> None:
    for kind in ("crlf", "comments", "extra_fields", "multi_line", "odd_chunks", "interim", "eof_body"):
        chunks = list(ask(faulty(kind, "[[say:Grüße 🌍!]]"), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße 🌍!", kind


@direct_only
def compressed_streams_are_understood() -> None:
    chunks = list(ask(faulty("gzip", "[[say:Grüße 🌍!]]"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße 🌍!"


main()
