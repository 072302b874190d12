from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.core.keeping import Mark
from gateway.export_api import WHY_HEADER
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import StoreUnavailable
from rollout.core.votes import Choice, Vote
from tests.gateway.operators import Operators
from tests.gateway.texts import HOUR_S, NOW_S, texts

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/features/draft/training-data"


@pytest.fixture
async def here(tmp_path: Path, stack) -> Operators:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    made = Operators(tmp_path, store)
    await stack.enter_async_context(made.client)
    return made


def lines(answer) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_preferences_of_judges_and_people(here: Operators) -> None:
    here.put(texts(1), texts(2), texts(3))
    here.put(Mark(texts(1).id, NOW_S + HOUR_S, "judge", "third", 1.0, "v1"))
    await here.store.put_vote(Vote("draft", texts(2).id, "ann", Choice.BASELINE, "inhouse", "partner", 1.0))
    answer = await here.get(PATH, "operator")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    assert [(each["source"], each["chosen_model"]) for each in lines(answer)] == [
        ("judge", "inhouse"),
        ("arena", "partner"),
    ]


async def test_rated_answers(here: Operators) -> None:
    here.put(texts(1), texts(2), Mark(texts(1).id, NOW_S, "feedback", "accepted", 1.0))
    (found,) = lines(await here.get(PATH, "operator", format="rated"))
    assert (found["rating"], found["kind"], found["messages"][-1]) == (
        1.0,
        "accepted",
        {"role": "assistant", "content": "theirs"},
    )


async def test_an_export_of_nothing_says_why(here: Operators) -> None:
    here.put(texts(1, theirs="ours"), texts(2), Mark(texts(2).id, NOW_S, "judge", "third", 0.5))
    answer = await here.get(PATH, "operator")
    why = answer.headers[WHY_HEADER]
    assert answer.content == b""
    assert why.startswith("2 pairs kept, 1 of them equal, neither judge nor voters prefer an answer of the other 1; ")
    assert why.endswith("; the flag's shadow sample is 0 %")
    rated = (await here.get(PATH, "operator", format="rated")).headers[WHY_HEADER]
    assert rated.startswith("2 answers kept, none rated; ")
    here.put(Mark(texts(2).id, NOW_S, "feedback", "rating", 1.0))
    assert WHY_HEADER not in (await here.get(PATH, "operator", format="rated")).headers


async def test_only_what_is_new_enough(here: Operators) -> None:
    for number in (1, 2):
        here.put(texts(number, NOW_S - number * HOUR_S), Mark(texts(number).id, NOW_S, "feedback", "rating", 1.0))
    found = lines(await here.get(PATH, "operator", format="rated", within_s=1.5 * HOUR_S))
    assert [each["id"] for each in found] == [texts(1).id]


async def test_who_exports_is_noted_first(here: Operators, caplog: pytest.LogCaptureFixture) -> None:
    await here.get(PATH, "operator")
    await here.get(PATH, "operator", format="rated", within_s=60)
    first, second = map(json.loads, here.log.read_text().splitlines())
    whose = {"actor": "operator", "feature": "draft", "format": "preference"}
    assert first == {"at_s": NOW_S, "since_s": NOW_S - 90 * 24 * HOUR_S, **whose}
    assert (second["format"], second["since_s"]) == ("rated", NOW_S - 60)
    assert stat.S_IMODE(here.log.stat().st_mode) == 0o600
    assert "exported as rated by operator" in caplog.text


async def test_what_cannot_be_noted_is_not_given_away(here: Operators) -> None:
    here.put(texts(1), Mark(texts(1).id, NOW_S, "feedback", "rating", 1.0))
    here.log.mkdir()
    answer = await here.get(PATH, "operator", format="rated")
    assert answer.status_code == 500
    assert "can't be noted" in answer.json()["detail"]


@pytest.mark.parametrize(("name", "status"), [("viewer", 403), ("voter", 403), ("stranger", 401), ("operator", 200)])
async def test_only_operators_export(here: Operators, name: str, status: int) -> None:
    assert (await here.get(PATH, name)).status_code == status
    assert here.log.exists() is (status == 200)


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/features/x/training-data", {}, 404),
        (PATH, {"format": "parquet"}, 422),
        (PATH, {"within_s": 0}, 422),
        (PATH, {"within_s": "nan"}, 422),
    ],
)
async def test_what_cannot_be_meant_is_a_problem(
    here: Operators, path: str, params: dict[str, object], status: int
) -> None:
    answer = await here.get(path, "operator", **params)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_preferences_need_the_store_and_rated_answers_do_not(here: Operators, monkeypatch) -> None:
    async def away(_: str) -> list[Vote]:
        raise StoreUnavailable("the store is away", "wait")

    monkeypatch.setattr(here.store, "votes", away)
    assert (await here.get(PATH, "operator")).status_code == 503
    assert (await here.get(PATH, "operator", format="rated")).status_code == 200
