"""Whether there is a Prometheus for the gates, and what is said where there is none."""

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
    return f"WARNING: {_MISSING}. Ramps run on time alone; no gate is asked, and no breach is shown."


def ungated(environment: Mapping[str, str]) -> Verdict:
    """Return the verdict on what can't be shown without one: in CI that is a failure."""
    check = "gates, and the rollback of a breach"
    if environment.get(_CI):
        return Verdict(check, ok=False, found=f"{_MISSING} (in CI nothing may be skipped)")
    return Verdict(check, ok=True, found=f"SKIPPED: {_MISSING}", skipped=True)
