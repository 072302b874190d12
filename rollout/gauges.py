"""Metrics of the rollout engine, read when scraped. Label values come from documents, configuration or closed sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from rollout.core.position import Standing
from rollout.core.ramp_model import Phase
from rollout.core.ramp_table import HoldReason
from rollout.core.webhooks import Attempted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from rollout.automation import Automation
    from rollout.follower import Follower


def ramp_families(follower: Follower, automation: Automation | None) -> Iterator[Metric]:
    """What every process sees of ramps and store, then what its own automation does, if it has one."""
    yield from _of_flags(follower)
    yield from _of_controller(automation)
    yield from _of_webhooks(automation)


def _of_flags(follower: Follower) -> Iterator[Metric]:
    flags = follower.flags
    phases = GaugeMetricFamily("glidepath_ramp_phase", "1 for the phase of the ramp.", labels=("feature", "phase"))
    steps = GaugeMetricFamily("glidepath_ramp_step", "Step of the ramp, -1 before the first.", labels=("feature",))
    for name, flag in flags.items():
        if flag.ramp is None:
            continue
        steps.add_metric((name,), flag.progress.step)
        for phase in Phase:
            phases.add_metric((name, phase), float(flag.progress.phase is phase))
    yield phases
    yield steps
    standings = GaugeMetricFamily(
        "glidepath_store_standing", "1 for how the store stands to what was read of it before.", labels=("standing",)
    )
    for standing in Standing:
        standings.add_metric((standing.replace(" ", "_"),), float(follower.standing is standing))
    yield standings


def _of_controller(automation: Automation | None) -> Iterator[Metric]:
    controller = None if automation is None else automation.controller
    leading = controller is not None and controller.leading
    yield GaugeMetricFamily("glidepath_controller_leading", "1 where ramps are moved.", value=float(leading))
    conflicts = 0 if controller is None else controller.conflicts
    yield CounterMetricFamily(
        "glidepath_controller_conflicts", "Decisions that came late: the flag had changed.", value=conflicts
    )
    holds = GaugeMetricFamily(
        "glidepath_ramp_hold", "1 while this keeps the ramp where it is.", labels=("feature", "reason")
    )
    gates = GaugeMetricFamily(
        "glidepath_gate_verdict", "1 for what the gate says.", labels=("feature", "gate", "result")
    )
    values = GaugeMetricFamily("glidepath_gate_value", "What the gate measured.", labels=("feature", "gate"))
    limits = GaugeMetricFamily("glidepath_gate_limit", "What that is held against.", labels=("feature", "gate"))
    for name, shown in ({} if controller is None else controller.shown).items():
        found = {hold.reason for hold in shown.holds}
        for reason in HoldReason:
            holds.add_metric((name, reason), float(reason in found))
        for verdict in shown.verdicts:
            gates.add_metric((name, verdict.gate, verdict.result), 1.0)
            for family, number in ((values, verdict.value), (limits, verdict.limit)):
                if number is not None:
                    family.add_metric((name, verdict.gate), number)
    yield from (holds, gates, values, limits)


def _of_webhooks(automation: Automation | None) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "glidepath_webhook_attempts",
        "Attempts to tell a receiver, and events given up.",
        labels=("receiver", "outcome"),
    )
    waiting = GaugeMetricFamily("glidepath_webhook_waiting", "Events that wait for a receiver.", labels=("receiver",))
    if automation is not None:
        counts = automation.webhooks.counts
        for receiver, number in automation.webhooks.waiting.items():
            waiting.add_metric((receiver,), number)
            for outcome in Attempted:  # those that are 0 too: a series that begins at 1 has not increased
                attempts.add_metric((receiver, outcome), counts[receiver, outcome])
    yield attempts
    yield waiting
