from typing import Any

from rollout.cli.code_render import applied_lines, doctor_lines, plan_lines

CHANGES = [
    {"path": "owner", "before": "", "after": "writing"},
    {"path": "ramp.steps[1].share", "before": None, "after": 2_000},
    {"path": "gates[x].limit", "before": 0.5, "after": None},
]


def test_what_a_document_did_is_told_feature_by_feature() -> None:
    one: dict[str, Any] = {"action": "change", "commands": ["end", "create"], "revision": 4, "feature": "summarize"}
    same = {"feature": "draft", "action": "same", "commands": [], "changes": [], "warnings": [], "revision": 3}
    features = [one | {"changes": CHANGES, "warnings": ["doubtful"]}, same]
    lines = list(applied_lines({"dry_run": True, "features": features}))
    assert lines == [
        "summarize: change (end, create), revision 4",
        '  ~ owner: "" -> "writing"',
        "  + ramp.steps[1].share: 2000",
        "  - gates[x].limit: 0.5",
        "  warning: doubtful",
        "draft: same, revision 3",
        "dry run: 1 feature would change, nothing was written",
    ]
    assert list(applied_lines({"dry_run": False, "features": [same]}))[-1] == "0 features changed"


def test_a_plan_is_told_step_by_step() -> None:
    steps = [{"text": "step 0 (1%): bakes 1 h"}]
    plan: dict[str, Any] = {"feature": "f", "units_per_s": None, "steps": steps, "post_monitor_s": 60.0}
    plan |= {"text": "1 h in all", "faults": ["bad"], "warnings": ["odd"]}
    assert list(plan_lines(plan)) == [
        "f: traffic unknown",
        "  step 0 (1%): bakes 1 h",
        "  then 60 s of monitoring",
        "  1 h in all",
        "  fault: bad",
        "  warning: odd",
    ]
    assert next(iter(plan_lines(plan | {"units_per_s": 2.5}))) == "f: at 2.5 units per second"
    assert len(list(plan_lines(plan | {"post_monitor_s": 0.0}))) == 5


def test_checks_are_told_with_their_hints() -> None:
    checks = [
        {"check": "store", "result": "ok", "text": "version 2", "hint": ""},
        {"check": "key", "result": "warn", "text": "roles: viewer", "hint": "get another"},
    ]
    assert list(doctor_lines({"checks": checks})) == [
        "ok    store: version 2",
        "warn  key: roles: viewer",
        "      hint: get another",
    ]
