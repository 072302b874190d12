"""`glidepath soak`: a long run with faults and leaving callers, and a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `soak`."""
    soak = subparsers.add_parser(
        "soak",
        help="run a gateway with faults and leaving callers for long: does anything grow, get lost or come twice?",
        description="Starts a gateway between two simulators. Exit code 0: everything held; 1: something did not.",
    )
    soak.add_argument("--duration", type=float, default=600, metavar="S", help="default: %(default)s")
    soak.add_argument("--peak", type=float, default=15, metavar="S", help="measure the peak so long (%(default)s)")
    soak.add_argument("--share-of-peak", type=float, default=0.7, metavar="RATIO", help="default: %(default)s")
    soak.add_argument("--rate", type=float, metavar="N", help="calls/s, instead of measuring the peak")
    soak.add_argument("--workers", type=int, default=1, metavar="N", help="of the gateway (default: %(default)s)")
    soak.add_argument("--drivers", type=int, default=1, metavar="N", help="processes of callers (default: %(default)s)")
    soak.add_argument("--seed", type=int, default=1, help="of the callers' choices (default: %(default)s)")
    soak.add_argument(
        "--rss-bound", type=float, default=1.0, metavar="MB", help="growth per minute allowed (default: %(default)s)"
    )
    soak.add_argument("--output", type=Path, metavar="DIR", help="write soak.md and soak.json there")
    soak.set_defaults(run=_soak)


def _soak(args: argparse.Namespace) -> int:
    import json

    from loadtests.soak.report import document, markdown
    from loadtests.soak.run import Plan, run
    from loadtests.soak.verdict import Bounds

    plan = Plan(
        args.duration, args.peak, args.share_of_peak, args.workers, args.drivers, seed=args.seed, rate=args.rate,
        bounds=Bounds(args.rss_bound, args.workers),
    )  # fmt: skip
    result = run(plan)
    text = markdown(result)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "soak.md").write_text(text, encoding="utf-8")
        (args.output / "soak.json").write_text(json.dumps(document(result), indent=1) + "\n", encoding="utf-8")
    print(text)
    return 0 if result.held else 1
