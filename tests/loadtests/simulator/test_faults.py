import pytest

from loadtests.errors import InvalidFileError
from loadtests.simulator import segments, sse_faults, wire_faults
from loadtests.simulator.faults import STREAM_ONLY, FaultKind, FaultList
from loadtests.strict import convert

# Error statuses and changed contents; the other kinds are changes of the reply or of its writes.
CONTENT = {
    FaultKind.STATUS,
    FaultKind.REDIRECT,
    FaultKind.CONTENT_FILTER,
    FaultKind.CONTENT_REFUSED,
    FaultKind.CONTEXT_OVERFLOW,
    FaultKind.HUGE_ANSWER,
    FaultKind.HUGE_EVENT,
}


def test_every_kind_is_played_in_exactly_one_place() -> None:
    places = [CONTENT, wire_faults.CHANGES.keys(), sse_faults.CHANGES.keys(), segments.CHANGES.keys()]
    assert sorted(kind for place in places for kind in place) == sorted(FaultKind)
    assert sse_faults.CHANGES.keys() == STREAM_ONLY


@pytest.mark.parametrize(
    ("data", "cause", "hint"),
    [
        ({"kind": "rest"}, "rest", "did you mean `reset`"),
        ({"kind": "reset", "rat": 1}, "rat", "did you mean `rate`"),
        ({"kind": "reset", "rate": 1.5}, "rate", "correct the value"),
        ({"kind": "reset", "rate": float("nan")}, "rate", "correct the value"),
        ({"kind": "status", "status": 700}, "status", "correct the value"),
        ({"kind": "status", "body": "htlm"}, "htlm", "did you mean `html`"),
    ],
)
def test_unknown_words_and_values_out_of_range_are_refused(data: dict, cause: str, hint: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        convert({"faults": [data]}, FaultList, "faults")
    assert cause in caught.value.cause
    assert hint in caught.value.hint
