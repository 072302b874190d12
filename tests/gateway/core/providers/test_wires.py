import json

import pytest

from gateway.core.call import parse, raw_text
from gateway.core.errors import ApiError
from gateway.core.providers.stream_as_chat import StreamAsChat
from gateway.core.providers.stream_as_messages import StreamAsMessages
from gateway.core.providers.wires import KINDS, PATH_OF_OPERATION, WIRES, StreamFacts, wire_of
from gateway.core.sse import StreamView
from gateway.core.sse_typed import MessagesView, ResponsesView

FACTS = StreamFacts(usage_wanted=True, created=1, secrets=("hush",))
MODEL = raw_text("m")
OPENAI_LIKE = ("vllm", "openai", "azure")
BODY = {"model": "f", "max_tokens": 5, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
TABLE = {
    ("chat", "vllm"): ("/chat/completions", False, StreamView),
    ("chat", "openai"): ("/chat/completions", False, StreamView),
    ("chat", "azure"): ("/chat/completions", False, StreamView),
    ("chat", "anthropic"): ("/messages", True, StreamAsChat),
    ("text_completion", "vllm"): ("/completions", False, StreamView),
    ("text_completion", "openai"): ("/completions", False, StreamView),
    ("text_completion", "azure"): ("/completions", False, StreamView),
    ("responses", "vllm"): ("/responses", False, ResponsesView),
    ("responses", "openai"): ("/responses", False, ResponsesView),
    ("responses", "azure"): ("/responses", False, ResponsesView),
    ("messages", "vllm"): ("/chat/completions", True, StreamAsMessages),
    ("messages", "openai"): ("/chat/completions", True, StreamAsMessages),
    ("messages", "azure"): ("/chat/completions", True, StreamAsMessages),
    ("messages", "anthropic"): ("/messages", False, MessagesView),
}


@pytest.mark.parametrize("operation", PATH_OF_OPERATION)
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_is_served_or_refused(operation: str, kind: str) -> None:
    expected = TABLE.get((operation, kind))
    if expected is None:
        with pytest.raises(ApiError) as caught:
            wire_of(operation, kind)
        assert (caught.value.status, caught.value.code) == (400, "unsupported_by_upstream")
        assert "anthropic" in caught.value.message
        return
    wire = wire_of(operation, kind)
    assert (wire.path, wire.translated, type(wire.view(FACTS))) == expected


def test_the_table_holds_nothing_else() -> None:
    assert WIRES.keys() == TABLE.keys()


def body_of(operation: str, kind: str) -> dict[str, object]:
    call = parse(json.dumps(BODY).encode(), {}, None)
    return json.loads(wire_of(operation, kind).body(call, MODEL))


@pytest.mark.parametrize("kind", OPENAI_LIKE)
def test_usage_is_asked_for_where_it_can_be(kind: str) -> None:
    asked = {"include_usage": True}
    assert body_of("chat", kind) == {**BODY, "model": "m", "stream_options": asked}
    assert body_of("text_completion", kind) == {**BODY, "model": "m", "stream_options": asked}
    assert body_of("responses", kind) == {**BODY, "model": "m"}
    assert body_of("messages", kind)["stream_options"] == asked


def test_bodies_for_anthropic() -> None:
    assert body_of("messages", "anthropic") == {**BODY, "model": "m"}
    assert body_of("chat", "anthropic") == {**BODY, "model": "m"}


def test_a_body_can_be_made_again_for_another_upstream() -> None:
    call = parse(json.dumps(BODY).encode(), {}, None)
    first = wire_of("chat", "vllm").body(call, raw_text("a"))
    assert json.loads(wire_of("chat", "anthropic").body(call, raw_text("b"))) == {**BODY, "model": "b"}
    assert wire_of("chat", "vllm").body(call, raw_text("a")) == first


def test_whole_answers_are_translated() -> None:
    message = b'{"id":"msg_1","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}'
    as_chat = wire_of("chat", "anthropic").answer
    as_message = wire_of("messages", "vllm").answer
    assert as_chat is not None
    assert as_message is not None
    chat = as_chat(message, 7)
    assert json.loads(chat)["created"] == 7
    assert json.loads(as_message(chat, 7))["content"] == [{"type": "text", "text": "hi"}]
