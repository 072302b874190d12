"""The alert rules, played through by promtool: each fires when it should, and not before."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is missing: the alert rules are NOT checked (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_accepts_the_rules(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_every_alert_is_played_through() -> None:
    alerts = re.findall(r"- alert: (\w+)", (FOLDER / "rules.yml").read_text("utf-8"))
    fired = re.findall(r'alertname="(\w+)"', (FOLDER / "rules_test.yml").read_text("utf-8"))
    assert len(alerts) == len(set(alerts))
    assert fired == alerts
