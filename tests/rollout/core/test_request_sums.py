from msgspec.structs import replace

from rollout.core.ramp_model import Phase, Progress
from rollout.core.request_sums import requests_key, samples_of
from rollout.core.sums import SumKey, check_flush

PROGRESS = Progress(phase=Phase.RUNNING, attempt=2, step=1, step_began_s=1_700_000_000.1234)


def test_each_entry_into_a_step_of_an_attempt_has_sums_of_its_own() -> None:
    key = requests_key("draft", PROGRESS)
    assert key == SumKey("draft", 2, "requests.1700000000123")
    check_flush({key: [1, 2]}, "flush")
    again = replace(PROGRESS, step_began_s=PROGRESS.step_began_s + 1)
    assert len({key, requests_key("draft", again), requests_key("draft", replace(PROGRESS, attempt=3))}) == 3


def test_samples_are_the_candidates_requests_of_this_step() -> None:
    other = replace(PROGRESS, step_began_s=1.0)
    sums = {requests_key("draft", PROGRESS): (7, 90), requests_key("draft", other): (100, 100)}
    assert samples_of("draft", PROGRESS, sums) == 7
    assert (
        samples_of("draft", PROGRESS, {}) == samples_of("draft", PROGRESS, {requests_key("draft", PROGRESS): ()}) == 0
    )
