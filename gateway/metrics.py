"""Every metric: name, labels, buckets, declared once. Label values come from configuration or closed sets only.

Counting is batched by the recorder, so the series are plain numbers here and become Prometheus families when scraped.
`gen_ai_*` follow OpenTelemetry's GenAI conventions (names, buckets); `glidepath_*` is what no convention covers.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ShownExemplar

from gateway.core.checks.answer_checks import CHECKS
from gateway.core.series import Exemplar, Reading, Series, keep_newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.core.checks.sampling import CheckedAnswer

TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
)  # fmt: skip
TPOT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
DURATION_BUCKETS = tuple(round(0.01 * 2**power, 2) for power in range(14))
TOKEN_BUCKETS = tuple(4**power for power in range(14))
PROPAGATION_BUCKETS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
OVERHEAD_BUCKETS = (0.00005, 0.0001, 0.00015, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1)

REQUESTS = "glidepath_requests"
_MODEL = ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_provider_name", "glidepath_arm")
_TOKENS = (*_MODEL, "gen_ai_token_type")
_DURATION = (*_MODEL, "error_type")
_REQUEST = ("feature", "assigned", "served", "reason", "outcome")
_CAUSE = ("feature", "cause")
_FEEDBACK = ("feature", "arm", "kind")
_COST = ("feature", "arm")
_SHADOW = ("feature", "arm", "end")
_CHECK = ("check", "result")
_RESULTS = {True: "fault", False: "fine", None: "not_applicable"}


class Counter:
    """Sums by label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.series: dict[tuple[str, ...], float] = {}

    def add(self, values: tuple[str, ...], amount: float = 1.0) -> None:
        """Add `amount` to the series of these label values."""
        self.series[values] = self.series.get(values, 0.0) + amount

    def values(self) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
        """Each series as it travels to another process."""
        return ((labels, (amount,)) for labels, amount in self.series.items())

    def fresh(self, labels: tuple[str, ...]) -> tuple[Exemplar, ...]:  # noqa: ARG002  as every family
        """Sums have no exemplars."""
        return ()

    def absorb(self, series: Series) -> None:
        """Add a series of another process."""
        if len(series.labels) != len(self.labels) or len(series.values) != 1:
            raise _misfit(series)
        self.add(series.labels, series.values[0])

    def family(self) -> Metric:
        """As Prometheus sees it."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for values, amount in self.series.items():
            family.add_metric(values, amount)
        return family


class Sum(Counter):
    """As `Counter`, for sums that may fall. What has a present value is no sum: see `Reading`."""

    def family(self) -> Metric:
        """As Prometheus sees it."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for values, amount in self.series.items():
            family.add_metric(values, amount)
        return family


