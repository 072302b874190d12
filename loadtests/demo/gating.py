"""Whether there is a Prometheus for the PromQL floor, and what is said where there is none."""

import shutil
from collections.abc import Mapping
from typing import Final

from loadtests.demo.judge import Verdict

PROGRAM: Final = "prometheus"
_CI: Final = "CI"
_MISSING: Final = "no prometheus binary; apt-get install prometheus"


def find_prometheus(environment: Mapping[str, str]) -> str | None:
    """Return the path of the binary, None where there is none."""
    return shutil.which(PROGRAM, path=environment.get("PATH"))


def warning() -> str:
    """Return what must be said before a start without one."""
    return f"WARNING: {_MISSING}. Ramps run on evidence alone; the PromQL floor is not asked."


def ungated(environment: Mapping[str, str]) -> Verdict:
    """Return the verdict on what can't be shown without one: in CI that is a failure."""
    check = "the PromQL floor holds at each step"
    if environment.get(_CI):
        return Verdict(check, ok=False, found=f"{_MISSING} (in CI nothing may be skipped)")
    return Verdict(check, ok=True, found=f"SKIPPED: {_MISSING}", skipped=True)
