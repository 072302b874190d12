"""One gateway: its first key, what it reports, and how it ends."""

import json
import signal
from pathlib import Path

import httpx2
import pytest

from gateway.build import form
from gateway.supervisor import Started, report

READY = r"gateway (http://\S+)/v1  operator (http://\S+)"


@pytest.mark.parametrize("new_key", [None, "gp-new"])
def test_the_report_shows_where_it_is_and_a_new_key_once(new_key: str | None, capsys) -> None:
    report(Started("http://127.0.0.1:1", "http://127.0.0.1:2", new_key))
    out = capsys.readouterr().out
    assert "http://127.0.0.1:1/v1" in out
    assert "http://127.0.0.1:2" in out
    assert f"request path {form()}" in out
    assert out.count("gp-new") == (1 if new_key else 0)


CONFIG = """
[server]
port = 0
[admin]
port = 0
[upstreams.inhouse]
kind = "vllm"
base_urls = ["http://127.0.0.1:9/v1"]
model = "moe"
price = { gpus = 8, gpu_usd_per_hour = 2.5 }
[upstreams.partner]
kind = "openai"
base_urls = ["http://127.0.0.1:9/v1"]
model = "gpt"
[features.draft]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture
def gateway(command, tmp_path: Path):
    """Start a gateway; gives the process, its address and its operator's address."""
    (tmp_path / "c.toml").write_text(CONFIG)

    def start(**environment: str):
        process = command("gateway", "--config", "c.toml", **environment)
        return process, *process.shown(READY).groups()

    return start


def get(url: str, key: str = "") -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.get(url, headers=headers, trust_env=False, timeout=60)


@pytest.mark.system
def test_the_first_start_makes_a_key_that_only_its_owner_can_read(gateway, tmp_path: Path) -> None:
    process, url, admin = gateway()
    key_file = tmp_path / "glidepath-data" / "dev-key"
    key = key_file.read_text().strip()
    assert key in process.stdout
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert [model["id"] for model in get(f"{url}/v1/models", key).json()["data"]] == ["copilot/draft", "moe", "gpt"]
    assert get(f"{admin}/api/v1/features/draft", key).json()["share_millipct"] == 0
    assert get(f"{url}/readyz").json() == {"status": "ready"}
    assert process.stop() == 0
    again, url, _ = gateway()
    assert "gp-" not in again.stdout
    assert get(f"{url}/v1/models", key).status_code == 200
    assert again.stop() == 0


@pytest.mark.system
def test_the_first_key_can_be_given(gateway, tmp_path: Path) -> None:
    process, url, _ = gateway(GLIDEPATH_BOOTSTRAP_KEY="given-key")
    assert get(f"{url}/v1/models", "given-key").status_code == 200
    assert "given-key" not in process.stdout + process.stderr
    assert not (tmp_path / "glidepath-data" / "dev-key").exists()
    assert process.stop() == 0
    again, url, _ = gateway(GLIDEPATH_BOOTSTRAP_KEY="another-key")
    assert get(f"{url}/v1/models", "another-key").status_code == 401
    assert get(f"{url}/v1/models", "given-key").status_code == 200
    again.stop()


@pytest.mark.system
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_ends_cleanly(gateway, signum: int) -> None:
    process, url, _ = gateway()
    with httpx2.Client(trust_env=False) as idle:
        assert idle.get(f"{url}/healthz").status_code == 200
        assert process.stop(signum) == 0
    assert process.stderr == ""


@pytest.mark.system
def test_metrics_show_what_happened(gateway) -> None:
    process, url, admin = gateway(GLIDEPATH_BOOTSTRAP_KEY="k")
    body = json.dumps({"model": "copilot/draft", "user": "u"})
    answer = httpx2.post(
        f"{url}/v1/chat/completions", content=body, headers={"authorization": "Bearer k"}, trust_env=False, timeout=60
    )
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    metrics = get(f"{admin}/metrics").text
    assert 'outcome="unreachable"' in metrics
    assert 'glidepath_share_ratio{feature="draft"} 0.0' in metrics
    assert "glidepath_requests_in_flight 0.0" in metrics
    none, unpriced, priced = get(f"{admin}/api/v1/features/draft/cost", "k").json()["warnings"]
    assert "no ramp has begun" in none
    assert "'partner' has no price" in unpriced
    assert priced.startswith("GPU time is all of 'inhouse'")
    process.stop()


@pytest.mark.system
def test_a_store_that_goes_away_stops_nothing(gateway, tmp_path: Path) -> None:
    process, url, admin = gateway(GLIDEPATH_BOOTSTRAP_KEY="k")
    for part in (tmp_path / "glidepath-data").glob("glidepath.db*"):
        part.unlink()
    (tmp_path / "glidepath-data" / "glidepath.db").mkdir()
    for _ in range(5):
        assert get(f"{url}/v1/models", "k").status_code == 200
    assert get(f"{admin}/healthz").status_code == 200
    assert process.stop() == 0
    assert "Traceback" not in process.stderr


@pytest.mark.system
def test_a_store_that_lost_its_data_is_not_begun_anew(gateway, tmp_path: Path) -> None:
    process, url, admin = gateway()
    key = (tmp_path / "glidepath-data" / "dev-key").read_text().strip()
    headers = {"authorization": f"Bearer {key}", "if-match": "1"}
    body = {"share": "25%", "reason": "a step"}
    path = f"{admin}/api/v1/features/draft/share"
    assert httpx2.put(path, json=body, headers=headers, trust_env=False, timeout=60).status_code == 200
    assert process.stop() == 0
    for part in (tmp_path / "glidepath-data").glob("glidepath.db*"):
        part.unlink()
    again, url, admin = gateway()
    assert "gp-" not in again.stdout
    assert get(f"{url}/v1/models", key).status_code == 200
    metrics = get(f"{admin}/metrics").text
    assert 'glidepath_share_ratio{feature="draft"} 0.25' in metrics
    assert 'glidepath_store_standing{standing="emptied"} 1.0' in metrics
    assert again.stop() == 0
    assert "the store has lost data" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.system
def test_sdks_of_feature_flags_read_the_same_decision(gateway) -> None:
    process, url, _ = gateway(GLIDEPATH_BOOTSTRAP_KEY="k")
    path = f"{url}/ofrep/v1/evaluate/flags/draft"
    asked = {"context": {"targetingKey": "c-1"}}
    answer = httpx2.post(path, json=asked, headers={"authorization": "Bearer k"}, trust_env=False, timeout=60)
    assert (answer.status_code, answer.json()["variant"], answer.json()["value"]) == (200, "baseline", "partner")
    refused = httpx2.post(path, json=asked, trust_env=False, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert process.stop() == 0
