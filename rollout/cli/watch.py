"""`glidepath rollout get`, once or until interrupted: on a terminal anew each second, elsewhere only what changes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from rollout.cli.client import ApiFault
from rollout.cli.command_line import connect, console, show, written
from rollout.cli.feature_render import Features, told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from rollout.cli.client import Client

EVERY_S = 1.0


def get(args: argparse.Namespace) -> int:
    """Show one feature or all; with `--watch` until interrupted. Faults of the first read are raised."""
    with connect(args) as client:
        if not args.watch:
            answer = read(client, args.feature)
            shown = answer["features"][0] if args.feature else answer
            return show(args, shown, rendered(answer, in_full=bool(args.feature)))
        try:
            _watch(args, answers(lambda: read(client, args.feature)), console())
        except KeyboardInterrupt:
            return 0
    return 0


def read(client: Client, feature: str | None) -> dict[str, Any]:
    """Read one feature, or all, in the shape of all."""
    if feature is None:
        return client.features()
    flag = client.feature(feature)
    return {"store": flag["store"], "version": None, "features": [flag]}


def answers(
    ask: Callable[[], dict[str, Any]], *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """Yield what the API says, once a second; a fault as {"error": cause}, except at the first try."""
    yield ask()
    while True:
        sleep(EVERY_S)
        try:
            yield ask()
        except ApiFault as fault:
            yield {"error": fault.cause}


def changes(given: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass on an answer only when there is something to tell anew: times that go on are no change."""
    last: object = None
    for answer in given:
        now = told(answer)
        if now != last:
            yield answer
        last = now


def rendered(answer: dict[str, Any], *, in_full: bool) -> RenderableType:
    """Show an answer, or that there was none."""
    return Text(answer["error"], style="bold red") if "error" in answer else Features(answer, in_full=in_full)


def _watch(args: argparse.Namespace, given: Iterator[dict[str, Any]], console: Console) -> None:
    in_full = bool(args.feature)
    if args.output != "table":
        for answer in changes(given):
            sys.stdout.write(written(args.output, answer, one_of_many=True) + "\n")
            sys.stdout.flush()
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for answer in given:
                live.update(rendered(answer, in_full=in_full), refresh=True)
    else:
        for answer in changes(given):
            console.print(rendered(answer, in_full=in_full))
