import json
import tomllib
from pathlib import Path

import pytest

from gateway.settings import load
from loadtests.demo.layout import Folder, Ports, baseline_of, candidate_of, gateway_config, prometheus_config
from loadtests.demo.partner import Partner, Price
from loadtests.demo.plan import FEATURES, GOOD

SIMULATED = Partner(True, "http://127.0.0.1:9000/v1", "simulated-partner", None, Price(0.4, 1.6))
PORTS = Ports(1, 2, 3, 4, 5, 6)
INHOUSE = {"inhouse": "demo-moe-good", "inhouse-worse": "demo-moe-worse"}


def _config(root: Path, *, gated: bool = True) -> str:
    return gateway_config(Folder(root), PORTS, INHOUSE, SIMULATED, gated=gated)


@pytest.mark.parametrize("root", ["/tmp/demo", '/tmp/a "quoted" \\ folder', "/tmp/größe"])  # noqa: S108  not written
def test_the_configuration_is_what_the_parts_are_told(root: str) -> None:
    config = tomllib.loads(_config(Path(root)))
    assert config["server"] == {"host": "127.0.0.1", "port": 1}
    assert config["admin"]["port"] == 2
    assert config["store"] == {"url": f"sqlite:///{root}/demo.db", "state_dir": root}
    assert config["upstreams"]["inhouse"] == {
        "kind": "vllm",
        "base_urls": ["http://127.0.0.1:3/v1"],
        "model": "demo-moe-good",
        "price": {"input_usd": 0.05, "output_usd": 0.2},
    }
    assert config["upstreams"]["inhouse-worse"]["base_urls"] == ["http://127.0.0.1:6/v1"]
    assert config["upstreams"]["partner"]["base_urls"] == ["http://127.0.0.1:9000/v1"]
    assert config["upstreams"]["partner"]["price"] == {"input_usd": 0.4, "output_usd": 1.6}
    assert {name: each["candidate"] for name, each in config["features"].items()} == {
        "summarize": "inhouse",
        "draft": "inhouse",
        "rewrite": "inhouse-worse",
        "proofread": "trial-proofread",
        "reply": "trial-reply",
    }
    assert {each["baseline"] for each in config["features"].values()} == {"partner"}
    trials = [config["upstreams"][name] for name in ("trial-proofread", "trial-reply")]
    assert [each["base_urls"] for each in trials] == [["http://127.0.0.1:4/v1"]] * 2
    assert [each["model"] for each in trials] == ["simulated-trial-proofread", "simulated-trial-reply"]
    assert config["prometheus"] == {"url": "http://127.0.0.1:5"}


def test_without_the_worse_model_the_good_one_has_its_feature() -> None:
    only = {"inhouse": "m"}
    config = tomllib.loads(gateway_config(Folder(Path("/x")), PORTS, only, SIMULATED, gated=True))
    assert "inhouse-worse" not in config["upstreams"]
    assert {candidate_of(feature, only) for feature in FEATURES} <= set(config["upstreams"])
    assert config["features"]["rewrite"]["candidate"] == "inhouse"


def test_without_gates_no_prometheus_is_named() -> None:
    assert "prometheus" not in tomllib.loads(_config(Path("/x"), gated=False))


def test_the_gateway_reads_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "glidepath.toml"
    path.write_text(_config(tmp_path), encoding="utf-8")
    settings = load(path)
    assert settings.prometheus is not None
    assert settings.controller.every_s < 1


def test_prometheus_scrapes_the_operators_port_each_second() -> None:
    config = json.loads(prometheus_config(PORTS))
    assert config["global"] == {"scrape_interval": "1s", "scrape_timeout": "1s"}
    (job,) = config["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("glidepath-gateway", "/metrics")
    assert job["static_configs"] == [{"targets": ["127.0.0.1:2"]}]


def test_a_partners_key_is_named_never_written() -> None:
    partner = Partner(simulated=False, base_url="https://p.example/v1", model="m", key_variable="OPENAI_API_KEY")
    config = tomllib.loads(gateway_config(Folder(Path("/x")), Ports(), {"inhouse": "m"}, partner, gated=True))
    assert config["upstreams"]["partner"]["api_key_env"] == "OPENAI_API_KEY"
    assert "price" not in config["upstreams"]["partner"]


def test_harm_is_staged_against_the_simulator_whoever_is_the_partner() -> None:
    partner = Partner(simulated=False, base_url="https://p.example/v1", model="m", key_variable=None)
    config = tomllib.loads(gateway_config(Folder(Path("/x")), PORTS, INHOUSE, partner, gated=True))
    assert config["upstreams"]["simulated"]["base_urls"] == ["http://127.0.0.1:4/v1"]
    baselines = {feature: each["baseline"] for feature, each in config["features"].items()}
    assert baselines == {feature: baseline_of(feature, partner) for feature in FEATURES}
    assert {feature for feature, baseline in baselines.items() if baseline == "partner"} == set(GOOD)
    assert "simulated" not in tomllib.loads(_config(Path("/x")))["upstreams"]


def test_every_part_has_its_own_files() -> None:
    folder = Folder(Path("/x"))
    assert folder.log("gateway") == Path("/x/logs/gateway.log")
    files = [folder.config, folder.prompts, folder.key, folder.store, folder.lock, folder.ready_file("vllm")]
    files += [folder.prometheus_config, folder.prometheus_data]
    assert len(set(files)) == len(files)
    assert Ports().url("admin") == "http://127.0.0.1:8081"
