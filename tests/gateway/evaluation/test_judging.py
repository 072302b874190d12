"""A judge in an evaluation, on a real port: both orders, kept judgements, losses; and the report of a whole run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.evaluation.prompt_set import EvaluationError
from gateway.core.judging.prompt import version
from gateway.evaluation.judging import NO_ANSWER, EvalJudge, ToJudge, judge_of, judgements_of
from gateway.evaluation.run import JUDGEMENTS_FILE, MARKDOWN_FILE, evaluate
from gateway.judges import frozen_of
from gateway.settings import Settings, SettingsError
from gateway.settings.judges import JudgeSettings
from tests.gateway.evaluation.models import Model, Reply, says
from tests.gateway.evaluation.test_run import planned, prompts, told

if TYPE_CHECKING:
    from pathlib import Path

QUOTED = re.compile(r"\w{32} the (?:first|second) answer begins\n(.*?)\n\w{32} the", re.DOTALL)
BODY = json.dumps({"messages": [{"role": "user", "content": "Say hi."}]}).encode()


def verdict(winner: str, model: str = "judge-1") -> Reply:
    message = {"role": "assistant", "content": json.dumps({"winner": winner})}
    return Reply(json.dumps({"model": model, "choices": [{"message": message}]}).encode(), 200)


def longer(request: dict[str, Any]) -> Reply:
    """Prefers the longer answer."""
    first, second = QUOTED.findall(shown(request))
    return verdict("tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second")


def shown(request: dict[str, Any]) -> str:
    return str(request["messages"][1]["content"])


def judge(model: Model, **more: object) -> EvalJudge:
    settings = JudgeSettings.model_validate({"url": model.base_url, "model": "judge", **more})
    return EvalJudge("third", settings, frozen_of("third", settings), "sk-judge")


def judged(model: Model, folder: Path, *pairs: tuple[str | None, str]) -> list:
    to_judge = [ToJudge(BODY, *pair) for pair in pairs]
    return judgements_of(judge(model), to_judge, folder / "kept.jsonl", lambda *_: None)


def test_wins_hold_in_both_orders(model: Model, tmp_path: Path) -> None:
    model.reply = longer
    pairs = (("long", "no"), ("a", "bcd"), ("ab", "cd"), ("same", "same"), (None, "x"))
    found = judged(model, tmp_path, *pairs)
    assert [(each.w, each.result) for each in found] == [
        (1.0, "candidate"), (0.0, "baseline"), (0.5, "tie"), (0.5, "same"), (0.0, NO_ANSWER)
    ]  # fmt: skip
    assert found[0].version == version(judge(model).frozen, "judge-1")
    assert len(model.asked) == 6
    assert "user:\nSay hi." in model.asked[0][0]["messages"][1]["content"]


def test_what_was_said_is_not_asked_again_and_what_was_lost_is(model: Model, tmp_path: Path) -> None:
    model.reply = lambda request: longer(request) if "begins\nlong" in shown(request) else Reply(b"{}", 200)
    first = judged(model, tmp_path, ("long", "no"), ("a", "b"))
    assert [each.result for each in first] == ["candidate", "no_completion"]
    model.asked.clear()
    model.reply = longer
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(kept.read_bytes() + b'{"key": "torn')
    again = judged(model, tmp_path, ("long", "no"), ("a", "b"))
    assert [each.result for each in again] == ["candidate", "tie"]
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(Reply(b"hm", 200), "no_completion"), (verdict("both"), "nonsense"), (Reply(b"", 503), "status")],
)
def test_a_judge_that_fails_says_nothing(model: Model, tmp_path: Path, reply: Reply, reason: str) -> None:
    model.reply = lambda _: reply
    found = judged(model, tmp_path, ("a", "b"), ("same", "same"))
    assert [(each.w, each.result) for each in found] == [(None, reason), (0.5, "same")]


def test_a_judge_that_changes_between_the_orders_says_nothing(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: verdict("tie", f"judge-{len(model.asked)}")
    assert judged(model, tmp_path, ("a", "b"))[0].result == "changed"


def test_a_request_nobody_can_read_is_not_judged(model: Model, tmp_path: Path) -> None:
    (found,) = judgements_of(judge(model), [ToJudge(b"hm", "a", "b")], tmp_path / "kept", lambda *_: None)
    assert (found.result, found.w) == ("unreadable", None)


def test_one_that_lets_nobody_in_ends_the_run(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: Reply(b"", 401)
    with pytest.raises(EvaluationError, match="'third' refuses every question"):
        judged(model, tmp_path, ("a", "b"), ("c", "d"))
    assert judged(model, tmp_path) == []


def test_the_report_of_a_run_has_both_scorers(model: Model, tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Reply:
        if request["model"] == "judge":
            return longer(request)
        # Right for the reference; one of the arms says it with more white space, which the judge loves.
        return says(told(request) + " " * 3 * (request["model"] == "good") if told(request) != "7" else "7")

    model.reply = reply
    plan = planned(model, tmp_path, judge=judge(model))
    report = evaluate(plan, prompts(tmp_path, 120), lambda *_: None)
    assert report.judge is not None
    assert (report.judge.judge, report.judge.verdict, report.verdict) == ("third", "passed", "passed")
    assert report.judge.total.wins == (119, 0, 1)
    text = (plan.output / MARKDOWN_FILE).read_text()
    assert "## What judge third says" in text
    assert "| all | 119 | 0 | 1 | 0 | +49.6 points" in text
    assert "by the judge +49.6 points" in text
    assert len((plan.output / JUDGEMENTS_FILE).read_bytes().split(b"\n{")) == 121


def test_a_judge_that_prefers_the_baseline_fails_what_references_pass(model: Model, tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> Reply:
        if request["model"] == "judge":
            return longer(request)
        if request["model"] == "good" and told(request) == "1":
            return Reply(b"", 500)
        return says(told(request) + " " * 3 * (request["model"] == "dear"))

    model.reply = reply
    report = evaluate(
        planned(model, tmp_path, judge=judge(model), max_drop=0.2), prompts(tmp_path, 120), lambda *_: None
    )
    assert report.judge is not None
    assert (report.total.verdict, report.judge.verdict, report.verdict) == ("passed", "failed", "failed")
    assert report.judge.total.wins == (0, 120, 0)


def test_judges_are_those_of_the_configuration(monkeypatch) -> None:
    monkeypatch.setenv("J_KEY", "sk-1")
    monkeypatch.setenv("J_PROXY", "me:word")
    through = {"proxy_url": "http://proxy:3128", "proxy_credentials_env": "J_PROXY", "api_key_env": "J_KEY"}
    documents = {
        "third": {"url": "http://h/v1", "model": "m", **through},
        "sums": {"kind": "references", "file": "f"},
    }
    settings = Settings.model_validate({"judges": documents})
    found = judge_of(settings, "third")
    assert (found.name, found.api_key, found.proxy_credentials) == ("third", "sk-1", "me:word")
    assert found.frozen == frozen_of("third", settings.judges["third"])
    for name, cause in (("nobody", "there is no judge 'nobody'"), ("sums", "is of kind references")):
        with pytest.raises(SettingsError, match=cause):
            judge_of(settings, name)
