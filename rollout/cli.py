"""`glidepath rollout ...`: a thin client of the operator API.

Exit codes: 0 done; 1 refused or failed; 2 bad arguments; 3 somebody else changed it first; 4 no such feature;
5 unreachable, unauthorised, or the store is down (a kill or rollback is then in force on the replica that was
asked only, a pause is pending there).
Faults are RolloutErrors; the caller prints them.
"""

import argparse
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rollout.command_line import add_key, add_paging, add_reason, add_verb, connect, epilog, show
from rollout.ramp_cli import add_ramp_verbs

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rollout.client import Client

_WATCH_S = 1.0
_UNITS = ("conversation", "user", "tenant", "request")


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `rollout` and its verbs; each sets `run(args) -> exit code`, which may raise RolloutError."""
    rollout = subparsers.add_parser("rollout", help="see and change who gets which model", epilog=epilog(__doc__))
    verbs = rollout.add_subparsers(dest="verb", required=True, metavar="VERB")

    get = add_verb(verbs, "get", _get, "show features and their shares")
    get.add_argument("feature", nargs="?", metavar="FEATURE")
    get.add_argument("--watch", action="store_true", help="keep showing, until interrupted")

    share = add_verb(verbs, "set-share", _set_share, "set the candidate's share")
    _feature(share)
    share.add_argument("share", metavar="SHARE", help='as "25%%", "12.5%%" or "0.001%%"')
    share.add_argument("--revision", type=int, help="refuse unless the feature is at this revision (default: as read)")
    add_reason(share)
    add_key(share)

    for name, run, about in (
        ("kill", _kill, "send everybody to the baseline now"),
        ("unkill", _unkill, "lift a kill; the share is then as before"),
    ):
        verb = add_verb(verbs, name, run, about)
        _feature(verb)
        add_reason(verb)
        add_key(verb)

    history = add_verb(verbs, "history", _history, "show who changed what and why")
    _feature(history)
    add_paging(history)

    explain = add_verb(verbs, "explain", _explain, "show why a subject gets its arm")
    _feature(explain)
    for unit in _UNITS:
        explain.add_argument(f"--{unit}")

    add_ramp_verbs(verbs)


def _feature(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("feature", metavar="FEATURE")


def _get(args: argparse.Namespace) -> int:
    from rollout.render import features_table

    with connect(args) as client:
        if args.watch:
            return _watch(args, client)
        answer = _read(client, args.feature)
    shown = answer["features"][0] if args.feature else answer
    return show(args, shown, features_table(answer))


def _set_share(args: argparse.Namespace) -> int:
    from rollout.core.share import parse_share

    millipct = parse_share(args.share)
    with connect(args) as client:
        revision = client.feature(args.feature)["revision"] if args.revision is None else args.revision
        flag = client.set_share(args.feature, millipct, revision, args.reason, args.idempotency_key)
    return _show_flag(args, flag, flag)


def _kill(args: argparse.Namespace) -> int:
    """Show the kill; StoreUnavailable, after that, when it is not in force on the other replicas."""
    from rollout.core.errors import StoreUnavailable

    with connect(args) as client:
        answer = client.kill(args.feature, args.reason, args.idempotency_key)
    code = _show_flag(args, answer, answer["flag"])
    if answer["store"] != "ok":
        hint = "kill it on every other replica too; this one, if it lives, tells the store once that is back"
        raise StoreUnavailable(f"{args.feature!r} is killed on this replica only; store: {answer['store']}", hint)
    return code


def _unkill(args: argparse.Namespace) -> int:
    with connect(args) as client:
        answer = client.unkill(args.feature, args.reason, args.idempotency_key)
    return _show_flag(args, answer, answer["flag"])


def _history(args: argparse.Namespace) -> int:
    from rollout.render import history_table

    with connect(args) as client:
        answer = client.history(args.feature, args.limit, args.before)
    return show(args, answer, history_table(answer["entries"]))


def _explain(args: argparse.Namespace) -> int:
    from rollout.render import explanation_table

    subject = {kind: getattr(args, kind) for kind in _UNITS}
    with connect(args) as client:
        answer = client.explain(args.feature, subject)
    return show(args, answer, explanation_table(answer))


def _read(client: "Client", feature: str | None) -> dict[str, Any]:
    if feature is None:
        return client.features()
    flag = client.feature(feature)
    return {"store": flag["store"], "version": "-", "features": [flag]}


def _show_flag(args: argparse.Namespace, answer: dict[str, Any], flag: dict[str, Any] | None) -> int:
    from rollout.render import flag_line

    if args.output == "json":
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    print(f"{args.feature}: killed" if flag is None else flag_line(flag))
    return 0


def _watch(args: argparse.Namespace, client: "Client") -> int:
    """Show until interrupted; a gateway that is away for a moment is shown as such, not a reason to end."""
    from rich.console import Console

    answers, console = _answers(client, args.feature), Console()
    try:
        if args.output == "json":
            _watch_lines(answers)
        elif console.is_terminal:
            _watch_live(answers, console)
        else:
            for answer in _changes(answers):
                console.print(_rendered(answer))
    except KeyboardInterrupt:
        return 0
    return 0


def _answers(client: "Client", feature: str | None) -> Iterator[dict[str, Any]]:
    """Yield what the API says, once a second; a fault as {"error": cause}, except at the first try."""
    from rollout.client import ApiFault

    yield _read(client, feature)
    while True:
        time.sleep(_WATCH_S)
        try:
            yield _read(client, feature)
        except ApiFault as fault:
            yield {"error": fault.cause}


def _changes(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass on an answer only when its features, or its fault, are others than the last ones."""
    last: object = None
    for answer in answers:
        told = answer.get("features", answer)
        if told != last:
            yield answer
        last = told


def _watch_lines(answers: Iterator[dict[str, Any]]) -> None:
    for answer in _changes(answers):
        print(json.dumps(answer, ensure_ascii=False), flush=True)


def _watch_live(answers: Iterator[dict[str, Any]], console: "Console") -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        for answer in answers:
            live.update(_rendered(answer), refresh=True)


def _rendered(answer: dict[str, Any]) -> "RenderableType":
    from rich.text import Text

    from rollout.render import features_table

    return Text(answer["error"], style="bold red") if "error" in answer else features_table(answer)
