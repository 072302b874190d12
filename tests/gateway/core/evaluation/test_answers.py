from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evaluation.answers import EvalAnswer, decode_lines, encode_line, key_of

TEXTS = st.text(st.characters(codec="utf-8"))
ANSWERS = st.builds(EvalAnswer, key=st.text("abc", min_size=1), arm=st.just("candidate"), text=TEXTS)


@given(st.lists(ANSWERS))
def test_what_was_written_is_read_again(answers: list[EvalAnswer]) -> None:
    written = b"".join(map(encode_line, answers))
    assert decode_lines(written.splitlines(keepends=True)) == {answer.key: answer for answer in answers}


def test_failures_and_torn_lines_are_asked_again() -> None:
    good, bad = EvalAnswer("a", "candidate", text="x"), EvalAnswer("b", "candidate", problem="timeout")
    torn = encode_line(EvalAnswer("c", "baseline", text="long"))[:-9]
    assert decode_lines([encode_line(good), encode_line(bad), b"\xff\n", torn]) == {"a": good}


def test_another_request_has_another_key() -> None:
    asks = [("c", "u", b"x", 0), ("b", "u", b"x", 0), ("c", "v", b"x", 0), ("c", "u", b"y", 0), ("c", "u", b"x", 1)]
    keys = {key_of(arm, url, body, again) for arm, url, body, again in asks}
    assert len(keys) == 5
