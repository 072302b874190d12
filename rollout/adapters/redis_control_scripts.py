"""Scripts of what the controller and the operators write: conditions and change are one, all of it or nothing.

Every first write of a script is one that a full Redis refuses; after it Redis lets the script end, so a full one leaves
nothing half written. Numbers of more than 14 digits are written by format or passed on as text: Lua's own `..` rounds.
"""

_NOW = """
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""
# As `core.lease.may_write`: no token, or the newest.
_MAY_WRITE = """
local function newest_token(lease) return redis.call('HGET', lease, 'token') or '0' end
local function may_write(lease, token) return token == '' or token == newest_token(lease) end
"""
_ONCE = """
local function recalled(outcomes, times, key, keep_ms)
  local at_ms = redis.call('ZSCORE', times, key)
  return at_ms and tonumber(at_ms) > now_ms - keep_ms and redis.call('HGET', outcomes, key)
end
local function remember(outcomes, times, key, outcome, keep_ms, keep_max)
  redis.call('HSET', outcomes, key, outcome)
  redis.call('ZADD', times, now_ms, key)
  local old = redis.call('ZRANGEBYSCORE', times, '-inf', now_ms - keep_ms, 'LIMIT', 0, 64)
  local surplus = redis.call('ZCARD', times) - keep_max
  if #old == 0 and surplus > 0 then old = redis.call('ZRANGE', times, 0, math.min(surplus, 64) - 1) end
  if #old > 0 then
    redis.call('HDEL', outcomes, unpack(old))
    redis.call('ZREM', times, unpack(old))
  end
end
"""
# KEYS: schema, version, flags, revisions, audit of the feature, generation, lease, outcomes, their times.
# ARGV: feature, expected, document, entry, channel; a fresh generation; token or ''; idempotency key or '', outcome,
# how long (ms) and how many are kept.
PUT = f"""{_NOW}{_MAY_WRITE}{_ONCE}
local once = ARGV[8] ~= ''
if once then
  local outcome = recalled(KEYS[8], KEYS[9], ARGV[8], tonumber(ARGV[10]))
  if outcome then return {{3, outcome}} end
end
if not may_write(KEYS[7], ARGV[7]) then return {{2, newest_token(KEYS[7])}} end
if (redis.call('HGET', KEYS[4], ARGV[1]) or '0') ~= ARGV[2] then
  return {{1, redis.call('HGET', KEYS[3], ARGV[1])}}
end
redis.call('SETNX', KEYS[1], '1')
redis.call('SETNX', KEYS[6], ARGV[6])
local version = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[1], tonumber(ARGV[2]) + 1)
redis.call('ZADD', KEYS[5], version, version .. '|' .. ARGV[4])
if once then remember(KEYS[8], KEYS[9], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])) end
redis.call('PUBLISH', ARGV[5], version)
return {{0, false}}
"""
# KEYS: outcomes, their times. ARGV: idempotency key, how long they are kept (ms).
RECALL = f"{_NOW}{_ONCE}return recalled(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]))"
# KEYS: outcomes, their times. ARGV: idempotency key, outcome, how long (ms) and how many are kept.
REMEMBER = f"""{_NOW}{_ONCE}
local outcome = recalled(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[3]))
if outcome then return outcome end
remember(KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
return false
"""
# KEYS: flags, revisions, memories, lease. ARGV: feature, revision, memory, token or ''.
PUT_MEMORY = f"""{_MAY_WRITE}
if not may_write(KEYS[4], ARGV[4]) then return {{2, newest_token(KEYS[4])}} end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return {{1, redis.call('HGET', KEYS[1], ARGV[1])}}
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. '|' .. ARGV[3])
return {{0, false}}
"""
# As `core.lease`. KEYS: lease. ARGV: "acquire", holder, time to live (ms); or "renew" or "release", token, the same.
# Answers with the token, as text; false for none.
LEASE = f"""{_NOW}
local held = redis.call('HMGET', KEYS[1], 'token', 'holder', 'since_ms', 'until_ms')
local token, holder = held[1] or '0', held[2] or ''
local live = holder ~= '' and tonumber(held[3]) <= now_ms and now_ms < tonumber(held[4])
if ARGV[1] == 'acquire' then
  if live and holder ~= ARGV[2] then return false end
  token, holder = string.format('%.0f', math.max(tonumber(token) + 1, now_ms)), ARGV[2]
