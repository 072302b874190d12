from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.cli import main
from tests.gateway.evaluation.models import Model, Reply, says

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[upstreams.inhouse]
kind = "vllm"
base_urls = ["{url}"]
model = "moe"
[upstreams.partner]
kind = "openai"
base_urls = ["{url}"]
model = "gpt"
api_key_env = "PARTNER_KEY"
[features.draft]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTNER_KEY", "sk-partner")
    monkeypatch.setenv("GLIDEPATH_API_KEY", "gp-key")
    (tmp_path / "glidepath.toml").write_text(CONFIG.format(url=model.base_url))
    (tmp_path / "p.jsonl").write_text('{"prompt": "Say yes", "reference": "yes"}\n' * 150)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("candidate", "limit", "code", "said"),
    [("yes", "150", 0, "passed"), ("no", "150", 1, "FAILED"), ("yes", "3", 3, "undecided")],
)
def test_the_exit_code_is_the_verdict(
    model: Model, capsys: pytest.CaptureFixture[str], candidate: str, limit: str, code: int, said: str
) -> None:
    model.reply = lambda request: says(candidate if request["model"] == "moe" else "yes")
    assert main(["eval", "p.jsonl", "--feature", "draft", "--direct", "--limit", limit, "--max-tokens", "9"]) == code
    shown = capsys.readouterr()
    assert shown.out.startswith(said)
    assert "eval/report.md" in shown.out
    assert f"{2 * int(limit)} of {2 * int(limit)} answers" in shown.err
    keys = {request["model"]: key for request, key in model.asked}
    assert keys == {"moe": None, "gpt": "Bearer sk-partner"}
    assert model.asked[0][0]["max_tokens"] == 9


def test_a_judge_is_asked_too(model: Model, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "glidepath.toml").open("a") as file:
        file.write(f'[judges.third]\nurl = "{model.base_url}"\nmodel = "judge"\n')
    message = {"role": "assistant", "content": '{"winner": "first"}'}
    said = json.dumps({"model": "judge-1", "choices": [{"message": message}]}).encode()

    def reply(request: dict[str, object]) -> Reply:
        return Reply(said) if request["model"] == "judge" else says("yes" if request["model"] == "moe" else "Yes")

    model.reply = reply
    arguments = ["eval", "p.jsonl", "--feature", "draft", "--direct", "--scorer", "words", "--limit", "150"]
    assert main([*arguments, "--judge", "third"]) == 0
    assert "by the judge +0.0 points" in capsys.readouterr().out
    assert main([*arguments, "--judge", "nobody"]) == 2
    assert "there is no judge 'nobody'" in capsys.readouterr().err


def test_through_a_gateway_with_the_callers_key(model: Model, folder: Path) -> None:
    model.reply = lambda _: says("yes")
    arguments = ["eval", "p.jsonl", "--candidate", "inhouse", "--baseline", "partner", "--base-url", model.base_url]
    assert main([*arguments, "--temperature", "none", "--max-drop", "1", "--limit", "5", "--output", "there"]) == 0
    assert {key for _, key in model.asked} == {"Bearer gp-key"}
    assert "temperature" not in model.asked[0][0]
    assert (folder / "there" / "report.json").exists()


def test_without_a_key_that_of_the_configurations_gateway_is_used(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GLIDEPATH_API_KEY")
    (folder / "there").mkdir()
    (folder / "there" / "dev-key").write_text("gp-first\n")
    with (folder / "glidepath.toml").open("a") as file:
        file.write(f'[store]\nstate_dir = "{folder / "there"}"\n')
    (folder / "glidepath.toml").rename(folder / "there" / "glidepath.toml")
    arguments = ["eval", "p.jsonl", "--config", "there/glidepath.toml", "--feature", "draft", "--limit", "5"]
    assert main([*arguments, "--base-url", model.base_url]) == 3
    assert {key for _, key in model.asked} == {"Bearer gp-first"}
    monkeypatch.setenv("GLIDEPATH_KEY_FILE", "absent")
    assert main(arguments) == 2
    assert "cannot read the key file absent" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["p.jsonl"], "whom to compare?"),
        (["p.jsonl", "--feature", "drafts"], "no feature 'drafts'"),
        (["p.jsonl", "--feature", "draft", "--candidate", "nobody"], "no upstream 'nobody'"),
        (["none.jsonl", "--feature", "draft"], "cannot read none.jsonl"),
    ],
)
def test_refusals_are_a_cause_and_a_hint(capsys: pytest.CaptureFixture[str], arguments: list[str], cause: str) -> None:
    assert main(["eval", *arguments]) == 2
    assert cause in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [["--max-drop", "2"], ["--timeout", "0"], ["--concurrency", "0"], ["--scorer", "vibes"], ["--temperature", "hot"]],
)
def test_options_out_of_range_are_refused(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["eval", "p.jsonl", *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err
