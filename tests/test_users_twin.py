"""What the benchmark adds up of users who keep their arm is what a gateway's worker would have: the same bits."""

import pytest

from gateway.core.checks.sampling import CheckSample
from gateway.core.cluster_requests import ClusterPlaces
from gateway.core.cluster_sums import ClusterBooks, entry_of
from gateway.core.unit_sums import Books
from gateway.core.units import End, Unit
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.sums import SumKey
from rollout.gates_bench.users.books import UsersBooks
from rollout.gates_bench.users.ramp import LOOK_REQUESTS, REQUESTS_PER_S, STAGES, flag_at
from rollout.gates_bench.users.world import SCENARIOS, Requests, UsersWorld

BEGAN_S = 1_000_000.0


class Worker:
    """A gateway's own books, which know each user by the first request and all of them by groups."""

    def __init__(self) -> None:
        self.good: dict[str, bool] = {}
        self.units = Books(CheckSample(BUCKETS), lambda unit: not self.good[unit.request_id])
        self.places, self.clusters = ClusterPlaces(), ClusterBooks()
        self.known: set[int] = set()

    def summed(self, flag: FeatureFlag, requests: Requests, entered_s: float) -> dict[SumKey, list[int]]:
        snapshot = compile_snapshot({flag.feature: flag}, flag.revision)
        self.units.learn(snapshot)
        self.places.learn(snapshot)
        arrived_s = entered_s - flag.evidence.age_s
        place = self.places.of(flag.feature, flag.revision)
        assert place is not None
        (part,) = place.parts
        entries, new = [], []
        rows = zip(*(column.tolist() for column in requests), strict=True)
        for number, (digest, candidate, good) in enumerate(rows):
            outcomes = [float(good)] * len(part.series)
            entries.append(entry_of(place, part, arrived_s, digest, candidate=candidate, outcomes=outcomes))
            if digest not in self.known:
                self.known.add(digest)
                new.append(self._unit(flag, arrived_s, digest, f"{entered_s}-{number}", candidate=candidate, good=good))
        return self.clusters.summed(entries) | self.units.summed(self.units.judged(entered_s, new))

    def _unit(
        self, flag: FeatureFlag, arrived_s: float, digest: int, request_id: str, *, candidate: bool, good: bool
    ) -> Unit:
        self.good[request_id] = good
        age_s = flag.evidence.age_s
        return Unit(
            arrived_s, digest, flag.feature, flag.revision, candidate, age_s, request_id, 1.0, End.ANSWERED, 1.0
        )


def without_counts(deltas: dict[SumKey, list[int]]) -> dict[SumKey, list[int]]:
    """Without the units of each arm, which the sample ratio is tested by."""
    return {key: row for key, row in deltas.items() if not key.name.startswith("units.")}


@pytest.mark.parametrize("scenario", SCENARIOS[::5], ids=lambda each: each.name)
def test_the_sums_are_those_of_a_worker(scenario) -> None:
    world, worker, twin = UsersWorld(scenario, 1), Worker(), UsersBooks()
    for step in range(len(STAGES)):
        flag = flag_at(step, BEGAN_S + step * 7_200.0)
        for look in range(3):
            entered_s = flag.progress.step_began_s + look * LOOK_REQUESTS / REQUESTS_PER_S
            requests = world.requests(LOOK_REQUESTS, STAGES[step].share_millipct)
            assert without_counts(worker.summed(flag, requests, entered_s)) == twin.summed(flag, requests, entered_s)
