"""The verbs of `glidepath rollout` that lead a ramp, and those for early access, the audit log and a lost store.

Exit codes and faults are those of `rollout.cli.verbs`, which registers them.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from rollout.cli.command_line import add_connection, add_key, add_reason, add_verb, connect, say, show

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


class _Verb(NamedTuple):
    """A verb of the command line, and the API's name for it; those that only stop need no revision."""

    name: str
    of_api: str
    about: str
    aliases: tuple[str, ...] = ()
    stops: bool = False


_RAMP = (
    _Verb("start", "start", "begin the ramp"),
    _Verb("pause", "pause", "stop the automation; the share stays", stops=True),
    _Verb("resume", "resume", "go on where the pause began"),
    _Verb("promote", "advance", "go one step on without the rest of its proof", ("advance",)),
    _Verb("approve", "approve", "approve the next step, as a second person"),
    _Verb("jump", "jump", "go to a step, and stay there paused"),
    _Verb("abort", "rollback", "give the share back", ("rollback",), stops=True),
    _Verb("restart", "restart", "begin again after a rollback and its cooldown"),
    _Verb("complete", "complete", "end the ramp at its present share"),
    _Verb("extend", "extend", "give the present step more time"),
    _Verb("ack", "ack", "note that you look after a pause or a rollback"),
    _Verb("end", "end", "give the ramp up where it stands"),
)
_DECISIONS = {
    "approve": "let somebody else's wish be served",
    "decline": "refuse it, or end what was approved",
    "forget": "take the entry off the list",
}


def add_ramp_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register them."""
    for each in _RAMP:
        verb = add_verb(verbs, each.name, partial(_change, verb=each), each.about, aliases=each.aliases)
        _feature(verb)
        if each.name == "approve":
            verb.add_argument("--step", type=int, help="counted from 0 (default: the next one)")
        elif each.name == "jump":
            verb.add_argument("step", type=int, metavar="STEP", help="counted from 0")
        elif each.name == "extend":
            verb.add_argument("by", metavar="TIME", help='as "30m", "2h" or "1d"')
        if not each.stops:
            verb.add_argument("--revision", type=int, help="refuse unless it is at this revision (default: as read)")
        add_reason(verb)
        add_key(verb)
    _add_enrol(verbs)
    _add_store(verbs)


def _add_enrol(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "see and change who is on the early-access list"
    enrol = verbs.add_parser("enrol", help=about, description=about)
    steps = enrol.add_subparsers(dest="step", required=True, metavar="STEP")
    _feature(add_verb(steps, "list", _list_enrolments, "show the list"))
    for name, what in {"request": "pass a wish on", **_DECISIONS}.items():
        verb = add_verb(steps, name, partial(_enrol, decision=None if name == "request" else name), what)
        _feature(verb)
        verb.add_argument("--tenant", required=True)
        verb.add_argument("--user", default="", help="default: the whole tenant")
        add_reason(verb)
        add_key(verb)


def _add_store(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "have every replica take the store as it is, after it lost data"
    add_reason(add_verb(verbs, "accept-loss", _accept_loss, about))
    audit = verbs.add_parser("audit", help="keep the audit log elsewhere")
    about = "write the audit log of all features as JSON lines, oldest first"
    export = audit.add_subparsers(dest="step", required=True, metavar="STEP").add_parser(
        "export", help=about, description=about
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    export.add_argument("--after", type=int, default=0, metavar="ID", help="only entries newer than this one")
    add_connection(export, _export_audit)


def _feature(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("feature", metavar="FEATURE")


def _change(args: argparse.Namespace, verb: _Verb) -> int:
    body = {name: getattr(args, name) for name in ("reason", "step", "by") if getattr(args, name, None) is not None}
    with connect(args) as client:
        revision = None if verb.stops else args.revision
        if revision is None and not verb.stops:
            revision = client.feature(args.feature)["revision"]
        flag = client.ramp(args.feature, verb.of_api, body, revision, args.idempotency_key)
        _show_flag(args, flag, _approved(flag) if verb.name == "approve" else "", replayed=client.replayed)
    _refuse_pending(flag)
    return 0


def _refuse_pending(flag: dict[str, Any]) -> None:
    """StoreUnavailable when a stop is not in force for all."""
    if flag["store"] != "ok":
        from rollout.core.errors import StoreUnavailable

        where = "this replica takes its traffic away" if flag["killed_locally"] else "no ramp goes on without the store"
        hint = f"{where}, and the store is told once it is back, if this replica lives; else repeat it"
        raise StoreUnavailable(f"it is not written yet; store: {flag['store']}", hint)


def _show_flag(args: argparse.Namespace, flag: dict[str, Any], more: str = "", *, replayed: bool) -> None:
    from rollout.cli.render import flag_line

    say(args, flag, flag_line(flag) + more + (", answered as before" if replayed else ""))


def _approved(flag: dict[str, Any]) -> str:
    """Say what an approval is for: any later change voids it."""
    given = flag["progress"]["approval"]
    if given is None:  # an answer given again, of before a later change
        return ""
    from rollout.core.share import format_share

    share = format_share(flag["ramp"]["steps"][given["step"]]["share"])
    return f"; step {given['step']} ({share}) approved by {given['actor']} for revision {given['revision']}"


def _enrol(args: argparse.Namespace, decision: str | None) -> int:
    body = {"tenant": args.tenant, "user": args.user, "reason": args.reason}
    with connect(args) as client:
        flag = client.enrol(args.feature, body | ({"decision": decision} if decision else {}), args.idempotency_key)
    return show(args, flag, _enrolments(flag))


def _list_enrolments(args: argparse.Namespace) -> int:
    with connect(args) as client:
        flag = client.feature(args.feature)
    return show(args, {"enrolments": flag["eligibility"]["early_access"]}, _enrolments(flag))


def _enrolments(flag: dict[str, Any]) -> Any:  # noqa: ANN401  what rich shows
    from rollout.cli.render import enrolments_table

    return enrolments_table(flag["feature"], flag["eligibility"]["early_access"])


def _accept_loss(args: argparse.Namespace) -> int:
    with connect(args) as client:
        answer = client.accept_loss(args.reason)
    said = f"accepted; the store goes on at version {answer['version']}" if answer["accepted"] else "nothing was lost"
    return say(args, answer, said)


def _export_audit(args: argparse.Namespace) -> int:
    with connect(args) as client:
        pieces = client.audit(args.after)
        if args.output is None:
            _write(pieces, sys.stdout.buffer)
        else:
            _write_file(pieces, args.output)
    return 0


def _write_file(pieces: Iterable[bytes], path: Path) -> None:
    """Write the whole of it, or leave what was there; InvalidArgument when the file can't be written."""
    from rollout.core.errors import InvalidArgument

    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            _write(pieces, file)
        part.replace(path)
    except OSError as fault:
        raise InvalidArgument(
            f"cannot write {path}: {fault}", "name a file in a directory that may be written"
        ) from fault
    finally:
        with suppress(OSError):
            part.unlink()


def _write(pieces: Iterable[bytes], out: IO[bytes]) -> None:
    for piece in pieces:
        out.write(piece)
    out.flush()
