"""The commands `glidepath simulator` and `glidepath load`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtests.simulator import RunningSimulator, SimulatorConfig


_PORT_MAX = 65_535


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register this package's commands; each sets `run` to a function from arguments to the exit code."""
    _add_simulator(subparsers)
    _add_load(subparsers)


def _add_simulator(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "simulator",
        help="serve a simulated partner (OpenAI wire, seeded latency, quality and faults)",
        description="Serve a declared stand-in for the partner. Options override the configuration file.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=9000, help="port to listen on; 0 picks one (default: %(default)s)"
    )
    parser.add_argument(
        "--control-port", type=_port, metavar="PORT", help="serve /simulator/... here too, 0 picks a port"
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="models, accuracy, [latency], [[faults]]")
    parser.add_argument("--references", metavar="FILE.jsonl", help="prompts with their right answers")
    parser.add_argument("--seed", type=int, help="seed of every draw")
    parser.add_argument("--accuracy", type=float, help="share of known prompts answered rightly")
    parser.add_argument("--model", action="append", dest="models", help="model name to serve; may be repeated")
    parser.add_argument("--generic-tokens", type=int, help="tokens of the answer to an unknown prompt")
    parser.add_argument("--require-key-env", metavar="VAR", help="ask callers for the key in this variable")
    for name in ("ttft-median-s", "ttft-sigma", "inter-token-median-s", "inter-token-sigma"):
        parser.add_argument(f"--{name}", type=float, help="of the logarithm" if "sigma" in name else "seconds")
    parser.add_argument("--ready-file", type=Path, help="write the base URL here once the port is open")
    parser.set_defaults(run=run_simulator)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


def _add_load(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "load",
        help="run a load scenario through the gateway and judge it",
        description="Run a scenario headless. Exit code 0: all thresholds held; 1: one was breached; 2: cannot run.",
    )
    parser.add_argument("scenario", help="a scenario TOML, or the name of a shipped one such as `smoke`")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1", help="default: %(default)s")
    parser.add_argument("--api-key", help="default: the environment's GLIDEPATH_API_KEY")
    parser.add_argument("--prompts", type=Path, metavar="FILE.jsonl", help="prompts instead of the scenario's")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="keep the report here")
    parser.set_defaults(run=run_load)


def run_simulator(args: argparse.Namespace) -> int:
    """Serve the simulator until SIGTERM or SIGINT; raises LoadTestError."""
    from loadtests.simulator import run

    def announce(simulator: "RunningSimulator") -> None:
        if args.control_port is not None:
            print(f"CONTROL {simulator.control_url}")
        print(f"READY {simulator.base_url} (a simulator, not a partner)", flush=True)
        if args.ready_file is not None:
            part = args.ready_file.with_name(args.ready_file.name + ".part")
            part.write_text(simulator.base_url + "\n", encoding="utf-8")
            part.replace(args.ready_file)

    run(_simulator_config(args), args.host, args.port, announce, args.control_port)
    return 0


def _simulator_config(args: argparse.Namespace) -> "SimulatorConfig":
    import os

    import msgspec

    from loadtests.errors import InvalidFileError
    from loadtests.simulator import SimulatorConfig, read_config
    from loadtests.strict import convert

    config = SimulatorConfig() if args.config is None else read_config(args.config)
    data: dict[str, Any] = msgspec.to_builtins(config)
    data |= _given(args, ("references", "seed", "accuracy", "models", "generic_tokens"))
    data["latency"] |= _given(args, tuple(data["latency"]))
    if args.require_key_env is not None:
        data["require_key"] = os.environ.get(args.require_key_env)
        if not data["require_key"]:
            raise InvalidFileError(f"the variable {args.require_key_env} is empty", "set it to the key callers send")
    return convert(data, SimulatorConfig, "options")


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def run_load(args: argparse.Namespace) -> int:
    """Run one scenario with locust and print its summary; raises LoadTestError when it cannot run."""
    from loadtests.run import run_scenario, shipped
    from loadtests.summary import lines

    report = run_scenario(shipped(args.scenario), args.base_url, args.api_key, args.prompts, args.report)
    print("\n".join(lines(report)))
    return 1 if report.breaches else 0


def main(argv: list[str] | None = None) -> int:
    """Run this package's commands alone, as `python -m loadtests`."""
    from loadtests.errors import LoadTestError

    parser = argparse.ArgumentParser(prog="glidepath")
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except LoadTestError as error:
        print(f"glidepath: {error.cause}\n  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
