import msgspec
import pytest

from rollout.core.verdict import Estimate, Result, Verdict


def test_results_are_ordered_from_the_best() -> None:
    assert list(Result) == ["PASS", "INCONCLUSIVE", "NO_DATA", "ERROR", "FAIL"]


def test_a_verdict_survives_a_store_and_what_is_not_known_is_not_written() -> None:
    verdict = Verdict("worse", Result.FAIL, "why", 9.0, value=2e9, limit=115.1, estimate=Estimate(effect=-0.1))
    raw = msgspec.json.encode(verdict)
    assert msgspec.json.decode(raw, type=Verdict) == verdict
    assert msgspec.json.decode(raw)["estimate"] == {"effect": -0.1}


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="odd"):
        msgspec.json.decode(b'{"odd": 1}', type=Estimate)
