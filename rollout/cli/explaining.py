"""`glidepath rollout explain`: why a subject gets its arm of a feature, or where a request went."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from rollout.cli.client import ApiFault
from rollout.cli.command_line import connect, show
from rollout.cli.render import explanation_table, request_table
from rollout.core.errors import InvalidArgument
from rollout.core.model import NAME_PATTERN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rollout.cli.client import Client

UNITS = ("conversation", "user", "tenant", "request")
_UNKNOWN = 4


def explain(args: argparse.Namespace) -> int:
    """Explain a subject, or a request when no subject is given and no feature has that name."""
    subject: dict[str, Any] = {kind: getattr(args, kind) for kind in UNITS}
    subject["attributes"] = attributes_of(args.attribute)
    with connect(args) as client:
        if any(subject.values()) or re.fullmatch(NAME_PATTERN, args.what):
            try:
                answer = client.explain(args.what, subject)
            except ApiFault as fault:
                if fault.exit_code != _UNKNOWN or any(subject.values()):
                    raise
            else:
                return show(args, answer, explanation_table(answer))
        return explain_request(args, client, args.what)


def explain_request(args: argparse.Namespace, client: Client, request_id: str) -> int:
    """Tell where a request went."""
    if not request_id.isascii() or not request_id.isprintable():
        raise InvalidArgument(f"{request_id!r} can't be a request's id", "see the answer's header x-request-id")
    answer = client.request(request_id)
    return show(args, answer, request_table(answer))


def attributes_of(pairs: Iterable[str]) -> dict[str, Any]:
    """Read "plan=pro", "seats=3", "beta=true" or 'groups=["a"]'; what JSON takes for no value of a rule is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise InvalidArgument(f"{pair!r} is no attribute", "write it as NAME=VALUE")
        if name in found:
            raise InvalidArgument(f"the attribute {name!r} is given twice", "give several values as a JSON list")
        found[name] = _value(text)
    return found


def _value(text: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and not isfinite(value):
        return text
    words = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return value if words or isinstance(value, str | bool | int | float) else text
