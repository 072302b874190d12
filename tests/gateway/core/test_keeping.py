from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.keeping import (
    ANSWER_MAX_CHARS,
    PROMPT_MAX_BYTES,
    Mark,
    Message,
    Side,
    decode,
    encode,
    fits,
    id_of,
    texts_of,
)
from gateway.core.redaction import redact
from rollout.core.model import Keep
from tests.gateway.texts import BOTH, NOW_S, pair, texts

MARK = Mark("0" * 32, 5.0, "judge", "third", 0.5, "v1")


def test_what_is_kept_of_a_pair_is_redacted() -> None:
    kept = texts_of(pair(said="mail bob@example.org", theirs="call 0170 1234567"), BOTH, redact)
    assert kept is not None
    assert kept.messages == (Message("user", "write to [EMAIL]"),)
    assert (kept.candidate, kept.baseline) == (Side("inhouse", "mail [EMAIL]"), Side("partner", "call [PHONE]"))
    assert (kept.at_s, kept.feature, kept.revision, kept.assigned) == (NOW_S, "draft", 7, "baseline")
    line = encode(kept)
    for private in (b"example.org", b"0170", b"r-1", b"acme"):
        assert private not in line
    assert decode(line) == kept


@pytest.mark.parametrize(("assigned", "upstream"), [("candidate", "inhouse"), ("baseline", "partner")])
def test_where_only_answers_are_kept_the_other_arms_is_not(assigned: str, upstream: str) -> None:
    kept = texts_of(pair(assigned=assigned), Keep(answers=True), redact)
    assert kept is not None
    assert [side is not None for side in (kept.candidate, kept.baseline)].count(True) == 1
    assert kept.answer is not None
    assert kept.answer.upstream == upstream


def test_what_cannot_be_read_is_not_kept() -> None:
    assert texts_of(replace(pair(), prompt=b"{"), BOTH, redact) is None
    assert texts_of(replace(pair(), prompt=b"{}"), BOTH, redact) is None


def test_what_is_too_long_does_not_fit() -> None:
    assert fits(pair())
    assert fits(pair(said="x" * ANSWER_MAX_CHARS))
    assert not fits(pair(said="x" * (ANSWER_MAX_CHARS + 1)))
    assert not fits(pair(theirs="x" * (ANSWER_MAX_CHARS + 1)))
    assert not fits(replace(pair(), prompt=b"x" * (PROMPT_MAX_BYTES + 1)))


def test_ids_tell_requests_apart_and_say_nothing() -> None:
    ids = {
        id_of(*each)
        for each in (("f", "t", "r"), ("f", "t", "r2"), ("f", "t2", "r"), ("f2", "t", "r"), ("f", "tr", ""))
    }
    assert len(ids) == 5
    assert id_of("f", "t", "r") == id_of("f", "t", "r")
    assert all(len(each) == 32 for each in ids)


@pytest.mark.parametrize(
    "damage", [b"", b"{}\n", b"[1]\n", b'{"type":"other"}\n', b"\xff\n", encode(MARK)[:-1], encode(MARK)[5:]]
)
def test_damaged_lines_are_none(damage: bytes) -> None:
    assert decode(damage) is None
    assert decode(encode(MARK)) == MARK


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    odd = replace(texts(), messages=(Message("user", "a\ud800b"),), baseline=None)
    kept = decode(encode(odd))
    assert kept == replace(odd, messages=(Message("user", "a?b"),))


@given(st.text(), st.text())
def test_a_line_is_one_line(asked: str, said: str) -> None:
    line = encode(replace(texts(ours=said), messages=(Message("user", asked),)))
    assert line.count(b"\n") == 1
    assert json.loads(line)["messages"][0]["content"] == asked
