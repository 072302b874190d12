import pytest

from gateway.core.answer import read_usage
from gateway.core.sse import Usage

UNREADABLE = [b"", b"[1]", b"<html>", b'{"\xff":1}', b'{"a":' + b"[" * 100_000]


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"choices":[{"text":"hi"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"x":1}}', Usage(7, 2)),
        (b'{"usage":{"prompt_tokens":7}}', Usage(7, 0)),
        (b'{"usage":{"completion_tokens":2}}', Usage(0, 2)),
        (
            b'{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}',
            Usage(9, 3),
        ),
        (
            b'{"usage":{"input_tokens":5,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"output_tokens":3}}',
            Usage(125, 3),
        ),
        (b'{"usage":{"input_tokens":5,"cache_read_input_tokens":null,"output_tokens":3}}', Usage(5, 3)),
        (b'{"usage":{}}', Usage(0, 0)),
    ],
)
def test_usage_of_every_shape(body: bytes, usage: Usage) -> None:
    assert read_usage(body) == usage


@pytest.mark.parametrize(
    "body",
    [*UNREADABLE, b"{}", b'{"usage":null}', b'{"usage":{"prompt_tokens":"7"}}', b'{"usage":{"input_tokens":-1}}'],
)
def test_no_usage_where_there_is_none_to_read(body: bytes) -> None:
    assert read_usage(body) is None
