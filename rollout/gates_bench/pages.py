"""latest.json and users.json, and what is made from them: plots beside them, and tables on pages between markers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rollout.gates_bench import plots, results, tables
from rollout.gates_bench.users import results as users

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rollout.gates_bench.results import Results

_PLACE = re.compile(r"(<!-- gates-bench: (?P<name>[\w-]+) -->\n).*?(<!-- /gates-bench -->)", re.DOTALL)


def read(folder: Path) -> Results:
    """What the last run found."""
    return results.decoded((folder / "latest.json").read_bytes())


def write(folder: Path, found: Results) -> None:
    """latest.json and plots into `folder`; tables into the pages that go with it."""
    (folder / "latest.json").write_bytes(results.encoded(found))
    for name, drawing in plots.all_of(found).items():
        (folder / name).write_text(drawing, "utf-8")
    fill(folder, found)


def fill(folder: Path, found: Results) -> None:
    """Tables alone."""
    for page in pages_of(folder):
        page.write_text(filled(page.read_text("utf-8"), tables_of(folder, found)), "utf-8")


def tables_of(folder: Path, found: Results) -> dict[str, str]:
    """Every table by the name of its place, that of users by what there is of them in `folder`."""
    return tables.all_of(found) | {"users": users.told(users.read(folder))}


def pages_of(folder: Path) -> list[Path]:
    """The pages with places for tables that go with a folder of results."""
    places = (folder.parent / f"{folder.name}.md", folder.parent.parent / "README.md")
    return [page for page in places if page.is_file()]


def filled(page: str, by_name: Mapping[str, str]) -> str:
    """`page` with each place holding its table; a KeyError for a place that nobody knows."""
    return _PLACE.sub(lambda place: f"{place[1]}{by_name[place['name']]}{place[3]}", page)
