"""`glidepath explain REQUEST_ID`: a thin client of the operator API; needs a key with the role viewer.

Exit codes: 0 done; 1 failed; 2 bad arguments; 4 no such request is known; 5 unreachable, unauthorised, or not all
workers answered. Faults are RolloutErrors; the caller prints them.
"""

import argparse

from rollout.command_line import add_verb, connect, epilog, show


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `explain`; it sets `run(args) -> exit code`, which may raise RolloutError."""
    explain = add_verb(subparsers, "explain", _explain, "show where a request went and why")
    explain.epilog = epilog(__doc__)
    explain.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer's header x-request-id")


def _explain(args: argparse.Namespace) -> int:
    from rollout.core.errors import InvalidArgument
    from rollout.render import request_table

    request_id = args.request_id
    if not request_id.isascii() or not request_id.isprintable():
        raise InvalidArgument(f"{request_id!r} can't be a request's id", "see the answer's header x-request-id")
    with connect(args) as client:
        answer = client.request(request_id)
    return show(args, answer, request_table(answer))
