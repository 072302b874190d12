import tomllib
from pathlib import Path

import pytest

from loadtests.demo.layout import Folder, Ports, gateway_config
from loadtests.demo.partner import Partner

SIMULATED = Partner(simulated=True, base_url="http://127.0.0.1:9000/v1", model="simulated-partner", key_variable=None)


@pytest.mark.parametrize("root", ["/tmp/demo", '/tmp/a "quoted" \\ folder', "/tmp/größe"])  # noqa: S108  not written
def test_the_configuration_is_what_the_parts_are_told(root: str) -> None:
    config = tomllib.loads(gateway_config(Folder(Path(root)), Ports(1, 2, 3, 4), "demo-moe-good", SIMULATED))
    assert config["server"] == {"host": "127.0.0.1", "port": 1}
    assert config["admin"]["port"] == 2
    assert config["store"] == {"url": f"sqlite:///{root}/demo.db", "state_dir": root}
    assert config["upstreams"]["inhouse"] == {
        "kind": "vllm",
        "base_urls": ["http://127.0.0.1:3/v1"],
        "model": "demo-moe-good",
    }
    assert config["upstreams"]["partner"]["base_urls"] == ["http://127.0.0.1:9000/v1"]
    assert set(config["features"]) == {"rewrite", "summarize", "draft"}
    assert all(each == {"candidate": "inhouse", "baseline": "partner"} for each in config["features"].values())


def test_a_partners_key_is_named_never_written() -> None:
    partner = Partner(simulated=False, base_url="https://p.example/v1", model="m", key_variable="OPENAI_API_KEY")
    config = tomllib.loads(gateway_config(Folder(Path("/x")), Ports(), "m", partner))
    assert config["upstreams"]["partner"]["api_key_env"] == "OPENAI_API_KEY"


def test_every_part_has_its_own_files() -> None:
    folder = Folder(Path("/x"))
    assert folder.log("gateway") == Path("/x/logs/gateway.log")
    files = [folder.config, folder.prompts, folder.key, folder.store, folder.lock, folder.ready_file("vllm")]
    assert len(set(files)) == len(files)
    assert Ports().url("admin") == "http://127.0.0.1:8081"
