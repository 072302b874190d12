"""The last good document in a local file, so that a restart without the store still knows the shares."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from rollout import atomic_file
from rollout.core.codec import parse_document, render_document
from rollout.core.errors import InvalidDocument
from rollout.core.model import FeatureFlag
from rollout.core.position import Position


class LastGood(NamedTuple):
    """What was in force, at which position of the store, and when the store confirmed it (Unix seconds)."""

    position: Position
    at_s: float
    flags: dict[str, FeatureFlag]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    at_s: float
    document: dict[str, object]
    generation: int = 0


def read(path: Path) -> LastGood | None:
    """Read the file; None when there is none, InvalidDocument when it is damaged or cannot be read."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as fault:
        raise InvalidDocument(f"cannot use the last good snapshot {path}: {fault}", "delete the file") from fault
    flags = parse_document(saved.document, trusted=True)
    return LastGood(Position(saved.generation, saved.version), saved.at_s, flags)


def write(path: Path, good: LastGood) -> None:
    """Replace the file atomically; OSError when that fails."""
    saved = _File(good.position.version, good.at_s, render_document(good.flags), good.position.generation)
    atomic_file.replace(path, msgspec.json.encode(saved))
