import argparse
from pathlib import Path

import pytest

from loadtests.bench.cli import add_commands


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    return parser.parse_args(["bench", *arguments])


def test_the_default_measures_beside_every_peer_and_writes_nothing() -> None:
    args = parsed()
    assert (args.plan, args.peers, args.output) == ("default", None, None)


def test_size_peers_and_place_can_be_chosen() -> None:
    args = parsed("--full", "--output", "docs", "--peers", "vllm-router")
    assert (args.plan, args.peers, args.output) == ("full", ["vllm-router"], Path("docs"))
    assert parsed("--quick", "--peers").peers == []


def test_a_run_is_either_quick_or_full(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--quick", "--full")
    assert "not allowed with" in capsys.readouterr().err
