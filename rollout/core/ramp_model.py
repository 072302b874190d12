"""Frozen values of a ramp: the plan and its gates as written in the document, and the progress stored with the flag.

Imports nothing of the flag, so that the flag can hold these. Durations are kept as written ("30m") and read in seconds
from the property of the same name with `_s`; shares are integers in thousandths of a percent; times are Unix seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from rollout.core.duration import parse_duration
from rollout.core.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE_FIRST = -1
"""The step of a ramp whose share is below its first step."""

STEPS_MAX = 100
GATES_MAX = 100
LINE_CHARS_MAX = 500

Share = Annotated[int, Meta(ge=0, le=100_000)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Duration = Annotated[str, Meta(pattern=r"^[0-9]{1,9}[smhd]$")]
ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Offset = Annotated[str, Meta(pattern=r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
Line = Annotated[str, Meta(max_length=LINE_CHARS_MAX)]
Query = Annotated[str, Meta(max_length=4_000)]
Count = Annotated[int, Meta(ge=0)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Phase(StrEnum):
    """Where a ramp stands. A kill is no phase: it lies over any of them."""

    DRAFT = "DRAFT"
    READY = "READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    MONITORING = "MONITORING"
    COMPLETED = "COMPLETED"
    ROLLED_BACK = "ROLLED_BACK"


class Role(StrEnum):
    """What a gate may do: roll back, pause, or only be shown."""

    HARD = "hard"
    SOFT = "soft"
    OBSERVE = "observe"


class GateKind(StrEnum):
    """What a gate asks: is it shown to be no worse, is it shown to be worse, or is a number within its limit."""

    NONINFERIORITY = "noninferiority"
    HARM = "harm"
    THRESHOLD = "threshold"


class Cause(StrEnum):
    """Who stopped a ramp."""

    OPERATOR = "operator"
    GATE = "gate"
    SYSTEM = "system"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all of them share: unknown fields are refused, defaults are not written out."""


class Step(_Record, frozen=True):
    """One share and what it takes to leave it: time, candidate units, and no longer than `max_duration`.

    A first step of share 0 is for what needs nobody to meet the candidate: pairs of shadow calls.
    """

    share: Share
    bake: Duration = "0s"
    min_samples: Count = 0
    max_duration: Duration | None = None
    approval: bool = False
    """Entering this step needs a second person."""

    @property
    def bake_s(self) -> float:
        """Seconds the step lasts at least."""
        return parse_duration(self.bake)

    @property
    def max_duration_s(self) -> float | None:
        """Seconds after which the ramp is paused; None for no limit."""
        return None if self.max_duration is None else parse_duration(self.max_duration)


class Window(_Record, frozen=True):
    """Hours in which the automation may raise the share; `closes` before `opens` means past midnight.

    The offset is fixed: daylight saving isn't followed. `days` are those on which the window opens.
    """

    opens: ClockTime
    closes: ClockTime
    days: tuple[Day, ...] = EVERY_DAY
    utc_offset: Offset = "+00:00"


class Freeze(_Record, frozen=True):
    """Days, first and last included, on which the automation raises nothing (UTC)."""

    first: Date
    last: Date
    reason: Line = ""


class RampPlan(_Record, frozen=True):
    """The steps, and the rules that hold for all of them."""

    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=STEPS_MAX)]
    windows: Annotated[tuple[Window, ...], Meta(max_length=50)] = ()
    freezes: Annotated[tuple[Freeze, ...], Meta(max_length=50)] = ()
    cooldown: Duration = "1h"
    """From a rollback to the earliest restart."""
    post_monitor: Duration = "0s"
    """How long the last step's share is watched before the ramp counts as completed."""
    no_data_pause: Duration = "30m"
    """How long gates may lack data or fail to be read before the ramp pauses."""
    candidate_capacity: Query = ""
    """PromQL for the part of the feature's traffic that the candidate bears, 0 to 1; without it nobody looks."""

    def __post_init__(self) -> None:
        """Refuse steps that don't grow."""
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if after.share <= before.share:
                raise ValueError(f"steps must grow, a share of {after.share} follows {before.share}")

    @property
    def cooldown_s(self) -> float:
        """Seconds."""
        return parse_duration(self.cooldown)

    @property
    def post_monitor_s(self) -> float:
        """Seconds."""
        return parse_duration(self.post_monitor)

    @property
    def no_data_pause_s(self) -> float:
        """Seconds."""
        return parse_duration(self.no_data_pause)

    def step_at(self, share: int) -> int:
        """Return the last step whose share is not above `share`; BEFORE_FIRST if there is none."""
        return sum(step.share <= share for step in self.steps) - 1

    def criteria(self, step: int) -> Step:
        """Return what must be met to leave `step`: for a share below the first step that of the first."""
        return self.steps[max(step, 0)]


class FailureRule(_Record, frozen=True):
    """How many FAILs count: `count` in a row, or, with `within`, so many in that time."""

    count: Annotated[int, Meta(ge=1, le=1_000)]
    within: Duration | None = None

    @property
    def within_s(self) -> float | None:
        """Seconds; None: in a row."""
        return None if self.within is None else parse_duration(self.within)


class EarlyMargin(_Record, frozen=True):
    """A wider margin for shares below `below`: margins shrink as the share grows."""

    below: Annotated[int, Meta(gt=0, le=100_000)]
    margin: Annotated[float, Meta(gt=0)]


