"""`glidepath keys ...`: a thin client of the operator API; needs a key with the role admin.

Exit codes: 0 done; 1 refused or failed; 2 bad arguments; 4 no such key; 5 unreachable, unauthorised, or the store is
down. Faults are RolloutErrors; the caller prints them.
"""

import argparse
from typing import Any

from rollout.cli.command_line import add_paging, add_reason, add_verb, connect, epilog, say, show
from rollout.core.keys import ROLES

_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent_max")


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `keys` and its verbs; each sets `run(args) -> exit code`, which may raise RolloutError."""
    keys = subparsers.add_parser("keys", help="make, see, replace and revoke API keys", epilog=epilog(__doc__))
    verbs = keys.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_create(verbs)

    listing = add_verb(verbs, "list", _list, "show keys, never their secrets")
    listing.add_argument("--all", action="store_true", help="expired and revoked ones, too")

    rotate = add_verb(verbs, "rotate", _rotate, "make a successor; the key expires after an overlap")
    _add_key_id(rotate)
    rotate.add_argument("--overlap", default="24h", metavar="TIME", help="how long both work (default: %(default)s)")
    _add_end(rotate, "default: as long as the key was meant to live")
    _add_force(rotate)
    add_reason(rotate)

    revoke = add_verb(verbs, "revoke", _revoke, "end a key now, for good")
    _add_key_id(revoke)
    _add_force(revoke)
    add_reason(revoke)

    add_paging(add_verb(verbs, "history", _history, "show who changed which key and why"))


def _add_create(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = add_verb(verbs, "create", _create, "make a key and show it once")
    create.add_argument("name", metavar="NAME", help="whose it is, as in web-frontend")
    create.add_argument("--tenant", default="default", help="whom it counts for (default: %(default)s)")
    create.add_argument("--feature", action="append", metavar="FEATURE", help="may be repeated (default: all)")
    create.add_argument("--role", action="append", choices=ROLES, default=[], help="may be repeated (default: none)")
    create.add_argument("--model-bypass", action="store_true", help="may call real models by their own names")
    create.add_argument("--priority", choices=("interactive", "batch"), default="interactive")
    for limit in _LIMITS:
        create.add_argument(f"--{limit.replace('_', '-')}", type=int, metavar="N")
    create.add_argument("--budget-usd-per-day", metavar="USD", help='as "12.50"')
    _add_end(create, "default: no end")
    add_reason(create)


def _add_key_id(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("key_id", metavar="KEY_ID", help="as `glidepath keys list` shows it")


def _add_end(verb: argparse.ArgumentParser, default: str) -> None:
    verb.add_argument("--expires-in", metavar="TIME", help=f'as "90d" or "12h" ({default})')


def _add_force(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--force", action="store_true", help="even if nobody can administer the gateway then")


def _create(args: argparse.Namespace) -> int:
    from rollout.core.money import parse_usd

    budget = args.budget_usd_per_day
    order = {
        "name": args.name,
        "tenant": args.tenant,
        "features": args.feature or ["*"],
        "roles": args.role,
        "model_bypass": args.model_bypass,
        "priority": args.priority,
        "budget_microusd_per_day": None if budget is None else parse_usd(budget),
        "expires_in_s": _seconds(args.expires_in),
        "reason": args.reason,
        **{limit: getattr(args, limit) for limit in _LIMITS},
    }
    with connect(args) as client:
        return _show_made(args, client.create_key(order))


def _list(args: argparse.Namespace) -> int:
    from rollout.keys.render import keys_table

    with connect(args) as client:
        answer = client.keys(dead_too=args.all)
    return show(args, answer, keys_table(answer["keys"]))


def _rotate(args: argparse.Namespace) -> int:
    wanted = {
        "overlap_s": _seconds(args.overlap),
        "expires_in_s": _seconds(args.expires_in),
        "force": args.force,
        "reason": args.reason,
    }
    with connect(args) as client:
        return _show_made(args, client.rotate_key(args.key_id, wanted))


def _revoke(args: argparse.Namespace) -> int:
    from rollout.keys.render import key_line

    with connect(args) as client:
        answer = client.revoke_key(args.key_id, {"force": args.force, "reason": args.reason})
    return say(args, answer, key_line(answer))


def _history(args: argparse.Namespace) -> int:
    from rollout.keys.render import key_history_table

    with connect(args) as client:
        answer = client.key_history(args.limit, args.before)
    return show(args, answer, key_history_table(answer["entries"]))


def _show_made(args: argparse.Namespace, made: dict[str, Any]) -> int:
    from rollout.keys.render import made_lines

    return say(args, made, made_lines(made))


def _seconds(text: str | None) -> float | None:
    from rollout.core.duration import parse_duration

    return None if text is None else parse_duration(text)
