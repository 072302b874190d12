"""The local kill file: safety that needs no store.

One feature per line, `*` for all, `#` starts a comment. An operator may write it with `echo summarize >> FILE`;
every process that follows the file obeys within one poll. A missing file kills nothing.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout import atomic_file
from rollout.core.errors import RolloutError

ALL = "*"


class KillFileFault(RolloutError):  # noqa: N818  named like the faults in core.errors
    """The kill file cannot be read or written."""


def read(path: Path) -> frozenset[str]:
    """Return the features listed; KillFileFault when the file exists and cannot be read."""
    return frozenset(feature for line in _lines(path) if (feature := _feature(line)))


def add(path: Path, feature: str, note: str) -> None:
    """List a feature, with a note of who and why as a comment; one already listed stays as it is."""
    comment = " ".join(note.split())
    with _writing(path):
        lines = _lines(path)
        if feature not in map(_feature, lines):
            _write(path, [*lines, f"{feature}  # {comment}" if comment else feature])


def remove(path: Path, feature: str) -> None:
    """Unlist a feature; comments and other lines stay. A line `*` is not touched: it names no feature."""
    with _writing(path):
        lines = _lines(path)
        kept = [line for line in lines if _feature(line) != feature]
        if kept != lines:
            _write(path, kept)


def _feature(line: str) -> str:
    return line.partition("#")[0].strip()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError) as fault:
        raise _fault("read", path, fault) from fault


def _write(path: Path, lines: list[str]) -> None:
    atomic_file.replace(path, "".join(f"{line}\n" for line in lines).encode())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Serialise writers of several processes: two read-modify-writes at once could lose a kill."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as fault:
        raise _fault("write", path, fault) from fault


def _fault(verb: str, path: Path, fault: Exception) -> KillFileFault:
    return KillFileFault(f"cannot {verb} the kill file {path}: {fault}", "check its permissions and that it is text")
