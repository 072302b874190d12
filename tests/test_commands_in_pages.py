"""Every `glidepath` command in a block of code of README and docs is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from gateway.cli import _parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[tuple[str, str]]:
    """(Page, command), without what a shell would do with it."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for block in (*(code for language, code in blocks if language in {"", "sh"}), *_indented(text)):
            for line in block.splitlines():
                command = re.search(r"^(?:\$ |[A-Z_]+=\S+ (?:\S+\) )?)?(glidepath .*)", line.strip())
                if command:
                    found.append((page.name, command[1]))
    return found


def _indented(text: str) -> list[str]:
    return re.findall(r"^    (glidepath .*)$", text, re.MULTILINE)


@pytest.mark.parametrize(("page", "command"), commands())
def test_it_is_taken(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command, comments=True)
    words = words[: next((at for at, word in enumerate(words) if word in {"&", ">", "|"}), len(words))]
    try:
        args = _parser().parse_args(words[1:])
    except SystemExit:
        pytest.fail(f"{page}: {command}\n{capsys.readouterr().err}")
    assert callable(args.run)


def test_there_are_some() -> None:
    assert {"README.md", "arena.md", "evaluation.md", "evidence.md", "export.md"} <= {page for page, _ in commands()}
