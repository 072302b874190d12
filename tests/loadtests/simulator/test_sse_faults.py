import json

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.events import Part
from loadtests.simulator.faults import LEAK, Fault, FaultKind
from loadtests.simulator.reply import Reply
from loadtests.simulator.sse_faults import CHANGES, bent_answer
from loadtests.simulator.wire import Api

ANSWER = Answer(("a", "b", "c"), Finish.STOP)


@pytest.fixture
def bent(plan_reply):
    def bend(kind: FaultKind, api: Api = Api.CHAT, **figures: object) -> Reply:
        return CHANGES[kind](plan_reply(api), Fault(kind, **figures), api)

    return bend


def payloads(data: bytes) -> list[object]:
    """What a reader by the letter of the SSE standard makes of it."""
    found, lines = [], []
    for line in data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            text = "\n".join(lines)
            found.append(text if text == "[DONE]" else json.loads(text))
            lines = []
    return found


@pytest.mark.parametrize("kind", [FaultKind.CRLF, FaultKind.COMMENTS, FaultKind.EXTRA_FIELDS, FaultKind.MULTI_LINE])
@pytest.mark.parametrize("api", Api)
def test_unusual_frames_say_the_same(bent, plan_reply, kind, api) -> None:
    plain = plan_reply(api).data
    assert bent(kind, api).data != plain
    assert payloads(bent(kind, api).data) == payloads(plain)


def test_a_clean_cut_is_a_stream_without_finish(bent) -> None:
    found = bent(FaultKind.CLEAN_CUT, events=2)
    assert found.whole
    assert [piece.part for piece in found.pieces] == [Part.OPENING, Part.CONTENT]


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    ("kind", "part"), [(FaultKind.MISSING_FINISH, Part.FINISH), (FaultKind.MISSING_DONE, Part.DONE)]
)
def test_one_part_is_missing(bent, plan_reply, api, kind, part) -> None:
    assert bent(kind, api).pieces == tuple(piece for piece in plan_reply(api).pieces if piece.part is not part)
    assert len(bent(kind, api).pieces) < len(plan_reply(api).pieces)


def test_the_last_event_lacks_its_blank_line(bent) -> None:
    assert bent(FaultKind.UNTERMINATED).data.endswith(b"\n\ndata: [DONE]\n")


@pytest.mark.parametrize("events", [0, 2])
@pytest.mark.parametrize("api", Api)
def test_an_error_event_follows_the_events_and_is_the_last(bent, api, events) -> None:
    found = bent(FaultKind.ERROR_EVENT, api, events=events, status=500, leak=True)
    assert len(found.pieces) == events + 1
    (error,) = payloads(found.pieces[-1].data)
    inner = error if api is Api.RESPONSES else error["error"]
    assert LEAK in inner["message"]
    assert error.get("type") == ("error" if api in (Api.RESPONSES, Api.MESSAGES) else None)


def test_a_bad_event_is_no_json(bent) -> None:
    last = bent(FaultKind.BAD_EVENT, events=2).pieces[-1].data
    with pytest.raises(json.JSONDecodeError):
        payloads(last)


def test_faults_of_content_change_the_answer_and_others_do_not() -> None:
    filtered = bent_answer(ANSWER, Fault(FaultKind.CONTENT_FILTER, events=2))
    assert filtered == Answer(("a", "b"), Finish.CONTENT_FILTER)
    assert len(bent_answer(ANSWER, Fault(FaultKind.HUGE_ANSWER, size_bytes=200_000)).text) == 200_000
    assert len(bent_answer(ANSWER, Fault(FaultKind.HUGE_ANSWER, size_bytes=65_536)).pieces) == 1
    assert bent_answer(ANSWER, Fault(FaultKind.HUGE_EVENT, size_bytes=200_000)).pieces == ("x" * 200_000,)
    assert bent_answer(ANSWER, Fault(FaultKind.GZIP)) is ANSWER
    assert bent_answer(ANSWER, None) is ANSWER
