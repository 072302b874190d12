import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from gateway.feedback import AnswerIndex, Feedback, LateFeedbackError, UnknownAnswerError
from gateway.metrics import Metrics
from tests.examples import fewer
from tests.gateway.records import SETTLED

RECORD = replace(SETTLED, at_s=100.0, served="baseline", upstream="partner", attempts=2)
LABELS = ("draft", "candidate", "rating")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def answers(metrics: Metrics) -> AnswerIndex:
    index = AnswerIndex(metrics, age_max_s=60.0)
    index.add(RECORD)
    return index


def rating(value: float, request_id: str = "r") -> Feedback:
    return Feedback(request_id=request_id, rating=value)


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        ({"rating": -1}, "rating", 0.0),
        ({"rating": 0}, "rating", 0.5),
        ({"rating": 1.0}, "rating", 1.0),
        ({"accepted": True}, "accepted", 1.0),
        ({"accepted": False}, "accepted", 0.0),
        ({"score": 0.25}, "score", 0.25),
        ({"score": 0}, "score", 0.0),
    ],
)
def test_each_kind_as_a_score(given: dict[str, object], kind: str, value: float) -> None:
    feedback = Feedback(request_id="r", edit_ratio=0.2, labels={"team": "x"}, comment="c", **given)
    assert (feedback.kind, feedback.value) == (kind, value)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rating": 0, "accepted": True},
        {"rating": 1.01},
        {"rating": -2},
        {"rating": "1"},
        {"rating": float("nan")},
        {"score": -0.01},
        {"score": float("inf")},
        {"accepted": 1},
        {"accepted": "yes"},
        {"rating": 1, "edit_ratio": 2},
        {"rating": 1, "labels": {"a": "x" * 201}},
        {"rating": 1, "labels": {str(n): "x" for n in range(17)}},
        {"rating": 1, "comment": "x" * 4_001},
        {"rating": 1, "unknown": 1},
        {"rating": 1, "request_id": ""},
        {"rating": 1, "request_id": "x" * 129},
    ],
)
def test_what_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate({"request_id": "r", **given})


def test_it_counts_for_the_assigned_arm_not_for_the_one_that_answered(answers: AnswerIndex, metrics: Metrics) -> None:
    assert answers.take(rating(1), "acme", 110.0).assigned == "candidate"
    assert metrics.feedback.series == {LABELS: 1.0}
    assert metrics.quality_sum.series == {LABELS: 1.0}
    assert metrics.quality_units.series == {LABELS: 1.0}


@fewer(30)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_the_last_one_counts_once(values: list[float]) -> None:
    metrics = Metrics()
    answers = AnswerIndex(metrics)
    answers.add(RECORD)
    for value in values:
        answers.take(rating(value), "acme", 110.0)
    assert metrics.quality_sum.series[LABELS] == pytest.approx(rating(values[-1]).value)
    assert metrics.quality_units.series[LABELS] == 1.0
    assert metrics.feedback.series[LABELS] == len(values)


def test_kinds_count_apart(answers: AnswerIndex, metrics: Metrics) -> None:
    answers.take(rating(1), "acme", 110.0)
    answers.take(Feedback(request_id="r", accepted=False), "acme", 110.0)
    assert {labels[2]: units for labels, units in metrics.quality_units.series.items()} == {"rating": 1, "accepted": 1}


def test_silence_is_no_approval(metrics: Metrics, answers: AnswerIndex) -> None:
    assert len(answers) == 1
    assert metrics.quality_units.series == {}


@pytest.mark.parametrize(("request_id", "tenant"), [("other", "acme"), ("r", "rival")])
def test_an_unknown_id_and_another_tenants_look_alike(
    answers: AnswerIndex, metrics: Metrics, request_id: str, tenant: str
) -> None:
    with pytest.raises(UnknownAnswerError):
        answers.take(rating(1, request_id), tenant, 110.0)
    assert metrics.feedback.series == {}


def test_late_feedback_is_refused(answers: AnswerIndex, metrics: Metrics) -> None:
    answers.take(rating(1), "acme", 160.0)
    with pytest.raises(LateFeedbackError):
        answers.take(rating(0), "acme", 160.1)
    assert metrics.quality_sum.series == {LABELS: 1.0}


def test_the_number_of_answers_is_bounded_and_the_youngest_are_kept(metrics: Metrics) -> None:
    answers = AnswerIndex(metrics, answers_max=100)
    for number in range(1_000):
        answers.add(replace(RECORD, request_id=f"r{number}"))
        answers.take(rating(1, f"r{number}"), "acme", 110.0)
        assert len(answers) <= 100
    for number in range(950, 1_000):
        assert answers.take(rating(-1, f"r{number}"), "acme", 110.0)
    assert metrics.quality_sum.series[LABELS] == 950.0
    assert metrics.quality_units.series[LABELS] == 1_000.0
    assert len(answers._scores) <= 100


def test_a_request_id_that_is_used_again_is_another_answer(answers: AnswerIndex, metrics: Metrics) -> None:
    answers.take(rating(1), "acme", 110.0)
    answers.add(replace(RECORD, assigned="baseline"))
    answers.take(rating(-1), "acme", 110.0)
    assert metrics.quality_sum.series == {LABELS: 1.0, ("draft", "baseline", "rating"): 0.0}
    assert metrics.quality_units.series == {LABELS: 1.0, ("draft", "baseline", "rating"): 1.0}


