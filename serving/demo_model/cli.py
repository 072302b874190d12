"""`glidepath serving demo-model`: prompts, train, evaluate, manifest. Imports heavy parts only when they run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.demo_model.errors import DemoModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS: Final = Path(__file__).parent / "weights"
# The engine's environment must not see this one's packages before its own, hence a path appended, not PYTHONPATH.
_RUN_TRAINING: Final = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module('serving.demo_model.train', run_name='__main__', alter_sys=True)"
)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `demo-model` and its commands below `glidepath serving`."""
    demo_model = subparsers.add_parser("demo-model", help="the tiny model of the demo and its three tasks")
    commands = demo_model.add_subparsers(required=True, metavar="COMMAND")
    _add_prompts(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_manifest(commands)


def _add_prompts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("prompts", help="write evaluation prompts with their references as JSON lines")
    parser.add_argument("--count", type=_positive, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=_prompts)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="make both checkpoints anew (a few minutes on 4 cores)")
    parser.add_argument("--vllm-env", type=Path, metavar="DIR", help="where torch is (default: as for `serving up`)")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="options of serving.demo_model.train, after --")
    parser.set_defaults(run=_train)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("evaluate", help="exact match of a served model, over HTTP")
    parser.add_argument("--base-url", required=True, help="ending in /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key-env", metavar="VAR", help="environment variable that holds the API key")
    parser.add_argument("--count", type=_positive, default=900, help="prompts in all, the tasks taking turns")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.set_defaults(run=_evaluate)


def _add_manifest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("manifest", help="compare the weights with their manifest, or write it")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--write", action="store_true")
    parser.set_defaults(run=_manifest)


@contextmanager
def _disk_faults_named() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise DemoModelError(str(fault), "check that the path exists, is writable and has room") from fault


def _prompts(args: argparse.Namespace) -> int:
    from serving.demo_model.prompts import write_prompts

    with _disk_faults_named():
        write_prompts(args.out, args.count, args.seed)
    return 0


def _train(args: argparse.Namespace) -> int:
    from serving import environment

    python = environment.find(args.vllm_env, os.environ).python
    root = Path(__file__).parents[2]
    rest = args.rest[1:] if args.rest[:1] == ["--"] else args.rest
    command = [str(python), "-c", _RUN_TRAINING, str(root), "--out", str(args.out), *rest]
    with _disk_faults_named():
        return subprocess.run(command, check=False).returncode


def _evaluate(args: argparse.Namespace) -> int:
    from serving.demo_model.evaluate import Target, evaluate
    from serving.demo_model.prompts import evaluation_prompts

    api_key = os.environ.get(args.api_key_env) if args.api_key_env else None
    result = evaluate(Target(args.base_url, args.model, api_key), evaluation_prompts(args.count, args.seed))
    figures = {"prompts": args.count, "seed": args.seed, "exact_match": result.exact_match, "finished": result.finished}
    print(json.dumps(figures))
    if args.out:
        with _disk_faults_named():
            args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _manifest(args: argparse.Namespace) -> int:
    from serving.demo_model.manifest import differences, write_manifest

    with _disk_faults_named():
        if args.write:
            write_manifest(args.weights)
        found = differences(args.weights)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