elseif token ~= ARGV[2] or holder == '' or (ARGV[1] == 'renew' and not live) then
  return false
end
if ARGV[1] == 'release' then
  redis.call('HSET', KEYS[1], 'token', token, 'holder', '', 'since_ms', 0, 'until_ms', 0)
else
  redis.call('HSET', KEYS[1], 'token', token, 'holder', holder, 'since_ms', now_ms, 'until_ms', now_ms + ARGV[3])
end
return token
"""
# KEYS: schema, generation, version. ARGV: generation and version as found, those to take; channel.
ACCEPT = """
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] or (redis.call('GET', KEYS[3]) or '0') ~= ARGV[2] then return 0 end
redis.call('SETNX', KEYS[1], '1')
if ARGV[3] ~= '0' then redis.call('SET', KEYS[2], ARGV[3]) end
redis.call('SET', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[4])
return 1
"""
# KEYS: the flush; of each epoch the feature's epochs and the epoch's sums. ARGV: how long flushes and epochs are
# kept (ms), how many values an epoch and epochs a feature may have, the greatest sum; of each epoch its number, how
# many values, and the field and delta of each. As `core.sums`. All is looked at before anything is written.
ADD_SUMS = f"""{_NOW}
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local place = 6
for i = 2, #KEYS, 2 do
  local epoch, count, added = ARGV[place], tonumber(ARGV[place + 1]), 0
  for field = place + 2, place + 2 * count, 2 do
    local current = redis.call('HGET', KEYS[i + 1], ARGV[field])
    if not current then added = added + 1 end
    if math.abs(tonumber(current or '0') + tonumber(ARGV[field + 1])) > tonumber(ARGV[5]) then return -1 end
  end
  if redis.call('HLEN', KEYS[i + 1]) + added > tonumber(ARGV[3]) then return -2 end
  local live = redis.call('ZCOUNT', KEYS[i], now_ms, '+inf')
  if not redis.call('ZSCORE', KEYS[i], epoch) and live >= tonumber(ARGV[4]) then return -2 end
  place = place + 2 + 2 * count
end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
place = 6
for i = 2, #KEYS, 2 do
  local count = tonumber(ARGV[place + 1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now_ms)
  redis.call('ZADD', KEYS[i], now_ms + ARGV[2], ARGV[place])
  for field = place + 2, place + 2 * count, 2 do
    redis.call('HINCRBY', KEYS[i + 1], ARGV[field], ARGV[field + 1])
  end
  redis.call('PEXPIRE', KEYS[i], ARGV[2])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
  place = place + 2 + 2 * count
end
return 1
"""
# KEYS: the epoch's sums. ARGV: how many elements must be there, the field and value of each; how many fields must not,
# each; how many elements take the place of those that were there, the field and value of each.
REPLACE_SUMS = """
local found, place = tonumber(ARGV[1]), 2
for i = 1, found do
  if redis.call('HGET', KEYS[1], ARGV[place]) ~= ARGV[place + 1] then return 0 end
  place = place + 2
end
for i = 1, tonumber(ARGV[place]) do
  if redis.call('HEXISTS', KEYS[1], ARGV[place + i]) == 1 then return 0 end
end
place = place + tonumber(ARGV[place]) + 1
local kept_ms = redis.call('PTTL', KEYS[1])
for i = 1, found do redis.call('HDEL', KEYS[1], ARGV[2 * i]) end
for i = 1, tonumber(ARGV[place]) do
  redis.call('HSET', KEYS[1], ARGV[place + 2 * i - 1], ARGV[place + 2 * i])
end
if kept_ms > 0 then redis.call('PEXPIRE', KEYS[1], kept_ms) end
return 1
"""
