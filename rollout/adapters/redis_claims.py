"""Units that have been counted, in Redis: of each draw one string of bits."""

from collections.abc import Sequence

from rollout.adapters import redis_scripts as names
from rollout.adapters.redis_connection import RedisConnection
from rollout.core import claims as rules
from rollout.core.claims import Claim

# KEYS: the flush; the bits of each draw. ARGV: how long flushes and claims are kept (ms), how many bits a unit has;
# of each unit the place of its draw among KEYS, and where its bits are. Answers with a 0 or 1 for each unit, as text.
_CLAIM = """
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
local probes, granted = tonumber(ARGV[3]), {}
for i = 4, #ARGV, probes + 1 do
  local bits, new = KEYS[tonumber(ARGV[i])], '0'
  for j = i + 1, i + probes do
    if redis.call('SETBIT', bits, ARGV[j], 1) == 0 then new = '1' end
  end
  granted[#granted + 1] = new
end
for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
local answer = table.concat(granted)
redis.call('SET', KEYS[1], answer, 'PX', ARGV[1])
return answer
"""


class RedisClaims(RedisConnection):
    """What every worker claims in."""

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """See `Store.claim_units`."""
        rules.check_claims(claims, flush_id)
        places: dict[str, int] = {}
        values: list[int] = []
        for claim in claims:
            name = names.claims_of(claim.feature, claim.draw)
            page, offsets = rules.bits_of(claim.digest)
            values.append(places.setdefault(name, len(places) + 2))
            values.extend(page * rules.PAGE_BITS + offset for offset in offsets)
        head = (_ms(rules.REMEMBER_FLUSH_S), _ms(rules.KEEP_S), rules.PROBES)
        answer = await self._script(_CLAIM, (names.claimed_of(flush_id), *places), (*head, *values))
        return tuple(sign == ord("1") for sign in answer)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
