from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rollout.cli.yaml_text import read_yaml, write_yaml
from rollout.core.errors import InvalidDocument

PLAIN = ["on", "yes", "No", "y", "~", "null", "true", "", "09:30", "10:30", "2026-01-01", "0o14", "0x1F", "1e3"]
ODD = ["<<", "=", ".inf", ".nan", "-", "?", "#", "a: b", "- a", "a\nb\n", " a\n b", "a\n\n", "\tx", "1.", "1_0"]
words = st.sampled_from([*PLAIN, *ODD])
texts = words | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=10
)


@given(trees)
def test_what_is_written_is_read_again_by_either_version(tree: Any) -> None:
    text = write_yaml(tree)
    assert read_yaml(text.encode()) == tree
    assert yaml.safe_load(text) == tree


def test_words_mean_what_yaml_1_2_says() -> None:
    text = (
        b"kill: {on: false}\nopens: 10:30\nday: 2026-01-01\nno: ~\na: yes\nb: 0o14\nc: 0x1F\nd: 1e3\ne:\nf: 010\ng: .5"
    )
    assert read_yaml(text) == {
        "kill": {"on": False},
        "opens": "10:30",
        "day": "2026-01-01",
        "no": None,
        "a": "yes",
        "b": 12,
        "c": 31,
        "d": 1000.0,
        "e": None,
        "f": 10,
        "g": 0.5,
    }
    assert read_yaml(b"\xef\xbb\xbf{\"a\": [1, 'x']}") == {"a": [1, "x"]}
    assert read_yaml(b"") is None


def test_several_lines_are_written_as_they_are_read() -> None:
    assert write_yaml({"a": "\x85", "b": "x\u2028y\n"}) == 'a: "\\N"\nb: "x\\Ly\\n"\n'
    assert write_yaml({"query": "sum(x)\n  / sum(y)\n"}) == "query: |\n  sum(x)\n    / sum(y)\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"a: &x 1\nb: *x", "line 1, column 4: anchors and aliases aren't supported"),
        (b"a: 1\nb:\n  c: 1\n  c: 2", "line 4, column 3: the key 'c' appears twice in one object"),
        (b"1: 2", "line 1, column 1: the key 1 is no text"),
        (b"[a]: 2", "is no text"),
        (b"a: !!python/name:os.system x", "is no python/name:os.system"),
        (b"a: !!set {b}", "isn't supported"),
        (b"a: !mine b", "the tag '!mine' isn't supported"),
        (b"a: !!int x", "'x' is no int"),
        (b"a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        (b"a: [", "line 1, column 5"),
        (b"\xff", "it is not YAML"),
        (b"a: \x00", "it is not YAML"),
        (b"[" * 5_000, "it is not YAML"),
        (b"a: " + b"9" * 5_000, "it is not YAML"),
    ],
)
def test_what_json_does_not_hold_is_refused_with_its_place(text: bytes, cause: str) -> None:
    with pytest.raises(InvalidDocument) as fault:
        read_yaml(text)
    assert cause in fault.value.cause
    assert "\n" not in fault.value.cause
