"""docs/decisions/README.md lists every decision by its title."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "decisions"


def test_every_decision_is_listed_in_order() -> None:
    listed = re.findall(r"^\| \[(\d+)\]\((.+?)\) \| (.+) \|$", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    pages = sorted(FOLDER.glob("0*.md"))
    assert [page for _, page, _ in listed] == [page.name for page in pages]
    for number, page, title in listed:
        assert page.startswith(f"{int(number):04}-")
        assert (FOLDER / page).read_text("utf-8").startswith(f"# {number}. {title}\n")
