"""Which operator API a command means when it isn't told: the one that the `glidepath.toml` of this folder describes."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rollout.core.errors import InvalidArgument

_CONFIG = Path("glidepath.toml")
_HOST, _PORT, _STATE_DIR = "127.0.0.1", 8081, "glidepath-data"
_DEV_KEY = "dev-key"
_ANY_HOST = {"0.0.0.0", "::", ""}  # noqa: S104  what a server binds to; a client asks loopback
_KEY_VARIABLES = ("GLIDEPATH_API_KEY", "GLIDEPATH_BOOTSTRAP_KEY")


class Local(NamedTuple):
    """Address of the operator API and the key to use, None if none was found."""

    admin_url: str
    api_key: str | None


def find(admin_url: str | None, api_key: str | None, environment: Mapping[str, str] = os.environ) -> Local:
    """Complete what the command line gave: from the environment, then from this folder's configuration.

    InvalidArgument for a key file that was named and can't be read.
    """
    config = _read_config()
    url = admin_url or environment.get("GLIDEPATH_ADMIN_URL") or _url(config, environment)
    state_dir = Path(str(_section(config, "store").get("state_dir", _STATE_DIR)))
    return Local(url, api_key or find_key(state_dir, environment))


def judges_here() -> frozenset[str] | None:
    """The judges in this folder's configuration; None where there is none."""
    config = _read_config()
    return frozenset(_section(config, "judges")) if config else None


def find_key(state_dir: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The environment's key, else the first one of the gateway that keeps its state there; None if there is none.

    InvalidArgument for a key file that was named and can't be read.
    """
    for variable in _KEY_VARIABLES:
        if environment.get(variable):
            return environment[variable]
    named = environment.get("GLIDEPATH_KEY_FILE")
    path = Path(named) if named else state_dir / _DEV_KEY
    if not named and not path.exists():
        return None
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeError) as fault:
        raise InvalidArgument(f"cannot read the key file {path}: {fault}", "see GLIDEPATH_KEY_FILE") from fault


def _read_config() -> dict[str, Any]:
    """The configuration if it is there; `glidepath check` is the place to complain about a bad one."""
    try:
        return tomllib.loads(_CONFIG.read_text("utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError):
        return {}


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _url(config: dict[str, Any], environment: Mapping[str, str]) -> str:
    admin = _section(config, "admin")
    host = environment.get("GLIDEPATH_ADMIN__HOST") or admin.get("host", _HOST)
    port = environment.get("GLIDEPATH_ADMIN__PORT") or admin.get("port", _PORT)
    shown = _HOST if host in _ANY_HOST else f"[{host}]" if ":" in str(host) else host
    return f"http://{shown}:{port}"
