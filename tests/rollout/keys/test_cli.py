"""The commands against a real server, as an operator runs them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.core.errors import RolloutError
from rollout.core.keys import KeyRecord
from rollout.keys.api import key_router
from rollout.keys.follower import KeyFollower
from rollout.seed import ensure_features
from tests.rollout import terminal
from tests.rollout.admin_port import authorize_exactly, open_port
from tests.rollout.terminal import Cli


@asynccontextmanager
async def key_api(path: Path, first: KeyRecord, make_key: Any) -> AsyncIterator[APIRouter]:
    store, clock = open_store(f"sqlite:///{path / 'store.db'}"), WallClock()
    await store.create_key_if_empty(first)
    await ensure_features(store, {"draft": ("inhouse", "partner")}, clock)
    follower = KeyFollower(store, clock, lambda _: None)
    yield key_router(store, clock, authorize_exactly, make_key, follower.refresh)
    await store.close()


@pytest.fixture
def url(tmp_path: Path, first: KeyRecord, make_key: Any) -> Iterator[str]:
    with open_port(key_api(tmp_path, first, make_key)) as address:
        yield address


@pytest.fixture(scope="module")
def calm_url(tmp_path_factory: pytest.TempPathFactory, first: KeyRecord) -> Iterator[str]:
    with open_port(key_api(tmp_path_factory.mktemp("calm"), first, lambda: "gp-secret-0")) as address:
        yield address


run = partial(terminal.run, "keys")


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Cli("keys", url, "admin:ann", capsys)


@pytest.fixture
def calm(calm_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    """At a gateway of the whole file, for what changes nothing."""
    return Cli("keys", calm_url, "admin:ann", capsys)


def test_create_shows_the_key_once(cli: Cli) -> None:
    shown = cli.text("create", "web", "--tenant", "acme", "--feature", "draft", "--reason", "new team")
    assert "(acme/web): live until revoked; draft; no limits" in shown
    assert "API key (shown once): gp-secret-1" in shown
    assert "gp-secret" not in cli.text("list", "--all") + cli.text("history")


def test_all_options_of_create_arrive(cli: Cli) -> None:
    options = ["--role", "viewer", "--role", "operator", "--model-bypass", "--priority", "batch"]
    limits = ["--requests-per-minute", "60", "--tokens-per-minute", "9000", "--concurrent-max", "4"]
    money = ["--budget-usd-per-day", "12.50", "--expires-in", "90d"]
    record = cli.json("create", "job", *options, *limits, *money, "--reason", "nightly")["record"]
    assert (record["tenant"], record["features"], record["roles"]) == ("default", ["*"], ["viewer", "operator"])
    assert (record["model_bypass"], record["priority"]) == (True, "batch")
    assert (record["requests_per_minute"], record["tokens_per_minute"], record["concurrent_max"]) == (60, 9_000, 4)
    assert record["budget_microusd_per_day"] == 12_500_000
    assert record["expires_at_s"] - record["created_at_s"] == pytest.approx(90 * 86_400)
    shown = cli.text("list")
    assert "all features + viewer, operator, real models" in shown
    assert "60 req/min, 9000 tokens/min, 4 at once, $12.5/day, batch" in shown


def test_rotate_and_revoke(cli: Cli, first: KeyRecord) -> None:
    old = cli.json("create", "web", "--reason", "r")["record"]["id"]
    shown = cli.text("rotate", old, "--overlap", "10m", "--reason", "yearly")
    assert "API key (shown once): gp-secret-2" in shown
    assert shown.count("(default/web): live until 2") == 1
    new = next(key["id"] for key in cli.json("list")["keys"] if key["id"] not in {old, first.id})
    assert f"{new} (default/web): revoked 2" in cli.text("revoke", new, "--reason", "leaked")
    assert cli.json("revoke", old, "--reason", "leaked")["status"] == "revoked"
    assert [key["id"] for key in cli.json("list")["keys"]] == [first.id]
    assert len(cli.json("list", "--all")["keys"]) == 3


def test_history_tells_who_and_why(cli: Cli) -> None:
    cli.text("create", "web", "--reason", "[red]ü")
    shown = cli.text("history")
    assert "[red]ü" in shown
    assert "ann" in shown
    page = cli.json("history", "--limit", "1")
    assert [entry["command"] for entry in page["entries"]] == ["create"]
    assert cli.json("history", "--before", str(page["before"]))["entries"][0]["actor"] == "gateway"


def test_the_last_admin_key_needs_force(cli: Cli, first: KeyRecord) -> None:
    fault = cli.fault("revoke", first.id, "--reason", "r")
    assert (fault.exit_code, "--force" in fault.hint) == (1, True)
    assert cli.fault("rotate", first.id, "--overlap", "0s", "--reason", "r").exit_code == 1
    assert "gp-secret" in cli.text("rotate", first.id, "--reason", "r")
    assert "revoked" in cli.text("revoke", first.id, "--force", "--reason", "r")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("revoke", "key_none", "--reason", "r"), 4),
        (("rotate", "key_none", "--reason", "r"), 4),
        (("revoke", "a/b", "--reason", "r"), 2),
        (("revoke", "gp-secret-1", "--reason", "r"), 2),
        (("rotate", "key_none", "--overlap", "1 day", "--reason", "r"), 2),
        (("create", "web", "--expires-in", "soon", "--reason", "r"), 2),
        (("create", "web", "--budget-usd-per-day", "a lot", "--reason", "r"), 2),
        (("create", "a b", "--reason", "r"), 2),
        (("create", "caf\udce9", "--reason", "r"), 2),
        (("create", "web", "--feature", "caf\udce9", "--reason", "r"), 2),
        (("create", "web", "--feature", "drft", "--reason", "r"), 2),
        (("create", "web", "--reason", " "), 2),
        (("history", "--limit", "0"), 2),
    ],
)
def test_exit_codes(calm: Cli, arguments: tuple[str, ...], code: int) -> None:
    fault = calm.fault(*arguments)
    assert (fault.exit_code, bool(fault.hint)) == (code, True)
    assert "gp-secret" not in fault.cause + fault.hint


@pytest.mark.parametrize(
    "arguments", [(), ("create", "--reason", "r"), ("revoke", "key_1"), ("create", "w", "--role", "king")]
)
def test_usage_errors_are_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_another_role_is_refused_with_where_to_give_a_key(calm_url: str) -> None:
    with pytest.raises(RolloutError, match="lacks the role") as fault:
        run("list", "--admin-url", calm_url, "--api-key", "viewer:vic")
    assert (fault.value.exit_code, "GLIDEPATH_API_KEY" in fault.value.hint) == (5, True)
