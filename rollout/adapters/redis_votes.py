"""People's votes in Redis: of each feature a hash by pair and voter."""

from typing import cast

from rollout.adapters import redis_scripts as names
from rollout.adapters.redis_connection import RedisConnection
from rollout.core import votes as rules
from rollout.core.codec import decode_stored
from rollout.core.votes import Vote

_SCANNED = 1_000
# KEYS: the votes. ARGV: pair and voter, the vote, how many may be kept, how long (ms).
_PUT = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""


class RedisVotes(RedisConnection):
    """What every replica's voters vote in."""

    async def put_vote(self, vote: Vote) -> None:
        """See `Store.put_vote`."""
        raw = rules.checked(vote)
        values = (f"{vote.pair}|{vote.voter}", raw, rules.VOTES_MAX, round(rules.KEEP_S * 1_000))
        if not await self._script(_PUT, (names.votes_of(vote.feature),), values):
            raise rules.too_many()

    async def votes(self, feature: str) -> list[Vote]:
        """See `Store.votes`. In pieces, so that many votes hold up nobody else."""
        found: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            asked = self._redis.hscan(names.votes_of(feature), cursor, count=_SCANNED)
            cursor, part = cast("tuple[int, dict[bytes, bytes]]", await self._answer(asked))
            found |= part
            if not cursor:
                return rules.in_order(decode_stored(raw, Vote) for raw in found.values())
