from msgspec.structs import replace

from gateway.core.left_out import LeftOut, Why, of_all, of_judged, of_unknown
from gateway.core.unit_places import place_of
from rollout.core.evidence.coverage import left, lost
from rollout.core.ramp_model import GateKind
from tests.gateway.core.test_unit_places import FLAG, GATE

GATES = [
    replace(GATE, name="e"),
    replace(GATE, name="f", metric="form"),
    replace(GATE, name="t", metric="thumbs"),
    *(replace(GATE, name=f"l{each}", metric="ttft_p95", margin=each / 10) for each in (1, 2)),
    replace(GATE, name="s", metric="ttft_p95", kind=GateKind.THRESHOLD, margin=None, limit=2.0),
]
PLACE = place_of(replace(FLAG, gates=tuple(GATES)))
METRICS = [each.metric for each in PLACE.series]
PREFIXES = [each.prefix for each in PLACE.series]


def metrics(prefixes: list[str]) -> list[str]:
    return sorted(METRICS[PREFIXES.index(prefix)] for prefix in prefixes)


def test_what_nobody_has_looked_at_might_be_in_any_series_but_of_checks() -> None:
    every = ["errors", "thumbs", "ttft_p95", "ttft_p95", "ttft_p95"]
    assert metrics(of_all(PLACE.series, checked=False)) == every
    assert metrics(of_all(PLACE.series, checked=True)) == sorted([*every, "form"])


def test_who_was_judged_is_missing_where_there_was_a_place() -> None:
    by_metric = {"errors": 1.0, "form": -1.0, "thumbs": -1.0, "ttft_p95": None}
    outcomes = [by_metric[metric] for metric in METRICS]
    assert metrics(of_judged(PLACE.series, outcomes)) == ["errors", "thumbs", "ttft_p95", "ttft_p95", "ttft_p95"]
    assert metrics(of_unknown(PLACE.series, outcomes)) == ["ttft_p95"] * 3


def test_a_unit_counts_once_for_all_margins_of_a_metric() -> None:
    both = LeftOut()
    told: list = []
    both.told = lambda labels, amount: told.append((labels, amount))
    latency = [prefix for prefix, metric in zip(PREFIXES, METRICS, strict=True) if metric == "ttft_p95"]
    rows = dict(both.unknown(PLACE, latency, 3, candidate=True))
    assert rows == {PLACE.covered[prefix]: left(3, candidate=True) for prefix in latency}
    assert len(rows) == 2  # of the margins, and of the floor
    assert told == [(("draft", "ttft_p95", "candidate", "unknown"), 3)]


def test_what_was_given_up_is_handed_over_once() -> None:
    both = LeftOut()
    added: dict = {}
    told: list = []
    both.hand_over()
    for _ in range(2):
        both.give_up(PLACE, PREFIXES[:1], Why.STORE, candidate=False)
    both.hand_over()  # to nobody
    for _ in range(2):
        both.give_up(PLACE, PREFIXES[:1], Why.THINNED, candidate=False)
    both.add, both.told = added.__setitem__, lambda labels, amount: told.append((labels, amount))
    both.hand_over()
    both.hand_over()
    assert added == {PLACE.covered[PREFIXES[0]]: lost(2, candidate=False)}
    assert told == [(("draft", METRICS[0], "baseline", "thinned"), 2)]
