-- Records what became of outbox entries at one destination, all or nothing, if the caller still holds the shard.
--
-- KEYS[1]  the lease; all else that is touched shares its tag
-- ARGV     owner:token, destination, every configured destination (comma between), then steps:
--   position ID AHEAD     everything up to ID is settled, and beyond it the entries of the JSON list AHEAD
--   park SENDER ENTRY     ENTRY waits until SENDER's alias exists
--   known SENDER          SENDER's alias exists
--   unpark SENDER COUNT   SENDER's first COUNT waiting entries are settled
--   dead REASON AT TO MESSAGE DECISION   given up on
-- Returns {1, for each unpark step how many of that sender's entries still wait}, or {0} if the lease is lost.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local shard = string.match(KEYS[1], '^(.-}:)')
local destination = ARGV[2]
local positions, parked = shard .. 'positions', shard .. 'parked:' .. destination
local results = {1}

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function before(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

-- The outbox is cut behind the slowest destination, counting those that have not begun.
local function trim()
  for name in string.gmatch(ARGV[3], '[^,]+') do
    redis.call('HSETNX', positions, name, '0-0')
  end
  local slowest
  for _, position in ipairs(redis.call('HVALS', positions)) do
    if not slowest or before(position, slowest) then
      slowest = position
    end
  end
  local ms, seq = parts(slowest)
  redis.call('XTRIM', shard .. 'outbox', 'MINID', string.format('%.0f-%.0f', ms, seq + 1))
end

local steps = {
  position = {2, function(id, ahead)
    redis.call('HSET', positions, destination, id)
    if ahead == '[]' then
      redis.call('HDEL', shard .. 'ahead', destination)
    else
      redis.call('HSET', shard .. 'ahead', destination, ahead)
    end
    trim()
  end},
  park = {2, function(sender, entry)
    redis.call('RPUSH', parked .. ':' .. sender, entry)
    redis.call('HINCRBY', parked, sender, 1)
  end},
  known = {1, function(sender)
    redis.call('HSET', shard .. 'person:' .. sender, 'alias:' .. destination, '1')
  end},
  unpark = {2, function(sender, count)
    redis.call('LPOP', parked .. ':' .. sender, count)
    local left = redis.call('LLEN', parked .. ':' .. sender)
    if left == 0 then
      redis.call('HDEL', parked, sender)
    else
      redis.call('HSET', parked, sender, left)
    end
    results[#results + 1] = left
  end},
  dead = {5, function(reason, at, to, message, decision)
    redis.call('XADD', shard .. 'dead', '*', 'reason', reason, 'at', at, 'to', to, 'message', message,
      'decision', decision)
  end},
}

local i = 4
while i <= #ARGV do
  local width, run = steps[ARGV[i]][1], steps[ARGV[i]][2]
  run(unpack(ARGV, i + 1, i + width))
  i = i + 1 + width
end
return results
