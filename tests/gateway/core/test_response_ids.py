import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.response_ids import ELSEWHERE, IdRewriter, Place, mark_of, placed, split

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
IDS = st.from_regex(r"resp_[A-Za-z0-9_-]{1,60}", fullmatch=True)
PLACE = Place("inhouse", mark_of("http://a/v1"))


@given(IDS, NAMES, st.text(max_size=40))
def test_a_place_is_read_back_as_it_was_written(response_id: str, upstream: str, url: str) -> None:
    place = Place(upstream, mark_of(url))
    assert split(placed(response_id, place)) == (response_id, place)


@given(IDS, NAMES)
def test_an_upstreams_name_may_look_like_a_place(response_id: str, name: str) -> None:
    place = Place("a.gp.b", mark_of(name))
    own, found = split(placed(response_id, place))
    assert placed(own, found) == placed(response_id, place)


@pytest.mark.parametrize(
    "foreign", ["", "resp_1", "resp_1.gp.", "resp_1.gp.x", "resp_1.gp.x.12345", "resp_1.gp.x.ABCDEF"]
)
def test_an_id_from_elsewhere_stays_as_it_is(foreign: str) -> None:
    assert split(foreign) == (foreign, ELSEWHERE)


def test_marks_differ_by_url() -> None:
    assert mark_of("http://a/v1") != mark_of("http://b/v1")
    assert len(mark_of("x")) == 6


def test_a_plain_answer_names_its_place_and_nothing_else_changes() -> None:
    body = {"id": "resp_1", "previous_response_id": "resp_0", "output": [{"id": "msg_1", "text": 'say "id":"resp_1"'}]}
    answer = json.loads(IdRewriter(PLACE).rewrite(json.dumps(body).encode()))
    assert answer == {**body, "id": placed("resp_1", PLACE)}


def test_every_event_of_a_stream_names_the_same_id() -> None:
    rewriter = IdRewriter(PLACE)
    created = rewriter.rewrite(b'data: {"type":"response.created","response":{"id":"resp_1"}}\n\n')
    delta = b'data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"resp_1"}\n\n'
    assert rewriter.rewrite(delta) == delta
    completed = rewriter.rewrite(b'data: {"type":"response.completed","response":{"id": "resp_1"}}\n\n')
    assert placed("resp_1", PLACE).encode() in created
    assert placed("resp_1", PLACE).encode() in completed


def test_the_response_that_is_continued_is_named_as_the_caller_did() -> None:
    body = {"id": "resp_1", "previous_response_id": "resp_0", "text": '"previous_response_id":"resp_0"'}
    answer = json.loads(IdRewriter(PLACE, b'"resp_0"').rewrite(json.dumps(body).encode()))
    assert answer == {**body, "id": placed("resp_1", PLACE), "previous_response_id": placed("resp_0", PLACE)}


def test_another_response_than_the_one_continued_stays_as_it_is() -> None:
    data = b'{"metadata":{"previous_response_id":"resp_00"}}'
    assert IdRewriter(PLACE, b'"resp_0"').rewrite(data) == data


def test_an_answer_without_a_response_id_passes() -> None:
    data = b'{"id":"chatcmpl-1"}'
    assert IdRewriter(PLACE).rewrite(data) is data
