"""How each proxy under test is started on cores of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from loadtests.bench import nginx
from loadtests.bench.workloads import MODEL

KEY = "sk-bench-key"  # LiteLLM takes no others
OURS = "glidepath"
GATHERING = "glidepath, evidence"
FEATURE = "summarize"
AGE_S = 1
"""At which the gathering subject looks at a request: as short as can be, so that it is done with one turn soon."""
_RESTS_S = 2 * AGE_S + 1.0
NGINX = "nginx"
DIRECT = "direct"
_SLOW_EVERY = 3


class Subject(NamedTuple):
    """One server: its name in the tables, how to start it (no argv: it runs already), where it listens."""

    name: str
    argv: tuple[str, ...]
    port: int
    cores: tuple[int, ...]
    environment: dict[str, str]
    admin_port: int = 0
    slow: bool = False
    rests_s: float = 0.0
    """How long it works on what it was asked after its last answer: that is its cost, and nobody else's."""

    def takes_part(self, turn: int) -> bool:
        """Slow subjects sit out two of three turns: they would take most of the time and move no target."""
        return not self.slow or turn % _SLOW_EVERY == 0


class Place(NamedTuple):
    """Where a subject runs: its files, the upstream's port, two free ports, its cores, one worker for each."""

    folder: Path
    upstream_port: int
    port: int
    second_port: int
    cores: tuple[int, ...]

    @property
    def pinned(self) -> tuple[str, ...]:
        """The beginning of a command that stays on these cores."""
        return ("taskset", "-c", ",".join(map(str, self.cores)))

    @property
    def upstream(self) -> str:
        """The upstream's URL without a path."""
        return f"http://127.0.0.1:{self.upstream_port}"


def direct(upstream_port: int, core: int) -> Subject:
    """The upstream itself, with nothing in between."""
    return Subject(DIRECT, (), upstream_port, (core,), {})


def proxy(place: Place) -> Subject:
    """Nginx as a plain reverse proxy: the practical limit."""
    argv = (*place.pinned, *nginx.proxy(place.folder, place.upstream_port, place.port, len(place.cores)))
    return Subject(NGINX, argv, place.port, place.cores, {})


def vllm_router(program: Path, place: Place) -> Subject:
    """VLLM's router (Rust), without a log line per request; a thread per core."""
    argv = (
        *place.pinned, str(program), "--host", "127.0.0.1", "--port", str(place.port), "--policy", "round_robin",
        "--worker-urls", place.upstream, "--prometheus-port", str(place.second_port), "--log-level", "warning",
    )  # fmt: skip
    return Subject("vllm-router", argv, place.port, place.cores, {})


def sglang_router(program: Path, place: Place) -> Subject:
    """SGLang's router (Rust), without a log line per request; a thread per core."""
    argv = (
        *place.pinned, str(program), "launch", "--host", "127.0.0.1", "--port", str(place.port),
        "--policy", "round_robin", "--worker-urls", place.upstream, "--worker-startup-check-interval", "1",
        "--prometheus-port", str(place.second_port), "--log-level", "warn",
    )  # fmt: skip
    return Subject("sglang-router", argv, place.port, place.cores, {})


def litellm(program: Path, place: Place) -> Subject:
    """LiteLLM's proxy (Python) with a master key, without a database; a worker per core."""
    config = place.folder / f"litellm-{place.port}.yaml"
    model = {"model": "openai/m", "api_base": f"{place.upstream}/v1", "api_key": "unused"}
    config.write_text(
        json.dumps(  # YAML takes JSON
            {
                "model_list": [{"model_name": MODEL, "litellm_params": model}],
                "litellm_settings": {"telemetry": False},
                "general_settings": {"master_key": KEY},
            }
        ),
        encoding="utf-8",
    )
    argv = (
        *place.pinned, str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(place.port),
        "--num_workers", str(len(place.cores)), "--telemetry", "False",
    )  # fmt: skip
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Subject("litellm", argv, place.port, place.cores, environment, slow=True)


def glidepath(place: Place) -> Subject:
    """This gateway, all features on, traffic split over two arms; a worker per core."""
    config = place.folder / f"glidepath-{place.port}.toml"
    arms = "".join(
        f'[upstreams.{name}]\nkind = "openai"\nbase_urls = ["{place.upstream}/v1"]\nmodel = "{name}"\n'
        "connections_max = 16384\n"
        for name in ("inhouse", "partner")
    )
    config.write_text(
        f"[server]\nport = {place.port}\nworkers = {len(place.cores)}\n[admin]\nport = {place.second_port}\n"
        f'[store]\nurl = "sqlite:///{place.folder}/store-{place.port}.db"\n'
        f'state_dir = "{place.folder}/state-{place.port}"\n{arms}'
        f'[features.{FEATURE}]\ncandidate = "inhouse"\nbaseline = "partner"\n',
        encoding="utf-8",
    )
    argv = (*place.pinned, sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config))
    # The tree this runs from, compiled or not: the server is started in a folder of its own.
    environment = {"GLIDEPATH_BOOTSTRAP_KEY": KEY, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return Subject(OURS, argv, place.port, place.cores, environment, admin_port=place.second_port)


def gathering(place: Place) -> Subject:
    """The same with a ramp under way, and evidence gathered of each request."""
    return glidepath(place)._replace(name=GATHERING, rests_s=_RESTS_S)
