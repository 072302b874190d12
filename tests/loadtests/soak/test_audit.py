import pytest

from loadtests.simulator.ledger import Digest
from loadtests.soak.answer import Fate
from loadtests.soak.audit import BATCH, Audit, Mark, batches
from loadtests.soak.plan import identifier_of
from loadtests.soak.tally import UNSEEN, Tally


def tally(*calls: tuple[Fate, int, bool]) -> Tally:
    fates, attempts, left = (bytes(column) for column in zip(*calls, strict=True))
    return Tally("r", fates, attempts, left, {}, 0, 1.0)


def audited(fate: Fate, attempts: int, mark: Mark, *, left: bool = False) -> Audit:
    audit = Audit()
    audit.take(tally((fate, attempts, left)), range(1), [mark])
    return audit


@pytest.mark.parametrize(
    ("fate", "attempts", "mark"),
    [
        (Fate.WHOLE, 1, Mark(1, 1)),
        (Fate.WHOLE, 2, Mark(1, 1)),
        (Fate.WHOLE, 2, Mark(2, 1, 1)),
        (Fate.WHOLE, 1, Mark(2, 1, 1)),
        (Fate.REFUSED, 0, Mark(0, 0)),
        (Fate.LEFT, UNSEEN, Mark(2, 0)),
        (Fate.HALF_SENT, UNSEEN, Mark(0, 0)),
    ],
)
def test_what_may_be(fate: Fate, attempts: int, mark: Mark) -> None:
    assert audited(fate, attempts, mark).offences == 0


def test_what_may_not_be() -> None:
    assert audited(Fate.WHOLE, 1, Mark(2, 2)).doubled == ["soak-r-0"]
    assert audited(Fate.REFUSED, 0, Mark(1, 1)).doubled == ["soak-r-0"]
    assert audited(Fate.LEFT, UNSEEN, Mark(3, 1)).doubled == ["soak-r-0"]
    assert audited(Fate.WHOLE, 1, Mark(0, 0)).lost == ["soak-r-0"]
    assert audited(Fate.WHOLE, 1, Mark(1, 0, 1)).lost == ["soak-r-0"]
    assert audited(Fate.HALF_SENT, UNSEEN, Mark(1, 0)).from_nothing == ["soak-r-0"]


def test_sums_are_of_kept_calls_whose_attempts_are_known() -> None:
    audit = Audit()
    calls = ((Fate.WHOLE, 2, False), (Fate.WHOLE, 1, True), (Fate.BROKEN, UNSEEN, False))
    audit.take(tally(*calls), range(3), [Mark(2, 1, 1), Mark(1, 1), Mark(1, 0)])
    assert (audit.attempts_kept, audit.extra_kept, audit.arrived_kept, audit.broken_kept) == (2, 1, 2, 1)
    ids = [identifier_of("r", number) for number in (0, 0, 1, 2)]
    assert audit.arrived.shown() == Digest(ids).shown()


def test_offenders_are_shown_up_to_a_bound() -> None:
    audit = Audit()
    audit.take(tally(*[(Fate.WHOLE, 1, False)] * 50), range(50), [Mark(0, 0)] * 50)
    assert (len(audit.lost), audit.offences) == (20, 50)


def test_batches_cover_every_call_once() -> None:
    found = [number for part in batches(tally(*[(Fate.WHOLE, 1, False)] * (BATCH + 3))) for number in part]
    assert found == list(range(BATCH + 3))
