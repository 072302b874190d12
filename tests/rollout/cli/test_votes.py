"""Exports and ratings against a real server, as an operator types them."""

from __future__ import annotations

import json
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from fastapi import APIRouter

from gateway.arena import Arena
from gateway.arena_api import arena_router
from gateway.core.keeping import Mark, encode
from gateway.export_api import Exports, export_router
from gateway.spool_files import EXPORT_LOG, SPOOL_FOLDER, SpoolFiles
from rollout.adapters import open_store
from rollout.core.errors import InvalidArgument, RolloutError
from rollout.core.model import Keep
from rollout.core.votes import Choice, Vote
from tests.gateway.texts import NOW_S, flag, texts
from tests.rollout.admin_port import authorize_exactly, open_port
from tests.rollout.terminal import Cli, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

FLAGS = {"draft": flag(), "bare": flag(Keep(), "bare")}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[APIRouter]:
    store, files = open_store(f"sqlite:///{folder / 'store.db'}"), SpoolFiles(folder / SPOOL_FOLDER)
    for number in range(3):
        kept = texts(number)
        for line in (kept, Mark(kept.id, NOW_S, "feedback", "rating", 1.0), Mark(kept.id, NOW_S, "judge", "j", 1.0)):
            files.append("draft", line.at_s, 86_400.0, encode(line))
    for voter in ("ann", "bob"):
        await store.put_vote(Vote("draft", texts(1).id, voter, Choice.CANDIDATE, "inhouse", "partner", NOW_S))
    routes = APIRouter()
    exports = Exports(files, store, lambda: FLAGS, folder / EXPORT_LOG, lambda: NOW_S)
    routes.include_router(export_router(exports, authorize_exactly))
    routes.include_router(arena_router(Arena(files, store, lambda: FLAGS, lambda: NOW_S), authorize_exactly))
    yield routes
    await store.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_port(served(tmp_path)) as address:
        yield address


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli("rollout", url, "operator:ann", capsys)


def test_an_export_goes_to_standard_output(url: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert (
        run(
            "rollout",
            "export-pairs",
            "--admin-url",
            url,
            "--api-key",
            "operator:ann",
            "draft",
            "--format",
            "rated",
            "--since",
            "1h",
        )
        == 0
    )
    out, err = capfdbinary.readouterr()
    assert [json.loads(line)["rating"] for line in out.splitlines()] == [1.0] * 3
    assert b"3 lines, of the replica that answered" in err


def test_an_export_goes_to_a_new_file_that_nobody_else_reads(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    assert cli.code("export-pairs", "draft", "--out", str(path)) == 0
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [each["source"] for each in found] == ["judge", "judge", "arena", "judge"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "4 lines" in cli.capsys.readouterr().err
    assert "File exists" in cli.fault("export-pairs", "draft", "--out", str(path)).cause


def test_an_export_of_nothing_says_why(cli: Cli) -> None:
    assert cli.code("export-pairs", "bare") == 0
    said = "0 lines, of the replica that answered: 0 pairs kept; the flag keeps no pairs (shadow.keep.pairs); others"
    assert said in cli.capsys.readouterr().err


def test_what_is_refused_leaves_no_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    fault = cli.fault("export-pairs", "draft", "--out", str(path), who="viewer:vic")
    assert (fault.exit_code, "operator" in fault.cause, path.exists()) == (5, True, False)
    assert cli.fault("export-pairs", "unknown").exit_code == 4


@pytest.mark.parametrize("arguments", [("../x",), *(("draft", "--since", time) for time in ("soon", "0s", "91d"))])
def test_what_cannot_be_meant_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    fault: RolloutError = cli.fault("export-pairs", *arguments)
    assert isinstance(fault, InvalidArgument) or fault.exit_code == 2


def test_ratings_as_a_table_and_as_they_are(cli: Cli) -> None:
    shown = cli.text("ratings", "draft")
    assert "2 votes of 2 voters" in shown
    assert "preferred to partner" in shown
    answer = cli.json("ratings", "draft")
    assert (answer["voters"], answer["ratings"][0]["name"]) == (2, "inhouse")
    assert answer["ratings"][0]["win"] == pytest.approx(2.5 / 3)


def test_what_is_unknown_is_a_dash(cli: Cli) -> None:
    from rollout.cli.votes import _table  # noqa: PLC0415  what one voter's ratings look like

    none = dict.fromkeys(("strength", "lower", "upper", "win_lower", "win_upper", "win"))
    answer = {"feature": "f", "votes": 1, "voters": 1, "reference": "b", "ratings": [{"name": "a", "votes": 1, **none}]}
    assert [list(column.cells) for column in _table(answer).columns] == [["a"], ["1"], ["-"], ["-"]]
