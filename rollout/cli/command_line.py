"""What the commands that talk to the operator API have in common: where it is, how answers are shown."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rollout.cli.client import Client

Run = Callable[[argparse.Namespace], int]
PIPED_WIDTH = 120
"""Of what goes into a pipe or a file: no screen is too narrow for a table there."""


def add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Run,
    about: str,
    *,
    aliases: Sequence[str] = (),
    outputs: tuple[str, ...] = ("table", "json", "yaml"),
) -> argparse.ArgumentParser:
    """Register one verb with the options that all have; the first of `outputs` is the default."""
    verb = verbs.add_parser(name, help=about, description=about, aliases=aliases)
    verb.add_argument("-o", "--output", choices=outputs, default=outputs[0])
    verb.add_argument("--json", action="store_const", dest="output", const="json", help="the same as -o json")
    add_connection(verb, run)
    return verb


def add_connection(verb: argparse.ArgumentParser, run: Run) -> None:
    """Have the verb run against the operator API: where it is, and with which key."""
    verb.add_argument(
        "--admin-url", metavar="URL", help="default: $GLIDEPATH_ADMIN_URL, else [admin] of ./glidepath.toml"
    )
    verb.add_argument(
        "--api-key",
        metavar="KEY",
        help="default: $GLIDEPATH_API_KEY, the file $GLIDEPATH_KEY_FILE, else that of the gateway in this folder",
    )
    verb.set_defaults(run=run)


def add_reason(verb: argparse.ArgumentParser) -> None:
    """Every change says why."""
    verb.add_argument("--reason", required=True, help="why, for the audit log")


def add_key(verb: argparse.ArgumentParser) -> None:
    """A change that may be sent again is done once."""
    verb.add_argument(
        "--idempotency-key", metavar="TEXT", help="done once, however often it is sent with the same text (24 hours)"
    )


def add_paging(verb: argparse.ArgumentParser) -> None:
    """Histories come in pages."""
    verb.add_argument("--limit", type=int, default=20)
    verb.add_argument("--before", type=int, metavar="ID", help="entries older than this one")


def epilog(doc: str | None) -> str:
    """Where address and key come from, and the exit codes as the command's module tells them."""
    where = (
        "Where: $GLIDEPATH_ADMIN_URL, else [admin] of ./glidepath.toml. Key: $GLIDEPATH_API_KEY, "
        "$GLIDEPATH_BOOTSTRAP_KEY, the file $GLIDEPATH_KEY_FILE, else the first key of this folder's gateway. "
    )
    return where + "Exit codes:" + (doc or "").partition("Exit codes:")[2].partition("Faults")[0]


def connect(args: argparse.Namespace) -> "Client":
    """A client for the address and key that were given or are found."""
    # Loaded when a command runs, not for every `glidepath --help`.
    from rollout.cli.client import Client
    from rollout.cli.local import find

    local = find(args.admin_url, args.api_key)
    return Client(local.admin_url, local.api_key)


def console() -> "Console":
    """Standard output: as wide as the terminal, or as COLUMNS says, else PIPED_WIDTH."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=PIPED_WIDTH)


def show(args: argparse.Namespace, answer: dict[str, Any], table: "RenderableType") -> int:
    """Print the answer as it was asked for; the exit code of success."""
    if args.output == "table":
        console().print(table)
    else:
        print(written(args.output, answer))
    return 0


def say(args: argparse.Namespace, answer: dict[str, Any], line: str) -> int:
    """Print the answer, or the line that people read instead of a table; the exit code of success."""
    print(line if args.output == "table" else written(args.output, answer))
    return 0


def written(output: str, answer: dict[str, Any], *, one_of_many: bool = False) -> str:
    """Write an answer as "json" or "yaml"; `one_of_many`: as a line, or a document, of a stream."""
    if output == "json":
        return json.dumps(answer, indent=None if one_of_many else 2, ensure_ascii=False)
    from rollout.cli.yaml_text import write_yaml

    return ("---\n" if one_of_many else "") + write_yaml(answer).removesuffix("\n")
