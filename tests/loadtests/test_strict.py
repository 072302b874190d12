from enum import StrEnum
from pathlib import Path

import msgspec
import pytest

from loadtests.errors import InvalidFileError
from loadtests.strict import convert, read_text, read_toml


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    colour: Colour = Colour.RED
    length_s: float = 1.0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    others: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"iner": {}}, "did you mean `inner`?"),
        ({"inner": {"length": 1}}, "did you mean `length_s`?"),
        ({"others": [{"colour": "bleu"}]}, "did you mean `blue`?"),
        ({"zzzzzz": 1}, "known names: colour, inner, length_s, others"),
        ({"inner": {"length_s": "x"}}, "correct the value named above"),
    ],
)
def test_unknown_words_are_answered_with_the_nearest_known_one(data: dict, hint: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        convert(data, Outer, "here")
    assert caught.value.cause.startswith("here: ")
    assert caught.value.hint == hint
    assert caught.value.exit_code == 2


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[inner]\ncolour = "blue"\n')
    assert read_toml(path, Outer) == Outer(Inner(Colour.BLUE))


@pytest.mark.parametrize("content", [b"inner = ", b"\xff\xfe"])
def test_a_malformed_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError) as caught:
        read_toml(path, Outer)
    assert str(path) in caught.value.cause
    assert "\n" not in caught.value.cause


def test_a_missing_file_or_a_folder_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidFileError, match="cannot read"):
            read_text(path)
