"""What became of a ramp: its audit entries, the stages they make, and how it stands now (pure)."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from loadtests.demo.plan import percent

CONTROLLER: Final = "controller"


class Estimate(NamedTuple):
    """What evidence knows of an effect: candidate against baseline, an interval that holds at all times at once."""

    effect: float | None
    lower: float | None
    upper: float | None


class GateSaid(NamedTuple):
    """What a gate said; `value` is None where there was none, `estimate` is None but for gates of evidence."""

    gate: str
    result: str
    value: float | None
    limit: float | None
    reason: str = ""
    estimate: Estimate | None = None

    def __str__(self) -> str:
        """One line with value and limit."""
        value, limit = ("-" if each is None else f"{each:.3g}" for each in (self.value, self.limit))
        return f"{self.gate} {self.result} {value}, limit {limit}"


class Entry(NamedTuple):
    """One entry of the audit log: the flag after it. `at_s` is Unix time; `phase` is None before any ramp."""

    at_s: float
    actor: str
    command: str
    reason: str
    revision: int
    share_millipct: int
    killed: bool
    phase: str | None
    said: tuple[GateSaid, ...]


class Stage(NamedTuple):
    """A time in which one share was in force: the flag's revisions from `first` to before `until`."""

    name: str
    share_millipct: int
    killed: bool
    first: int
    until: int = sys.maxsize

    @property
    def share(self) -> float:
        """Return the share that conversations should really meet, 0 to 1."""
        return 0.0 if self.killed else self.share_millipct / 100_000

    def holds(self, revision: int | None) -> bool:
        """Whether a decision of that revision was made in this stage."""
        return revision is not None and self.first <= revision < self.until


class Held(NamedTuple):
    """Why the share doesn't rise; `text` has value and limit."""

    reason: str
    text: str


class Standing(NamedTuple):
    """How a feature's ramp stands; `phase` is None without one, steps count from 0."""

    feature: str
    revision: int
    share_millipct: int
    killed: bool
    phase: str | None = None
    step: int = -1
    steps: int = 0
    holds: tuple[Held, ...] = ()
    said: tuple[GateSaid, ...] = ()


def standing_of(view: Mapping[str, Any]) -> Standing:
    """Read a feature as the operator API shows it."""
    plain = (view["feature"], view["revision"], view["share_millipct"], view["kill"]["on"])
    ramp = view.get("ramp_state")
    if ramp is None:
        return Standing(*plain)
    holds = tuple(Held(each["reason"], each["text"]) for each in ramp["holds"])
    return Standing(*plain, ramp["phase"], ramp["step"], ramp["steps"], holds, said_of(ramp["verdicts"]))


def said_of(verdicts: Iterable[Mapping[str, Any]]) -> tuple[GateSaid, ...]:
    """Read verdicts as the operator API shows them."""
    return tuple(_said(each) for each in verdicts)


def entries_of(page: Sequence[Mapping[str, Any]], before: Sequence[Entry] = ()) -> tuple[Entry, ...]:
    """Read a page of a feature's history (newest first) on top of the entries that are known, oldest first."""
    known = list(before)
    for each in reversed(page):
        if not known or each["revision_after"] > known[-1].revision:
            known.append(_entry(each, known[-1] if known else None))
    return tuple(known)


def rollback_of(entries: Sequence[Entry]) -> Entry | None:
    """Return where the last start's ramp was rolled back, None if it was not."""
    return next((entry for entry in of_this_run(entries) if entry.command == "roll_back"), None)


def of_this_run(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries from the last start on."""
    starts = [number for number, entry in enumerate(entries) if entry.command == "start"]
    return tuple(entries[starts[-1] :]) if starts else ()


def stages_of(entries: Sequence[Entry]) -> tuple[Stage, ...]:
    """Return the stages that the last start led to: one for each time that share and kill stayed as they were."""
    begun: list[Entry] = []
    for entry in of_this_run(entries):
        if not begun or (entry.share_millipct, entry.killed) != (begun[-1].share_millipct, begun[-1].killed):
            begun.append(entry)
    ends = [after.revision for _, after in pairwise(begun)] + [sys.maxsize]
    lifted = [before.killed and not after.killed for before, after in pairwise(begun)]
    return tuple(
        Stage(_name(entry, lifted=again), entry.share_millipct, entry.killed, entry.revision, until)
        for entry, until, again in zip(begun, ends, [False, *lifted], strict=False)
    )


def _said(verdict: Mapping[str, Any]) -> GateSaid:
    plain = (verdict["gate"], verdict["result"], verdict.get("value"), verdict.get("limit"))
    return GateSaid(*plain, verdict.get("reason") or "", _estimate(verdict.get("estimate")))


def _estimate(given: Mapping[str, Any] | None) -> Estimate | None:
    return None if given is None else Estimate(given.get("effect"), given.get("lower"), given.get("upper"))


def _name(entry: Entry, *, lifted: bool) -> str:
    extra = ", killed" if entry.killed else ", kill lifted" if lifted else ""
    return percent(entry.share_millipct) + extra


def _entry(entry: Mapping[str, Any], before: Entry | None) -> Entry:
    """Read one entry; its details hold what changed, so the rest is as before."""
    details = entry["details"]
    kill, progress = details.get("kill"), details.get("progress")
    killed = before is not None and before.killed if kill is None else bool(kill.get("on"))
    phase = (before.phase if before else None) if progress is None else progress.get("phase", "DRAFT")
    return Entry(
        at_s=entry["at_s"],
        actor=entry["actor"],
        command=entry["command"],
        reason=entry["reason"],
        revision=entry["revision_after"],
        share_millipct=entry["share_after_millipct"],
        killed=killed,
        phase=phase,
        said=said_of(entry.get("verdicts") or ()),
    )
