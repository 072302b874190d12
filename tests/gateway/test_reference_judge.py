"""A judge that is no model, beside the others: its scores, what it can't say, and the files it refuses."""

import json
from functools import partial
from pathlib import Path

import pytest

from gateway.core.breaker import BreakerState
from gateway.core.judging.score import Miss, Result
from gateway.reference_judge import FILE_MAX_BYTES, load_references
from gateway.settings import SettingsError
from gateway.settings.judges import JudgeSettings
from tests.gateway.bench import NOW_S, pair, start_bench

LINE = json.dumps({"prompt": "Say hi.", "reference": "hi"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "references.jsonl"
    path.write_text(LINE + "\n", encoding="utf-8")
    return path


@pytest.fixture
def bench(stack, file: Path):
    start = partial(start_bench, stack, 9)
    return lambda **more: start({"judges": {"j": {"kind": "references", "file": str(file)}}, **more})


async def test_answers_are_held_against_the_reference(bench) -> None:
    here = bench()
    cases = (("Hi!", "bye"), ("bye", "Hi!"), ("Hi!", "hi"), ("bye", "ciao"), ("bye", "bye"))
    for number, (ours, theirs) in enumerate(cases):
        here.judges.take(pair(number, ours, theirs, assigned=("candidate", "baseline")[number % 2]))
    assert here.judge.counts == (5, 0)
    await here.settled()
    assert [each.w for each in here.scores] == [1.0, 0.0, 0.5, 0.5, 0.5]
    assert here.results == {"candidate": 1, "baseline": 1, "tie": 2, "same": 1}
    assert here.scores[-1].result is Result.SAME
    assert len({each.judge_version for each in here.scores}) == 1
    assert here.scores[0].judge_version
    assert here.judge.state is BreakerState.HEALTHY


async def test_what_it_cannot_judge_is_no_loss(bench) -> None:
    here = bench()
    here.judges.take(pair(1, prompt=b'{"messages": [{"role": "user", "content": "Say bye."}]}'))
    here.judges.take(pair(2, prompt=b"nonsense"))
    here.judges.take(pair(3, at_s=NOW_S - 1_000))
    await here.settled()
    here.judges.take(pair(4))
    here.flag(judge="other")
    await here.settled()
    assert here.missed == {Miss.NO_REFERENCE: 2, Miss.STALE: 1, Miss.WITHDRAWN: 1}
    assert (here.scores, here.losses) == ([], [])


async def test_nothing_leaves_so_a_tenant_that_is_bound_to_a_region_is_judged(bench) -> None:
    here = bench(tenants={"acme": {"regions": ["eu"]}})
    here.judges.take(pair(1))
    await here.settled()
    assert here.results == {"tie": 1}


async def test_a_defect_costs_its_pair(bench, monkeypatch, caplog) -> None:
    def fails(*_: object) -> float:
        raise RuntimeError("odd")

    monkeypatch.setattr("gateway.reference_judge.win", fails)
    here = bench()
    here.judges.take(pair(1))
    await here.settled()
    assert here.missed == {Miss.DEFECT: 1}
    assert len(here.losses) == 1
    assert "could not be judged" in caplog.text


async def test_what_waits_at_the_end_is_counted(bench) -> None:
    here = bench()
    here.judges.take(pair(1))
    await here.judges.close()
    assert here.missed == {Miss.DRAINING: 1}


def load(path: Path, **more: object):
    return load_references("j", JudgeSettings.model_validate({"kind": "references", "file": str(path), **more}))


def test_the_method_of_the_configuration_is_that_of_lines_without_one(file: Path) -> None:
    (reference,) = load(file, scorer="exact").references.values()
    assert reference.scorer == "exact"


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "can't be read"), (b"\xff\xfe", "not UTF-8"), (b"{}", "line 1"), (b"", "no reference in it")],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path: Path = tmp_path / "f"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert caught.value.cause.startswith(f"judges.j.file: {path}")
    assert told in caught.value.cause


def test_a_file_is_not_read_without_end(file: Path, monkeypatch) -> None:
    monkeypatch.setattr("gateway.reference_judge.FILE_MAX_BYTES", 5)
    with pytest.raises(SettingsError, match="too large"):
        load(file)
    assert FILE_MAX_BYTES > 5
