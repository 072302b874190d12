"""What would keep the gateway from starting on this host, as far as that can be seen without the network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.http.tls import client_context
from gateway.judges import read_rubric
from gateway.parts import STANDARD_OUTPUT, load_tracing
from gateway.reference_judge import load_references
from gateway.settings import SettingsError, judge_keys, proxy_credentials, upstream_keys
from gateway.start_error import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.settings import Settings
    from gateway.settings.judges import JudgeSettings


def obstacles(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[SettingsError | StartError]:
    """Each with a cause and a hint; variables are named, never their values."""
    steps: list[Callable[[], object]] = [
        lambda: upstream_keys(settings, environment),
        lambda: proxy_credentials(settings, environment),
        lambda: judge_keys(settings, environment),
        lambda: _folder(Path(settings.store.state_dir), "[store] state_dir"),
        lambda: _access_log(settings),
        lambda: _tracing(settings),
    ]
    for name, judge in settings.judges.items():
        steps += _of_judge(name, judge)
    for name, each in settings.upstreams.items():
        if any(urlsplit(url).scheme == "https" for url in each.base_urls):
            steps.append(lambda tls=each.tls, place=f"upstreams.{name}.tls": client_context(tls, place))  # type: ignore[misc]
    for step in steps:
        try:
            step()
        except (SettingsError, StartError) as fault:
            yield fault


def _of_judge(name: str, judge: JudgeSettings) -> list[Callable[[], object]]:
    if judge.kind == "references":
        return [lambda: load_references(name, judge)]
    steps: list[Callable[[], object]] = [lambda: read_rubric(name, judge)]
    if urlsplit(judge.url).scheme == "https":
        steps.append(lambda: client_context(judge.tls, f"judges.{name}.tls"))
    return steps


def _folder(path: Path, place: str) -> None:
    """A folder that is there, or can be made, and written to."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise SettingsError(f"{place}: {there} is no folder", "name another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(f"{place}: {there} can't be written", "check its permissions")


def _access_log(settings: Settings) -> None:
    named = settings.observability.access_log
    if named is None or named == STANDARD_OUTPUT:
        return
    path, place = Path(named), "[observability] access_log"
    if path.is_dir():
        raise SettingsError(f"{place}: {path} is a folder", "name a file in it")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise SettingsError(f"{place}: {path} can't be written", "check its permissions")
    elif not path.absolute().parent.is_dir():
        raise SettingsError(f"{place}: there is no folder {path.absolute().parent}", "make it: the gateway doesn't")
    else:
        _folder(path.absolute().parent, place)


def _tracing(settings: Settings) -> None:
    if settings.observability.otlp_endpoint is not None:
        load_tracing()
