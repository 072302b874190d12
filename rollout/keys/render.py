"""Answers of the key API as terminal text."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from rollout.core.money import format_usd
from rollout.render import empty_table, local_time, plain_cell

_STYLES = {"live": "", "expired": "dim", "revoked": "dim"}


def keys_table(keys: Iterable[dict[str, Any]]) -> Table:
    """Show keys, one per row."""
    table = empty_table(("id", "client", "status", "opens", "limits", "created", "expires", "last used"))
    for key in keys:
        client = f"{key['tenant']}/{key['name']}"
        times = (_time(key[name], "-") for name in ("created_at_s", "expires_at_s", "last_used_at_s"))
        status = Text(key["status"], style=_STYLES[key["status"]])
        table.add_row(*map(plain_cell, (key["id"], client, status, opens(key), limits(key), *times)))
    return table


def key_history_table(entries: Iterable[dict[str, Any]]) -> Table:
    """Show audit entries of keys, newest first."""
    table = empty_table(("id", "time", "actor", "command", "key", "client", "reason"))
    for entry in entries:
        names = ("actor", "command", "key_id", "client", "reason")
        cells = (entry["id"], local_time(entry["at_s"]), *(entry[name] for name in names))
        table.add_row(*map(plain_cell, cells))
    return table


def key_line(key: dict[str, Any]) -> str:
    """Say in one line what a key is now."""
    end = {
        "live": f"live until {_time(key['expires_at_s'], 'revoked')}",
        "expired": f"expired {_time(key['expires_at_s'], '')}",
        "revoked": f"revoked {_time(key['revoked_at_s'], '')}",
    }[key["status"]]
    return f"{key['id']} ({key['tenant']}/{key['name']}): {end}; {opens(key)}; {limits(key)}"


def made_lines(made: dict[str, Any]) -> str:
    """Show a new key, with the one it follows."""
    lines = [key_line(made["record"])]
    if made["replaced"] is not None:
        lines.append(key_line(made["replaced"]))
    return "\n".join([*lines, f"API key (shown once): {made['key']}"])


def opens(key: dict[str, Any]) -> str:
    """What a key may do."""
    features = "all features" if "*" in key["features"] else ", ".join(key["features"])
    rights = [*key["roles"], *(["real models"] if key["model_bypass"] else [])]
    return features + (f" + {', '.join(rights)}" if rights else "")


def limits(key: dict[str, Any]) -> str:
    """How much of it, and how urgently."""
    budget = key["budget_microusd_per_day"]
    parts = [
        f"{key['requests_per_minute']} req/min" if key["requests_per_minute"] else "",
        f"{key['tokens_per_minute']} tokens/min" if key["tokens_per_minute"] else "",
        f"{key['concurrent_max']} at once" if key["concurrent_max"] else "",
        f"${format_usd(budget)}/day" if budget else "",
    ]
    told = ", ".join(part for part in parts if part) or "no limits"
    return told if key["priority"] == "interactive" else f"{told}, {key['priority']}"


def _time(at_s: float | None, never: str) -> str:
    return never if at_s is None else local_time(at_s)
