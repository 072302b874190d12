"""Pairs per day: one count over all workers, and none without the store."""

from gateway.core.admission.leasing import Leasing
from gateway.core.judging.budget import Budget
from rollout.core.quota import QuotaGrant, grant

DAY_S = 86_400.0


class Fleet:
    """A store, and the budgets of several workers."""

    def __init__(self, workers: int, pairs: int) -> None:
        self.used: dict[tuple[str, int], int] = {}
        self.leasings = [Leasing(lambda: None) for _ in range(workers)]
        self.budgets = [Budget("j", pairs, leasing) for leasing in self.leasings]

    def lease(self, now_s: float) -> None:
        for leasing in self.leasings:
            sent = leasing.plan(now_s)
            grants: list[QuotaGrant] = []
            for each in sent:
                grants.append(grant(self.used.get((each.ask.name, each.ask.window), 0), each.ask))
                self.used[each.ask.name, each.ask.window] = grants[-1].used
            leasing.take(sent, grants)

    def spend(self, now_s: float, rounds: int) -> int:
        taken = 0
        for turn in range(rounds):
            self.lease(now_s + turn / 10)
            taken += sum(budget.take(now_s + turn / 10) for budget in self.budgets)
        return taken


def test_all_workers_together_show_no_more_pairs_than_a_day_has() -> None:
    fleet = Fleet(3, 10)
    assert fleet.spend(1_000.0, 200) == 10
    assert all(budget.spent(1_030.0) for budget in fleet.budgets)


def test_the_next_day_has_its_own() -> None:
    fleet = Fleet(1, 5)
    assert fleet.spend(1_000.0, 100) == 5
    assert not fleet.budgets[0].spent(1_000.0 + DAY_S)
    assert fleet.spend(1_000.0 + DAY_S, 100) == 5


def test_without_the_store_there_is_nothing_to_spend() -> None:
    fleet = Fleet(1, 5)
    assert not fleet.budgets[0].take(1_000.0)
    assert not fleet.budgets[0].spent(1_000.0)


def test_a_pair_that_was_not_shown_does_not_count() -> None:
    fleet = Fleet(1, 1)
    assert fleet.spend(1_000.0, 50) == 1
    assert fleet.budgets[0].spent(1_005.0)
    fleet.budgets[0].give_back()
    assert not fleet.budgets[0].spent(1_005.0)
    assert fleet.budgets[0].take(1_005.0)
