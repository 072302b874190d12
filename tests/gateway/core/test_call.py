import json
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.call import (
    FIELDS_MAX,
    REQUEST_ID_MAX_CHARS,
    UNIT_MAX_CHARS,
    Call,
    client_retries,
    parse,
    raw_text,
    request_id,
    rewrite,
)
from gateway.core.errors import ApiError
from gateway.core.response_ids import ELSEWHERE, Place
from rollout.core.model import Subject

UPSTREAM_MODEL = raw_text("moe-1")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
gaps = st.sampled_from(["", " ", "\n\t", "  "])
known_names = st.sampled_from(
    ["model", "stream", "stream_options", "user", "safety_identifier", "metadata", "conversation", "messages"]
)


def read(body: object, headers: dict[bytes, bytes] | None = None, tenant: str | None = "acme") -> Call:
    return parse(body if isinstance(body, bytes) else json.dumps(body).encode(), headers or {}, tenant)


def refusal(body: object, headers: dict[bytes, bytes] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, headers)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def slices(body: bytes) -> dict[str, bytes]:
    return {name: bytes(raw) for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def test_a_plain_call() -> None:
    call = read({"model": "copilot/draft", "messages": []})
    assert (call.model, call.stream, call.usage_wanted) == ("copilot/draft", False, False)
    assert call.subject == Subject(None, None, "acme")


@pytest.mark.parametrize(
    ("text", "stream", "usage_wanted"),
    [
        ('"stream": true', True, False),
        ('"stream" : false', False, False),
        ('"stream":null', False, False),
        ('"stream":true,"stream_options":null', True, False),
        ('"stream":true,"stream_options":{}', True, False),
        ('"stream":true,"stream_options":{"include_usage":false}', True, False),
        ('"stream":true,"stream_options":{ "include_usage" : true }', True, True),
        ('"stream":false,"stream_options":{"include_usage":true}', False, False),
    ],
)
def test_stream_and_usage(*, text: str, stream: bool, usage_wanted: bool) -> None:
    call = read(f'{{"model":"m",{text}}}'.encode())
    assert (call.stream, call.usage_wanted) == (stream, usage_wanted)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, None),
        (b"{", None, None),
        (b"[]", None, None),
        (b'{"a":1}', "model", None),
        (b'{"model":null}', "model", "invalid_type"),
        (b'{"model":["m"]}', "model", "invalid_type"),
        (b'{"model":"\xff"}', "model", "invalid_type"),
        (b'{"model":"m","stream":"yes"}', "stream", "invalid_type"),
        (b'{"model":"m","stream":1}', "stream", "invalid_type"),
        (b'{"model":"m","stream":true,"stream_options":[]}', "stream_options", "invalid_type"),
        (b'{"model":"m","stream":true,"stream_options":{"\xff":1}}', "stream_options", "invalid_type"),
        (b'{"model":"m","\xff":1}', None, None),
        (b'{"model":"\\ud800"}', None, None),
        (b'{"model":"m","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, None),
    ],
)
def test_what_cant_be_relayed_is_a_400(body: bytes, param: str | None, code: str | None) -> None:
    error = refusal(body)
    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize(
    ("fields", "header", "conversation"),
    [
        ({}, None, None),
        ({"metadata": {"conversation_id": "m"}}, b"h", "h"),
        ({"metadata": {"conversation_id": "m"}, "previous_response_id": "p", "conversation": "c"}, None, "m"),
        ({"previous_response_id": "p", "conversation": "c"}, None, "c"),
        ({"previous_response_id": "p"}, None, None),
        ({"conversation": "c"}, None, "c"),
        ({"conversation": {"id": "c", "more": 1}}, None, "c"),
        ({"conversation": {"id": 5}}, None, None),
        ({"metadata": {"other": "x"}, "conversation": "c"}, None, "c"),
        ({"metadata": {"conversation_id": 7}}, None, None),
        ({"metadata": {"conversation_id": ""}, "conversation": "c"}, None, "c"),
        ({"metadata": None, "previous_response_id": None, "conversation": None}, None, None),
        ({"conversation": "c"}, b"", "c"),
        ({"conversation": "c"}, b"  ", "c"),
        ({}, b" h\xc3\xbc ", "h\u00fc"),
        ({}, b"\xff", "\ufffd"),
    ],
)
def test_conversation_in_the_contracts_order(
    fields: dict[str, object], header: bytes | None, conversation: str | None
) -> None:
    headers = {} if header is None else {b"x-conversation-id": header}
    assert read({"model": "m", **fields}, headers).subject.conversation == conversation


