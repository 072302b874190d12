"""The last good keys in a local file, so that a gateway can start while its store is away. Digests only, mode 0600."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from rollout import atomic_file
from rollout.core.errors import InvalidDocument
from rollout.core.keys import KeyRecord


class LastGoodKeys(NamedTuple):
    """All key records at one store version, when they were read (Unix seconds), and the identity of that store."""

    version: int
    at_s: float
    records: tuple[KeyRecord, ...]
    generation: int = 0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    at_s: float
    keys: tuple[KeyRecord, ...]
    generation: int = 0


def read(path: Path) -> LastGoodKeys | None:
    """Read the file; None when there is none, InvalidDocument when it is damaged or cannot be read."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeError) as fault:
        raise InvalidDocument(f"cannot use the last good keys {path}: {fault}", "delete the file") from fault
    return LastGoodKeys(saved.version, saved.at_s, saved.keys, saved.generation)


def write(path: Path, good: LastGoodKeys) -> None:
    """Replace the file atomically, readable by its owner only; OSError when that fails."""
    atomic_file.replace(path, msgspec.json.encode(_File(*good)))
