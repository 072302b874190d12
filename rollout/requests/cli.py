"""`glidepath explain REQUEST_ID`: a thin client of the operator API; needs a key with the role viewer.

Exit codes: 0 done; 1 failed; 2 bad arguments; 4 no such request is known; 5 unreachable, unauthorised, or not all
workers answered. Faults are RolloutErrors; the caller prints them.
"""

import argparse

from rollout.cli.command_line import add_verb, connect, epilog


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `explain`; it sets `run(args) -> exit code`, which may raise RolloutError."""
    explain = add_verb(subparsers, "explain", _explain, "show where a request went and why")
    explain.epilog = epilog(__doc__)
    explain.add_argument("request_id", metavar="REQUEST_ID", help="as in the answer's header x-request-id")


def _explain(args: argparse.Namespace) -> int:
    from rollout.cli.explaining import explain_request

    with connect(args) as client:
        return explain_request(args, client, args.request_id)
