"""The state directory: made, locked against a second stack, with a development key that stays."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from loadtests.demo.errors import StateDirError
from loadtests.demo.layout import Folder

BOOTSTRAP_KEY = "GLIDEPATH_BOOTSTRAP_KEY"


@contextlib.contextmanager
def claimed(root: Path) -> Iterator[Folder]:
    """Make the directory and keep others out while in use. Raises StateDirError."""
    folder = Folder(root.expanduser().resolve())
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        lock = folder.lock.open("ab")
    except OSError as error:
        raise StateDirError(
            f"cannot use the state directory {folder.root}: {error.strerror}", "choose another with --state-dir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            cause = f"another `glidepath demo` or `glidepath up` uses {folder.root}"
            raise StateDirError(cause, "stop it, or choose another --state-dir") from None
        yield folder


def made_anew(folder: Folder) -> Folder:
    """Return an empty folder for one run inside of a claimed one: no ramp, share or proof of an earlier run counts.

    Raises StateDirError.
    """
    run = Folder(folder.root / "run")
    try:
        if run.root.exists():
            shutil.rmtree(run.root)
        run.root.mkdir()
    except OSError as error:
        cause = f"cannot make {run.root} anew: {error.strerror}"
        raise StateDirError(cause, "see to its permissions, or choose another --state-dir") from None
    return run


def development_key(folder: Folder, environment: Mapping[str, str]) -> str:
    """Return the key of this folder's gateway, made at the first start (or taken from the environment)."""
    with contextlib.suppress(OSError):
        if key := folder.key.read_text(encoding="utf-8").strip():
            return key
    key = environment.get(BOOTSTRAP_KEY) or f"gp-{secrets.token_urlsafe(32)}"
    descriptor = os.open(folder.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key
