from pathlib import Path

import pytest

from loadtests.errors import InvalidFileError
from loadtests.scenario import read_scenario

SCENARIOS = sorted((Path(__file__).parents[2] / "loadtests" / "scenarios").glob("*.toml"))
NEEDED = 'users = 2\nrate = 4.0\nduration_s = 1.0\nprompts = "p.jsonl"\n'


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid_and_its_prompts_exist(path: Path) -> None:
    assert Path(read_scenario(path).prompts).is_file()


def test_errors_are_judged_even_when_nothing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(NEEDED)
    scenario = read_scenario(path)
    assert scenario.thresholds.error_ratio == 0
    assert scenario.prompts == str(tmp_path / "p.jsonl")
    assert scenario.mix.tasks.keys() == {"rewrite", "summarize", "draft"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (NEEDED + "user = 1", "did you mean `users`"),
        (NEEDED + "[thresholds]\nttft_p95 = 1", "did you mean `ttft_p95_s`"),
        (NEEDED + "[thresholds.share]\nx = 2.0", "correct the value"),
        (NEEDED.replace("users = 2", "users = 0"), "correct the value"),
        (NEEDED.replace("rate = 4.0", "rate = nan"), "correct the value"),
        (NEEDED.replace("rate = 4.0", "rate = inf"), "correct the value"),
        ("", "correct the value"),
    ],
)
def test_a_bad_scenario_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        read_scenario(path)
    assert hint in caught.value.hint