def test_an_anonymous_request_is_known_by_its_own_id() -> None:
    assert parse(b'{"model":"m"}', {}, "acme", "req_1").subject == Subject(None, None, "acme", "req_1")


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"safety_identifier": "s", "user": "u"}, "s"),
        ({"safety_identifier": "", "user": "u"}, "u"),
        ({"safety_identifier": 4, "user": "u"}, "u"),
        ({"safety_identifier": "s"}, "s"),
        ({"user": "u"}, "u"),
        ({"user": ""}, None),
        ({"user": ["u"]}, None),
        ({}, None),
    ],
)
def test_user_in_the_contracts_order(fields: dict[str, object], user: str | None) -> None:
    assert read({"model": "m", **fields}).subject.user == user


@pytest.mark.parametrize("name", ["user", "safety_identifier", "conversation"])
def test_ids_are_bounded(name: str) -> None:
    assert read({"model": "m", name: "x" * UNIT_MAX_CHARS}).subject != Subject(None, None, "acme")
    assert refusal({"model": "m", name: "x" * (UNIT_MAX_CHARS + 1)}).code == "string_above_max_length"


def test_the_conversation_header_is_bounded_too() -> None:
    assert refusal({"model": "m"}, {b"x-conversation-id": b"x" * 600}).code == "string_above_max_length"


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (None, None),
        (b"", None),
        (b"req-1_A.b:c/d=e+f@g", "req-1_A.b:c/d=e+f@g"),
        (b"x" * REQUEST_ID_MAX_CHARS, "x" * REQUEST_ID_MAX_CHARS),
        (b"x" * (REQUEST_ID_MAX_CHARS + 1), None),
        (b"a b", None),
        (b"a\r\nset-cookie: x", None),
        (b"a\n", None),
        (b"\xc3\xbc", None),
    ],
)
def test_a_request_id_is_echoed_if_it_is_short_and_plain(sent: bytes | None, taken: str | None) -> None:
    assert request_id(sent) == taken


def test_only_the_model_changes_in_a_plain_call() -> None:
    body = b'{ "messages" : [ {"content":"h\\u00e9 \xc3\xa9"} ], "model":"copilot/draft", "n":1.50 }'
    assert slices(rewrite(read(body), UPSTREAM_MODEL)) == slices(body) | {"model": b'"moe-1"'}


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ("null", {"include_usage": True}),
        ("{}", {"include_usage": True}),
        ('{"include_usage":false,"x":1}', {"include_usage": True, "x": 1}),
        ('{"include_usage":true,"x":1}', {"include_usage": True, "x": 1}),
    ],
)
def test_usage_is_asked_for_on_every_stream(options: str | None, sent: dict[str, object]) -> None:
    given_options = "" if options is None else f',"stream_options":{options}'
    call = read(f'{{"model":"m","stream":true{given_options}}}'.encode())
    assert json.loads(rewrite(call, UPSTREAM_MODEL))["stream_options"] == sent


def test_a_second_attempt_rewrites_the_same_call_again() -> None:
    call = read(b'{"model":"m","stream":true,"stream_options":{"x":1}}')
    first = rewrite(call, UPSTREAM_MODEL)
    second = rewrite(call, raw_text("other"))
    assert json.loads(second) == json.loads(first) | {"model": "other"}


def test_a_plain_call_keeps_its_stream_options_untouched() -> None:
    assert b'"stream_options":[1, 2]' in rewrite(read(b'{"model":"m","stream_options":[1, 2]}'), UPSTREAM_MODEL)


def test_a_duplicate_model_leaves_once_and_as_the_upstreams() -> None:
    call = read(b'{"model":"copilot/draft","mod\\u0065l":"gpt-secret","a":1,"model":"copilot/rewrite"}')
    assert call.model == "copilot/rewrite"
    assert rewrite(call, UPSTREAM_MODEL) == b'{"model":"moe-1","a":1}'


@given(
    fields=st.lists(st.tuples(known_names | texts, gaps, json_values), max_size=8), gap=gaps, ascii_only=st.booleans()
)
def test_every_other_field_stays_byte_for_byte(
    *, fields: list[tuple[str, str, object]], gap: str, ascii_only: bool
) -> None:
    pairs = [f"{json.dumps(name)}{space}:{json.dumps(value, ensure_ascii=ascii_only)}" for name, space, value in fields]
    body = ("{" + f"{gap},".join([*pairs, '"model":"copilot/draft"']) + gap + "}").encode()
    try:
        call = read(body)
    except ApiError:
        return
    sent = rewrite(call, UPSTREAM_MODEL)
    before, after = slices(body), slices(sent)
    changed = {"model", "stream_options"} if call.stream and not call.usage_wanted else {"model"}
    assert {name: raw for name, raw in after.items() if name not in changed} == {
        name: raw for name, raw in before.items() if name not in changed
    }
    assert after["model"] == b'"moe-1"'
    names = json.loads(sent, object_pairs_hook=lambda read_pairs: [name for name, _ in read_pairs])
    assert names.count("model") == 1
    assert len(names) == len(set(names))


