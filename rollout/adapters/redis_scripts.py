"""Names and scripts of the shared store. A change is one script: all of it or nothing.

All keys carry one hash tag, so in a cluster they share a slot, which a script over them needs. A tag per feature would
spread them, but every change also counts the global version up: that one is for all.
"""

TAG = "{glidepath}"
SCHEMA, GENERATION, VERSION, FLAGS, REVISIONS, KEYS, KEY_AUDIT, KEY_USES, MEMORIES, OUTCOMES, OUTCOME_TIMES = (
    f"{TAG}:{name}"
    for name in (
        *("schema", "generation", "version", "flags", "revisions", "keys", "key-audit", "key-uses"),
        *("memories", "outcomes", "outcome-times"),
    )
)
CHANNEL = f"{TAG}:changed"

# KEYS: schema, version, keys, key audit, key uses, generation. ARGV: the version expected, or "empty" for a store
# without keys; entry, channel, a fresh generation, how many records; id and record of each; ids to drop.
CHANGE_KEYS = """
if ARGV[1] == 'empty' then
  if redis.call('HLEN', KEYS[3]) > 0 then return 0 end
elseif (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then
  return 0
end
redis.call('SETNX', KEYS[1], '1')
redis.call('SETNX', KEYS[6], ARGV[4])
local first_dropped = 6 + 2 * tonumber(ARGV[5])
for i = 6, first_dropped - 1, 2 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
for i = first_dropped, #ARGV do
  redis.call('HDEL', KEYS[3], ARGV[i])
  redis.call('HDEL', KEYS[5], ARGV[i])
end
local version = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[4], version, version .. '|' .. ARGV[2])
redis.call('PUBLISH', ARGV[3], version)
return 1
"""
# KEYS: keys, key uses. ARGV: id and time of each.
TOUCH_KEYS = """
for i = 1, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or '-1')
  if tonumber(ARGV[i + 1]) > known and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 1
"""
# KEYS: a window each. ARGV: how long a window is kept at least (ms); of each its amount, limit and end (Unix ms).
# As `core.quota.grant`. Numbers are written by format: Lua's own rounds those of more than 14 digits.
LEASE = """
local time, answer = redis.call('TIME'), {}
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i, window in ipairs(KEYS) do
  local amount, limit, end_ms = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local used = tonumber(redis.call('GET', window) or '0')
  local granted
  if amount > 0 then
    granted = math.max(0, math.min(amount, limit - used))
  else
    granted = -math.min(-amount, used)
  end
  if used + granted > 0 or used > 0 then
    local life_ms = math.max(end_ms - now_ms, tonumber(ARGV[1]), 1)
    redis.call('SET', window, string.format('%.0f', used + granted), 'PX', string.format('%.0f', life_ms))
  end
  answer[2 * i - 1], answer[2 * i] = granted, used + granted
end
return answer
"""


def audit_of(feature: str) -> str:
    """Name of the sorted set that holds a feature's audit entries."""
    return f"{TAG}:audit:{feature}"


def window_of(quota: str, window: int) -> str:
    """Name of the counter of one window of a quota."""
    return f"{TAG}:quota:{window}:{quota}"


def lease_of(name: str) -> str:
    """Name of the hash that remembers a lease."""
    return f"{TAG}:lease:{name}"


def flush_of(flush_id: str) -> str:
    """Name of the mark of a flush that was counted."""
    return f"{TAG}:flush:{flush_id}"


def epochs_of(feature: str) -> str:
    """Name of the sorted set of a feature's epochs by when they expire."""
    return f"{TAG}:epochs:{feature}"


def claimed_of(flush_id: str) -> str:
    """Name of the answer to claims."""
    return f"{TAG}:claimed:{flush_id}"


def claims_of(feature: str, draw: str) -> tuple[str, str, str]:
    """Names of the bits of a draw's counted units, of those before the last turn, and of the hash about the former.

    It holds `units`, how many were new in it, and `began_ms`.
    """
    name = f"{TAG}:claims:{draw}:{feature}"
    return name, f"{name}:before", f"{name}:turn"


def votes_of(feature: str) -> str:
    """Name of the hash of people's votes."""
    return f"{TAG}:votes:{feature}"


def sums_of(feature: str, epoch: int) -> str:
    """Name of the hash of one epoch's sums."""
    return f"{TAG}:sums:{epoch}:{feature}"
