"""The soak of `glidepath soak`, short: nothing lost, doubled or left over with faults and leaving callers."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.long]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_short_soak_holds(command, tmp_path: Path, workers: int) -> None:
    # Memory is judged by the long one: in half a minute nothing has settled. Nor is the callers' pace the gateway's.
    options = ("--duration", "30", "--rate", "150", "--rss-bound", "200", "--workers", str(workers))
    soak = command("soak", *options, "--output", str(tmp_path))
    soak.process.wait(240)
    report = json.loads((tmp_path / "soak.json").read_text("utf-8"))
    failed = [check for check in report["checks"] if not check["held"] and "pace" not in check["name"]]
    assert not failed, soak.stdout
    assert report["fates"]["kept"]["whole"]
    assert report["fates"]["left"]["left"]
    assert all(report["faults"])