@given(st.binary(max_size=200))
@example(b'{"model":"m","stream":true,"stream_options":{"\xff":1}}')
def test_arbitrary_bytes_raise_nothing_but_a_400(body: bytes) -> None:
    try:
        parse(body, {}, None)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  any other exception is the failure


@given(st.dictionaries(known_names | texts, json_values, max_size=8), st.binary(max_size=40))
def test_arbitrary_objects_raise_nothing_but_a_400(fields: dict[str, object], header: bytes) -> None:
    body = json.dumps({"model": "copilot/draft", **fields}).encode()
    try:
        call = parse(body, {b"x-conversation-id": header}, None)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  any other exception is the failure
    else:
        assert json.loads(rewrite(call, UPSTREAM_MODEL))["model"] == "moe-1"


@pytest.mark.parametrize("name", ["metadata", "conversation", "stream_options", "user", "messages", "model", "stream"])
def test_no_depth_of_nesting_raises_anything_but_a_400(name: str) -> None:
    refused = set()
    for depth in (*range(850, 1_010), 50_000):
        for opening, closing in ((b'{"a":', b"}"), (b"[", b"]")):
            nested = opening * depth + b"1" + closing * depth
            body = b'{"model":"m","stream":true,"%b":%b}' % (name.encode(), nested)
            try:
                rewrite(parse(body, {}, None), UPSTREAM_MODEL)
            except ApiError:
                refused.add(depth)
    assert 50_000 in refused


def test_text_as_a_json_slice() -> None:
    assert bytes(raw_text('a"b')) == b'"a\\"b"'
    assert re.fullmatch(rb'"[^"]*"', bytes(raw_text("\u00fc")))


@pytest.mark.parametrize(
    ("fields", "place", "sent"),
    [
        ({}, None, None),
        ({"previous_response_id": None}, None, None),
        ({"previous_response_id": "resp_1"}, ELSEWHERE, "resp_1"),
        ({"previous_response_id": "resp_1.gp.inhouse.abc123"}, Place("inhouse", "abc123"), "resp_1"),
        ({"conversation": "conv_1"}, ELSEWHERE, None),
        ({"conversation": {"id": "conv_1"}}, ELSEWHERE, None),
        ({"conversation": 5}, None, None),
    ],
)
def test_a_response_is_continued_where_it_is(fields: dict, place: Place | None, sent: str | None) -> None:
    call = parse(json.dumps({"model": "m", **fields}).encode(), {}, None, operation="responses")
    assert call.place == place
    assert json.loads(rewrite(call, raw_text("x"))).get("previous_response_id") == sent
    assert call.previous == (b'"resp_1"' if place and place.upstream else b"")


def test_other_operations_have_no_place_to_go_back_to() -> None:
    assert parse(b'{"model":"m","previous_response_id":"resp_1"}', {}, None).place is None


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"metadata": {"user_id": "m"}}, "m"),
        ({"metadata": {"user_id": "m"}, "user": "u"}, "u"),
        ({"metadata": {"user_id": 5}}, None),
        ({"metadata": "x"}, None),
    ],
)
def test_a_messages_user_is_in_its_metadata(fields: dict, user: str | None) -> None:
    assert parse(json.dumps({"model": "m", **fields}).encode(), {}, None).subject.user == user


@pytest.mark.parametrize(("sent", "number"), [(b"2", 2), (b"", 0), (b"-1", 0), (b"100", 0), ("²".encode(), 0)])
def test_retries_are_what_sdks_say(sent: bytes, number: int) -> None:
    assert client_retries({b"x-stainless-retry-count": sent}) == number
    assert client_retries({}) == 0


def test_a_crowd_of_fields_is_refused_before_each_becomes_an_object() -> None:
    long = {"messages": [{"role": "user", "content": "a: b" * 50_000}] * 3, "model": "m"}
    assert parse(json.dumps(long).encode(), {}, None).model == "m"
    known = {**long, **{f"field-{number}": 1 for number in range(FIELDS_MAX - 10)}}
    assert len(parse(json.dumps(known).encode(), {}, None).fields) == FIELDS_MAX - 8
    for more in ({f"field-{number:020}": 1 for number in range(FIELDS_MAX + 1)}, {"x": [{"a": 1}] * FIELDS_MAX * 2}):
        with pytest.raises(ApiError) as caught:
            parse(json.dumps({**long, **more}).encode(), {}, None)
        assert (caught.value.status, caught.value.code) == (400, "object_above_max_properties")
    again = b'{"model":"m",' + b",".join([b'"messages":"x"'] * (FIELDS_MAX + 1)) + b"}"
    with pytest.raises(ApiError):
        parse(again, {}, None)


def test_a_large_body_that_is_no_json_is_told_so() -> None:
    with pytest.raises(ApiError, match="could not parse"):
        parse(b'{"a":' * FIELDS_MAX * 4, {}, None)
