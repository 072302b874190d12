"""docs/arena.md shows a flag that keeps pairs, and the votes and routes that there are."""

import re
from pathlib import Path
from typing import get_args

from fastapi.routing import APIRoute

from gateway.arena import Arena
from gateway.arena_api import arena_router
from gateway.core.arena import CHOSEN_FROM, Verdict
from rollout.core.codec import parse_document

PAGE = (Path(__file__).parents[1] / "docs" / "arena.md").read_text("utf-8")


def test_the_flag_is_a_whole_one_and_keeps_pairs() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (flag,) = parse_document(shown.encode()).values()
    assert flag.shadow.keep.pairs
    assert flag.shadow.millipct > 0
    assert f"of the newest {CHOSEN_FROM}" in PAGE


def test_every_vote_and_every_route_is_there() -> None:
    row = next(line for line in PAGE.splitlines() if "/arena/votes" in line)
    assert re.search(" ".join(f"`{word}`" for word in get_args(Verdict)), row)
    routes = arena_router(Arena.__new__(Arena), lambda *_: lambda: "ann").routes
    paths = {each.path for each in routes if isinstance(each, APIRoute)}
    assert paths
    for path in paths:
        assert f"/api/v1{path.replace('{feature}', 'FEATURE')}`" in PAGE
