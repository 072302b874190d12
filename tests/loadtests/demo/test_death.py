import pytest

from loadtests.demo.death import context, ending, explain


def test_the_childs_own_words_come_first() -> None:
    lines = ["starting", "glidepath: port 8000 is in use", "  hint: choose another"]
    assert explain("vllm", 1, lines, "/l") == ("vllm: port 8000 is in use", "choose another")


def test_the_last_words_count_and_a_missing_hint_is_the_log() -> None:
    lines = ["glidepath: first", "  hint: old", "glidepath: second", "something else"]
    assert explain("vllm", 1, lines, "/l") == ("vllm: second", "its whole log is /l")
    assert explain("vllm", 1, lines[:3], "/l")[1] == "its whole log is /l"


def test_without_words_the_ending_is_told() -> None:
    assert explain("gateway", -9, ["x"], "/l") == ("gateway was ended by SIGKILL", "its whole log is /l")


@pytest.mark.parametrize(
    ("code", "text"), [(0, "ended with exit code 0"), (3, "ended with exit code 3"), (-250, "was ended by signal 250")]
)
def test_endings(code: int, text: str) -> None:
    assert ending(code) == text


def test_what_cause_and_hint_say_already_is_not_repeated() -> None:
    lines = ["loading", "  | quoted", "glidepath: cause", "  hint: do"]
    assert context(lines) == ["loading", "quoted"]
