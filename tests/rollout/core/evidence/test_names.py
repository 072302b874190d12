from rollout.core.evidence.names import MEASURED, METRICS


def test_what_is_measured_is_known() -> None:
    assert MEASURED <= METRICS
    assert {"errors", "judge", "ttft_p95"} <= METRICS
