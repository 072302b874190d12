"""Answers to commands on flags: the flag afterwards, with its ETag, or as it is when somebody else was faster."""

from collections.abc import Awaitable

from fastapi import Response, status

from rollout.api.conditions import REPLAYED, etag
from rollout.api.feature_reads import FeatureReads
from rollout.api.problems import of_fault
from rollout.api.views import FeatureView, KillAnswer
from rollout.core.errors import RevisionConflict, StoreUnavailable
from rollout.core.model import FeatureFlag
from rollout.flag_writer import Done
from rollout.follower import Follower
from rollout.stops import StopOutcome


class Answers:
    """Makes the answers of one replica."""

    def __init__(self, reads: FeatureReads, follower: Follower) -> None:
        self._reads, self._follower = reads, follower

    async def done(self, work: Awaitable[Done], response: Response) -> FeatureView | Response:
        """Answer with the flag afterwards, or 412 with the flag as it is, so that nobody has to read it again."""
        try:
            done = await work
        except RevisionConflict as fault:
            return await self._conflict(fault)
        _stamp(response, done.flag, replayed=done.replayed)
        return await self._reads.show(done.flag)

    async def stopped(self, work: Awaitable[StopOutcome], response: Response) -> FeatureView:
        """Answer with the flag afterwards; 202 with the last one known, while the store can't be written."""
        outcome = await work
        if outcome.flag is not None:
            _stamp(response, outcome.flag, replayed=outcome.replayed)
            return await self._reads.show(outcome.flag, outcome.store)
        known = self._follower.flags.get(outcome.feature)
        if known is None:
            cause = f"{outcome.store}; this replica has never read the store"
            raise StoreUnavailable(cause, "nobody gets the candidate here, and the store is told when it is there")
        response.status_code = status.HTTP_202_ACCEPTED
        return await self._reads.show(known, outcome.store)

    async def killed(self, work: Awaitable[StopOutcome], response: Response) -> KillAnswer:
        """Answer how a kill or its lifting ended."""
        outcome = await work
        _stamp(response, outcome.flag, replayed=outcome.replayed)
        return self._reads.killed(outcome)

    async def _conflict(self, fault: RevisionConflict) -> Response:
        if fault.current is None:
            return of_fault(fault)
        current = await self._reads.show(fault.current)
        answer = of_fault(fault, current=current.model_dump(mode="json"))
        answer.headers["ETag"] = etag(fault.current.revision)
        return answer


def _stamp(response: Response, flag: FeatureFlag | None, *, replayed: bool) -> None:
    if flag is not None:
        response.headers["ETag"] = etag(flag.revision)
    if replayed:
        response.headers[REPLAYED] = "true"
