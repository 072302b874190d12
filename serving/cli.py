"""`glidepath serving install` and `glidepath serving up`: the composition root of serving."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.errors import ServingError
    from serving.spec import ModelSpec

# vLLM lists every architecture it knows in one line; the log file has it whole.
MAX_SHOWN_CHARS = 300

MODELS = Path(__file__).parent / "models"


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `serving` and its subcommands; each sets `run(args) -> exit code`."""
    from serving.demo_model.cli import add_commands as add_demo_model

    serving = subparsers.add_parser("serving", help="the in-house model on vLLM")
    commands = serving.add_subparsers(required=True, metavar="COMMAND")
    install = commands.add_parser("install", help="make the vLLM environment (once, a few minutes)")
    which = install.add_mutually_exclusive_group()
    which.add_argument("--cpu", action="store_true", help="the CPU build (default without a GPU)")
    which.add_argument("--gpu", action="store_true", help="the GPU build (default with a GPU)")
    _add_environment(install)
    install.set_defaults(run=run_install)
    up = commands.add_parser("up", help="start vLLM for one model and keep it running")
    up.add_argument("spec", help=f"a TOML file, or one of: {', '.join(shipped())}")
    up.add_argument("--port", type=_port, help="listen here instead of the spec's port; 0 takes a free one")
    up.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="exists exactly while the model is ready (JSON: url, model)"
    )
    up.add_argument(
        "--log-file", type=Path, metavar="PATH", help="vLLM's whole log (default: logs/ in the cache folder)"
    )
    _add_environment(up)
    up.set_defaults(run=run_up)
    add_demo_model(commands)


def shipped() -> list[str]:
    """Names of the specs that come with glidepath."""
    return sorted(path.stem for path in MODELS.glob("*.toml"))


def run_install(args: argparse.Namespace) -> int:
    """Make the environment; 0 when it is complete."""
    import os

    from serving import environment, prepare
    from serving.errors import ServingError

    _end_on_sigterm()
    wants_gpu = args.gpu or (not args.cpu and environment.has_gpu())
    recipe = environment.GPU if wants_gpu else environment.CPU
    try:
        prepare.install(recipe, environment.directory_for(recipe, args.vllm_env, os.environ), _say, os.environ)
    except ServingError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(ServingError("interrupted", "run it again: it starts over from a clean folder"))
    return 0


def run_up(args: argparse.Namespace) -> int:
    """Serve one model until SIGTERM or Ctrl-C; 0 after a clean stop."""
    import asyncio

    from serving.errors import ServingError

    try:
        asyncio.run(_serve(args))
    except ServingError as error:
        return _fail(error)
    return 0


async def _serve(args: argparse.Namespace) -> None:
    import asyncio
    import os

    from serving import command, environment, preflight
    from serving.logfile import EngineLog
    from serving.supervisor import Launch, Supervisor

    if args.ready_file:
        preflight.clear_ready_file(args.ready_file)
    spec = _spec(args)
    preflight.check_model(spec)
    preflight.check_port(spec)
    installed = environment.find(args.vllm_env, os.environ)
    logs = environment.cache_home(os.environ) / "logs"
    log_file = args.log_file or logs / f"vllm-{spec.served_name.replace('/', '_')}-{spec.port}.log"
    preflight.check_writable(log_file)
    log = EngineLog(log_file)
    cores = len(os.sched_getaffinity(0))
    launch = Launch(command.argv(spec, installed), command.env(spec, installed, os.environ, cores))
    _say(f"{spec.served_name}: {installed.distribution} {installed.version}, log {log.path}")
    supervisor = Supervisor(spec, launch, log, _say, ready_file=args.ready_file)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    try:
        await supervisor.run()
    finally:
        log.close()


def _spec(args: argparse.Namespace) -> ModelSpec:
    import msgspec

    from serving import preflight, spec

    path = Path(args.spec).expanduser()
    if args.spec in shipped() and not path.exists():
        path = MODELS / f"{args.spec}.toml"
    model = spec.load(path)
    if args.port is not None:
        model = msgspec.structs.replace(model, port=args.port)
    return msgspec.structs.replace(model, port=preflight.free_port(model.host)) if model.port == 0 else model


def _add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vllm-env",
        type=Path,
        metavar="DIR",
        help="the virtual environment vLLM is (to be) in (default: $GLIDEPATH_VLLM_ENV, else the cache folder)",
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:  # noqa: PLR2004  the largest port
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _end_on_sigterm() -> None:
    """Let SIGTERM unwind like Ctrl-C does, so that pip is ended too."""

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


def _say(line: str) -> None:
    # Whoever read our output may go; the model stays served.
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def _fail(error: ServingError) -> int:
    for line in error.log_tail:
        print(f"  | {line[:MAX_SHOWN_CHARS]}", file=sys.stderr)
    print(f"glidepath: {error.cause}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
    return error.exit_code
