"""Strict decoding of operator-written data: unknown words are errors, answered with the nearest known one."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from loadtests.errors import InvalidFileError

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]+)`")
_BAD_CHOICE = re.compile(r"Invalid enum value '(?P<name>[^']+)'")


def convert(data: object, shape: type[T], source: str) -> T:
    """Check `data` (as from TOML or JSON) against `shape` and return the value; raises InvalidFileError."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise InvalidFileError(f"{source}: {error}", _hint(str(error), shape)) from None


def read_toml(path: Path, shape: type[T]) -> T:
    """Read one TOML file into `shape`; raises InvalidFileError when it is missing, malformed or says unknown words."""
    try:
        data = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InvalidFileError(f"{path}: not valid TOML: {error}", "correct the line named above") from None
    return convert(data, shape, str(path))


def read_text(path: Path) -> str:
    """Read one UTF-8 file; raises InvalidFileError with the reason."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "check the path and that you may read it"
        raise InvalidFileError(f"cannot read {path}: {error.strerror}", hint) from None
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{path}: not UTF-8 text (byte {error.start})", "save the file as UTF-8") from None


def _hint(message: str, shape: type[Any]) -> str:
    for pattern, known in ((_UNKNOWN_FIELD, _field_names), (_BAD_CHOICE, _choices)):
        if found := pattern.search(message):
            names = sorted(known(shape))
            nearest = difflib.get_close_matches(found["name"], names, n=1)
            return f"did you mean `{nearest[0]}`?" if nearest else f"known names: {', '.join(names)}"
    return "correct the value named above"


def _field_names(shape: type[Any]) -> set[str]:
    return {field.encode_name for struct in _structs(shape) for field in msgspec.structs.fields(struct)}


def _choices(shape: type[Any]) -> set[str]:
    found: set[str] = set()
    for struct in _structs(shape):
        for field in msgspec.structs.fields(struct):
            members = getattr(field.type, "__members__", {})
            found.update(member.value for member in members.values())
    return found


def _structs(shape: Any) -> set[type[msgspec.Struct]]:  # noqa: ANN401  type expressions have no static type
    """Return every struct type reachable from `shape`, through containers and unions."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        inner = (field.type for field in msgspec.structs.fields(shape))
        return {shape}.union(*(_structs(kind) for kind in inner))
    return set().union(*(_structs(kind) for kind in get_args(shape)))
