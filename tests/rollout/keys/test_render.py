from typing import Any

import pytest
from rich.console import Console

from rollout.core.keys import KeyRecord
from rollout.keys import render, views

KEY = KeyRecord(id="key_1", digest="ab", name="web", tenant="acme", created_at_s=1_000.0)


def shown(**changes: Any) -> dict[str, Any]:
    return views.key_view(KEY, 2_000.0).model_dump(mode="json") | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "all features"),
        ({"features": ["draft", "rewrite"]}, "draft, rewrite"),
        ({"features": ["draft"], "model_bypass": True}, "draft + real models"),
        ({"roles": ["viewer", "admin"]}, "all features + viewer, admin"),
        ({"roles": ["admin", "approver", "operator", "viewer", "voter"]}, "all features + all roles"),
    ],
)
def test_what_a_key_opens(changes: dict[str, Any], text: str) -> None:
    assert render.opens(shown(**changes)) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "no limits"),
        ({"priority": "batch"}, "no limits, batch"),
        ({"concurrent_max": 1, "priority": "batch"}, "1 at once, batch"),
        ({"requests_per_minute": 60, "budget_microusd_per_day": 1_500_000}, "60 req/min, $1.5/day"),
    ],
)
def test_how_much(changes: dict[str, Any], text: str) -> None:
    assert render.limits(shown(**changes)) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "live until revoked"),
        ({"expires_at_s": 3_000.0}, "live until 19"),
        ({"status": "expired", "expires_at_s": 1_500.0}, "expired 19"),
        ({"status": "revoked", "revoked_at_s": 1_500.0, "expires_at_s": 9_000.0}, "revoked 19"),
    ],
)
def test_a_line_says_the_state(changes: dict[str, Any], text: str) -> None:
    assert render.key_line(shown(**changes)).startswith(f"key_1 (acme/web): {text}")


def test_text_is_shown_as_it_is() -> None:
    entry = {"id": 3, "at_s": 1.0, "actor": "[bold]ann", "command": "create", "key_id": "key_1", "client": "acme/web"}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render.key_history_table([entry | {"reason": "[red]x"}]))
        console.print(render.keys_table([shown(status="revoked", revoked_at_s=5.0)]))
    text = captured.get()
    assert "[bold]ann" in text
    assert "[red]x" in text
    assert "acme/web" in text


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, " - "),
        ({"expires_at_s": 1e9}, "2001-09-0"),
        ({"status": "expired", "expires_at_s": 1e9}, "expired"),
        ({"status": "revoked", "revoked_at_s": 1e9, "expires_at_s": 2e9}, "revoked"),
    ],
)
def test_the_table_says_when_a_key_ends(changes: dict[str, Any], end: str) -> None:
    assert end in drawn(120, shown(**changes))


def test_ids_stay_in_one_piece_in_a_narrow_terminal() -> None:
    assert "key_0123456789ab" in drawn(80, shown(id="key_0123456789ab", roles=["viewer", "operator"]))


def test_a_key_is_readable_in_80_columns() -> None:
    roles = ["viewer", "operator"]
    text = drawn(80, shown(id="key_0123456789ab", roles=roles, requests_per_minute=60, expires_at_s=1e9))
    assert len(text.splitlines()) <= 4
    assert "60 req/min" in text
    assert "2001-09-0" in text


def drawn(width: int, key: dict[str, Any]) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(render.keys_table([key]))
    return captured.get()
