from collections.abc import Iterator
from typing import Any

import pytest
from rich.text import Text

from rollout.cli.client import ApiFault
from rollout.cli.feature_render import Features
from rollout.cli.watch import EVERY_S, answers, changes, rendered

FLAG: dict[str, Any] = {
    "feature": "f", "revision": 1, "share_millipct": 0, "in_force_millipct": 0,
    "ramp_state": {"phase": "RUNNING", "step": 0, "holds": [{"reason": "baking", "gate": "", "value": 1.0}]},
}  # fmt: skip
AWAY = ApiFault("nobody answered", "is it running?", 5, passing=True)


def told(*given: Any) -> Iterator[Any]:
    left = list(given)

    def ask() -> dict[str, Any]:
        said = left.pop(0)
        if isinstance(said, ApiFault):
            raise said
        return said  # type: ignore[no-any-return]

    waits: list[float] = []
    for answer in answers(ask, sleep=waits.append):
        yield answer
        if not left:
            assert waits == [EVERY_S] * (len(given) - 1)
            return


def answer(**changed: Any) -> dict[str, Any]:
    return {"store": "ok", "features": [FLAG | changed]}


def test_a_fault_is_an_answer_but_for_the_first() -> None:
    assert list(told(answer(), AWAY, answer())) == [answer(), {"error": "nobody answered"}, answer()]
    with pytest.raises(ApiFault):
        list(told(AWAY))


def test_only_what_changes_is_told() -> None:
    older = {"phase": "RUNNING", "step": 0, "holds": [{"reason": "baking", "gate": "", "value": 2.0}]}
    proven = {"phase": "RUNNING", "step": 0, "holds": []}
    given = [
        answer(),
        answer(ramp_state=older),
        AWAY,
        AWAY,
        answer(ramp_state=older),
        answer(ramp_state=proven),
        answer(ramp_state=proven, revision=2),
        answer(ramp_state=proven, revision=2),
    ]
    error = {"error": "nobody answered"}
    assert list(changes(told(*given))) == [given[0], error, given[4], given[5], given[6]]


def test_an_answer_is_shown_as_features_and_a_fault_in_red() -> None:
    fault = rendered({"error": "[gone]"}, in_full=False)
    assert isinstance(fault, Text)
    assert (fault.plain, fault.style) == ("[gone]", "bold red")
    assert isinstance(rendered({"store": "ok", "version": 1, "features": []}, in_full=True), Features)
