"""`glidepath bench`: everything the design promises of the data plane, measured beside peers in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `bench`."""
    bench = subparsers.add_parser(
        "bench",
        help="measure the gateway beside nginx, vllm-router, sglang-router and LiteLLM",
        description="Needs wrk, nginx and a quiet machine. The default takes about 15 minutes on 4 cores.",
    )
    size = bench.add_mutually_exclusive_group()
    size.add_argument(
        "--quick",
        action="store_const",
        dest="plan",
        const="quick",
        help="does it work? half a minute with `--peers` alone, two with all",
    )
    size.add_argument("--full", action="store_const", dest="plan", const="full", help="more of everything, 1-2 hours")
    bench.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="beside these only (default: all): vllm-router sglang-router litellm; nginx is always there",
    )
    bench.add_argument("--output", type=Path, metavar="DIR", help="write latest.md, latest.json and latest.svg there")
    bench.set_defaults(run=_bench, plan="default")


def _bench(args: argparse.Namespace) -> int:
    from loadtests.bench.peers import PEERS
    from loadtests.bench.plan import PLANS
    from loadtests.bench.run import Wanted, run

    names = [peer.name for peer in PEERS] if args.peers is None else args.peers
    print(run(Wanted(PLANS[args.plan], names, args.output)), end="")
    return 0
