import json
from itertools import islice

from loadtests.soak.plan import KEPT, LEFT, PATHS, Leave, Mix, calls_of, identifier_of

DEFAULT = Mix()


def some(count: int, mix: Mix = DEFAULT, run: str = "r", seed: int = 1):
    return list(islice(calls_of(run, seed, mix, "key"), count))


def test_the_same_arguments_give_the_same_calls() -> None:
    assert some(50) == some(50)
    assert some(50) != some(50, seed=2)


def test_every_call_is_a_whole_request_with_its_id_and_its_marker() -> None:
    for call in some(300):
        head, _, body = call.request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == f"POST {PATHS[call.operation]} HTTP/1.1"
        assert f"x-request-id: {identifier_of('r', call.number)}" in lines
        assert f"content-length: {len(body)}" in lines
        assert json.loads(body)["stream"] is call.stream
        assert body.count(b"[[say:" + call.marker) == 1


def test_calls_to_be_left_are_known_by_their_feature_and_come_in_every_phase() -> None:
    calls = some(2_000)
    for call in calls:
        feature = KEPT if call.leave is None else LEFT
        assert b'"model":"copilot/%b"' % feature.encode() in call.request
    left = [call.leave for call in calls if call.leave is not None]
    assert set(left) == set(Leave)
    assert 0.25 < len(left) / len(calls) < 0.35
    assert {call.operation for call in calls} == set(PATHS)
    assert not any(call.leave for call in some(200, Mix(leave_share=0)))
