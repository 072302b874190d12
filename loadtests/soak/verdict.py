"""What a soak must show, each as a sentence with its figures (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from loadtests.soak.answer import Fate
from loadtests.soak.plan import KEPT, LEFT
from loadtests.soak.samples import second_half, slope, total
from loadtests.soak.tally import summed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtests.soak.audit import Audit
    from loadtests.soak.samples import Sample, Series, Usage
    from loadtests.soak.tally import Tally

MB = 1 << 20
_GIVEN_UP = "first_byte_timeout"
"""A server that hangs so long may never have read the request."""
_NOT_SENT = ("ejected", "queue_full", "queue_timeout", "connect_timeout", "refused", "unknown_upstream")
_ZERO = ("in_flight", "busy", "waiting", "queue", "places")
_LATE_SHARE = 0.01
ANSWERS_MAX, ANSWER_BYTES = 100_000, 2_048
"""What each worker keeps for feedback to be joined through, and how large one may be: grows by design until full."""
_JUDGED_SHARE_MIN = 0.2
_SPARE_SOCKETS = _SPARE_TASKS = 2


class Check(NamedTuple):
    """One thing to be shown."""

    name: str
    held: bool
    figures: str


class Bounds(NamedTuple):
    """The operator's. Megabytes per minute over the second half."""

    rss_mb_per_min: float = 1.0
    workers: int = 1


class Evidence(NamedTuple):
    """All that is known at the end. `series_*`: the gateway's metrics before and after; `ledgers`: the simulators'."""

    tallies: list[Tally]
    audit: Audit
    before: Sample
    samples: Sequence[Sample]
    after: Sample
    series_before: Sequence[Series]
    series_after: Sequence[Series]
    ledgers: Sequence[tuple[int, str]]
    left_open: int


def judge(evidence: Evidence, bounds: Bounds) -> list[Check]:
    """Every check, whether it held or not."""
    return [*_answers(evidence), *_ledger(evidence), *_metrics(evidence), *_flat(evidence, bounds), *_zero(evidence)]


def _answers(evidence: Evidence) -> Iterator[Check]:
    kept, left = (summed(evidence.tallies, left=left) for left in (False, True))
    both = kept + left
    bad = {fate: both[fate] for fate in (Fate.BROKEN, Fate.WRONG, Fate.NO_CONNECTION, Fate.PENDING)}
    text = ", ".join(f"{fate.name.lower()} {count}" for fate, count in bad.items())
    yield Check("every answer is whole, or an error its caller can read", not any(bad.values()), text)
    late, made = sum(each.late for each in evidence.tallies), both.total()
    yield Check("the callers kept their pace", late <= _LATE_SHARE * made, f"{late} of {made} calls not made")


def _ledger(evidence: Evidence) -> Iterator[Check]:
    audit = evidence.audit
    yield Check("no whole answer without a simulator that gave it", not audit.lost, f"{audit.lost or 0}")
    yield Check("no call arrives oftener than it was tried", not audit.doubled, f"{audit.doubled or 0}")
    yield Check("nothing arrives of calls that were half sent", not audit.from_nothing, f"{audit.from_nothing or 0}")
    count = sum(count for count, _ in evidence.ledgers)
    digest = sum(int(each, 16) for _, each in evidence.ledgers) & ((1 << 64) - 1)
    own = audit.arrived
    text = f"simulators {count} {digest:016x}, calls {own.count} {own.total:016x}"
    yield Check("all that arrived are these calls (digests)", (count, digest) == (own.count, own.total), text)


