"""The deployment files: accepted by the tools that will read them, and consistent with each other."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.settings import load
from loadtests.simulator import MODEL

try:
    import yaml
except ImportError:
    yaml = None

DEPLOY = Path(__file__).parents[2] / "deploy"


def read_yaml(text: str) -> Any:
    """With PyYAML where it is installed; else the subset these files keep to, where lists hold scalars or maps."""
    if yaml is None:
        lines = [(len(raw) - len(raw.lstrip()), raw.strip()) for raw in text.splitlines() if _content(raw)]
        value, rest = _block(lines, 0)
        assert not rest
        return value
    return yaml.safe_load(text)


def _content(raw: str) -> bool:
    return bool(raw.strip()) and not raw.lstrip().startswith("#")


def _block(lines: list[tuple[int, str]], indent: int) -> tuple[Any, list[tuple[int, str]]]:
    found: Any = [] if lines[0][1].startswith("- ") else {}
    while lines and lines[0][0] == indent:
        text = lines[0][1]
        assert text.startswith("- ") == isinstance(found, list), text
        if isinstance(found, list):
            item = text[2:]
            if re.match(r"[\w-]+:( |$)", item):
                value, lines = _block([(indent + 2, item), *lines[1:]], indent + 2)
            else:
                value, lines = _scalar(item), lines[1:]
            found.append(value)
            continue
        key, _, rest = text.partition(":")
        assert key not in found, f"{key} twice"
        lines = lines[1:]
        if rest.strip():
            found[key] = _scalar(rest.strip())
        elif lines and lines[0][0] > indent:
            found[key], lines = _block(lines, lines[0][0])
        else:
            found[key] = None
    return found, lines


def _scalar(text: str) -> Any:
    return json.loads(text) if text[0] in '["' or text in ("true", "false") or text.isdigit() else text


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_yaml((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def prometheus() -> dict[str, Any]:
    return read_yaml((DEPLOY / "prometheus" / "prometheus.yml").read_text())


def test_promtool_accepts_the_scrape_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        message = "promtool is missing: the scrape configuration is NOT checked (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    path = DEPLOY / "prometheus" / "prometheus.yml"
    found = subprocess.run([promtool, "check", "config", str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_compose_has_the_parts(compose) -> None:
    services = compose["services"]
    assert set(services) == {"gateway", "simulator", "vllm", "redis", "prometheus"}
    assert all("image" in service for service in services.values())
    assert services["redis"]["image"] == "redis:7"
    used = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    assert {name for name in used if name[0] not in "./$"} == set(compose["volumes"])


def test_ports_are_published_on_the_loopback_only(compose) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_file_that_compose_names_exists(compose) -> None:
    for service in compose["services"].values():
        build = service.get("build")
        if build:
            assert (DEPLOY / build["context"] / build["dockerfile"]).resolve().is_file()
        for mount in service.get("volumes", []):
            if mount.startswith("./"):
                assert (DEPLOY / mount.split(":")[0]).is_file()


def test_the_gateway_configuration_is_valid_and_its_hosts_are_services(compose) -> None:
    settings = load(DEPLOY / "glidepath.toml", {})
    assert set(settings.features) == {"rewrite", "summarize", "draft"}
    urls = [settings.store.url, *(url for upstream in settings.upstreams.values() for url in upstream.base_urls)]
    assert {urlsplit(url).hostname for url in urls} <= set(compose["services"])
    assert settings.store.url.startswith("redis://")


def test_the_models_that_are_asked_for_are_the_ones_served(compose) -> None:
    settings = load(DEPLOY / "glidepath.toml", {})
    command = compose["services"]["vllm"]["command"]
    assert settings.upstreams["inhouse"].model == command[command.index("--served-model-name") + 1]
    assert settings.upstreams["partner"].model == MODEL


def test_prometheus_scrapes_the_admin_port_and_the_engine(prometheus, compose) -> None:
    settings = load(DEPLOY / "glidepath.toml", {})
    targets = {
        job["job_name"]: target
        for job in prometheus["scrape_configs"]
        for config in job["static_configs"]
        for target in config["targets"]
    }
    assert targets["glidepath-gateway"] == f"gateway:{settings.admin.port}"
    (url,) = settings.upstreams["inhouse"].base_urls
    assert targets["vllm"] == urlsplit(url).netloc
    assert {target.split(":")[0] for target in targets.values()} - {"127.0.0.1"} <= set(compose["services"])


def test_the_gateway_image_is_pinned_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "containers" / "gateway.Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert lines.index(f"USER {users[-1]}") > max(index for index, line in enumerate(lines) if line.startswith("RUN"))