class Cell:
    """One series of a histogram; whoever counts often keeps it at hand."""

    __slots__ = ("_bounds", "_fresh", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._fresh: set[int] = set()
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, amount: float) -> None:
        """Count `amount` in its bucket (upper bounds inclusive, as Prometheus has it)."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.total += amount

    def mark(self, amount: float, trace_id: str, at_s: float) -> None:
        """Let a traced request stand for the bucket of `amount` (`at_s`: Unix time)."""
        bucket = bisect_left(self._bounds, amount)
        self.exemplars[bucket] = Exemplar(bucket, trace_id, amount, at_s)
        self._fresh.add(bucket)

    def take_fresh(self) -> tuple[Exemplar, ...]:
        """Give the exemplars that came since this was asked before."""
        if not self._fresh:
            return ()
        fresh = tuple(self.exemplars[bucket] for bucket in self._fresh)
        self._fresh.clear()
        return fresh


class Histogram:
    """Bucket counts and sums by label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> None:
        self.name, self.text, self.labels, self.buckets = name, text, labels, buckets
        self.series: dict[tuple[str, ...], Cell] = {}

    def cell(self, *values: str) -> Cell:
        """The series of these label values, made if need be."""
        cell = self.series.get(values)
        if cell is None:
            cell = self.series[values] = Cell(self.buckets)
        return cell

    def values(self) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
        """Each series as it travels to another process: bucket counts, then the total."""
        return ((labels, (*cell.counts, cell.total)) for labels, cell in self.series.items())

    def fresh(self, labels: tuple[str, ...]) -> tuple[Exemplar, ...]:
        """As `Cell.take_fresh`, of the series of these label values."""
        return self.series[labels].take_fresh()

    def absorb(self, series: Series) -> None:
        """Add a series of another process."""
        if len(series.labels) != len(self.labels) or len(series.values) != len(self.buckets) + 2:
            raise _misfit(series)
        cell = self.cell(*series.labels)
        cell.counts = [own + int(other) for own, other in zip(cell.counts, series.values, strict=False)]
        cell.total += series.values[-1]
        keep_newest(cell.exemplars, series.exemplars)

    def family(self) -> Metric:
        """As Prometheus sees it: cumulative."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        bounds = [*(str(float(bound)) for bound in self.buckets), "+Inf"]
        for values, cell in self.series.items():
            shown = cell.exemplars
            buckets = [
                (bound, float(total), _shown(shown[bucket])) if bucket in shown else (bound, float(total))
                for bucket, (bound, total) in enumerate(zip(bounds, accumulate(cell.counts), strict=True))
            ]
            family.add_metric(values, buckets, cell.total)
        return family


class Losses:
    """What observation itself has lost; counted by whoever loses it."""

    def __init__(self) -> None:
        self.requests = Counter(
            "glidepath_uncounted_requests", "Requests of ramps that are not in the store's sums.", ()
        )
        self.units = Counter("glidepath_uncounted_units", "Units of ramps that are not in the evidence.", ())
        self.left_out = Counter(
            "glidepath_left_out_units",
            "Units of ramps without an outcome of a metric that they might have had one of.",
            ("feature", "metric", "arm", "reason"),
        )
        self.pairs = Counter("glidepath_uncounted_pairs", "Judged pairs of ramps that are not in the evidence.", ())
        self.latencies = Counter(
            "glidepath_unmeasurable_latencies", "Latencies of units whose bound lies beyond the age of evidence.", ()
        )
        self.access_log = Counter(
            "glidepath_access_log_dropped", "Lines lost because writing failed or did not keep up.", ()
        )
        self.spans = Counter(
            "glidepath_spans_dropped", "Spans lost because the collector failed or did not keep up.", ()
        )


class CheckCounts:
    """What free checks found in a sample of answers."""

    def __init__(self) -> None:
        self.checks = Counter(
            "glidepath_checks", "Free checks of sampled answers by what they found.", ("feature", "arm", *_CHECK)
        )
        self.unchecked = Counter(
            "glidepath_unchecked_answers", "Sampled answers that were not checked, by reason.", ("feature", "reason")
        )

    def add(self, answer: CheckedAnswer) -> None:
        """Count each check of an answer."""
        for name, found in zip(CHECKS, answer.checks, strict=True):
            self.checks.add((answer.feature, answer.assigned, name, _RESULTS[found]))

    def skip(self, feature: str, why: str) -> None:
        """Count an answer that was not checked."""
        self.unchecked.add((feature, why))


class ShadowCounts:
    """What became of sampled requests, apart from all that requests are counted by."""

    def __init__(self) -> None:
        self.calls = Counter(
            "glidepath_shadow_calls", "Shadow calls by the arm that was asked and how they ended.", _SHADOW
        )
        self.skipped = Counter(
            "glidepath_shadow_skipped", "Sampled requests without a shadow call, by reason.", ("feature", "reason")
        )
        self.pairs = Counter("glidepath_shadow_pairs", "Pairs of answers handed over.", ("feature",))
        text = "Pairs lost because their judge did not keep up."
        self.pairs_lost = Counter("glidepath_shadow_pairs_lost", text, ())
        text = "Texts and what was found about them, written because a flag wants them kept."
        self.kept = Counter("glidepath_spool_written", text, ())
        self.not_kept = Counter("glidepath_spool_lost", "Those that were not: too long, too many, no room.", ())


class JudgeCounts:
    """What judges made of the pairs they were given."""

    def __init__(self) -> None:
        labels = ("feature", "judge")
        self.scores = Counter("glidepath_judge_scores", "Pairs with a score, by what was found.", (*labels, "result"))
        self.missed = Counter("glidepath_judge_missed", "Pairs without a score, by reason.", (*labels, "reason"))
        text = "Tokens of questions to judges, as these report them: what the sample costs."
        self.tokens = Counter("glidepath_judge_tokens", text, (*labels, "type"))
        text = "One question to a judge, until its answer or the end of patience."
        self.duration = Histogram("glidepath_judge_duration_seconds", text, ("judge",), DURATION_BUCKETS)


class Metrics(Collector):
    """All series of one worker, plus gauges that are read when scraped."""

    def __init__(self) -> None:
        self.duration = Histogram(
            "gen_ai_server_request_duration_seconds", "Arrival to last byte.", _DURATION, DURATION_BUCKETS
        )
        self.ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds", "Arrival to first content of a stream.", _MODEL, TTFT_BUCKETS
        )
        self.tpot = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Decode time of a stream divided by the tokens after the first.",
            _MODEL,
            TPOT_BUCKETS,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage", "Tokens per request as the upstream reports them.", _TOKENS, TOKEN_BUCKETS
        )
        self.overhead = Histogram(
            "glidepath_overhead_seconds",
            "Arrival of the whole request to sending it on, waiting for a connection excluded.",
            _MODEL,
            OVERHEAD_BUCKETS,
        )
        self.requests = Counter(REQUESTS, "Settled requests; `served` is empty if nobody was asked.", _REQUEST)
        self.units = Counter("glidepath_units", "Decisions by the kind of unit that was hashed.", ("feature", "unit"))
        self.failovers = Counter(
            "glidepath_failovers", "Requests that the other arm's upstream had to answer, by cause.", _CAUSE
        )
        self.retries = Counter("glidepath_retries", "Requests that the same arm was asked twice for, by cause.", _CAUSE)
        self.refusals = Counter("glidepath_refusals", "Requests answered without asking anybody, by code.", _CAUSE)
        self.client_retries = Counter("glidepath_client_retries", "Requests that SDKs marked as retries.", ("feature",))
        self.feedback = Counter("glidepath_feedback", "Feedback taken, replacements included.", _FEEDBACK)
        self.quality_sum = Sum(
            "glidepath_quality_score_sum", "Sum of scores in [0,1]; the last feedback per request counts.", _FEEDBACK
        )
        self.quality_units = Sum("glidepath_quality_score_units", "Requests with such a score.", _FEEDBACK)
        self.cost = Counter("glidepath_cost_usd", "Tokens at their price: of ramps, by assigned arm.", _COST)
        wait = "Commit of a change to its being in force."
        self.propagation = Histogram("glidepath_propagation_seconds", wait, (), PROPAGATION_BUCKETS)
        self.losses = Losses()
        self.checking = CheckCounts()
        self.shadows = ShadowCounts()
        self.judging = JudgeCounts()
        self._followed: list[tuple[Counter, Callable[[], float]]] = []
        self._sources: list[Callable[[], Iterable[Reading]]] = []
        self._sent: dict[tuple[str, tuple[str, ...]], tuple[float, ...]] = {}
        groups = (self, self.losses, self.checking, self.shadows, self.judging)
        counted = [own for group in groups for own in vars(group).values() if isinstance(own, (Counter, Histogram))]
        self._families: dict[str, Counter | Histogram] = {own.name: own for own in counted}

    def add_source(self, source: Callable[[], Iterable[Reading]]) -> None:
        """Add gauges that are computed when scraped."""
        self._sources.append(source)

    def follow(self, counter: Counter, count: Callable[[], float]) -> None:
        """Have a counter without labels show what is counted elsewhere."""
        self._followed.append((counter, count))

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        self._catch_up()
        for own in self._families.values():
            yield own.family()
        yield from map(gauge_family, self.readings())

    def readings(self) -> Iterator[Reading]:
        """Read all gauges."""
        for source in self._sources:
            yield from source()

    def changes(self) -> list[Series]:
        """The series that changed since this was asked before, as they are now."""
        self._catch_up()
        changed = []
        for name, family in self._families.items():
            for labels, values in family.values():
                if self._sent.get((name, labels)) != values:
                    self._sent[name, labels] = values
                    changed.append(Series(name, labels, values, family.fresh(labels)))
        return changed

    def _catch_up(self) -> None:
        for counter, count in self._followed:
            counter.series[()] = float(count())

    def absorb(self, series: Series) -> None:
        """Add what another process counted. Raises `ValueError` for a series that is none of ours."""
        family = self._families.get(series.family)
        if family is None:
            raise ValueError(f"there is no metric {series.family!r}")
        family.absorb(series)


def _misfit(series: Series) -> ValueError:
    return ValueError(f"{series.family}: {len(series.labels)} labels, {len(series.values)} values")


def _shown(exemplar: Exemplar) -> ShownExemplar:
    return ShownExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.at_s)


def gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    series: Iterable[tuple[tuple[str, ...], float]],
    merge: Literal["sum", "max", "min"] = "sum",
) -> Reading:
    """Make a gauge family in one go, for sources. `merge`: what several workers' values mean together."""
    return Reading(name, text, labels, tuple((values, float(amount)) for values, amount in series), merge)


def gauge_family(reading: Reading) -> Metric:
    """As Prometheus sees it."""
    family = GaugeMetricFamily(reading.name, reading.text, labels=reading.labels)
    for values, amount in reading.series:
        family.add_metric(values, amount)
    return family
