"""docs/judges.md names settings, defaults and words as they are."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.core.judging.score import Miss, Result
from gateway.core.judging.verdict import Winner
from gateway.judge import BREAKER
from gateway.pairs import QUEUE_MAX, QUEUE_MAX_BYTES
from gateway.settings.judges import JudgeSettings

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "judges.md").read_text("utf-8")
METRICS = (DOCS / "metrics.md").read_text("utf-8")
ROWS = re.findall(r"^\| ((?:`\w+` ?)+)\| (.*?) ?\|", PAGE, re.MULTILINE)
SHOWN = {name: default for names, default in ROWS for name in re.findall(r"\w+", names)}


def test_every_setting_is_there_with_its_default() -> None:
    assert set(SHOWN) == set(JudgeSettings.model_fields)
    judge = JudgeSettings(url="http://h/v1", model="m")
    for name, default in SHOWN.items():
        if default.isdigit():
            assert getattr(judge, name) == int(default), name
        elif default.startswith("`"):
            assert getattr(judge, name) == tomllib.loads(f"v = {default.strip('`')}")["v"]


def test_the_numbers_and_words_in_the_text() -> None:
    assert (BREAKER.consecutive_failures, BREAKER.requests_min, BREAKER.window_s) == (3, 10, 60.0)
    assert (BREAKER.failure_ratio, BREAKER.ejected_s, BREAKER.ejected_max_s) == (0.5, 5.0, 300.0)
    assert (QUEUE_MAX, QUEUE_MAX_BYTES) == (256, 16 << 20)
    assert " | ".join(f'"{winner}"' for winner in Winner) in PAGE


@pytest.mark.parametrize(("metric", "words"), [("scores_total", Result), ("missed_total", Miss)])
def test_results_and_reasons_are_all_explained(metric: str, words: type) -> None:
    (row,) = [line for line in METRICS.splitlines() if f"`glidepath_judge_{metric}`" in line]
    for word in words:
        assert re.search(rf"\b{word}\b", row), word


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", PAGE):
        assert (DOCS / target).exists(), target
