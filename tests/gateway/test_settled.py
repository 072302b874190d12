import pytest
from msgspec.structs import replace

from gateway.core.outcome import Record
from gateway.feedback import AnswerIndex, Feedback
from gateway.metrics import Metrics
from gateway.recorder import Recorder
from gateway.settled import Settled
from tests.gateway.records import SETTLED

RECORD = replace(SETTLED, at_s=10.0, sent_s=0.1, duration_s=0.2)
REFUSED = replace(RECORD, served="", upstream="", status=429, outcome="refused", cause="overloaded", attempts=0)
BYPASSED = replace(RECORD, feature="", assigned="bypass", served="bypass", reason="bypass", unit_kind="", bucket=-1)
STRANGER = replace(REFUSED, tenant="", feature="", assigned="", reason="", cause="invalid_api_key")


class Worker:
    """The recorder with what remembers behind it."""

    def __init__(self, answers_max: int = 10, **bounds: int) -> None:
        metrics = Metrics()
        self.answers = AnswerIndex(metrics, answers_max=answers_max)
        self.settled = Settled(self.answers, 5.0, **bounds)
        self.recorder = Recorder(metrics, self.answers, (), self.settled.add_other)

    def settle(self, *records: Record) -> None:
        for record in records:
            self.recorder.record(record)
        self.recorder.drain()


@pytest.mark.parametrize("record", [RECORD, REFUSED, BYPASSED, STRANGER, replace(RECORD, outcome="cancelled")])
def test_every_settled_request_is_known(record: Record) -> None:
    worker = Worker()
    worker.settle(record)
    assert worker.settled.find("r") == (record,)
    assert worker.settled.find("another") == ()


def test_requests_of_one_id_come_newest_first() -> None:
    worker = Worker()
    worker.settle(RECORD, replace(REFUSED, at_s=12.0), replace(RECORD, tenant="other", at_s=11.0))
    assert [record.at_s for record in worker.settled.find("r")] == [12.0, 11.0, 10.0]


def test_strangers_cannot_push_out_those_who_have_a_key() -> None:
    worker = Worker(others_max=100, strangers=10)
    worker.settle(REFUSED, *(replace(STRANGER, request_id=f"s{number}") for number in range(1_000)))
    assert worker.settled.find("r") == (REFUSED,)
    assert worker.settled.find("s999")
    assert not worker.settled.find("s0")
    assert worker.settled.complete_since_s == 5.0


@pytest.mark.parametrize("kind", [RECORD, REFUSED])
def test_it_says_since_when_it_knows_all(kind: Record) -> None:
    worker = Worker(answers_max=10, others_max=10)
    assert worker.settled.complete_since_s == 5.0
    worker.settle(*(replace(kind, request_id=f"r{number}", at_s=20.0 + number) for number in range(12)))
    assert worker.settled.complete_since_s == 25.0
    assert not worker.settled.find("r4")
    assert worker.settled.find("r5")


def test_a_successor_takes_over_all_and_feedback_for_answers_only() -> None:
    before, after = Worker(), Worker()
    before.settle(RECORD, replace(REFUSED, request_id="refused"), replace(STRANGER, request_id="stranger"))
    before.answers.take(Feedback(request_id="r", rating=1), "acme", 11.0)
    for records, scores in before.settled.give_away(2):
        after.settled.receive(records, scores)
    assert not before.settled.find("r")
    for request_id in ("r", "refused", "stranger"):
        assert len(after.settled.find(request_id)) == 1
    assert after.answers.find("r", "acme") == RECORD
    assert after.answers.find("refused", "acme") is None
