"""The `glidepath` command: every part registers its verbs; this is the only place that knows them all."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_CONFIG = Path("glidepath.toml")
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; faults that were foreseen are one line of cause and one of hint, never a traceback."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as error:
        cause = getattr(error, "cause", None)
        if not isinstance(cause, str):
            raise
        sys.stderr.write(f"glidepath: {cause}\n")
        if getattr(error, "hint", ""):
            sys.stderr.write(f"  hint: {error.hint}\n")  # type: ignore[attr-defined]
        return int(getattr(error, "exit_code", 1))


def _parser() -> argparse.ArgumentParser:
    from gateway.evaluation.cli import add_commands as add_evaluation
    from loadtests.bench.cli import add_commands as add_bench
    from loadtests.cli import add_commands as add_loadtests
    from loadtests.demo.cli import add_commands as add_demo
    from loadtests.soak.cli import add_commands as add_soak
    from rollout.cli.local import find_key
    from rollout.cli.verbs import add_commands as add_rollout
    from rollout.keys.cli import add_commands as add_keys
    from rollout.requests.cli import add_commands as add_explain
    from serving.cli import add_commands as add_serving

    parser = argparse.ArgumentParser(
        prog="glidepath", description="Move LLM traffic home, gradually and provably safely."
    )
    parser.add_argument("--version", action="version", version=f"glidepath {version('glidepath')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    gateway = commands.add_parser("gateway", help="start gateway, operator API and controller")
    gateway.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    gateway.set_defaults(run=_gateway)

    controller = commands.add_parser("controller", help="move shares as their ramps say, and serve no requests")
    controller.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    controller.set_defaults(run=_controller)

    init = commands.add_parser("init", help="write a commented glidepath.toml")
    init.add_argument("file", nargs="?", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    init.add_argument("--force", action="store_true", help="overwrite an existing file")
    init.set_defaults(run=_init)

    check = commands.add_parser("check", help="validate a configuration file, and what this host has for it")
    check.add_argument("file", nargs="?", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    check.set_defaults(run=_check)

    add_rollout(commands)
    add_keys(commands)
    add_explain(commands)
    add_serving(commands)
    add_evaluation(commands, find_key)
    add_loadtests(commands)
    add_demo(commands)
    add_bench(commands)
    add_soak(commands)
    return parser


def _gateway(args: argparse.Namespace) -> int:
    from gateway.fleet import Configuration
    from gateway.settings import judge_keys, load, proxy_credentials, upstream_keys
    from gateway.supervisor import report, run

    def read() -> Configuration:
        settings = load(args.config)
        return Configuration(settings, upstream_keys(settings), proxy_credentials(settings), judge_keys(settings))

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(read, report)
    return 0


def _controller(args: argparse.Namespace) -> int:
    from gateway.controller import run
    from gateway.settings import load

    settings = load(args.config)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rollout").setLevel(logging.INFO)  # not the root's: HTTP clients log URLs, which may hold secrets
    run(settings, lambda url: print(f"Glidepath's controller is ready: {url}/metrics", flush=True))
    return 0


def _init(args: argparse.Namespace) -> int:
    from gateway.settings import SettingsError
    from gateway.template import CONFIG_TEMPLATE

    try:
        with args.file.open("w" if args.force else "x", encoding="utf-8") as file:
            file.write(CONFIG_TEMPLATE)
    except FileExistsError:
        raise SettingsError(
            f"{args.file} exists already", "use --force to overwrite it, or name another file"
        ) from None
    except OSError as error:
        raise SettingsError(f"cannot write {args.file}: {error.strerror}", "choose another place") from None
    print(f"wrote {args.file}; next: glidepath check {args.file} && glidepath gateway --config {args.file}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from gateway.preflight import obstacles
    from gateway.settings import load
    from rollout.adapters import open_store

    settings = load(args.file)
    open_store(settings.store.url)
    for each in obstacles(settings):
        print(f"warning: on this host, {each.cause}\n  hint: {each.hint}")
    print(f"{args.file}: ok ({len(settings.upstreams)} upstreams, {len(settings.features)} features)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