def _metrics(evidence: Evidence) -> Iterator[Check]:
    def grown(name: str, **labels: str) -> int:
        after, before = (total(each, name, **labels) for each in (evidence.series_after, evidence.series_before))
        return round(after - before)

    for feature in (KEPT, LEFT):
        fates = summed(evidence.tallies, left=feature == LEFT)
        sent = fates.total() - fates[Fate.HALF_SENT] - fates[Fate.NO_CONNECTION]
        counted = grown("glidepath_requests_total", feature=feature)
        text = f"gateway {counted}, callers {sent}"
        yield Check(f"metrics count each call once ({feature})", counted == sent, text)
        if feature == KEPT:
            good, whole = grown("glidepath_requests_total", feature=feature, outcome="ok"), fates[Fate.WHOLE]
            yield Check("outcome ok is what callers got whole", good == whole, f"gateway {good}, callers {whole}")
    again = ("glidepath_retries_total", "glidepath_failovers_total")
    extra, audit = sum(grown(name, feature=KEPT) for name in again), evidence.audit
    text = f"gateway {extra}, callers {audit.extra_kept}"
    yield Check("extra attempts are what callers were told", extra == audit.extra_kept, text)

    def ended(*causes: str) -> int:
        duration, model = "gen_ai_server_request_duration_seconds_count", f"copilot/{KEPT}"
        first = sum(grown(name, feature=KEPT, cause=cause) for name in again for cause in causes)
        return first + sum(grown(duration, gen_ai_request_model=model, error_type=cause) for cause in causes)

    unsent = ended(*_NOT_SENT)
    arrived, tried = audit.arrived_kept, audit.attempts_kept
    again_silently = arrived - (tried - unsent)
    text = (
        f"attempts {tried}, not sent {unsent}, arrived {arrived} ({again_silently:+}: sent again on a new connection)"
    )
    held = -ended(_GIVEN_UP) <= again_silently <= audit.broken_kept
    yield Check("every attempt that was sent arrived, once but for kept connections that broke", held, text)


def _flat(evidence: Evidence, bounds: Bounds) -> Iterator[Check]:
    judged, filling_mb = _settled(evidence, bounds)
    for name, later, spare_mb in (("supervisor", judged, 0.0), ("workers", judged, filling_mb)):
        allowed = bounds.rss_mb_per_min + spare_mb
        grows = slope([(each.at_s, _usage(each, name).rss_bytes) for each in later]) * 60 / MB
        first, last = (_usage(each, name).rss_bytes / MB for each in (evidence.before, evidence.after))
        since = f"from {later[0].at_s if later else 0:.0f} s"
        text = f"{grows:+.2f} MB/min {since} (bound {allowed:.3g}); {first:.0f} MB before, {last:.0f} MB after"
        yield Check(f"memory of the {name} is flat in the second half", bool(later) and grows <= allowed, text)


def _settled(evidence: Evidence, bounds: Bounds) -> tuple[Sequence[Sample], float]:
    """The second half, or less, from when the index of answers is full; else what that may grow by (MB/min)."""
    later = second_half(evidence.samples)
    if not later:
        return later, 0.0
    began_s, ended_s = evidence.samples[0].at_s, later[-1].at_s
    answered = sum((summed(evidence.tallies, left=left) for left in (False, True)), Counter[Fate]()).total()
    full_s = began_s + (ended_s - began_s) * ANSWERS_MAX * bounds.workers / max(1, answered)
    if full_s <= later[0].at_s:
        return later, 0.0
    if full_s < ended_s - (ended_s - began_s) * _JUDGED_SHARE_MIN:
        return [each for each in later if each.at_s >= full_s], 0.0
    return later, answered / max(1.0, ended_s - began_s) * 60 * ANSWER_BYTES / MB


def _zero(evidence: Evidence) -> Iterator[Check]:
    before, after = evidence.before, evidence.after
    text = ", ".join(f"{name} {after.gauges[name]:g}" for name in _ZERO)
    yield Check("gauges are back to zero", not any(after.gauges[name] for name in _ZERO), text)
    sockets = [each.supervisor.sockets + each.workers.sockets for each in (before, after)]
    peak = max((each.supervisor.sockets + each.workers.sockets for each in evidence.samples), default=0)
    allowed = sockets[0] + after.gauges["idle"] + _SPARE_SOCKETS
    text = f"{sockets[0]} before, at most {peak}, {sockets[1]} after ({after.gauges['idle']:g} idle to upstreams)"
    yield Check("sockets are closed", sockets[1] <= allowed, text)
    tasks = [round(each.gauges["tasks"]) for each in (before, after)]
    yield Check("no task is left", tasks[1] <= tasks[0] + _SPARE_TASKS, f"{tasks[0]} before, {tasks[1]} after")
    yield Check("the simulators wait for nobody", evidence.left_open == 0, f"{evidence.left_open} requests open")


def _usage(sample: Sample, name: str) -> Usage:
    return sample.supervisor if name == "supervisor" else sample.workers
