from typing import Any

import msgspec
import pytest

from rollout.core.gate_fields import _WITHOUT_MEANING, field_faults, said_fields
from rollout.core.ramp_model import Gate, GateKind

ANYTHING: dict[str, Any] = {
    "metric": "errors",
    "direction": "higher",
    "margin": 0.1,
    "early": [{"below": 5_000, "margin": 0.2}],
    "alpha": 0.05,
    "query": "up",
    "newest": "up",
    "samples": "up",
    "limit": 0.1,
    "min_samples": 5,
    "window": "5m",
    "max_age": "5m",
    "scope": "ramp",
    "failure": {"count": 3},
}
"""Each field with a value that isn't its default."""
MEANT = {
    ("promql", GateKind.THRESHOLD): set(ANYTHING) - {"metric", "margin", "early", "alpha"},
    ("evidence", GateKind.NONINFERIORITY): {"metric", "margin", "early", "alpha", "min_samples", "scope"},
    ("evidence", GateKind.HARM): {"metric", "margin", "alpha", "min_samples", "scope"},
    ("evidence", GateKind.THRESHOLD): {"metric", "direction", "alpha", "limit", "min_samples", "scope"},
}


def gate(source: str, kind: GateKind, **fields: Any) -> Gate:
    return msgspec.convert({"name": "g", "role": "hard", "source": source, "kind": kind} | fields, Gate)


def test_every_field_is_looked_at() -> None:
    always = {"name", "role", "source", "kind"}
    assert set(ANYTHING) | always == {field.name for field in msgspec.structs.fields(Gate)}
    assert set(MEANT) == set(_WITHOUT_MEANING)


@pytest.mark.parametrize("key", MEANT, ids=lambda key: f"{key[0]}-{key[1]}")
@pytest.mark.parametrize("name", ANYTHING)
def test_a_field_means_something_or_is_refused_with_the_reason(key: tuple[str, GateKind], name: str) -> None:
    given = gate(*key, **{name: ANYTHING[name]})
    faults = list(field_faults(given, said_fields(given)))
    assert len(faults) == (name not in MEANT[key])
    assert all(len(fault) > 30 for fault in faults)


def test_what_nothing_was_said_of_is_no_fault() -> None:
    for source, kind in MEANT:
        plain = gate(source, kind)
        assert said_fields(plain) == {"name", "role", "source", "kind"}
        assert list(field_faults(plain, said_fields(plain))) == []


def test_a_gate_that_cannot_be_at_all_is_refused_elsewhere() -> None:
    assert list(field_faults(gate("promql", GateKind.HARM), ANYTHING)) == []


def test_three_queries_are_one_fault() -> None:
    (fault,) = field_faults(gate("evidence", GateKind.HARM), ("query", "newest", "samples"))
    assert fault.startswith("has a query")