class Evidence(_Record, frozen=True):
    """When a unit is looked at: this long after its first request, whatever is known by then, in both arms alike.

    `age`: for what the requests tell themselves (errors, form, latency); `feedback_age`: for callers' ratings.
    """

    age: Duration = "30s"
    feedback_age: Duration = "1h"

    @property
    def age_s(self) -> float:
        """Seconds."""
        return parse_duration(self.age)

    @property
    def feedback_age_s(self) -> float:
        """Seconds."""
        return parse_duration(self.feedback_age)


class Gate(_Record, frozen=True, kw_only=True):
    """A question that is asked at every tick.

    `direction` is the better one. `margin`, `alpha` belong to the evidence kinds, `limit` to a threshold, `query` to
    PromQL; `newest` and `samples` are queries too, for the time of the newest sample and the number of observations
    behind it. `scope`: whether what passes must be measured in this step, or in this ramp (quality, which doesn't
    depend on load, carries over). `window` is how far a measurement looks back, `max_age` how old it may be.
    """

    name: Name
    role: Role
    source: Literal["evidence", "promql"]
    kind: GateKind
    metric: Annotated[str, Meta(max_length=100)] = ""
    direction: Literal["lower", "higher"] = "lower"
    margin: Annotated[float, Meta(gt=0)] | None = None
    early: Annotated[tuple[EarlyMargin, ...], Meta(max_length=8)] = ()
    alpha: Annotated[float, Meta(gt=0, lt=1)] | None = None
    query: Query = ""
    newest: Query = ""
    samples: Query = ""
    limit: float | None = None
    min_samples: Count = 0
    window: Duration = "0s"
    max_age: Duration = "2m"
    scope: Literal["step", "ramp"] = "step"
    failure: FailureRule | None = None

    @property
    def window_s(self) -> float:
        """Seconds."""
        return parse_duration(self.window)

    @property
    def max_age_s(self) -> float:
        """Seconds."""
        return parse_duration(self.max_age)

    def margin_at(self, share: int) -> float:
        """Return the margin that is asked while this share (millipct) is in force; 0 where there is none."""
        fitting = [early for early in self.early if share < early.below]
        return min(fitting, key=lambda early: early.below).margin if fitting else self.margin or 0.0


class Rollback(_Record, frozen=True):
    """How the share falls: at once, or down the plan's steps, one every `stage_every`.

    `partner_capacity_check`: never faster than the baseline has room for what comes back, as `baseline_capacity` says:
    PromQL for the part of the feature's traffic that it bears, 0 to 1.
    """

    mode: Literal["instant", "staged"] = "instant"
    to_share: Share = 0
    partner_capacity_check: bool = False
    baseline_capacity: Query = ""
    stage_every: Duration = "30s"

    @property
    def stage_every_s(self) -> float:
        """Seconds."""
        return parse_duration(self.stage_every)


class Pause(_Record, frozen=True):
    """Why a ramp stands still, since when (`since_s`), and who has taken notice."""

    by: Cause
    since_s: float
    actor: Line = ""
    reason: Line = ""
    acked_by: Line = ""


class Approval(_Record, frozen=True):
    """Leave to enter one step, given for one revision of one flag: any write after it makes it void."""

    feature: str
    revision: Count
    step: Count
    actor: Line
    at_s: float


class RolledBack(_Record, frozen=True):
    """A rollback: sticky until `cooldown_ends_s` and a restart. `staged_s`: when the share fell last.

    `gate`: the one that led to it, if a gate did; `verdicts`: what all gates said then.
    """

    by: Cause
    at_s: float
    cooldown_ends_s: float
    staged_s: float
    to_share: Share
    actor: Line = ""
    reason: Line = ""
    acked_by: Line = ""
    gate: str = ""
    verdicts: tuple[Verdict, ...] = ()


class Progress(_Record, frozen=True):
    """All that a ramp must know after a restart of its controller; written with the flag, bumping its revision.

    `attempt` counts starts, restarts, and pauses in which the questions to the evidence were changed. `paused_s` is the
    finished pauses of this step (or of the monitoring), `extended_s` what was added to its time.
    `proposer` last set the ramp's course and can't approve it. `skipped` are steps that a person ended without their
    proof.
    """

    phase: Phase = Phase.DRAFT
    attempt: Count = 0
    step: Annotated[int, Meta(ge=BEFORE_FIRST)] = BEFORE_FIRST
    ramp_began_s: float = 0.0
    step_began_s: float = 0.0
    paused_s: float = 0.0
    extended_s: float = 0.0
    paused: Pause | None = None
    proposer: Line = ""
    approval: Approval | None = None
    skipped: tuple[int, ...] = ()
    monitoring_since_s: float | None = None
    rolled_back: RolledBack | None = None

    def elapsed_s(self, now_s: float) -> float:
        """Return the seconds in this step, or of the monitoring, without pauses; 0 if the clock went back."""
        began_s = self.step_began_s if self.monitoring_since_s is None else self.monitoring_since_s
        until_s = now_s if self.paused is None else self.paused.since_s
        return max(0.0, until_s - began_s - self.paused_s)


class GateRecord(_Record, frozen=True):
    """What is remembered of one gate: FAILs in a row, when the last ones were measured, and what was counted last."""

    streak: Count = 0
    fails_s: tuple[float, ...] = ()
    counted_s: float | None = None


class GateMemory(_Record, frozen=True):
    """What changes at ticks without being a change of the flag; stored beside it, lost without harm.

    That of another attempt is no longer true. `blind_since_s`: since when some gate could not be read.
    """

    attempt: Count = 0
    gates: dict[str, GateRecord] = {}
    blind_since_s: float | None = None


def enforced(gates: Sequence[Gate]) -> list[Gate]:
    """Return the gates that can hold a ramp."""
    return [gate for gate in gates if gate.role is not Role.OBSERVE]
