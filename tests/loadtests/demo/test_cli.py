import argparse
from pathlib import Path

import pytest

from loadtests.demo.cli import add_commands, run_demo, run_up
from loadtests.demo.errors import StateDirError
from loadtests.demo.layout import Ports


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    return parser.parse_args(argv)


def test_the_demo_needs_no_options() -> None:
    args = parse("demo")
    assert (args.run, args.state_dir, args.model) == (run_demo, Path("glidepath-data/demo"), None)


def test_a_stack_that_stays_has_fixed_ports_that_can_be_moved() -> None:
    args = parse("up", "--port", "1", "--vllm-port", "2")
    assert args.run is run_up
    parts = ("gateway", "admin", "vllm", "simulator", "prometheus")
    assert [getattr(args, f"{part}_port") for part in parts] == [1, 8081, 2, 9000, 9190]
    assert set(Ports._fields) - set(parts) == {"vllm_worse"}


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_port_must_be_one(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("up", f"--port={port}")
    assert caught.value.code == 2
    assert "is no port" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_state_directory_that_is_a_file_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    args = parse(command, "--state-dir", str(tmp_path / "file"))
    with pytest.raises(StateDirError):
        args.run(args)
