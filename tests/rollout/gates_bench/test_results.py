import msgspec
import pytest

from rollout.gates_bench.results import Results, decoded, encoded


def test_what_is_written_is_read_again(results: Results) -> None:
    assert decoded(encoded(results)) == results
    told = msgspec.json.decode(encoded(results))
    assert told["missed_harm_max"] == 0.0
    assert told["wrong_promotion_max_scenario"] == "p95 at the margin"
    assert len(told["false_rollback_max_ci95"]) == 2
    assert told["false_rollback_max_runs"] == 4


def test_anything_else_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(b"{}")
