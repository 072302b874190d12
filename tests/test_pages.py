"""Links between the pages lead somewhere, tables have a cell for each column, and the map names modules that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("docs", "deploy", "gateway", "rollout", "serving", "loadtests", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in SOURCES for page in (ROOT / folder).rglob("*.md"))])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
MAP = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def prose(page: Path) -> str:
    """Without blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.replace(" ", "-") for head in plain}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_table_have_as_many_cells_as_its_head(name: str) -> None:
    columns = 0
    for line in prose(ROOT / name).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells in {0, columns or cells}, line
        columns = cells


def rows(folder: str) -> list[list[str]]:
    """The modules that each row of the map's table about `folder` names, its first one with their folder in it."""
    table = MAP.partition(f"| in `{folder}/` | does |")[2].partition("\n\n")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("folder", ["gateway", "rollout/core"])
def test_the_map_names_modules_that_exist(folder: str) -> None:
    assert rows(folder)
    for row in rows(folder):
        within = row[0].rpartition("/")[0]
        for name in row:
            tried = [ROOT / folder / each for each in (name, within + "/" + name)]
            assert any([*each.parent.glob(f"{each.name}.py"), *each.parent.glob(each.name)] for each in tried), name


def test_the_map_has_all_of_the_evidence() -> None:
    named = {name.rpartition("/")[2] for row in rows("rollout/core") for name in row}
    modules = {path.stem for path in (ROOT / "rollout" / "core" / "evidence").glob("*.py")} - {"__init__"}
    assert modules <= named
