"""`glidepath rollout apply, export, validate, plan, doctor`: flags as code, and whether all is in order."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rollout.cli.command_line import add_verb, connect, say
from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rollout.cli.client import ApiFault, Client
    from rollout.cli.code_files import Documents

_FILE = "a document (YAML or JSON), a folder of them, or - for the standard input"
_FAULTS_SHOWN = 10
_ROLES = ("viewer", "operator", "approver", "admin")
_WEIGHT = {"ok": 0, "warn": 1, "fail": 2}


def add_code_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verbs; each sets `run(args) -> exit code`, which may raise RolloutError."""
    apply = add_verb(verbs, "apply", _apply, "bring documents into force")
    apply.add_argument("-f", "--file", required=True, metavar="PATH", help=_FILE)
    apply.add_argument("--dry-run", action="store_true", help="show what would change and write nothing")
    apply.add_argument("--anew", action="store_true", help="ramps that are over begin again, though unchanged")
    apply.add_argument("--reason", default="", help="why, for the audit log; needed without --dry-run")

    export = add_verb(verbs, "export", _export, "write features as documents", outputs=("yaml", "json"))
    export.add_argument("feature", nargs="*", metavar="FEATURE", help="default: all")
    export.add_argument("-f", "--file", metavar="FOLDER", help="a file for each feature (default: standard output)")
    export.add_argument("--state", action="store_true", help="with share, kill and early-access list, as for a backup")

    validate = verbs.add_parser("validate", help="check documents without a gateway", description=_validate.__doc__)
    validate.add_argument("-f", "--file", required=True, metavar="PATH", help=_FILE)
    validate.set_defaults(run=_validate)

    plan = add_verb(verbs, "plan", _plan, "show how long each step of a ramp takes")
    plan.add_argument("feature", metavar="FEATURE")
    plan.add_argument("-f", "--file", metavar="PATH", help=f"plan its ramp in {_FILE} (default: the one in force)")
    plan.add_argument("--units-per-s", type=float, metavar="N", help="traffic of both arms (default: as measured now)")

    add_verb(verbs, "doctor", _doctor, "look whether everything a rollout leans on is in order")


def _apply(args: argparse.Namespace) -> int:
    from rollout.cli.code_files import read_documents
    from rollout.cli.code_render import applied_lines

    if not args.dry_run and not args.reason.strip():
        raise InvalidArgument("a change needs a reason", "say in one line why: --reason TEXT")
    documents = read_documents(args.file)
    with connect(args) as client:
        answer = client.apply(documents.encoded(), dry_run=args.dry_run, anew=args.anew, reason=args.reason)
    return _print(args, answer, applied_lines(answer))


def _export(args: argparse.Namespace) -> int:
    from pathlib import Path

    from rollout.cli.code_files import export_text, write_folder
    from rollout.core.codec import parse_document
    from rollout.core.errors import UnknownFeature

    with connect(args) as client:
        store = client.features()["store"]
        flags = parse_document(client.documents(), trusted=True)
    if store != "ok":
        print(f"warning: store: {store}", file=sys.stderr)
    for feature in args.feature:
        if feature not in flags:
            raise UnknownFeature(feature, flags)
    chosen = {feature: flags[feature] for feature in args.feature or flags}
    if args.file is None:
        print(export_text(chosen.values(), args.output, with_state=args.state), end="")
    else:
        for path in write_folder(Path(args.file), chosen, args.output, with_state=args.state):
            print(path)
    return 0


def _validate(args: argparse.Namespace) -> int:
    """Check documents as far as that is possible without a gateway; exit code 2 if any must not come into force."""
    from rollout.cli.code_files import read_documents
    from rollout.core.errors import DocumentRefused

    documents = read_documents(args.file)
    faults, warnings = _findings(documents)
    for each in warnings:
        print(f"warning: {each}")
    if faults:
        for each in faults[:_FAULTS_SHOWN]:
            print(f"fault: {each}")
        raise DocumentRefused(faults, "correct the files; `apply --dry-run` compares them with what is in force")
    print(f"{args.file}: ok ({len(documents.flags)} features)")
    return 0


def _findings(documents: Documents) -> tuple[list[str], list[str]]:
    """Give faults and warnings, each with its file."""
    from rollout.cli.local import judges_here
    from rollout.core.applying import Known, findings_of, prerequisite_findings, warnings_of

    known, flags = Known(judges=judges_here()), documents.flags
    faults = [(name, each) for name, flag in flags.items() for each in findings_of(flag, known).faults]
    warnings = [(name, each) for name, flag in flags.items() for each in warnings_of(flag, known)]
    misfit = prerequisite_findings(flags)

    def placed(found: list[tuple[str, str]]) -> list[str]:
        return [f"{documents.files[name]}: {name!r}: {each}" for name, each in found]

    return [*placed(faults), *misfit.faults], [*placed(warnings), *misfit.warnings]


def _plan(args: argparse.Namespace) -> int:
    from rollout.cli.code_files import read_documents
    from rollout.cli.code_render import plan_lines

    document = None if args.file is None else read_documents(args.file).encoded()
    with connect(args) as client:
        answer = client.plan(args.feature, document, args.units_per_s)
    return _print(args, answer, plan_lines(answer))


def _doctor(args: argparse.Namespace) -> int:
    from rollout.cli.client import ApiFault
    from rollout.cli.code_render import doctor_lines

    with connect(args) as client:
        try:
            answer = client.doctor()
        except ApiFault as fault:
            answer = {"result": "fail", "checks": [_failed("gateway", fault)]}
        else:
            reached = {"check": "gateway", "result": "ok", "text": "the operator API answers", "hint": ""}
            answer["checks"] = [reached, _roles(client), *answer["checks"]]
    answer["result"] = max((each["result"] for each in answer["checks"]), key=_WEIGHT.__getitem__)
    _print(args, answer, doctor_lines(answer))
    return int(answer["result"] == "fail")


def _roles(client: Client) -> dict[str, Any]:
    """Say which roles the key has; one that can't operate is worth a warning."""
    from rollout.cli.client import ApiFault

    try:
        held = [role for role in _ROLES if client.has_role(role)]
    except ApiFault as fault:
        return _failed("key", fault)
    text = f"roles: {', '.join(held)}"
    if "operator" in held:
        return {"check": "key", "result": "ok", "text": text, "hint": ""}
    return {"check": "key", "result": "warn", "text": text, "hint": "changes need a key with the role operator"}


def _failed(check: str, fault: ApiFault) -> dict[str, Any]:
    return {"check": check, "result": "fail", "text": fault.cause, "hint": fault.hint}


def _print(args: argparse.Namespace, answer: dict[str, Any], lines: Iterable[str]) -> int:
    return say(args, answer, "\n".join(lines))
