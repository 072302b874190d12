"""Whole runs against real ports: what is asked, kept, asked again, and reported."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.evaluation.prompt_set import EvaluationError
from gateway.core.evaluation.scoring import Scorer
from gateway.evaluation.asking import EvalArm
from gateway.evaluation.run import ANSWERS_FILE, JSON_FILE, MARKDOWN_FILE, EvalPlan, evaluate
from rollout.core.cost import Gpus, token_price
from tests.gateway.evaluation.models import Model, Reply, says

if TYPE_CHECKING:
    from pathlib import Path


def planned(model: Model, folder: Path, **changed: Any) -> EvalPlan:
    candidate = EvalArm("candidate", "inhouse", model.base_url, "good", None, None, Gpus(8, 2_500_000))
    baseline = EvalArm("baseline", "partner", model.base_url, "dear", None, token_price(2.0, 10.0))
    plan = EvalPlan(candidate, baseline, folder / "out", Scorer.EXACT, 0.05, {"temperature": 0, "max_tokens": None}, 4)
    return plan._replace(**changed)


def prompts(folder: Path, count: int) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"Say {n}", "reference": str(n), "task": f"t{n % 2}"}) + "\n" for n in range(count)
        )
    )
    return path


def told(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"]).removeprefix("Say ")


def test_a_run_from_prompts_to_report(model: Model, tmp_path: Path) -> None:
    model.reply = lambda request: says(
        "wrong" if request["model"] == "good" and told(request) == "3" else told(request)
    )
    seen: list[tuple[int, int]] = []
    report = evaluate(planned(model, tmp_path), prompts(tmp_path, 120), lambda had, wanted: seen.append((had, wanted)))
    assert tuple(report.total.pairs) == (119, 0, 1, 0)
    assert report.total.verdict == "passed"
    assert list(report.features) == ["t0", "t1"]
    assert [example.candidate for example in report.examples] == ["wrong"]
    assert (seen[0], seen[-1], len(model.asked)) == ((0, 240), (240, 240), 240)
    assert all(request["temperature"] == 0 and "max_tokens" not in request for request, _ in model.asked)
    assert report.total.baseline.picousd == 120 * (7 * 2_000_000 + 3 * 10_000_000)
    assert report.gpu_time is not None
    assert report.gpu_time.candidate_picousd == Gpus(8, 2_500_000).cost_picousd(round(report.gpu_time.run_s * 1_000))
    assert report.gpu_time.baseline_picousd is None
    document = json.loads((tmp_path / "out" / JSON_FILE).read_bytes())
    assert document["total"]["verdict"] == "passed"
    assert document["gpu_time"]["run_s"] > 0
    assert "**passed" in (tmp_path / "out" / MARKDOWN_FILE).read_text()


def test_a_second_run_asks_only_what_has_no_answer(model: Model, tmp_path: Path) -> None:
    failing = {"candidate": True}

    def reply(request: dict[str, Any]) -> Reply:
        if failing["candidate"] and request["model"] == "good" and told(request) in {"1", "2"}:
            return Reply(b"", 500)
        return says(told(request))

    model.reply = reply
    plan, file = planned(model, tmp_path), prompts(tmp_path, 10)
    first = evaluate(plan, file, lambda *_: None)
    assert first.total.candidate.problems == {"status_500": 2}
    kept = plan.output / ANSWERS_FILE
    kept.write_bytes(kept.read_bytes() + b'{"key": "torn')
    model.asked.clear()
    failing["candidate"] = False
    second = evaluate(plan, file, lambda *_: None)
    assert sorted(told(request) for request, _ in model.asked) == ["1", "2"]
    assert tuple(second.total.pairs) == (10, 0, 0, 0)
    model.asked.clear()
    third = evaluate(plan._replace(request={"temperature": 1}, limit=3), file, lambda *_: None)
    assert (len(model.asked), third.total.candidate.asked) == (6, 3)


def test_the_same_prompt_twice_is_asked_twice(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "Say 1"}\n' * 2)
    report = evaluate(planned(model, tmp_path), file, lambda *_: None)
    assert (len(model.asked), report.total.candidate.asked) == (4, 2)


def test_no_more_are_under_way_than_allowed(model: Model, tmp_path: Path) -> None:
    lock, state = threading.Lock(), {"now": 0, "most": 0}
    full = threading.Barrier(3, timeout=60.0)

    def reply(request: dict[str, Any]) -> Reply:
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        full.wait()
        with lock:
            state["now"] -= 1
        return says(told(request))

    model.reply = reply
    evaluate(planned(model, tmp_path, concurrency=3), prompts(tmp_path, 6), lambda *_: None)
    assert state["most"] == 3


def test_a_wrong_key_ends_the_run_at_once(model: Model, tmp_path: Path) -> None:
    model.reply = lambda request: Reply(b"{}", 401) if told(request) == "5" else says(told(request))
    with pytest.raises(EvaluationError, match="status 401"):
        evaluate(planned(model, tmp_path), prompts(tmp_path, 200), lambda *_: None)
    assert len(model.asked) < 100
    assert not (tmp_path / "out" / JSON_FILE).exists()


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_prompts_that_cannot_be_read_are_named(model: Model, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "p.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"p\.jsonl"):
        evaluate(planned(model, tmp_path), file, lambda *_: None)
    assert not model.asked


def test_a_folder_that_cannot_be_written_is_named(model: Model, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(EvaluationError, match="cannot write"):
        evaluate(planned(model, tmp_path), prompts(tmp_path, 1), lambda *_: None)
