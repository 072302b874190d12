from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.evaluation.paired import Pairs
from gateway.core.evaluation.summary import EXAMPLES_MAX, Trial, quantile, sum_up
from rollout.core.cost import token_price

Make = Callable[..., Trial]
NAMES = ("inhouse", "partner")
PRICES = (None, token_price(2.0, 10.0))


def test_right_beats_form_and_no_answer_is_not_good(trial: Make) -> None:
    assert trial("42", "", reference="42").candidate.good
    assert not trial("42", "43", reference="42").baseline.good
    assert not trial("", "fine").candidate.good
    assert trial("", "fine").baseline.good
    assert not trial(None, "fine").candidate.good
    assert trial("I can't help with that.", "x", reference="I can't help with that.").candidate.good


def test_the_report_adds_up(trial: Make) -> None:
    trials = [
        trial("yes", "yes", reference="yes", feature="draft"),
        trial("no", "yes", reference="yes", feature="draft"),
        trial("fine", "I can't help with that.", task="rewrite"),
        trial(None, "fine"),
    ]
    report = sum_up(trials, NAMES, PRICES, 0.05)
    total = report.total
    assert total.pairs == Pairs(1, 1, 2, 0)
    assert (total.difference, total.verdict, report.worse, report.better) == (-0.25, "undecided", 2, 1)
    assert list(report.features) == ["draft", "rewrite"]
    assert report.features["draft"].pairs == Pairs(1, 0, 1, 0)
    candidate, baseline = total.candidate, total.baseline
    assert (candidate.asked, candidate.failed, candidate.problems) == (4, 1, {"status_500": 1})
    assert (candidate.right, candidate.scored, candidate.good) == (1, 2, 2)
    assert (baseline.faults["refusal"], candidate.faults["refusal"]) == ((1, 4), (0, 3))
    assert (candidate.picousd, baseline.picousd) == (None, 4 * (10 * 2_000_000 + 5 * 10_000_000))
    assert (baseline.ttft_p50_s, baseline.total_p95_s, baseline.unmetered) == (0.1, 0.5, 0)
    assert [example.why for example in report.examples] == [("wrong",), ("status_500",)]


def test_a_flawed_answer_says_why_it_is_an_example(trial: Make) -> None:
    report = sum_up(
        [trial("", "fine", messages=[{"role": "user", "content": "Hm?"}], prompt=None)], NAMES, PRICES, 0.05
    )
    assert report.examples[0].why == ("empty",)
    assert report.examples[0].prompt == "Hm?"


def test_without_an_answer_of_the_baseline_there_is_nothing_to_compare(trial: Make) -> None:
    same, alone = trial("yes", "yes", reference="yes"), trial("yes", None, reference="yes")
    some = sum_up([same] * 95 + [alone] * 5, NAMES, PRICES, 0.05)
    assert (some.total.pairs, some.total.uncompared, some.verdict, some.better) == (Pairs(95), 5, "passed", 0)
    few = sum_up([same] * 85 + [alone] * 15, NAMES, PRICES, 0.05)
    assert (few.verdict, few.total.prompts_to_decide) == ("undecided", None)
    nobody = sum_up([trial(None, None)] * 500, NAMES, PRICES, 0.05)
    assert (nobody.verdict, nobody.total.interval) == ("undecided", None)
    silent = sum_up([trial(None, "yes", reference="yes")] * 100, NAMES, PRICES, 0.05)
    assert silent.verdict == "failed"


def test_a_good_feature_does_not_hide_a_bad_one(trial: Make) -> None:
    good, bad = trial("yes", "yes", reference="yes", task="a"), trial("no", "yes", reference="yes", task="b")
    report = sum_up([good] * 1000 + [bad] * 20, NAMES, PRICES, 0.05)
    assert (report.total.verdict, report.features["b"].verdict, report.verdict) == ("passed", "failed", "failed")
    assert sum_up([good] * 1000, NAMES, PRICES, 0.05).verdict == "passed"


def test_a_prompt_in_parts_is_shown(trial: Make) -> None:
    parts = [{"type": "text", "text": "Hm?"}]
    report = sum_up(
        [trial("", "fine", messages=[{"role": "user", "content": parts}], prompt=None)], NAMES, PRICES, 0.05
    )
    assert report.examples[0].prompt == '[{"type":"text","text":"Hm?"}]'


def test_examples_have_an_end(trial: Make) -> None:
    report = sum_up([trial("", "fine")] * (EXAMPLES_MAX + 5), NAMES, PRICES, 0.05)
    assert (len(report.examples), report.worse, report.total.verdict) == (EXAMPLES_MAX, EXAMPLES_MAX + 5, "failed")


def test_quantiles_are_values_that_came() -> None:
    assert quantile([], 0.5) is None
    assert [quantile(range(1, 101), q) for q in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]
    assert quantile([3.0], 0.99) == pytest.approx(3.0)
