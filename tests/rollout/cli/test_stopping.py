"""Kills against a real server, as an operator orders them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rollout.admin_port import open_port, operator_api
from tests.rollout.terminal import Cli

KEY = "viewer,operator:ann"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_port(operator_api(tmp_path)) as address:
        yield address


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli("rollout", url, KEY, capsys)


def test_kill_and_unkill(cli: Cli) -> None:
    cli.text("set-share", "summarize", "50%", "--reason", "r")
    killed = cli.text("kill", "summarize", "--reason", "errors")
    assert "share 50% (in force 0%, KILLED)" in killed
    assert killed.endswith("; unkill brings 50% back at once, for less first set-share\n")
    assert "KILLED" in cli.text("get")
    assert cli.fault("set-share", "summarize", "60%", "--reason", "r").exit_code == 1
    lifted = cli.text("unkill", "summarize", "--reason", "mended")
    assert "share 50% (in force 50%)" in lifted
    assert lifted.endswith("; the candidate has 50% back, and no gate watches it\n")
    assert cli.json("kill", "summarize", "--reason", "again")["killed"] is True


def test_less_can_be_brought_back_than_there_was(cli: Cli) -> None:
    cli.text("set-share", "summarize", "50%", "--reason", "r")
    cli.text("kill", "summarize", "--reason", "errors")
    cli.text("set-share", "summarize", "0%", "--reason", "come back by steps")
    assert cli.text("unkill", "summarize", "--reason", "mended").endswith("(in force 0%), revision 5\n")


@pytest.mark.parametrize(
    ("verb", "said"), [("pause", "the candidate has 10% back\n"), ("complete", "no gate watches it\n")]
)
def test_what_a_lifted_kill_brings_back_is_watched_by_a_ramp_that_is_not_over(
    cli: Cli, tmp_path: Path, verb: str, said: str
) -> None:
    ramp = "{steps: [{share: 10000, bake: 1h}, {share: 50000, bake: 1h}]}"
    document = f"x-rollouts: {{summarize: {{candidate: inhouse, baseline: partner, ramp: {ramp}}}}}"
    (tmp_path / "summarize.yaml").write_text(document)
    cli.text("apply", "-f", str(tmp_path / "summarize.yaml"), "--reason", "r")
    for each in ("start", verb, "kill"):
        cli.text(each, "summarize", "--reason", "r")
    assert cli.text("unkill", "summarize", "--reason", "mended").endswith(said)


def test_a_kill_without_the_store_says_so(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.text("get")
    (tmp_path / "store.db").rename(tmp_path / "away")
    fault = cli.fault("kill", "summarize", "--reason", "errors")
    assert fault.exit_code == 5
    assert "killed on this replica only" in fault.cause
    assert "every other replica" in fault.hint
    assert capsys.readouterr().out == "summarize: killed on this replica only\n"
    assert cli.fault("kill", "summarize", "--reason", "errors", "-o", "json").exit_code == 5
    assert json.loads(capsys.readouterr().out)["killed"] is True
    assert cli.fault("unkill", "summarize", "--reason", "r").exit_code == 5


def test_all_features_are_killed_at_once_and_come_back(cli: Cli) -> None:
    shown = cli.text("kill", "--all", "--reason", "errors", "--idempotency-key", "k1")
    assert [line.partition(":")[0] for line in shown.splitlines()] == ["draft", "summarize"]
    assert shown.count("KILLED") == 2
    assert all(answer["killed"] for answer in cli.json("kill", "--all", "--reason", "again")["features"])
    assert "KILLED" not in cli.text("unkill", "--all", "--reason", "mended")


def test_all_features_are_killed_without_the_store(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.text("get")
    (tmp_path / "store.db").rename(tmp_path / "away")
    fault = cli.fault("kill", "--all", "--reason", "errors")
    assert fault.exit_code == 5
    assert "2 of 2 features are killed on this replica only: draft, summarize" in fault.cause
    assert capsys.readouterr().out.count("killed on this replica only") == 2


def test_what_refuses_does_not_keep_the_others_from_it(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    cli.text("kill", "--all", "--reason", "r")
    cli.text("kill", "draft", "--reason", "r", "--idempotency-key", "k1:draft")
    fault = cli.fault("unkill", "--all", "--reason", "r", "--idempotency-key", "k1")
    assert "unkill failed for 1 of 2 features: draft" in fault.cause
    assert fault.exit_code not in {0, 5}
    shown = capsys.readouterr().out
    assert "draft: FAILED: " in shown
    assert "KILLED" not in shown


@pytest.mark.parametrize("wanted", [(), ("summarize", "--all")])
def test_a_feature_or_all_must_be_named(cli: Cli, wanted: tuple[str, ...]) -> None:
    assert cli.fault("kill", *wanted, "--reason", "r").exit_code == 2
