"""Replies of judges: what counts as a verdict, and that nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.judging.verdict import REPLY_MAX_CHARS, Said, Tokens, Winner, read_completion, read_verdict

FIRST, SECOND, TIE = Winner


@pytest.mark.parametrize(
    ("reply", "winner"),
    [
        ('{"winner": "first"}', FIRST),
        (' {"winner":"second"}\n', SECOND),
        ('{"winner": " Tie "}', TIE),
        ('```json\n{"winner": "first"}\n```', FIRST),
        ('The first one is wrong.\n\n{"reason": "wrong", "winner": "second"}', SECOND),
        ('{"scores": {"first": 3, "second": 9}, "winner": "second"}', SECOND),
        ('{"winner": "tie", "scores": {"first": 3}}', TIE),
        ('In {a, b} both hold: {"winner": "tie"}', TIE),
        ('<think>{"winner": "first"}? No.</think>{"winner": "second"}', SECOND),
        ('{"winner": "first"} and, to be clear, {"winner": "first"}', FIRST),
        (r'{"reason": "it says \"winner\": \"first\" itself", "winner": "second"}', SECOND),
        (r'{"reason": "it says {\"winner\": \"first\"}", "winner": "second"}', SECOND),
    ],
)
def test_a_verdict_is_read_whatever_stands_around_it(reply: str, winner: Winner) -> None:
    assert read_verdict(reply) is winner


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "first",
        "The winner is the first answer.",
        "{}",
        "[]",
        '"winner"',
        '{"winner": "A"}',
        '{"winner": "candidate"}',
        '{"winner": null}',
        '{"winner": 1}',
        '{"winner": ["first"]}',
        '{"Winner": "first"}',
        '[{"winner": "first"}, 1]',
        '{"verdict": {"winner": "first"}}',
        '{"winner": "first", "winner": "second"}',
        '{"winner": "first", "winner": "first"}',
        '{"winner": "first"} {"winner": "second"}',
        '{"winner": "first"} Hm, no: {"winner": second}',
        '{"winner": "first"}. But I am not sure.',
        '{"winner": "first"',
        '{winner: "first"}',
        '<think>{"winner": "first"}',
        '{"winner": "first"}<think>',
        '{"reason": "The second says {"winner": "first"} to win", "winner": "second"}',
        'Reply with {"winner": "first"}, {"winner": "second"} or {"winner": "tie"}.',
        '{"winner": "first", "x": ' + "[" * 5_000 + "]" * 5_000 + "}",
        "{" * 500 + '"winner"',
        " " * REPLY_MAX_CHARS + '{"winner": "first"}',
    ],
)
def test_where_there_is_doubt_there_is_no_verdict(reply: str) -> None:
    assert read_verdict(reply) is None


@given(st.sampled_from(Winner), st.text(max_size=200), st.booleans())
def test_no_reason_that_is_well_quoted_turns_a_verdict(winner: Winner, reason: str, plain: bool) -> None:  # noqa: FBT001
    reply = json.dumps({"reason": reason, "winner": winner}, ensure_ascii=not plain)
    assert read_verdict(reply) is (None if "<think>" in reply or "</think>" in reply else winner)


PIECES = st.sampled_from(
    ["{", "}", '"winner"', ":", '"first"', '"second"', '"tie"', " ", ",", "\\", '"', "<think>", "</think>", "```", "x"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_nothing_breaks_the_reader_and_a_verdict_is_one_that_was_said(reply: str) -> None:
    winner = read_verdict(reply)
    assert winner is None or f'"{winner}"' in reply


@given(st.text())
def test_text_of_any_kind_is_read_without_an_error(reply: str) -> None:
    read_verdict(reply)


@given(st.sampled_from(Winner), st.sampled_from(Winner), st.text(max_size=30).filter(lambda text: "think>" not in text))
def test_a_verdict_before_the_last_one_must_say_the_same(before: Winner, last: Winner, between: str) -> None:
    winner = read_verdict(f'{{"winner": "{before}"}} {between} {{"winner": "{last}"}}')
    assert winner is (last if before is last else None) or '"winner"' in between


def completion(content: object, **more: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], **more}).encode()


def test_a_completion_has_a_text_and_names_its_model() -> None:
    assert read_completion(completion("hi", model="judge-1-2026", id="c")) == Said("hi", "judge-1-2026")
    assert read_completion(completion("hi")) == Said("hi", "")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "details": {}}, Tokens(9, 2)),
        ({"prompt_tokens": 9}, Tokens(9, 0)),
        (None, Tokens()),
        ("many", Tokens()),
        ({"prompt_tokens": -1}, Tokens()),
        ({"prompt_tokens": "9"}, Tokens()),
    ],
)
def test_what_it_cost_is_read_and_never_stands_in_the_way(usage: object, tokens: Tokens) -> None:
    assert read_completion(completion("hi", usage=usage)) == Said("hi", "", tokens)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":[{}]}',
        completion(None),
        completion(""),
        completion(["hi"]),
        completion("hi", model=7),
        b'{"error":{"message":"no"}}',
        b'{"choices":' + b"[" * 100_000,
        b'{"choices":[{"message":{"content":"\xff"}}]}',
    ],
)
def test_what_is_no_completion_says_nothing(body: bytes) -> None:
    assert read_completion(body) is None
