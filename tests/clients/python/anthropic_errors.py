"""Errors, retries, deadlines and cancellation with the official anthropic package."""

from __future__ import annotations

import asyncio

import anthropic
from checks import API_KEY, BASE_URL, MODEL, check, direct_only, faulty, main, raised

ORIGIN = BASE_URL.removesuffix("/v1")
CLIENT = anthropic.Anthropic(base_url=ORIGIN, api_key=API_KEY, max_retries=0, timeout=30)
PATIENT = anthropic.Anthropic(base_url=ORIGIN, api_key=API_KEY, timeout=30)


def ask(prompt: str, client: anthropic.Anthropic = CLIENT, **more: object) -> object:
    messages = [{"role": "user", "content": prompt}]
    return client.messages.create(**{"model": MODEL, "max_tokens": 200, "messages": messages, **more})


@check
def a_bad_key() -> None:
    client = anthropic.Anthropic(base_url=ORIGIN, api_key="wrong", max_retries=0)
    error = raised(anthropic.AuthenticationError, lambda: ask("hi", client))
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == "authentication_error"


@check
def an_unknown_model() -> None:
    error = raised(anthropic.NotFoundError, lambda: ask("hi", model="nope"))
    assert error.body["error"]["type"] == "not_found_error"


@check
def a_bad_request() -> None:
    raised(anthropic.BadRequestError, lambda: ask("hi", messages=[]))


@direct_only
def each_status_is_its_own_exception() -> None:
    kinds = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        403: anthropic.PermissionDeniedError,
        404: anthropic.NotFoundError,
        409: anthropic.ConflictError,
        422: anthropic.UnprocessableEntityError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
    }
    for status, kind in kinds.items():
        error = raised(kind, lambda status=status: ask(faulty("status", status=status)))
        assert error.status_code == status
    for status in (502, 503, 504, 529):
        prompt = faulty("status", status=status)
        error = raised(anthropic.InternalServerError, lambda prompt=prompt: ask(prompt), exactly=False)
        assert error.status_code == status


@direct_only
def default_retries_get_over_two_failures() -> None:
    for status in (408, 409, 429, 500, 529):
        prompt = faulty("status", status=status, limit=2, retry_after_s=0.01)
        assert ask(prompt, PATIENT).content[0].text


@direct_only
def without_retries_the_first_failure_counts() -> None:
    prompt = faulty("status", status=500, limit=1)
    raised(anthropic.InternalServerError, lambda: ask(prompt))
    assert ask(prompt).content[0].text


@direct_only
def a_reset_connection() -> None:
    raised(anthropic.APIConnectionError, lambda: ask(faulty("reset")))


@check
def a_timeout() -> None:
    raised(anthropic.APITimeoutError, lambda: ask(faulty("black_hole"), CLIENT.with_options(timeout=0.3)))


@check
def an_error_event_is_an_error() -> None:
    stream = ask(faulty("error_event", events=3, status=529), stream=True)
    error = raised(anthropic.APIStatusError, lambda: list(stream), exactly=False)
    assert error.body["error"]["type"] == "overloaded_error"


@check
def a_cut_stream_is_an_error() -> None:
    stream = ask(faulty("cut_stream", events=4), stream=True)
    try:
        list(stream)
    except Exception:  # noqa: BLE001  the package lets the transport's own error through
        return
    raise AssertionError("a cut stream ended as if it were whole")


@check
def a_stream_may_be_left() -> None:
    stream = ask(faulty("slow_body", delay_s=1), stream=True)
    next(iter(stream))
    stream.close()
    assert ask("hi").content[0].text


@check
async def a_call_may_be_cancelled() -> None:
    async with anthropic.AsyncAnthropic(base_url=ORIGIN, api_key=API_KEY, max_retries=0) as client:
        asked = {"model": MODEL, "max_tokens": 9}
        messages = [{"role": "user", "content": faulty("black_hole")}]
        call = asyncio.create_task(client.messages.create(**asked, messages=messages))
        await asyncio.sleep(0.2)
        call.cancel()
        done, _ = await asyncio.wait([call])
        assert all(each.cancelled() for each in done)
        again = await client.messages.create(**asked, messages=[{"role": "user", "content": "hi"}])
        assert again.content[0].text


main()
