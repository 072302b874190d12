"""`glidepath.toml` + environment -> one frozen `Settings`, or an error that names the key and the nearest known one."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from gateway.core.errors import nearest
from gateway.settings.sections import Settings
from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENV_PREFIX = "GLIDEPATH_"
ENV_SEPARATOR = "__"


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
    return {
        name: _secret(f"upstreams.{name}.api_key_env", upstream.api_key_env, environment)
        for name, upstream in settings.upstreams.items()
    }


def judge_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """API key per judge, likewise."""
    return {
        name: _secret(f"judges.{name}.api_key_env", judge.api_key_env, environment)
        for name, judge in settings.judges.items()
    }


def proxy_credentials(settings: Settings, environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """`user:password` for each upstream's proxy, likewise; a judge's as `judge_proxy` names it."""
    return {
        name: _secret(f"upstreams.{name}.proxy_credentials_env", upstream.proxy_credentials_env, environment)
        for name, upstream in settings.upstreams.items()
    } | {
        judge_proxy(name): _secret(f"judges.{name}.proxy_credentials_env", judge.proxy_credentials_env, environment)
        for name, judge in settings.judges.items()
        if judge.proxy_url is not None
    }


def judge_proxy(name: str) -> str:
    """The way to a judge, among those to upstreams: as no upstream can be called."""
    return f"judges/{name}"


def _secret(place: str, variable: str | None, environment: Mapping[str, str]) -> str | None:
    value = environment.get(variable) if variable else None
    if variable and not value:
        raise SettingsError(
            f"{place} names {variable}, which is not set", f"export {variable}=... or remove {place.rpartition('.')[2]}"
        )
    if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
        raise SettingsError(f"{variable} holds characters that no key has", "check what it was set to")
    return value


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
    text = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{source}: {place + ': ' if place else ''}{text}", f"got {_shown(first['input'])}")


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, dict) else "a table"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  one line of a terminal


def _siblings(place: tuple[int | str, ...]) -> list[str]:
    """Known keys beside an unknown one."""
    section: type[BaseModel] | None = Settings
    for part in place[:-1]:
        field = section.model_fields.get(str(part)) if section else None
        # The name of a table in a table of tables is no field: the section stays.
        section = section if field is None else next(_sections(field.annotation), None)
    return sorted(section.model_fields) if section else []


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    """Section classes inside a type such as `dict[Name, UpstreamSettings]` or `HealthSettings | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
