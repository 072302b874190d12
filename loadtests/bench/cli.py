"""`glidepath bench`: requests per second on one core, beside peers, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `bench`."""
    bench = subparsers.add_parser("bench", help="measure the gateway beside nginx and vllm-router")
    bench.add_argument("--duration", type=int, default=2, metavar="S", help="of one measurement (default: %(default)s)")
    bench.add_argument("--repeats", type=int, default=7, help="medians of so many (default: %(default)s)")
    bench.add_argument("--connections", type=int, nargs="+", default=[64, 16], metavar="N")
    bench.add_argument("--output", type=Path, metavar="DIR", help="write latest.md and latest.json there")
    bench.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    from loadtests.bench.run import run

    text = run(duration_s=args.duration, repeats=args.repeats, connections=args.connections, output=args.output)
    print(text)
    return 0