def test_another_tenants_request_of_the_same_id_hides_nothing(answers: AnswerIndex) -> None:
    answers.add(replace(RECORD, tenant="rival"))
    assert answers.take(rating(1), "acme", 110.0)


def test_a_successor_takes_over_answers_and_their_scores(answers: AnswerIndex, metrics: Metrics) -> None:
    answers.add(replace(RECORD, request_id="unrated"))
    answers.take(rating(1), "acme", 110.0)
    successor_metrics = Metrics()
    successor = AnswerIndex(successor_metrics, age_max_s=60.0)
    for records, scores in answers.give_away(1):
        assert len(records) == 1
        successor.receive(records, scores)
    assert (len(answers), len(successor)) == (0, 2)
    successor.take(rating(-1), "acme", 110.0)
    successor.take(rating(0, "unrated"), "acme", 110.0)
    units = metrics.quality_units.series[LABELS] + successor_metrics.quality_units.series[LABELS]
    total = metrics.quality_sum.series[LABELS] + successor_metrics.quality_sum.series[LABELS]
    assert (units, total) == (2, 0.5)


def test_whoever_counts_units_is_told_what_is_taken_and_what_was_handed_over(metrics: Metrics) -> None:
    told: list[tuple[str, str, float]] = []
    listening = {"rated": lambda record, kind, value: told.append((record.request_id, kind, value))}
    answers, successor = AnswerIndex(metrics, **listening), AnswerIndex(metrics, **listening)
    answers.add(RECORD)
    for value in (1, -1):
        answers.take(rating(value), "acme", RECORD.at_s)
    assert told == [(RECORD.request_id, "rating", 1.0), (RECORD.request_id, "rating", 0.0)]
    told.clear()
    for records, scores in answers.give_away(5):
        successor.receive(records, (*scores, ("acme", "unknown", "rating", 1.0)))
    assert told == [(RECORD.request_id, "rating", 0.0)]


def test_giving_away_goes_over_both_generations_the_young_first(metrics: Metrics) -> None:
    answers = AnswerIndex(metrics, answers_max=10)
    for number in range(8):
        answers.add(replace(RECORD, request_id=f"r{number}"))
    given = [record.request_id for records, _ in answers.give_away(3) for record in records]
    assert given == [f"r{number}" for number in (5, 6, 7, 0, 1, 2, 3, 4)]


def test_a_full_index_leaves_its_newest_answers_to_its_successor(metrics: Metrics) -> None:
    answers, successor = AnswerIndex(metrics, answers_max=10), AnswerIndex(metrics, answers_max=10)
    for number in range(10):
        answers.add(replace(RECORD, request_id=f"r{number}"))
    for records, scores in answers.give_away(3):
        successor.receive(records, scores)
    assert [number for number in range(10) if successor.find(f"r{number}", "acme")] == [5, 6, 7, 8, 9]


def test_of_an_id_that_was_used_twice_the_successor_gets_the_last(metrics: Metrics) -> None:
    answers, successor = AnswerIndex(metrics, answers_max=2), AnswerIndex(metrics)
    answers.add(RECORD)
    answers.add(replace(RECORD, assigned="baseline"))
    for records, scores in answers.give_away(1):
        successor.receive(records, scores)
    assert successor.find("r", "acme").assigned == "baseline"


def test_what_is_taken_over_is_bounded_and_older_than_what_is_here(metrics: Metrics) -> None:
    answers = AnswerIndex(metrics, answers_max=10)
    answers.add(RECORD)
    other = replace(RECORD, assigned="baseline")
    answers.receive((other,), (("acme", "r", "rating", 1.0),))
    assert answers.find("r", "acme") is RECORD
    answers.receive(
        tuple(replace(RECORD, request_id=f"old{number}") for number in range(100)),
        tuple(("acme", f"old{number}", "rating", 1.0) for number in range(100)),
    )
    assert len(answers) <= 10
    assert len(answers._scores) <= 5


def test_all_answers_of_an_id_and_since_when_they_are_known(metrics: Metrics) -> None:
    index = AnswerIndex(metrics, answers_max=4)
    for tenant in ("acme", "other"):
        index.add(replace(RECORD, tenant=tenant))
    assert [record.tenant for record in sorted(index.find_all("r"), key=lambda each: each.tenant)] == ["acme", "other"]
    assert index.complete_since_s == 0.0
    for number in range(4):
        index.add(replace(RECORD, request_id=f"r{number}", at_s=200.0 + number))
    assert index.find_all("r") == []
    assert index.complete_since_s == 200.0


def test_what_was_taken_over_and_forgotten_is_not_called_complete(metrics: Metrics) -> None:
    index = AnswerIndex(metrics, answers_max=4)
    index.add(replace(RECORD, request_id="own", at_s=200.0))
    index.receive(tuple(replace(RECORD, request_id=f"r{second}", at_s=float(second)) for second in (210, 209, 208)), ())
    assert index.complete_since_s == 208.0
    for second in (220, 221):
        index.add(replace(RECORD, request_id=f"r{second}", at_s=float(second)))
    assert not index.find_all("r210")
    assert index.complete_since_s == 210.0
