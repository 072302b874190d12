"""`glidepath rollout ...`: a thin client of the operator API.

Exit codes: 0 done; 1 refused or failed; 2 bad arguments; 3 somebody else changed it first; 4 no such feature;
5 unreachable, unauthorised, or the store is down (a kill or rollback is then in force on the replica that was
asked only, a pause is pending there).
Of `status`: 0 the goal is reached; 1 it will not be: killed, disabled, rolled back or completed short of it; 5 nobody
answered all the time; 6 a person must act: it is paused, not started, or waits for nothing but an approval; 7 not
reached yet, at the timeout if there is one.
Faults are RolloutErrors; the caller prints them.
"""

import argparse

from rollout.cli.code import add_code_verbs
from rollout.cli.command_line import add_key, add_paging, add_reason, add_verb, connect, epilog, say, show
from rollout.cli.ramps import add_ramp_verbs
from rollout.cli.votes import add_vote_verbs

_UNITS = ("conversation", "user", "tenant", "request")


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `rollout` and its verbs; each sets `run(args) -> exit code`, which may raise RolloutError."""
    rollout = subparsers.add_parser("rollout", help="see and change who gets which model", epilog=epilog(__doc__))
    verbs = rollout.add_subparsers(dest="verb", required=True, metavar="VERB")

    get = add_verb(verbs, "get", _get, "show features and their shares")
    get.add_argument("feature", nargs="?", metavar="FEATURE")
    get.add_argument("--watch", action="store_true", help="keep showing, until interrupted")

    status = add_verb(verbs, "status", _status, "say how a ramp stands, or wait for it; for scripts")
    _feature(status)
    status.add_argument("--timeout", metavar="TIME", help='wait for so long, as "10m"; without it: say it once')
    goals = "completed (default), step:N, share:25%% or phase:NAME"
    status.add_argument("--for", dest="goal", default="completed", metavar="GOAL", help=goals)

    share = add_verb(verbs, "set-share", _set_share, "set the candidate's share")
    _feature(share)
    share.add_argument("share", metavar="SHARE", help='as "25%%", "12.5%%" or "0.001%%"')
    share.add_argument("--revision", type=int, help="refuse unless the feature is at this revision (default: as read)")
    add_reason(share)
    add_key(share)

    for name, about in (
        ("kill", "send everybody to the baseline now"),
        ("unkill", "lift a kill: the share is at once what it was; a ramp that ran is paused there"),
    ):
        verb = add_verb(verbs, name, _stop, about)
        verb.add_argument("feature", nargs="?", metavar="FEATURE")
        verb.add_argument("--all", action="store_true", help="every feature that the gateway knows")
        add_reason(verb)
        add_key(verb)

    history = add_verb(verbs, "history", _history, "show who changed what and why")
    _feature(history)
    add_paging(history)

    _feature(add_verb(verbs, "cost", _cost, "show what each arm of a ramp costs, and what is saved"))

    explain = add_verb(verbs, "explain", _explain, "show why a subject gets its arm, or where a request went")
    explain.add_argument("what", metavar="FEATURE|REQUEST_ID", help="a feature's name wins")
    for unit in _UNITS:
        explain.add_argument(f"--{unit}")
    attribute = "what eligibility rules may read; repeat it; JSON numbers, booleans and lists count as such"
    explain.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE", help=attribute)

    add_vote_verbs(verbs)
    add_ramp_verbs(verbs)

    add_code_verbs(verbs)


def _feature(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("feature", metavar="FEATURE")


def _get(args: argparse.Namespace) -> int:
    from rollout.cli.watch import get

    return get(args)


def _status(args: argparse.Namespace) -> int:
    from rollout.cli.status import status

    return status(args)


def _set_share(args: argparse.Namespace) -> int:
    from rollout.cli.render import flag_line
    from rollout.core.share import parse_share

    millipct = parse_share(args.share)
    with connect(args) as client:
        revision = client.feature(args.feature)["revision"] if args.revision is None else args.revision
        flag = client.set_share(args.feature, millipct, revision, args.reason, args.idempotency_key)
    return say(args, flag, flag_line(flag))


def _stop(args: argparse.Namespace) -> int:
    from rollout.cli.stopping import stop

    return stop(args)


def _history(args: argparse.Namespace) -> int:
    from rollout.cli.render import history_table

    with connect(args) as client:
        answer = client.history(args.feature, args.limit, args.before)
    return show(args, answer, history_table(answer["entries"]))


def _cost(args: argparse.Namespace) -> int:
    from rollout.cli.cost_render import cost_text

    with connect(args) as client:
        answer = client.cost(args.feature)
    return say(args, answer, cost_text(answer))


def _explain(args: argparse.Namespace) -> int:
    from rollout.cli.explaining import explain

    return explain(args)
