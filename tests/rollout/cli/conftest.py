"""An empty folder, and nothing in the environment that says where the gateway is."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GLIDEPATH_ADMIN_URL", "GLIDEPATH_API_KEY", "GLIDEPATH_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
