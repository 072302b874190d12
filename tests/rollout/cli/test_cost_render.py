"""What a ramp costs, on a terminal."""

from typing import Any

from rollout.cli.cost_render import cost_lines, cost_text

ARM = {
    "upstream": "inhouse",
    "requests": 1_200,
    "accepted": 1_190,
    "unmetered": 0,
    "prompt_tokens": 1_200_000,
    "completion_tokens": 120_000,
    "tokens_usd": 0.0,
    "gpu_usd": 20.0,
    "per_request_usd": 20 / 1_200,
    "per_accepted_usd": None,
    "per_million_tokens_usd": 15.151515,
}
SAVED = {"usd": -16.5, "lower_usd": -17.0, "upper_usd": -16.0, "per_day_usd": -396.0, "extrapolated": 0}
ANSWER: dict[str, Any] = {
    "feature": "draft",
    "attempt": 2,
    "since_s": 0.0,
    "until_s": 3_600.0,
    "candidate": ARM,
    "baseline": ARM | {"upstream": "partner[red]"},
    "saved": SAVED,
    "saved_in_full": SAVED | {"lower_usd": None, "upper_usd": None, "per_day_usd": None},
    "shadows": {"requests": 10, "unmetered": 0, "usd": 0.035},
    "warnings": ["beware"],
}


def test_arms_stand_side_by_side_in_dollars() -> None:
    text = cost_text(ANSWER)
    assert "cost of draft, attempt 2" in text
    rows = {line[:20].strip(): line[20:].split() for line in text.splitlines()}
    assert rows["upstream"] == ["inhouse", "partner[red]"]
    assert rows["requests"] == ["1,200", "1,200"]
    assert rows["GPU time"] == ["$20.00", "$20.00"]
    assert rows["per request"] == ["$0.0167", "$0.0167"]
    assert rows["per accepted answer"] == ["-", "-"]


def test_savings_and_overhead_are_said_in_words() -> None:
    assert list(cost_lines(ANSWER)) == [
        "saved so far: -$16.50 (95 %: -$17.00 to -$16.00), -$396.00 a day",
        "saved if all had gone to the candidate: -$16.50",
        "shadow calls, in neither arm: 10 for $0.0350",
        "note: beware",
    ]
    assert set(cost_lines(ANSWER)) <= set(cost_text(ANSWER).splitlines())


def test_before_a_ramp_nothing_is_known() -> None:
    nothing = {"requests": 0, "unmetered": 0, "usd": 0.0}
    answer = ANSWER | {"since_s": None, "saved": None, "saved_in_full": None, "shadows": nothing, "warnings": []}
    assert cost_text(answer).startswith("cost of draft\n")
    assert list(cost_lines(answer)) == [
        "saved so far: not known before the baseline has had a request",
        "saved if all had gone to the candidate: not known before the baseline has had a request",
    ]
