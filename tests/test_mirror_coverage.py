"""The rule "core is covered by its own mirror test" is kept by every package."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mirror_coverage.py")


@pytest.mark.slow
def test_every_core_module_is_covered_by_its_own_mirror_test() -> None:
    run = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "core modules are covered" in run.stdout
