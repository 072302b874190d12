from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from gateway.core import messages as say
from gateway.core.cluster_requests import Handed
from gateway.core.held_units import Held
from gateway.core.series import Exemplar, Reading, Series
from tests.gateway.core.test_cluster_requests import FLAG
from tests.gateway.records import SETTLED

RECORD = replace(
    SETTLED, served="baseline", upstream="partner", attempts=2, sent_s=0.1, duration_s=0.2, completion_tokens=3
)
READING = Reading("g", "text", ("a",), ((("x",), float("inf")),), "max")
EXAMPLES = [
    say.Configure(1, "0.1", 3, (5, 6), b"{}", {"a": None}, {"a": "u:p"}, {"j": None}, b"", ("draft",)),
    say.Accept((0, 2)),
    say.Drain(1.0, 30.0, replaced=True),
    say.Ready(),
    say.Failed("cause", "hint"),
    say.Retire(),
    say.Counts((Series("f", ("a", "b"), (1.0, 2.0)), Series("h", (), (1.0, 0.5), (Exemplar(0, "a" * 32, 0.5, 9.0),)))),
    say.Handover((RECORD,), (("acme", "r", "rating", 0.5),)),
    say.Handover((), (), (Held(700.0, 100.0, "draft", 1, 7, True),)),
    say.Handover(handed=Handed(30.0, (RECORD,), (FLAG,), ((7, "acme", "r", True),))),
    say.Ask(1, say.Collect()),
    say.Ask(1, say.CatchUp(("draft",))),
    say.Ask(2, say.FindAnswer("acme", "r"), 7),
    say.Ask(2, say.FindRequest("r")),
    say.Reply(2, ((7, say.Requests((RECORD,), 5.0)),)),
    say.Ask(3, say.TakeFeedback("acme", "r", "rating", 0.5), 7),
    say.Reply(1, ((7, say.Collected((READING,))), (8, say.CaughtUp(4)))),
    say.Reply(2, ((7, say.Found(1.0)), (8, say.Unknown()), (9, say.Unheard()))),
    say.Reply(3, ((7, say.Taken("draft")), (8, say.Late()))),
    say.Reply(4, ()),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=repr)
def test_a_message_arrives_as_it_was_sent(message: say.Message) -> None:
    assert say.decode(say.encode(message)) == message


def test_every_message_question_and_answer_is_among_the_examples() -> None:
    seen = {type(each) for each in EXAMPLES}
    seen |= {type(each.question) for each in EXAMPLES if isinstance(each, say.Ask)}
    seen |= {type(answer) for each in EXAMPLES if isinstance(each, say.Reply) for _, answer in each.answers}
    assert {*get_args(say.Message), *get_args(say.Question), *get_args(say.Answer)} <= seen


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgspec.msgpack.encode({"type": "Nonsense"}), msgspec.msgpack.encode({"type": "Ready", "more": 1})],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(say.MessageError):
        say.decode(data)
