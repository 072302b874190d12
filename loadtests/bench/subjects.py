"""How each proxy under test, and the constant upstream, is started on a core of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.bench.workloads import Workload

KEY = "bench-key"
_NGINX_TEXT_MAX = 2_000


class Subject(NamedTuple):
    """One server: its name in the table, how to start it, where it listens."""

    name: str
    argv: tuple[str, ...]
    port: int
    environment: dict[str, str]


class Cores(NamedTuple):
    """Which core does what; on two cores load and upstream share one."""

    subject: int
    load: int
    upstream: int


def assign_cores(available: list[int]) -> Cores:
    """Give the subject a core of its own, the others what is left."""
    if len(available) >= 3:  # noqa: PLR2004  one each
        return Cores(available[1], available[2], available[0])
    return Cores(available[-1], available[0], available[0])


def upstream(folder: Path, workload: Workload, port: int, core: int) -> Subject:
    """Nginx that answers everything with the workload's constant."""
    text = workload.answer
    pieces = [text[start : start + _NGINX_TEXT_MAX] for start in range(0, len(text), _NGINX_TEXT_MAX)]
    settings = " ".join(f"set $piece{index} '{_nginx_text(piece)}';" for index, piece in enumerate(pieces))
    whole = "".join(f"${{piece{index}}}" for index in range(len(pieces)))
    location = f"default_type {workload.content_type}; {settings} return 200 '{whole}';"
    config = _nginx_config(folder, f"upstream-{port}", port, location, "")
    return Subject("upstream", _nginx(config, core), port, {})


def nginx(folder: Path, upstream_port: int, port: int, core: int) -> Subject:
    """Nginx as a plain reverse proxy: the practical limit."""
    pool = f"upstream behind {{ server 127.0.0.1:{upstream_port}; keepalive 512; keepalive_requests 100000000; }}"
    location = 'proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";'
    config = _nginx_config(folder, f"proxy-{port}", port, location, pool)
    return Subject("nginx proxy_pass", _nginx(config, core), port, {})


def vllm_router(binary: Path, upstream_port: int, port: int, metrics_port: int, core: int) -> Subject:
    """VLLM's router (Rust)."""
    argv = (
        *_pinned(core), str(binary), "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
        "--worker-urls", f"http://127.0.0.1:{upstream_port}", "--prometheus-port", str(metrics_port),
    )  # fmt: skip
    return Subject("vllm-router", argv, port, {})


def glidepath(folder: Path, upstream_port: int, port: int, admin_port: int, core: int) -> Subject:
    """This gateway, all features on, traffic split over two arms."""
    config = folder / "glidepath.toml"
    arms = "".join(
        f'[upstreams.{name}]\nkind = "openai"\nbase_urls = ["http://127.0.0.1:{upstream_port}/v1"]\nmodel = "{name}"\n'
        for name in ("inhouse", "partner")
    )
    config.write_text(
        f"[server]\nport = {port}\n[admin]\nport = {admin_port}\n"
        f'[store]\nurl = "sqlite:///{folder}/store-{port}.db"\nstate_dir = "{folder}/state-{port}"\n{arms}'
        '[features.summarize]\ncandidate = "inhouse"\nbaseline = "partner"\n'
    )
    argv = (*_pinned(core), sys.executable, "-m", "gateway.cli", "gateway", "--config", str(config))
    return Subject("glidepath", argv, port, {"GLIDEPATH_BOOTSTRAP_KEY": KEY})


def _pinned(core: int) -> tuple[str, ...]:
    return ("taskset", "-c", str(core))


def _nginx(config: Path, core: int) -> tuple[str, ...]:
    return (*_pinned(core), "nginx", "-e", str(config.with_suffix(".err")), "-c", str(config))


def _nginx_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "")


def _nginx_config(folder: Path, name: str, port: int, location: str, extra: str) -> Path:
    path = folder / f"{name}.conf"
    path.write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid;\n"
        "events { worker_connections 8192; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/{name}-body;\n"
        f" proxy_temp_path {folder}/{name}-proxy; fastcgi_temp_path {folder}/{name}-f;\n"
        f" uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s; {extra}\n"
        f" server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }} }}\n"
    )
    return path
