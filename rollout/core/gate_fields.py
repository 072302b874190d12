"""Which fields mean something to a gate, by who measures it and what it asks; the others are refused, with the reason.

| field | PromQL: threshold | evidence: noninferiority | evidence: harm | evidence: threshold |
| --- | --- | --- | --- | --- |
| metric, alpha | | x | x | x |
| margin | | x | x | |
| early | | x | | |
| limit, direction | x | | | x |
| query, newest, samples, window, max_age, failure | x | | | |
| name, role, min_samples, scope | x | x | x | x |

A gate that can't be at all (proof from PromQL) is refused elsewhere, and its fields are not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.core.ramp_model import Gate, GateKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NO_QUERY = "has a query, but nobody asks Prometheus for what the gateway measures itself"
_NO_LIMIT = "has a limit, but compares with the baseline: what it allows is its margin"
_NO_DIRECTION = (
    "has a direction, but compares with the baseline, where more of an outcome is better: leave it out (a threshold's "
    "limit has one)"
)
_ONE_MARGIN = "has early margins, which only noninferiority can ask: harm is what is beyond the final margin"
_OF_EVIDENCE: Mapping[str, str] = {
    "query": _NO_QUERY,
    "newest": _NO_QUERY,
    "samples": _NO_QUERY,
    "window": "has a window, but evidence looks back over its whole scope: give scope step or ramp",
    "max_age": "has a max_age, but evidence is judged anew at each look: when units are looked at is evidence.age",
    "failure": "has a failure rule, but its first FAIL counts, alpha holds over all looks: for fewer of them give a "
    "smaller alpha, or min_samples",
}
_WITHOUT_MEANING: Mapping[tuple[str, GateKind], Mapping[str, str]] = {
    ("promql", GateKind.THRESHOLD): {
        "metric": "has a metric, but asks PromQL: its query says what is measured, source evidence has metrics",
        "margin": "has a margin, but asks PromQL, which compares with nothing: give a limit",
        "early": "asks PromQL, which knows no early margins",
        "alpha": "has an alpha, but a threshold of PromQL has no level: how many FAILs count is its failure rule",
    },
    ("evidence", GateKind.NONINFERIORITY): {
        **_OF_EVIDENCE,
        "limit": _NO_LIMIT,
        "direction": _NO_DIRECTION,
        "failure": "has a failure rule, but noninferiority never fails: until it is proven it holds",
    },
    ("evidence", GateKind.HARM): {
        **_OF_EVIDENCE,
        "limit": _NO_LIMIT,
        "direction": _NO_DIRECTION,
        "early": _ONE_MARGIN,
    },
    ("evidence", GateKind.THRESHOLD): {
        **_OF_EVIDENCE,
        "margin": "has a margin, but asks the candidate alone: give a limit, or kind harm",
        "early": _ONE_MARGIN,
    },
}


def field_faults(gate: Gate, given: Collection[str]) -> Iterator[str]:
    """Say what of the `given` fields means nothing to this gate, each fault once, in the order of the table."""
    without = _WITHOUT_MEANING.get((gate.source, gate.kind), {})
    yield from dict.fromkeys(fault for name, fault in without.items() if name in given)


def said_fields(gate: Gate) -> frozenset[str]:
    """The fields that say something else than their defaults."""
    return frozenset(field.name for field in msgspec.structs.fields(gate) if getattr(gate, field.name) != field.default)
