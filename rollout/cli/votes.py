"""`glidepath rollout export-pairs, ratings`: what people and judges found, for training and for reading."""

from __future__ import annotations

import os
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

from rollout.cli.command_line import add_connection, add_verb, connect, show
from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rich.table import Table


def add_vote_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verbs; each sets `run(args) -> exit code`, which may raise RolloutError."""
    about = "write the kept texts of one replica as JSON lines for training (shadow.keep)"
    export = verbs.add_parser("export-pairs", help=about, description=about)
    export.add_argument("feature", metavar="FEATURE")
    export.add_argument("--since", metavar="TIME", help='how far back, as "7d" or "12h" (default: all there is)')
    formats = ("preference", "rated")
    shapes = "prompt, chosen and rejected answer; or messages with their rating (default: %(default)s)"
    export.add_argument("--format", choices=formats, default=formats[0], help=shapes)
    export.add_argument("--out", metavar="FILE", help="must not exist yet (default: standard output)")
    add_connection(export, _export)

    ratings = add_verb(verbs, "ratings", _ratings, "show how people's votes rate the models of a feature")
    ratings.add_argument("feature", metavar="FEATURE")


def _export(args: argparse.Namespace) -> int:
    from rollout.core.duration import parse_duration

    within_s = None if args.since is None else parse_duration(args.since)
    with connect(args) as client:
        pieces = client.training_data(args.feature, args.format, within_s)
        first = next(pieces, b"")  # no file is made for what is refused
        count = _write(args.out, chain((first,), pieces))
    why = f": {client.why_none}" if client.why_none else ""
    print(f"{count} lines, of the replica that answered{why}; others have their own", file=sys.stderr)
    return 0


def _write(out: str | None, pieces: Iterable[bytes]) -> int:
    """Write all pieces; how many lines they were."""
    if out is None:
        return sum(_print(piece) for piece in pieces)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise InvalidArgument(f"cannot write {out}: {fault.strerror}", "name a file that is not there yet") from fault
    try:
        return sum(_put(descriptor, piece) for piece in pieces)
    finally:
        os.close(descriptor)


def _print(piece: bytes) -> int:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return piece.count(b"\n")


def _put(descriptor: int, piece: bytes) -> int:
    lines = piece.count(b"\n")
    while piece:
        piece = piece[os.write(descriptor, piece) :]
    return lines


def _ratings(args: argparse.Namespace) -> int:
    with connect(args) as client:
        answer = client.ratings(args.feature)
    return show(args, answer, _table(answer))


def _table(answer: dict[str, Any]) -> Table:
    from rich.table import Table

    title = f"{answer['feature']}: {answer['votes']} votes of {answer['voters']} voters"
    table = Table(title=title)
    for head in ("model", "votes", f"preferred to {answer['reference']}", "95 % interval"):
        table.add_column(head)
    for each in answer["ratings"]:
        is_reference = each["name"] == answer["reference"]
        between = f"{_percent(each['win_lower'])} to {_percent(each['win_upper'])}"
        unknown = is_reference or each["win_lower"] is None
        win = "reference" if is_reference else _percent(each["win"])
        table.add_row(each["name"], str(each["votes"]), win, "-" if unknown else between)
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
