"""The judge of answers finds what is wrong, else a good verdict would mean nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout.core.audit import AuditEntry, record_change
from rollout.core.commands import kill, set_share
from rollout.core.model import FeatureFlag
from tests.system.rollout.ledger import Findings, Ledger
from tests.system.rollout.traffic import Seen

SPLIT = FeatureFlag(feature="f", candidate="inhouse", baseline="partner", salt="copilot-inhouse")
BUCKET = 3_963  # of user-1 with that salt, as published
GOOD = Findings([], [], [], [])


def log(*flags: FeatureFlag) -> list[AuditEntry]:
    """A commit each second, from 101 on."""
    made = [replace(flag, revision=number) for number, flag in enumerate(flags, 1)]
    pairs = zip([None, *made], made, strict=False)
    return [
        record_change(before, after, actor="ann", command="c", reason="r", at_s=100.0 + after.revision)
        for before, after in pairs
    ]


@pytest.fixture
def ledger() -> Ledger:
    flags = SPLIT, set_share(SPLIT, BUCKET), set_share(SPLIT, BUCKET + 1)
    return Ledger("f", log(*flags, kill(flags[2], actor="ann", reason="r", at_s=104.0)))


def answer(revision: int, arm: str = "baseline", at_s: float = 110.0, **rest: object) -> Seen:
    told = {"arm": arm, "assigned": arm, "reason": "SPLIT", "revision": revision, **rest}
    return Seen(0, "f", "user-1", at_s - 0.01, at_s, 200, **told)


def test_what_was_committed_is_good(ledger: Ledger) -> None:
    killed = answer(3, reason="KILLED")
    fallen_back = answer(3, arm="baseline", assigned="candidate")
    assert ledger.judge([answer(1), answer(2), answer(3, "candidate"), answer(4), killed, fallen_back]) == GOOD
    assert ledger.judge([answer(9)._replace(feature="other")]) == GOOD


@pytest.mark.parametrize("revision", [1, 2, 4])
def test_a_candidate_beyond_the_share_or_under_a_kill_is_found(ledger: Ledger, revision: int) -> None:
    for wrong in (answer(revision, "candidate"), answer(revision, arm="candidate", assigned="baseline")):
        assert ledger.judge([wrong]) == GOOD._replace(exceeded=[wrong])


def test_a_revision_nobody_committed_or_not_yet_is_found(ledger: Ledger) -> None:
    wrong = [answer(0), answer(5), answer(3, "candidate", at_s=102.9)]
    assert ledger.judge(wrong) == GOOD._replace(unknown=wrong)


def test_a_share_that_is_not_given_is_found(ledger: Ledger) -> None:
    wrong = answer(3)
    assert ledger.judge([wrong]) == GOOD._replace(withheld=[wrong])


def test_failures_are_found(ledger: Ledger) -> None:
    wrong = [answer(3)._replace(status=502), answer(3, trouble="cut")]
    assert ledger.judge(wrong) == GOOD._replace(failed=wrong)


def test_the_lag_is_that_of_the_latest_old_answer(ledger: Ledger) -> None:
    answers = [answer(1, at_s=102.31), answer(2, at_s=103.11), answer(4, at_s=200.0)]
    assert ledger.lag_s(answers) == pytest.approx(0.3)
    assert ledger.lag_s([answer(4)]) == 0.0


def test_a_log_without_its_beginning_is_refused() -> None:
    with pytest.raises(AssertionError, match="beginning"):
        Ledger("f", log(SPLIT, set_share(SPLIT, 1))[1:])
