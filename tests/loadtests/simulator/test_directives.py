import pytest

from loadtests.simulator.directives import Directives, directives, fault_of
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.wire import WireError


def test_a_question_without_directives_is_itself() -> None:
    question = "what is [1]?"
    assert directives(question).question is question
    assert directives("a [[b]]") == Directives("a [[b]]")


def test_directives_are_taken_out_of_the_question() -> None:
    found = directives("hello [[fault:reset]] [[tokens:7]] [[say:x [1] ]]\nthere")
    assert found == Directives("hello\nthere", Fault(FaultKind.RESET), "x [1] ", 7)


def test_a_fault_may_be_an_object_and_a_text_may_end_with_a_bracket() -> None:
    assert directives('[[fault:{"kind":"status","status":429}]]').fault == Fault(FaultKind.STATUS, status=429)
    assert directives("[[say:[1]]]").say == "[1]"


@pytest.mark.parametrize(
    "question", ["[[fault:rest]]", '[[fault:{"kind"}]]', '[[fault:{"kid":1}]]', "[[tokens:0]]", "[[tokens:x]]"]
)
def test_what_cannot_be_followed_is_a_400(question: str) -> None:
    with pytest.raises(WireError) as caught:
        directives(question)
    assert (caught.value.status, caught.value.code) == (400, "bad_directive")


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(WireError, match="did you mean `reset`"):
        fault_of("rest")
