"""One scenario through the gateway: three features, streamed and not; the exit code is the thresholds' verdict.

Configured by the environment: GLIDEPATH_LOAD_SCENARIO (a TOML of this package's scenarios), GLIDEPATH_LOAD_BASE_URL,
GLIDEPATH_API_KEY, GLIDEPATH_LOAD_PROMPTS (instead of the scenario's file), GLIDEPATH_LOAD_REPORT (where JSON goes).

Entries are our own `ttft` and `e2e` events: nothing is timed by the load generator, the aggregate row isn't judged, and
an answer counts as good only with its finish reason and end marker. Throughput per user is constant, and a run whose
callers fell behind says so through the achieved rate.
"""

import os
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from locust import LoadTestShape, User, constant_throughput, events, task
from locust.env import Environment

from loadtests.caller import Caller, CallResult
from loadtests.check import breaches
from loadtests.prompts import read_prompts
from loadtests.report import Sample, sum_up
from loadtests.scenario import read_scenario
from loadtests.workload import PlannedRequest, exact_match, requests_of

_DEFAULT_SCENARIO: Final = Path(__file__).parent / "scenarios" / "smoke.toml"
SCENARIO: Final = read_scenario(Path(os.environ.get("GLIDEPATH_LOAD_SCENARIO", _DEFAULT_SCENARIO)))
PROMPTS: Final = read_prompts(Path(os.environ.get("GLIDEPATH_LOAD_PROMPTS", SCENARIO.prompts)))
BASE_URL: Final = os.environ.get("GLIDEPATH_LOAD_BASE_URL", "http://127.0.0.1:8080/v1")
_SAMPLES: Final[list[Sample]] = []
_USER_NUMBERS: Final = count()


class CopilotUser(User):
    """A user of the three features who sends at a constant rate and waits for each answer."""

    wait_time = constant_throughput(SCENARIO.rate / SCENARIO.users)

    def on_start(self) -> None:
        """Open this user's connection and begin its seeded sequence."""
        self.caller = Caller(BASE_URL, os.environ.get("GLIDEPATH_API_KEY"), SCENARIO.timeout_s)
        self.requests = requests_of(next(_USER_NUMBERS), PROMPTS, SCENARIO.mix, SCENARIO.seed)

    def on_stop(self) -> None:
        """Close this user's connection."""
        self.caller.close()

    @task
    def ask(self) -> None:
        """Send the next request of the sequence and record what came of it."""
        request = next(self.requests)
        begun_s = time.perf_counter()
        result = self.caller.call(request)
        sample = _sample(request, result)
        _SAMPLES.append(sample)
        elapsed_s = time.perf_counter() - begun_s if sample.e2e_s is None else sample.e2e_s
        self._fire("e2e", request, elapsed_s, result.problem)
        if sample.ttft_s is not None:
            self._fire("ttft", request, sample.ttft_s, None)

    def _fire(self, kind: str, request: PlannedRequest, elapsed_s: float, problem: str | None) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=request.feature,
            response_time=elapsed_s * 1000,
            response_length=0,
            exception=None if problem is None else RuntimeError(problem),
            context={},
        )


def _sample(request: PlannedRequest, result: CallResult) -> Sample:
    seen = result.seen
    return Sample(
        request.feature,
        request.conversation,
        result.problem,
        None if seen is None else seen.e2e_s,
        None if seen is None else seen.ttft_s,
        result.assigned,
        None if seen is None or result.problem is not None else exact_match(seen.text, request.reference),
    )


class ScenarioShape(LoadTestShape):
    """All users at once for the scenario's duration, so that the scenario file alone says what runs."""

    def tick(self) -> tuple[int, float] | None:
        """Return users and spawn rate, or None at the end."""
        elapsed_s: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust leaves it untyped
        return (SCENARIO.users, SCENARIO.users) if elapsed_s < SCENARIO.duration_s else None


@events.init.add_listener  # type: ignore[untyped-decorator]
def _let_answers_finish(environment: Environment, **_: Any) -> None:  # noqa: ANN401  locust passes what it likes
    environment.stop_timeout = SCENARIO.timeout_s


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _judge(environment: Environment, **_: Any) -> None:  # noqa: ANN401  locust passes what it likes
    report = sum_up(_SAMPLES, SCENARIO.duration_s, SCENARIO.rate)
    report = msgspec.structs.replace(report, breaches=tuple(breaches(report, SCENARIO.thresholds)))
    environment.process_exit_code = 1 if report.breaches else 0
    if path := os.environ.get("GLIDEPATH_LOAD_REPORT"):
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    for breach in report.breaches:
        print(f"breach: {breach}")  # noqa: T201  also for those who run locust directly
