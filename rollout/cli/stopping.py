"""`glidepath rollout kill` and `unkill`: of a feature, or of all that the gateway knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rollout.cli.client import ApiFault
from rollout.cli.command_line import connect, say
from rollout.cli.render import flag_line
from rollout.core.errors import InvalidArgument, RolloutError, StoreUnavailable
from rollout.core.ramp_model import Phase
from rollout.core.share import format_share

if TYPE_CHECKING:
    import argparse

    from rollout.cli.client import Client

_ELSEWHERE = "kill it on every other replica too; this one, if it lives, tells the store once that is back"
_WATCHED = (Phase.READY, Phase.PAUSED)
"""What a ramp may be in after a kill was lifted, and be rolled back by its gates."""
_ALL_ELSEWHERE = "repeat it at every other replica; this one, if it lives, tells the store once that is back"


class _Fault(NamedTuple):
    feature: str
    fault: ApiFault


def stop(args: argparse.Namespace) -> int:
    """Kill or unkill (`args.verb`), and show what became of each; the exit code of success.

    StoreUnavailable, after that, when a kill is not in force on the other replicas. Of several features each is tried,
    and then RolloutError names those that refused it.
    """
    if bool(args.feature) == args.all:
        raise InvalidArgument("name one feature, or give --all", f"as in `glidepath rollout {args.verb} --all`")
    with connect(args) as client:
        return _all(args, client) if args.all else _one(args, client)


def _one(args: argparse.Namespace, client: Client) -> int:
    answer = _send(args, client, args.feature, args.idempotency_key)
    say(args, answer, _line(answer))
    if answer["store"] != "ok":
        raise StoreUnavailable(f"{args.feature!r} is killed on this replica only; store: {answer['store']}", _ELSEWHERE)
    return 0


def _all(args: argparse.Namespace, client: Client) -> int:
    answers: list[dict[str, Any]] = []
    faults: list[_Fault] = []
    for flag in client.features()["features"]:
        feature, key = flag["feature"], args.idempotency_key
        try:
            answers.append(_send(args, client, feature, key and f"{key}:{feature}"))
        except ApiFault as fault:
            faults.append(_Fault(feature, fault))
    failed = [{"feature": name, "cause": fault.cause, "hint": fault.hint} for name, fault in faults]
    lines = [*map(_line, answers), *(f"{name}: FAILED: {fault.cause}" for name, fault in faults)]
    say(args, {"features": answers, "failed": failed}, "\n".join(lines) or "the gateway has no features")
    _refuse_partial(args.verb, answers, faults)
    return 0


def _send(args: argparse.Namespace, client: Client, feature: str, key: str | None) -> dict[str, Any]:
    send = client.kill if args.verb == "kill" else client.unkill
    return send(feature, args.reason, key)


def _refuse_partial(verb: str, answers: list[dict[str, Any]], faults: list[_Fault]) -> None:
    """Raise what is not as it was ordered: first what no replica does, then what only this one does."""
    count = len(answers) + len(faults)
    if faults:
        names = ", ".join(each.feature for each in faults)
        error = RolloutError(f"{verb} failed for {len(faults)} of {count} features: {names}", faults[0].fault.hint)
        error.exit_code = faults[0].fault.exit_code
        raise error
    here = [answer["feature"] for answer in answers if answer["store"] != "ok"]
    if here:
        cause = f"{len(here)} of {count} features are killed on this replica only: {', '.join(here)}"
        raise StoreUnavailable(cause, _ALL_ELSEWHERE)


def _line(answer: dict[str, Any]) -> str:
    flag = answer["flag"]
    if flag is not None:
        return flag_line(flag) + _after(flag)
    return f"{answer['feature']}: killed" + ("" if answer["store"] == "ok" else " on this replica only")


def _after(flag: dict[str, Any]) -> str:
    """Say what a lifted kill has brought back, and before it is lifted how to bring back less."""
    if flag["kill"]["on"] and flag["share_millipct"]:
        return f"; unkill brings {flag['share']} back at once, for less first set-share"
    if not flag["in_force_millipct"]:
        return ""
    ramp = flag["ramp_state"]
    watched = ramp is not None and ramp["phase"] in _WATCHED
    share = format_share(flag["in_force_millipct"])
    return f"; the candidate has {share} back" + ("" if watched else ", and no gate watches it")
