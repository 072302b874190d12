"""`glidepath rollout` and `glidepath keys`, as an operator types them."""

import argparse
import json
from typing import Any

import pytest

from rollout.cli import verbs
from rollout.core.errors import RolloutError
from rollout.keys import cli as keys


def run(*arguments: str) -> int:
    """Do one command; its exit code."""
    parser = argparse.ArgumentParser()
    groups = parser.add_subparsers(required=True)
    for group in (verbs, keys):
        group.add_commands(groups)
    args = parser.parse_args(arguments)
    code: int = args.run(args)
    return code


class Cli:
    """The commands of a group, "rollout" or "keys", with address and key given."""

    def __init__(self, group: str, url: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.group, self.url, self.key, self.capsys = group, url, key, capsys

    def code(self, *arguments: str, who: str = "") -> int:
        """`who`: another key."""
        return run(self.group, *arguments, "--admin-url", self.url, "--api-key", who or self.key)

    def text(self, *arguments: str, who: str = "") -> str:
        assert self.code(*arguments, who=who) == 0
        return self.capsys.readouterr().out

    def json(self, *arguments: str, who: str = "") -> Any:
        return json.loads(self.text(*arguments, "--json", who=who))

    def fault(self, *arguments: str, who: str = "") -> RolloutError:
        with pytest.raises(RolloutError) as fault:
            self.code(*arguments, who=who)
        assert "\n" not in fault.value.cause
        return fault.value
