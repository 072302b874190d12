from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.checks.asked import TEXT_MAX_CHARS, Asked, Shape, asked

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
NAMES = ("role", "content", "type", "format", "schema", "json_schema", "json", "text")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=8,
)  # fmt: skip
FIELDS = (
    "messages", "prompt", "input", "instructions", "system", "response_format", "text", "output_config", "guided_json",
    "structured_outputs",
)  # fmt: skip


def fields(**values: object) -> dict[str, Raw]:
    return {name: Raw(json.dumps(value).encode()) for name, value in values.items()}


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        (
            "chat",
            {"messages": [
                {"role": "system", "content": "Be kind"},
                {"role": "user", "content": "One"},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "user", "content": [{"type": "text", "text": "Two"}, {"type": "image_url"}]},
                {"role": "assistant", "content": "Three"},
            ]},
            Asked("Two\n", "Be kind\nOne\n\nThree"),
        ),
        (
            "messages",
            {"system": [{"type": "text", "text": "S"}], "messages": [{"role": "user", "content": "Q"}]},
            Asked("Q", "S"),
        ),
        ("responses", {"instructions": "S", "input": "Q"}, Asked("Q", "S")),
        ("responses", {"instructions": 7, "input": [{"role": "user", "content": [{"text": "Q"}]}]}, Asked("Q", "")),
        ("text_completion", {"prompt": "Q"}, Asked("Q", "")),
        ("text_completion", {"prompt": [1, 2, 3]}, Asked()),
        ("chat", {}, Asked()),
        ("chat", {"messages": 7, "system": "not of a chat"}, Asked()),
    ],
)  # fmt: skip
def test_what_was_said(operation: str, body: dict[str, object], expected: Asked) -> None:
    assert asked(fields(**body), operation) == expected


@pytest.mark.parametrize(
    ("body", "shape", "required"),
    [
        ({"response_format": {"type": "text"}}, None, ()),
        ({"response_format": None}, None, ()),
        ({"response_format": {"type": "json_object"}}, Shape.OBJECT, ()),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            Shape.OBJECT,
            ("a",),
        ),
        ({"response_format": {"type": "json_schema"}}, Shape.ANY, ()),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}}, Shape.ANY, ()),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}, Shape.OBJECT, ("a",)),
        ({"text": None}, None, ()),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, Shape.OBJECT, ("a",)),
        ({"output_config": {"effort": "low"}}, None, ()),
        ({"guided_json": SCHEMA}, Shape.OBJECT, ("a",)),
        ({"guided_json": "{}"}, Shape.ANY, ()),
        ({"guided_json": None}, None, ()),
        ({"structured_outputs": {"json": SCHEMA}}, Shape.OBJECT, ("a",)),
        ({"structured_outputs": {"regex": "x"}}, None, ()),
        ({"structured_outputs": None}, None, ()),
    ],
)
def test_json_may_be_wished_for_in_many_ways(
    body: dict[str, object], shape: Shape | None, required: tuple[str, ...]
) -> None:
    wish = asked(fields(**body), "chat")
    assert (wish.json, wish.required) == (shape, required)


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON),
    st.sampled_from(["chat", "text_completion", "responses", "messages"]),
)
def test_nonsense_counts_as_not_said(body: dict[str, object], operation: str) -> None:
    assert isinstance(asked(fields(**body), operation), Asked)


def test_a_prompt_without_end_is_not_read_to_its_end() -> None:
    long = "x" * (TEXT_MAX_CHARS + 1)
    turns = [
        {"role": "system", "content": long},
        {"role": "system", "content": long},
        {"role": "user", "content": long},
    ]
    wish = asked(fields(messages=turns), "chat")
    assert (len(wish.user), len(wish.context)) == (TEXT_MAX_CHARS, TEXT_MAX_CHARS)
