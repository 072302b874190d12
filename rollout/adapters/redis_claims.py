"""Units that have been counted, in Redis: of each draw two strings of bits, see `core.claims`."""

from collections.abc import Sequence

from rollout.adapters import redis_scripts as names
from rollout.adapters.redis_connection import RedisConnection
from rollout.core import claims as rules
from rollout.core.claims import Claim

# KEYS: the flush; three of each draw, see `redis_scripts.claims_of`. ARGV: how long flushes and claims are kept (ms),
# when a filter gives way to the next (units, ms), how many bits a unit has; of each unit the place of its draw among
# KEYS, and where its bits are. Answers with a 0 or 1 for each unit, as text.
_CLAIM = """
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local probes, granted, before, fresh = tonumber(ARGV[5]), {}, {}, {}
for i = 2, #KEYS, 3 do
  local turn = redis.call('HMGET', KEYS[i + 2], 'units', 'began_ms')
  local began_ms = tonumber(turn[2]) or now_ms
  if (tonumber(turn[1]) or 0) >= tonumber(ARGV[3]) and now_ms - began_ms >= tonumber(ARGV[4]) then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    redis.call('HSET', KEYS[i + 2], 'units', 0)
    began_ms = now_ms
  end
  redis.call('HSET', KEYS[i + 2], 'began_ms', string.format('%.0f', began_ms))
  before[i], fresh[i] = redis.call('EXISTS', KEYS[i + 1]) == 1, 0
end
for i = 6, #ARGV, probes + 1 do
  local draw, new = tonumber(ARGV[i]), false
  for j = i + 1, i + probes do
    if redis.call('SETBIT', KEYS[draw], ARGV[j], 1) == 0 then new = true end
  end
  if new then
    fresh[draw] = fresh[draw] + 1
    if before[draw] then
      new = false
      for j = i + 1, i + probes do
        if redis.call('GETBIT', KEYS[draw + 1], ARGV[j]) == 0 then new = true end
      end
    end
  end
  granted[#granted + 1] = new and '1' or '0'
end
for i = 2, #KEYS, 3 do
  redis.call('HINCRBY', KEYS[i + 2], 'units', fresh[i])
  for j = i, i + 2 do redis.call('PEXPIRE', KEYS[j], ARGV[2]) end
end
local answer = table.concat(granted)
redis.call('SET', KEYS[1], answer, 'PX', ARGV[1])
return answer
"""


class RedisClaims(RedisConnection):
    """What every worker claims in."""

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """See `Store.claim_units`."""
        rules.check_claims(claims, flush_id)
        places: dict[tuple[str, str, str], int] = {}
        values: list[int] = []
        for claim in claims:
            name = names.claims_of(claim.feature, claim.draw)
            page, offsets = rules.bits_of(claim.digest)
            values.append(places.setdefault(name, 3 * len(places) + 2))
            values.extend(page * rules.PAGE_BITS + offset for offset in offsets)
        kept = (_ms(rules.REMEMBER_FLUSH_S), _ms(rules.KEEP_S))
        head = (*kept, rules.FULL_UNITS, _ms(rules.TURN_S), rules.PROBES)
        keys = (names.claimed_of(flush_id), *(key for place in places for key in place))
        answer = await self._script(_CLAIM, keys, (*head, *values))
        return tuple(sign == ord("1") for sign in answer)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
