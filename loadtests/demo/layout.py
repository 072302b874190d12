"""Addresses, files, and the configurations of gateway and Prometheus of one stack (pure)."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.demo.partner import SIMULATED_MODEL, SIMULATED_PRICE, Partner, Price
from loadtests.demo.plan import BREAKING, FEATURES, GOOD, SLOWING, WORSE

HOST: Final = "127.0.0.1"
INHOUSE: Final = "inhouse"
INHOUSE_WORSE: Final = "inhouse-worse"
PARTNER: Final = "partner"
SIMULATED: Final = "simulated"
"""Upstreams, with those of TRIALS; the last one beside a real partner only."""
TRIALS: Final = {BREAKING: "trial-proofread", SLOWING: "trial-reply"}
"""Simulated candidates, each of them harmed on its own: upstreams, by feature."""
ENGINES: Final = {INHOUSE: "vllm", INHOUSE_WORSE: "vllm_worse"}
"""The parts of the stack that serve the in-house upstreams."""
INHOUSE_PRICE: Final = Price(0.05, 0.2)
"""What our own tokens are reckoned at: an assumption, as every demo's."""
_CONTROLLER_EVERY_S: Final = 0.5
_SCRAPE_EVERY: Final = "1s"


class Ports(NamedTuple):
    """Where the parts listen; the defaults are those of a stack that is left running."""

    gateway: int = 8080
    admin: int = 8081
    vllm: int = 8000
    simulator: int = 9000
    prometheus: int = 9190
    """Not 9090, where the distribution's own service is started when it is installed."""
    vllm_worse: int = 8002

    def url(self, part: str) -> str:
        """Return scheme, host and port of one part."""
        return f"http://{HOST}:{getattr(self, part)}"


class Folder(NamedTuple):
    """The files of one stack; `root` is an absolute path."""

    root: Path

    @property
    def config(self) -> Path:
        """Return the gateway's configuration."""
        return self.root / "glidepath.toml"

    @property
    def prompts(self) -> Path:
        """Return the prompts with their references."""
        return self.root / "prompts.jsonl"

    @property
    def key(self) -> Path:
        """Return the development key's file."""
        return self.root / "dev-key"

    @property
    def store(self) -> Path:
        """Return the rollout store."""
        return self.root / "demo.db"

    @property
    def prometheus_config(self) -> Path:
        """Return the configuration of Prometheus."""
        return self.root / "prometheus.yml"

    @property
    def prometheus_data(self) -> Path:
        """Return where Prometheus keeps its series."""
        return self.root / "prometheus"

    @property
    def lock(self) -> Path:
        """Return the file that is locked while a stack uses this folder."""
        return self.root / "lock"

    def log(self, part: str) -> Path:
        """Return the log of one part."""
        return self.root / "logs" / f"{part}.log"

    def ready_file(self, part: str) -> Path:
        """Return the file a part writes once it is ready."""
        return self.root / f"{part}.ready"


def candidate_of(feature: str, inhouse: Collection[str]) -> str:
    """Return the upstream of a feature's candidate; `inhouse`: those that are served here."""
    if feature in TRIALS:
        return TRIALS[feature]
    return INHOUSE_WORSE if feature == WORSE and INHOUSE_WORSE in inhouse else INHOUSE


def baseline_of(feature: str, partner: Partner) -> str:
    """Return the upstream of a feature's baseline: harm is staged against the simulator, which knows the answers."""
    return PARTNER if partner.simulated or feature in GOOD else SIMULATED


def trial_model(upstream: str) -> str:
    """Return the name of a trial's model."""
    return f"simulated-{upstream}"


def gateway_config(folder: Folder, ports: Ports, inhouse: Mapping[str, str], partner: Partner, *, gated: bool) -> str:
    """Return the glidepath.toml of a stack. `inhouse`: served models by upstream; `gated`: with a Prometheus to ask."""
    simulator = ports.url("simulator") + "/v1"
    lines = [
        *("[server]", f"host = {_text(HOST)}", f"port = {ports.gateway}", ""),
        *("[admin]", f"host = {_text(HOST)}", f"port = {ports.admin}", ""),
        *("[store]", f"url = {_text(f'sqlite:///{folder.store}')}", f"state_dir = {_text(str(folder.root))}", ""),
        *("[controller]", f"every_s = {_CONTROLLER_EVERY_S}", ""),
        *(("[prometheus]", f"url = {_text(ports.url('prometheus'))}", "") if gated else ()),
        *_upstream(
            PARTNER, "openai", partner.base_url, partner.model, partner.price, key_variable=partner.key_variable
        ),
    ]
    if not partner.simulated:
        lines += _upstream(SIMULATED, "openai", simulator, SIMULATED_MODEL, SIMULATED_PRICE)
    for upstream, model in inhouse.items():
        lines += _upstream(upstream, "vllm", ports.url(ENGINES[upstream]) + "/v1", model, INHOUSE_PRICE)
    for upstream in TRIALS.values():
        lines += _upstream(upstream, "openai", simulator, trial_model(upstream), INHOUSE_PRICE)
    for feature in FEATURES:
        candidate, baseline = candidate_of(feature, inhouse), baseline_of(feature, partner)
        lines += [f"[features.{feature}]", f"candidate = {_text(candidate)}", f"baseline = {_text(baseline)}", ""]
    return "\n".join(lines)


def prometheus_config(ports: Ports) -> str:
    """Return the prometheus.yml of a stack (JSON is YAML)."""
    every = {"scrape_interval": _SCRAPE_EVERY, "scrape_timeout": _SCRAPE_EVERY}
    targets = [{"targets": [f"{HOST}:{ports.admin}"]}]
    scrape = {"job_name": "glidepath-gateway", "metrics_path": "/metrics", "static_configs": targets}
    return json.dumps({"global": every, "scrape_configs": [scrape]}, indent=2) + "\n"


def _upstream(
    name: str, kind: str, base_url: str, model: str, price: Price | None, *, key_variable: str | None = None
) -> list[str]:
    lines = [f"[upstreams.{name}]", f"kind = {_text(kind)}", f"base_urls = [{_text(base_url)}]"]
    lines.append(f"model = {_text(model)}")
    if key_variable is not None:
        lines.append(f"api_key_env = {_text(key_variable)}")
    if price is not None:
        lines.append(f"price = {{ input_usd = {price.input_usd}, output_usd = {price.output_usd} }}")
    return [*lines, ""]


def _text(value: str) -> str:
    # JSON's escapes are a subset of those of TOML's basic strings.
    return json.dumps(value, ensure_ascii=False)
