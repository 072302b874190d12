"""Configurations of nginx: the constant upstream, and the plain proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.bench.workloads import Workload

_TEXT_MAX = 2_000
_CONNECTIONS = 24_576


def upstream(folder: Path, workload: Workload, port: int) -> tuple[str, ...]:
    """The command of an nginx that answers everything with the workload's constant."""
    text = workload.answer
    pieces = [text[start : start + _TEXT_MAX] for start in range(0, len(text), _TEXT_MAX)]
    settings = " ".join(f"set $piece{index} '{_quoted(piece)}';" for index, piece in enumerate(pieces))
    whole = "".join(f"${{piece{index}}}" for index in range(len(pieces)))
    location = f"default_type {workload.content_type}; {settings} return 200 '{whole}';"
    return _command(folder, f"upstream-{port}", port, location)


def proxy(folder: Path, upstream_port: int, port: int, workers: int) -> tuple[str, ...]:
    """The command of an nginx that passes everything on over kept connections."""
    pool = f"upstream behind {{ server 127.0.0.1:{upstream_port}; keepalive 512; keepalive_requests 100000000; }}"
    location = 'proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";'
    return _command(folder, f"proxy-{port}", port, location, pool=pool, workers=workers)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "")


def _command(folder: Path, name: str, port: int, location: str, *, pool: str = "", workers: int = 1) -> tuple[str, ...]:
    processes = "master_process off;" if workers == 1 else f"worker_processes {workers};"
    shared = "reuseport" if workers > 1 else ""
    path = folder / f"{name}.conf"
    path.write_text(
        f"daemon off; {processes} pid {folder}/{name}.pid;\n"
        f"events {{ worker_connections {_CONNECTIONS}; }}\n"
        "http { access_log off; keepalive_requests 100000000; keepalive_timeout 3600;\n"
        f" client_max_body_size 10m; client_body_buffer_size 256k; client_body_temp_path {folder}/{name}-body;\n"
        f" proxy_temp_path {folder}/{name}-proxy; fastcgi_temp_path {folder}/{name}-f;\n"
        f" uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s; {pool}\n"
        f" server {{ listen 127.0.0.1:{port} backlog=4096 {shared}; location / {{ {location} }} }} }}\n",
        encoding="utf-8",
    )
    return ("nginx", "-e", str(path.with_suffix(".err")), "-c", str(path))
