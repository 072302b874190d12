"""Answers of the key API as terminal text."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from rollout.cli.render import empty_table, local_time, plain_cell
from rollout.core.keys import ROLES
from rollout.core.money import format_usd

_DATE = len("2026-11-22")
_ENDED_AT = {"expired": "expires_at_s", "revoked": "revoked_at_s"}


def keys_table(keys: Iterable[dict[str, Any]]) -> Table:
    """Show keys, one per row, for 80 columns; ids in one piece, to be copied."""
    table = empty_table(("id", "client", "opens, limits", "ends", "last used"))
    table.columns[0].no_wrap = True
    for key in keys:
        client, scope = f"{key['tenant']}/{key['name']}", f"{opens(key)}\n{limits(key)}"
        end = Text(_end(key), style="" if key["status"] == "live" else "dim")
        used = _time(key["last_used_at_s"], "-")[:_DATE]
        table.add_row(*map(plain_cell, (key["id"], client, scope, end, used)))
    return table


def key_history_table(entries: Iterable[dict[str, Any]]) -> Table:
    """Show audit entries of keys, newest first."""
    table = empty_table(("id", "time", "actor", "command", "key", "client", "reason"))
    table.columns[4].no_wrap = True
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
    roles = ["all roles"] if set(key["roles"]) == set(ROLES) else key["roles"]
    rights = [*roles, *(["real models"] if key["model_bypass"] else [])]
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


def _end(key: dict[str, Any]) -> str:
    if key["status"] == "live":
        return _time(key["expires_at_s"], "-")[:_DATE]
    return f"{key['status']} {_time(key[_ENDED_AT[key['status']]], '')[:_DATE]}"


def _time(at_s: float | None, never: str) -> str:
    return never if at_s is None else local_time(at_s)
