import pytest

from gateway.core.answer import read_usage
from gateway.core.sse import Usage


def test_usage_of_a_chat_answer() -> None:
    body = (
        b'{"id":"x","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2,"x":1}}'
    )
    assert read_usage(body) == Usage(7, 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"usage":null}',
        b"[1]",
        b"<html>",
        b'{"usage":{"prompt_tokens":"7"}}',
        b'{"\xff":1}',
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_no_usage_where_there_is_none_to_read(body: bytes) -> None:
    assert read_usage(body) is None
