"""Flags as code, over store, follower and clock, without HTTP: apply a document, plan a ramp."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from rollout.core.applying import APPLY, Known, Proposal, Wanted, findings_of, propose
from rollout.core.audit import record_change
from rollout.core.codec import parse_document, read_tree
from rollout.core.commands import checked_reason
from rollout.core.configuration import EARLY_ACCESS
from rollout.core.errors import DocumentRefused, InvalidDocument, RolloutError, UnknownFeature
from rollout.core.position import Standing, compare
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import GateMemory
from rollout.core.ramp_plan import Findings, PlannedStep, dry_run, total_s
from rollout.core.ramp_shown import encode_memory
from rollout.flag_writer import store_reset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollout.core.model import FeatureFlag
    from rollout.follower import Follower
    from rollout.ports import Clock, Store
    from rollout.surroundings import Surroundings

_DRY = "dry run"


class Outcome(NamedTuple):
    """What became of one feature of a document, or would; `revision` is the one it has now."""

    proposal: Proposal
    revision: int


class ApplyStopped(RolloutError):  # noqa: N818  named like the faults in core.errors
    """A document was written in part: `written` features are as it has them; `fault` stopped it at `feature`."""

    def __init__(self, fault: RolloutError, feature: str, written: tuple[str, ...]) -> None:
        super().__init__(fault.cause, fault.hint)
        self.exit_code = fault.exit_code
        self.fault, self.feature, self.written = fault, feature, written


class Planned(NamedTuple):
    """A dry run of a ramp. `units_per_s`: None when nobody knows; then what depends on it is infinite."""

    feature: str
    units_per_s: float | None
    steps: tuple[PlannedStep, ...]
    post_monitor_s: float
    total_s: float
    findings: Findings


class CodeOperations:
    """Every write is a compare-and-set on the revision that was decided at; then this replica catches up at once."""

    def __init__(self, store: Store, follower: Follower, clock: Clock, surroundings: Surroundings) -> None:
        self._store, self._follower, self._clock, self._around = store, follower, clock, surroundings

    async def apply(
        self, document: bytes, *, dry_run: bool, actor: str, reason: str, anew: bool = False
    ) -> tuple[Outcome, ...]:
        """Bring the document's features into force, or say what that would mean.

        Nothing is written if any of it is refused. ApplyStopped when a write fails: other writers, or the store.
        """
        order = Order(actor, _DRY if dry_run and not reason else checked_reason(reason), self._clock.now_s())
        wanted = read_wanted(document)
        flags = await self._flags()
        proposals = propose(flags, wanted, order, self._known(wanted), anew=anew)
        if dry_run:
            return tuple(Outcome(each, each.revision) for each in proposals)
        try:
            return await self._written(proposals, flags, order)
        finally:
            await self._follower.refresh()

    async def plan(self, feature: str, document: bytes, units_per_s: float | None) -> Planned:
        """Say how long each step of a ramp takes: of the document's flag, or without a document of the stored one.

        `units_per_s`: None for what is measured now, if anybody knows. InvalidDocument without a ramp.
        """
        flags: Mapping[str, FeatureFlag]
        flags = {name: each.flag for name, each in read_wanted(document).items()} if document else await self._flags()
        if feature not in flags:
            raise UnknownFeature(feature, flags)
        flag = flags[feature]
        if flag.ramp is None:
            raise DocumentRefused([f"{feature!r} has no ramp"], "write its steps into the document")
        rate = self._around.rate_of(feature) if units_per_s is None else units_per_s
        found = findings_of(flag, Known(units_per_s={} if rate is None else {feature: rate}))
        steps = dry_run(flag.ramp, flag.gates, rate)
        return Planned(feature, rate, steps, flag.ramp.post_monitor_s, total_s(steps, flag.ramp), found)

    async def _flags(self) -> Mapping[str, FeatureFlag]:
        """Read the store; StoreReset for one that lost data: features begun anew would hide that."""
        standing = compare(self._follower.position, await self._store.position())
        if standing is not Standing.FOLLOWS:
            raise store_reset(standing)
        return (await self._store.load())[1]

    async def _written(
        self, proposals: tuple[Proposal, ...], flags: Mapping[str, FeatureFlag], order: Order
    ) -> tuple[Outcome, ...]:
        done: list[Outcome] = []
        for proposal in proposals:
            try:
                revision = await self._write(proposal, flags.get(proposal.feature), order)
            except RolloutError as fault:
                written = tuple(each.proposal.feature for each in done if each.proposal.writes)
                raise ApplyStopped(fault, proposal.feature, written) from fault
            done.append(Outcome(proposal, revision))
        return tuple(done)

    async def _write(self, proposal: Proposal, before: FeatureFlag | None, order: Order) -> int:
        """Carry out one feature's commands; its revision after them. The gates forget what they saw of another plan."""
        revision = proposal.revision
        for command, after in proposal.writes:
            entry = record_change(
                before, after, actor=order.actor, command=command, reason=order.reason, at_s=order.at_s
            )
            before = await self._store.put_if_revision(after, revision, entry)
            revision = before.revision
        if any(each.command != APPLY for each in proposal.writes):
            with suppress(RolloutError):  # the next attempt voids it at the latest
                await self._store.put_memory(proposal.feature, revision, encode_memory(GateMemory()))
        return revision

    def _known(self, wanted: Mapping[str, Wanted]) -> Known:
        rates = {feature: self._around.rate_of(feature) for feature in wanted}
        known = {feature: rate for feature, rate in rates.items() if rate is not None}
        around = self._around
        return Known(around.upstreams(), around.attributes(), known, around.judges())


def read_wanted(document: bytes) -> dict[str, Wanted]:
    """Read a document of some features; DocumentRefused names the place and the fault."""
    try:
        tree = read_tree(document)
        flags = parse_document(tree, whole=False)
    except InvalidDocument as fault:
        raise DocumentRefused([fault.cause]) from fault
    if not flags:
        raise DocumentRefused(["the document has no features"], 'they belong under "x-rollouts"')
    return {feature: Wanted(flag, _given(tree["x-rollouts"][feature])) for feature, flag in flags.items()}


def _given(entry: Mapping[str, Any]) -> frozenset[str]:
    listed = "early_access" in (entry.get("eligibility") or {})
    return frozenset((*entry, EARLY_ACCESS) if listed else entry)
