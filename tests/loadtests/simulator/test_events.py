import json

from loadtests.simulator.events import event, spliced


def test_an_event_may_be_named() -> None:
    assert event({"a": 1}, "x") == b'event: x\ndata: {"a":1}\n\n'
    assert event({"a": 1}) == b'data: {"a":1}\n\n'


def test_pieces_take_the_place_of_nul() -> None:
    template = event({"before": 1, "text": "\0", "after": 2})
    found = [json.loads(data[6:]) for data in spliced(template, ('"', "é\n"))]
    assert found == [{"before": 1, "text": '"', "after": 2}, {"before": 1, "text": "é\n", "after": 2}]
