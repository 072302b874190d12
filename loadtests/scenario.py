"""A load scenario: traffic and the thresholds it is judged by, from one TOML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from loadtests.strict import read_toml
from loadtests.workload import Mix

Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold after a run; an absent one isn't judged, but errors always are.

    `share` is the asked candidate share of each feature, judged over conversations within `share_tolerance_sigmas`
    binomial standard deviations; `achieved_rate_ratio` is requests sent over requests asked: below it the callers
    queued, and every latency of the run is too kind.
    """

    error_ratio: Ratio = 0.0
    ttft_p95_s: Positive | None = None
    e2e_p95_s: Positive | None = None
    exact_match_ratio: Ratio | None = None
    achieved_rate_ratio: Ratio | None = None
    arm_flips: Annotated[int, msgspec.Meta(ge=0)] | None = None
    share: Mapping[str, Ratio] = {}
    share_tolerance_sigmas: Positive = 4.0


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traffic: `rate` requests per second in all, spread over `users` who each wait for their answer."""

    users: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    rate: Positive
    duration_s: Positive
    prompts: str
    timeout_s: Positive = 30.0
    seed: int = 0
    mix: Mix = Mix()
    thresholds: Thresholds = Thresholds()


def read_scenario(path: Path) -> Scenario:
    """Read a scenario; its prompts are relative to it. Raises InvalidFileError."""
    scenario = read_toml(path, Scenario)
    return msgspec.structs.replace(scenario, prompts=str(path.parent / Path(scenario.prompts).expanduser()))
