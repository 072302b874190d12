"""What an empty store begins with: a first key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gateway.auth import first_key_record, new_key
from gateway.settings import SettingsError
from gateway.start_error import StartError

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.ports import Store

BOOTSTRAP_VARIABLE = "GLIDEPATH_BOOTSTRAP_KEY"
DEV_KEY_FILE = "dev-key"
_HINT = "set [store] state_dir to a folder that can be written"


async def first_key(store: Store, state_dir: Path) -> str | None:
    """See to it that an empty store gets its first key; return it if it was made up here."""
    given = os.environ.get(BOOTSTRAP_VARIABLE)
    if given is not None and not (given.isascii() and given.isprintable() and given.strip() == given and given):
        raise SettingsError(f"{BOOTSTRAP_VARIABLE} is no usable key", "use printable ASCII without blanks around it")
    key = given or new_key()
    record = first_key_record(key, time.time(), name="bootstrap" if given else "dev")
    if given:
        await store.create_key_if_empty(record)
        return None
    if await store.list_keys():
        return None
    # Saved before it is valid: a key in the store that nobody ever saw would lock everybody out. Beside its place,
    # as another gateway that starts at the same time may have the valid one there.
    path = state_dir / DEV_KEY_FILE
    draft = path.with_name(f"{DEV_KEY_FILE}.{record.id}")
    _save_dev_key(draft, key)
    if not await store.create_key_if_empty(record):
        draft.unlink(missing_ok=True)
        return None
    draft.replace(path)
    return key


def make_state_dir(path: Path) -> None:
    """See to it that there is a folder for what outlives the process. Raises `StartError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make the folder {path}: {error.strerror}", _HINT) from None


def _save_dev_key(path: Path, key: str) -> None:
    """For the CLI on this host; the store has only the digest."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
    except OSError as error:
        cause = f"cannot write the first key to {path}: {error.strerror}"
        raise StartError(cause, _HINT) from None
