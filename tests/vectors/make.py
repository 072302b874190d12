"""Writes decisions.json: documents and subjects with the bucket, arm and reason that every evaluator must give.

`python tests/vectors/make.py` writes the file again, `--check` exits 1 if it would differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rollout.core.bucketing import bucket
from rollout.core.codec import parse_document
from rollout.core.evaluate import compile_snapshot, decide, in_shadow
from rollout.core.model import Subject

FILE = Path(__file__).parent / "decisions.json"
SALTS = ("copilot-inhouse", "s", "ü-é-漢字", "x" * 300)
UNITS = (
    "user-1",
    "user-2",
    "tenant-a|user-1",
    "ü-é-漢字",
    "😀",
    "a",
    "x" * 23,
    "x" * 24,
    "x" * 255,
    "x" * 256,
    "1",
    "é",
)
ARMS = {"candidate": "inhouse", "baseline": "partner"}
PRO_OR_STAFF = {"or": [{"==": [{"var": "plan"}, "pro"]}, {"in": [{"var": "group"}, ["staff", "beta"]]}]}
RECENT = {
    "and": [{"sem_ver": [{"var": "app_version"}, ">=", "2.1"]}, {"!": {"starts_with": [{"var": "region"}, "cn"]}}]
}
ADULT = {">=": [{"var": ["age", 0]}, 18]}
NOT_ROOT = {"!==": [{"cat": [{"var": "tenant"}, "/", {"var": "user"}]}, "acme/root"]}

DOCUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "shares": {
        **{f"share-{share}": {"share_millipct": share} for share in (0, 1, 1_000, 25_000, 50_000, 100_000)},
        "version-2": {"hashVersion": 2, "share_millipct": 50_000},
        "salted": {"salt": "another", "share_millipct": 50_000},
        "held": {"share_millipct": 50_000, "holdout": {"millipct": 30_000}},
        "held-salted": {"share_millipct": 100_000, "holdout": {"millipct": 30_000, "salt": "apart"}},
        "shadowed": {"shadow": {"millipct": 40_000, "daily_budget": 1_000, "max_concurrent": 2}},
        "off": {"state": "DISABLED", "share_millipct": 100_000},
        "killed": {"kill": {"on": True}, "share_millipct": 100_000},
    },
    "units": {
        unit: {"bucketBy": unit, "share_millipct": 50_000} for unit in ("conversation", "user", "tenant", "request")
    },
    "eligibility": {
        "listed": {"eligibility": {"audience": "listed", "tenants": ["acme", "ü"]}},
        "nobody": {"eligibility": {"audience": "listed"}},
        "early": {
            "eligibility": {
                "audience": "listed",
                "early_access": [
                    {"tenant": "acme", "user": "ann", "state": "approved"},
                    {"tenant": "acme", "user": "bob", "state": "requested"},
                    {"tenant": "umbrella", "state": "approved"},
                ],
            }
        },
        "ruled": {"eligibility": {"attributes": PRO_OR_STAFF}},
        "recent": {"eligibility": {"attributes": RECENT}},
        "adult": {"eligibility": {"attributes": ADULT}},
        "not-root": {"eligibility": {"audience": "listed", "tenants": ["acme"], "attributes": NOT_ROOT}},
    },
    "prerequisites": {
        "first": {"share_millipct": 50_000},
        "second": {"prerequisites": [{"feature": "first"}]},
        "third": {"prerequisites": [{"feature": "second"}, {"feature": "empty", "needs": "enabled"}]},
        "empty": {"share_millipct": 0},
        "dead": {"kill": {"on": True}},
        "orphan": {"prerequisites": [{"feature": "dead", "needs": "enabled"}]},
    },
}
PRO = {"plan": "pro", "app_version": "v2.1.0", "region": "eu-1", "age": 30}
FREE = {"plan": "free", "group": "beta", "app_version": "2.1.0-rc.1", "region": "cn-2", "age": "17"}
SUBJECTS: tuple[dict[str, Any], ...] = (
    *({"conversation": unit} for unit in UNITS),
    {"conversation": "c-1", "user": "ann", "tenant": "acme", "request": "r-1", "attributes": PRO},
    {"conversation": "c-2", "user": "bob", "tenant": "acme", "request": "r-2", "attributes": FREE},
    {"user": "root", "tenant": "acme", "attributes": {"app_version": "3", "age": 18.5}},
    {"user": "ann", "tenant": "umbrella", "attributes": {"app_version": "not-a-version", "age": True}},
    {"user": "ann", "tenant": "other", "request": "r-3"},
    {"tenant": "ü", "request": "r-4", "attributes": {"group": ""}},
    {"request": "r-5"},
    {"conversation": "", "user": "", "tenant": "acme"},
    {},
)


def document(features: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Make a whole document; a feature that says nothing of its share gives the candidate to all."""
    return {"x-rollouts": {name: {"share_millipct": 100_000} | ARMS | entry for name, entry in features.items()}}


def buckets() -> list[dict[str, Any]]:
    """Buckets of all units with all salts."""
    return [
        {"hashVersion": version, "salt": salt, "unit": unit, "bucket": bucket(version, salt, unit)}
        for version in (2, 3)
        for salt in SALTS
        for unit in UNITS
    ]


def decisions(name: str) -> list[dict[str, Any]]:
    """Decisions of all features of one document for all subjects."""
    snapshot = compile_snapshot(parse_document(document(DOCUMENTS[name])), 1)
    found = []
    for feature in (*DOCUMENTS[name], "unknown"):
        for given in SUBJECTS:
            subject = Subject(**given)
            told = decide(snapshot, feature, subject)
            found.append(
                {
                    "document": name,
                    "feature": feature,
                    "subject": given,
                    "arm": told.arm,
                    "reason": told.reason,
                    "bucket": told.bucket,
                    "unit": told.unit_kind,
                    "shadow": in_shadow(snapshot, told, subject),
                }
            )
    return found


def text() -> str:
    """Everything as one JSON text, a line for each vector."""
    made = [vector for name in DOCUMENTS for vector in decisions(name)]
    parts = {
        "about": "bucket -1: none was drawn; shadow: in the shadow sample. Made by tests/vectors/make.py.",
        "documents": {name: document(features) for name, features in DOCUMENTS.items()},
    }
    lines = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in parts.items()]
    for name, vectors in (("buckets", buckets()), ("decisions", made)):
        rows = ",\n  ".join(json.dumps(vector, ensure_ascii=False) for vector in vectors)
        lines.append(f'"{name}": [\n  {rows}\n ]')
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write the file, or compare it."""
    if "--check" not in arguments:
        FILE.write_text(text(), "utf-8")
        return 0
    return int(FILE.read_text("utf-8") != text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
