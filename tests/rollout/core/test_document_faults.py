from typing import Any

import msgspec
import pytest

from rollout.core.document_faults import in_words
from rollout.core.model import FeatureFlag

FLAG = {"feature": "f", "candidate": "a", "baseline": "b"}


def said(**entry: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert(FLAG | entry, FeatureFlag)
    return in_words(fault.value, FeatureFlag)


@pytest.mark.parametrize("bake", [20, "soon"])
def test_how_a_duration_is_written(bake: object) -> None:
    words = said(ramp={"steps": [{"share": 1}, {"share": 2, "bake": bake}]})
    assert words == "ramp.steps[1].bake: write a duration as 30s, 5m, 2h or 1d"


def test_a_choice_is_refused_with_those_there_are() -> None:
    assert said(state="ENABLE") == "state: 'ENABLE' is not possible; did you mean ENABLED? use DISABLED or ENABLED"
    assert "is not possible; use " in said(gates=[{"name": "g", "role": "zz"}])


def test_kinds_are_named_in_words() -> None:
    assert said(share_millipct="x") == "share_millipct: expected a whole number, got text"
    assert said(gates={}) == "gates: expected a list, got an object"


def test_other_faults_keep_their_words() -> None:
    assert said(gates=[{"name": "g"}]) == "gates[0]: Object missing required field `role`"
    assert in_words(msgspec.ValidationError("odd"), FeatureFlag) == "odd"
    assert in_words(msgspec.ValidationError("odd - at `$.candidate.x.y`"), FeatureFlag) == "candidate.x.y: odd"
    assert in_words(msgspec.ValidationError("Invalid enum value 'x' - at `$.no`"), FeatureFlag).startswith("no: Inv")
