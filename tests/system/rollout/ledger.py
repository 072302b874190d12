"""Answers held against the audit log: what each said must have been committed by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.audit import replay
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rollout.core.audit import AuditEntry
    from rollout.core.model import Decision, FeatureFlag
    from tests.system.rollout.traffic import Seen


class Commit(NamedTuple):
    """A revision of one flag and since when it counts (Unix time; the writer took it before it wrote)."""

    flag: FeatureFlag
    at_s: float
    decide: Callable[[Subject], Decision]


class Findings(NamedTuple):
    """What is wrong, as answers; all are empty in a good run, but for `withheld` where a store is doubted."""

    failed: list[Seen]
    unknown: list[Seen]
    """The revision named was never committed, or only after the answer."""
    exceeded: list[Seen]
    """Assigned or served the candidate beyond what that revision gives."""
    withheld: list[Seen]
    """Assigned the baseline, without a kill, though that revision gives the candidate."""


def assert_good(found: Findings) -> None:
    """Nothing is wrong; else a few of each kind are shown."""
    few = {name: answers[:3] for name, answers in found._asdict().items() if answers}
    assert not few, few


def assert_whole_ramp(ledger: Ledger, shares: Sequence[int]) -> None:
    """Controllers made each step of a ramp to its end once, in order, and nothing else."""
    made = [(entry.command, entry.share_after_millipct) for entry in ledger.entries if entry.actor == "controller"]
    advances = [("advance", share) for share in shares[1:]]
    assert made == [*advances, ("monitor", shares[-1]), ("complete", shares[-1])], ledger.entries


class Ledger:
    """Every revision of one feature, from its audit entries, oldest first and complete."""

    def __init__(self, feature: str, entries: Sequence[AuditEntry]) -> None:
        assert entries
        assert entries[0].revision_before == 0, "the log of the feature does not begin at its beginning"
        self.feature = feature
        self.entries = tuple(entries)
        self.commits: dict[int, Commit] = {}
        for number, entry in enumerate(entries, 1):
            flag = replay(entries[:number])[feature]
            compiled = compile_snapshot({feature: flag}, 1).features[feature]
            self.commits[entry.revision_after] = Commit(flag, entry.at_s, compiled.decide)

    def judge(self, seen: Iterable[Seen]) -> Findings:
        found = Findings([], [], [], [])
        for each in seen:
            if each.feature == self.feature:
                self._judge(each, found)
        return found

    def lag_s(self, seen: Iterable[Seen]) -> float:
        """How long after a revision was superseded the latest request was sent that still got it."""
        after = {before: commit.at_s for before, commit in zip(self.commits, list(self.commits.values())[1:])}  # noqa: B905  the newest is not superseded
        good = (each for each in seen if each.feature == self.feature and not each.failed)
        return max((each.sent_s - after[each.revision] for each in good if each.revision in after), default=0.0)

    def _judge(self, seen: Seen, found: Findings) -> None:
        if seen.failed:
            found.failed.append(seen)
            return
        commit = self.commits.get(seen.revision)
        if commit is None or commit.at_s > seen.got_s:
            found.unknown.append(seen)
            return
        gives_candidate = commit.decide(Subject(user=seen.user)).arm == "candidate"
        has_candidate = "candidate" in {seen.arm, seen.assigned}
        if has_candidate and not gives_candidate:
            found.exceeded.append(seen)
        elif gives_candidate and seen.assigned != "candidate" and seen.reason != "KILLED":
            found.withheld.append(seen)
