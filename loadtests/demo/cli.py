"""The commands `glidepath demo` and `glidepath up`."""

import argparse
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

_PORTS = {
    "gateway": "--port",
    "admin": "--admin-port",
    "vllm": "--vllm-port",
    "simulator": "--simulator-port",
    "prometheus": "--prometheus-port",
}
_PORT_MAX = 65_535
_STOPPED_BY_SIGNAL = 128


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `demo` and `up`; each sets `run` to a function from arguments to the exit code."""
    from loadtests.demo.layout import Ports

    demo = subparsers.add_parser(
        "demo",
        help="start everything, ramp a share from 1 %% to 100 %% under traffic, roll three others back, judge, stop",
        description="The controller ramps one feature to its end by evidence, and rolls three others back by it: a "
        "worse model, errors, a latency regression. Without Debian's prometheus the PromQL floor is left out. "
        "Exit code 0: every check held; 1: one did not, or a part failed; 128 + N: stopped by signal N.",
    )
    _add_common(demo)
    demo.set_defaults(run=run_demo)

    up = subparsers.add_parser(
        "up", help="start vLLM, the simulated partner, Prometheus and the gateway, and leave them running until Ctrl-C"
    )
    _add_common(up)
    for part, option in _PORTS.items():
        text = f"port of {'the operator API' if part == 'admin' else part} (default: %(default)s)"
        up.add_argument(option, type=_port, default=getattr(Ports(), part), dest=f"{part}_port", help=text)
    up.set_defaults(run=run_up)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path("glidepath-data/demo"),
        metavar="DIR",
        help="where configuration, store, key and logs are kept; a demo's in its folder run, which each run makes anew "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="SPEC.toml", help="spec of the good model (default: the demo model)"
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (1 to {_PORT_MAX})")
    return int(text)


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo; raises LoadTestError."""
    from loadtests.demo import run

    return _until_signal(run.run_demo(args.state_dir, args.model))


def run_up(args: argparse.Namespace) -> int:
    """Run the stack until it is told to stop, which is its good end; raises LoadTestError."""
    from loadtests.demo import run
    from loadtests.demo.layout import Ports

    ports = Ports(**{part: getattr(args, f"{part}_port") for part in _PORTS})
    code = _until_signal(run.run_up(args.state_dir, args.model, ports, _PORTS))
    return 0 if code > _STOPPED_BY_SIGNAL else code


def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; a fault's log lines are shown before whoever called prints its cause and hint."""
    from loadtests.demo.errors import DemoError
    from loadtests.demo.signals import run_until_signal

    try:
        return run_until_signal(work)
    except DemoError as error:
        for line in error.log_tail:
            sys.stderr.write(f"  | {line}\n")
        raise
