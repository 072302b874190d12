from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.core.evaluation.gpu_time import GpuTime
from gateway.core.evaluation.report import SHOWN_CHARS, headline, markdown
from gateway.core.evaluation.summary import Trial, sum_up
from gateway.core.evaluation.wins import Judgement, report_wins
from rollout.core.cost import PICOUSD, token_price

Make = Callable[..., Trial]
NAMES = ("in|house", "partner")
PRICES = (None, token_price(2.0, 10.0))


def test_the_verdict_comes_first(trial: Make) -> None:
    same = [trial("yes", "yes", reference="yes")] * 200
    assert headline(sum_up(same, NAMES, PRICES, 0.05)).startswith(
        "passed: the candidate is not worse by more than 5.0 points"
    )
    worse = [trial("no", "yes", reference="yes")] * 20
    assert headline(sum_up(worse, NAMES, PRICES, 0.05)).startswith("FAILED")
    hidden = [trial("yes", "yes", reference="yes", task="a")] * 1000 + [
        trial("no", "yes", reference="yes", task="b")
    ] * 20
    assert headline(sum_up(hidden, NAMES, PRICES, 0.05)).startswith(
        "FAILED: the candidate is worse by more than 5.0 points in b;"
    )
    unclear = sum_up([*same[:20], *worse[:1]], NAMES, PRICES, 0.05)
    assert headline(unclear).startswith("undecided")
    assert "prompts would decide" in headline(unclear)
    gaps = [*same, trial("yes", None, reference="yes")]
    assert headline(sum_up(gaps, NAMES, PRICES, 0.05)).endswith("200 prompts (1 left out: the baseline has no answer)")
    assert headline(sum_up([], NAMES, PRICES, 0.05)).endswith("difference -, 0 prompts")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("no", "neither arm has a good answer, look at the references and the scorer;"),
        (None, "neither arm has answered;"),
    ],
)
def test_nothing_is_decided_by_answers_of_which_none_is_good(trial: Make, answer: str | None, said: str) -> None:
    report = sum_up([trial(answer, answer, reference="yes")] * 1_000, NAMES, PRICES, 0.05)
    assert headline(report).startswith(f"undecided: 5.0 points worse can be neither shown nor ruled out: {said}")
    assert report.total.prompts_to_decide is None


def test_all_of_it_is_there(trial: Make) -> None:
    text = markdown(
        sum_up([trial(None, "fine", feature="draft"), trial("no", "yes", reference="yes")], NAMES, PRICES, 0.05)
    )
    pieces = (
        "# in/house against partner", "| draft | candidate | 0.0% |", "no answer: status_500 | 1 | 0 |", "0.100 s",
        "$0.0001",         "Newcombe", "**prompt** (wrong)", "    yes",
    )  # fmt: skip
    for piece in pieces:
        assert piece in text


def test_what_a_judge_says_stands_beside(trial: Make) -> None:
    found = [("a|b", Judgement(f"{number}", "candidate", 1.0, "v")) for number in range(100)]
    said = report_wins("third", found, 0.05)
    report = sum_up([trial("yes", "yes", reference="yes")] * 200, NAMES, PRICES, 0.05, said)
    text = markdown(report)
    assert "| a/b | 100 | 0 | 0 | 0 | +50.0 points (+4" in text
    assert "No verdict" not in text
    assert "by the judge +50.0 points" in headline(report)


def test_a_judge_that_lost_or_changed_is_told_and_decides_nothing(trial: Make) -> None:
    found = [("", Judgement(f"{number}", "candidate", 1.0, f"v{number % 2}")) for number in range(40)]
    lost = [("", Judgement(f"l{number}", "nonsense")) for number in range(20)]
    report = sum_up(
        [trial("yes", "yes", reference="yes")] * 200, NAMES, PRICES, 0.05, report_wins("j", found + lost, 0.05)
    )
    text = markdown(report)
    assert "answered as 2 models: nothing is decided" in text
    assert "No verdict: nonsense 20." in text
    assert report.total.verdict == "passed"
    assert headline(report).startswith("undecided")
    assert "would decide" not in headline(report)


def test_what_models_write_is_no_markup(trial: Make) -> None:
    nasty = "# Title\n\n</details><script>|x|\n```\n" + "x" * SHOWN_CHARS
    text = markdown(sum_up([trial("", nasty, reference=nasty)], NAMES, PRICES, 0.05))
    lines = text.splitlines()
    assert "    # Title" in lines
    assert not any(line.startswith(("# Title", "</details>", "```")) for line in lines)
    assert text.count("x") < 2 * SHOWN_CHARS + 20


@pytest.mark.parametrize("counted", [True, False])
def test_a_cost_says_what_it_leaves_out(trial: Make, counted: bool) -> None:  # noqa: FBT001  a table
    one = trial("x", "y")
    if not counted:
        answer = msgspec.structs.replace(one.baseline.answer, prompt_tokens=None, completion_tokens=None)
        one = one._replace(baseline=one.baseline._replace(answer=answer))
    text = markdown(sum_up([one], NAMES, PRICES, 0.05))
    assert ("1 answers without token counts" in text) is not counted


@pytest.mark.parametrize(
    ("time", "line"),
    [
        (GpuTime(59.4, PICOUSD // 3, None), "GPU time, used or not, for the 59 s of the run: candidate $0.3333."),
        (GpuTime(1.0, PICOUSD, 2 * PICOUSD), "the 1 s of the run: candidate $1.0000, baseline $2.0000."),
        (GpuTime(1.0, None, None), None),
        (None, None),
    ],
)
def test_gpu_time_is_told_apart_where_it_has_a_price(trial: Make, time: GpuTime | None, line: str | None) -> None:
    report = msgspec.structs.replace(sum_up([trial("x", "y")], NAMES, PRICES, 0.05), gpu_time=time)
    text = markdown(report)
    assert ("GPU time" in text) is (line is not None)
    assert line is None or line in text
