"""`glidepath controller` as a process: it leads, shows what it does, and gives the lease back."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.seed import ensure_features

pytestmark = pytest.mark.system
DEADLINE_S = 60.0
CONFIG = """
[store]
url = "sqlite:///{folder}/store.db"
state_dir = "{folder}"
[controller]
enabled = false
port = {port}
every_s = 0.1
lease_s = 30
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "glidepath.toml"
    path.write_text(CONFIG.format(folder=tmp_path, port=0))
    return path


async def _prepare(folder: Path) -> None:
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    await ensure_features(store, {"draft": ("inhouse", "partner")}, WallClock())
    await store.close()


async def _can_lead(folder: Path) -> bool:
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    try:
        return await store.acquire_lease("controller", "next", 1.0) is not None
    finally:
        await store.close()


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gateway.cli", "controller", "--config", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_leads_until_it_is_told_to_end(config: Path, tmp_path: Path) -> None:
    asyncio.run(_prepare(tmp_path))
    process = start(config)
    try:
        said = process.stdout.readline()
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", said)
        deadline_s = time.monotonic() + DEADLINE_S
        with httpx2.Client(base_url=url, trust_env=False) as client:
            while "glidepath_controller_leading 1.0" not in (page := client.get("/metrics").text):
                assert time.monotonic() < deadline_s, page
                time.sleep(0.05)
            assert client.get("/readyz").status_code == client.get("/healthz").status_code == 200
            assert client.get("/openapi.json").status_code == 404
        assert not asyncio.run(_can_lead(tmp_path))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr.read() == ""
        assert asyncio.run(_can_lead(tmp_path))
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_line(config: Path, tmp_path: Path) -> None:
    first = start(config)
    try:
        port = int(re.search(r":(\d+)/metrics", first.stdout.readline())[1])
        config.write_text(CONFIG.format(folder=tmp_path, port=port))
        second = start(config)
        _, err = second.communicate(timeout=DEADLINE_S)
        assert second.returncode != 0
        assert err.splitlines()[-2].startswith(f"glidepath: cannot listen on 127.0.0.1:{port} ([controller])")
    finally:
        first.kill()
        first.communicate()
