"""`glidepath.toml` + environment -> one frozen `Settings`, or an error that names the key and the nearest known one."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gateway.core.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENV_PREFIX = "GLIDEPATH_"
ENV_SEPARATOR = "__"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_PORT_MAX = 65_535
Name = Annotated[str, Field(pattern=_NAME)]
Text = Annotated[str, Field(min_length=1, max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Port = Annotated[int, Field(ge=0, le=_PORT_MAX)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SettingsError(Exception):
    """The configuration can't be used. `cause`: one line; `hint`: what to do."""

    exit_code = 2

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """The public port."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, Field(ge=1, le=1)] = 1
    body_max_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 10 * 1024 * 1024
    keep_alive_s: Seconds = 75
    drain_s: Seconds = 30


class AdminSettings(_Section):
    """The operator's port: API and metrics."""

    host: Text = "127.0.0.1"
    port: Port = 8081


class StoreSettings(_Section):
    """Where flags, audit and keys live."""

    url: Text = "sqlite:///glidepath-data/glidepath.db"
    state_dir: Text = "glidepath-data"


class UpstreamSettings(_Section):
    """One model behind one or more base URLs."""

    kind: Literal["vllm", "openai", "azure"]
    base_urls: Annotated[tuple[str, ...], Field(min_length=1)]
    model: Text
    api_key_env: str | None = None
    connect_timeout_s: Seconds = 2
    first_byte_timeout_s: Seconds = 60
    idle_timeout_s: Seconds = 60
    total_timeout_s: Seconds = 600
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = 512

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, value: object) -> object:
        if value == "anthropic":
            raise ValueError("this version speaks OpenAI's wire only; use kind 'openai' with an OpenAI-compatible URL")
        return value

    @field_validator("base_urls")
    @classmethod
    def _usable_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not _is_base_url(url):
                raise ValueError(f"{url!r} is not a base URL such as http://127.0.0.1:8000/v1")
        return urls


def _is_base_url(url: str) -> bool:
    """Whether it can be called as it stands: plain ASCII, a host that resolvers take, a port, no query or user."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
    except ValueError:
        return False
    return bool(
        parts.scheme in {"http", "https"}
        and host
        and port != 0
        and not (parts.query or parts.fragment or parts.username)
    )


class FeatureSettings(_Section):
    """One feature, called as model "copilot/<name>"."""

    candidate: Name
    baseline: Name


class Settings(_Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    store: StoreSettings = StoreSettings()
    upstreams: dict[Name, UpstreamSettings] = {}
    features: dict[Name, FeatureSettings] = {}

    @model_validator(mode="after")
    def _features_name_upstreams(self) -> Self:
        for name, feature in self.features.items():
            for role in ("candidate", "baseline"):
                upstream = getattr(feature, role)
                if upstream not in self.upstreams:
                    near = nearest(upstream, self.upstreams, count=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(
                        f"features.{name}.{role} names the upstream {upstream!r}, which is not there{hint}"
                    )
            if feature.candidate == feature.baseline:
                raise ValueError(f"features.{name}: candidate and baseline are both {feature.baseline!r}")
        return self


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read `path`, apply `GLIDEPATH_SECTION__KEY` overrides, check. Raises `SettingsError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no such file: {path}", "`glidepath init` writes a commented one") from None
    except IsADirectoryError:
        raise SettingsError(f"{path} is a directory", "name the TOML file in it") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text", "save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", "mend that line") from None
    return parse(_with_overrides(document, environment), source=str(path))


def parse(document: Mapping[str, Any], *, source: str) -> Settings:
    """Check a document that has been read. Raises `SettingsError` with the first problem."""
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise _explain(error, source) from None


def upstream_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """API key per upstream, from the variables the config names. Raises `SettingsError` for one that is not set."""
    keys: dict[str, str | None] = {}
    for name, upstream in settings.upstreams.items():
        variable = upstream.api_key_env
        value = environment.get(variable) if variable else None
        if variable and not value:
            cause = f"upstreams.{name}.api_key_env names {variable}, which is not set"
            raise SettingsError(cause, f"export {variable}=... or remove api_key_env")
        if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
            raise SettingsError(f"{variable} holds characters that no API key has", "check what it was set to")
        keys[name] = value
    return keys


def _with_overrides(document: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Apply GLIDEPATH_SERVER__PORT=9000 and the like; a value that reads as a TOML value is one, else it is text."""
    for variable, text in environment.items():
        if not variable.startswith(ENV_PREFIX) or ENV_SEPARATOR not in variable:
            continue
        path = variable[len(ENV_PREFIX) :].lower().split(ENV_SEPARATOR)
        node: Any = document
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise SettingsError(f"{variable} overrides a key inside {part!r}, which is no table", "unset it")
        node[path[-1]] = _value(text)
    return document


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(error: ValidationError, source: str) -> SettingsError:
    # A misspelt key is also a missing one; the spelling is what helps.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = nearest(str(first["loc"][-1]), _siblings(first["loc"]), count=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_siblings(first['loc']))}"
        return SettingsError(f"{source}: unknown key {place!r}", hint)
    if first["type"] == "missing":
        return SettingsError(f"{source}: {place} is missing", "`glidepath init` writes a commented example")
    if place == "server.workers":
        return SettingsError(f"{source}: {place} must be 1 in this version", "run more replicas for more throughput")
    text = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{source}: {place + ': ' if place else ''}{text}", f"got {_shown(first['input'])}")


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, dict) else "a table"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  one line of a terminal


def _siblings(place: tuple[int | str, ...]) -> list[str]:
    """Known keys beside an unknown one."""
    model: type[BaseModel] = Settings
    for part in place[:-1]:
        model = _SECTION_OF.get(str(part), model)
    return sorted(model.model_fields)


_SECTION_OF: dict[str, type[BaseModel]] = {
    "server": ServerSettings,
    "admin": AdminSettings,
    "store": StoreSettings,
    "upstreams": UpstreamSettings,
    "features": FeatureSettings,
}
