-- Records what became of outbox entries at one destination, all or nothing, if the caller still holds the shard.
--
-- KEYS[1]  the lease; all else that is touched shares its tag
-- ARGV     owner:token, destination, every configured destination (comma between), turn, then steps:
--   position ID AHEAD     everything up to ID is settled, and beyond it the entries of the JSON list AHEAD
--   park SENDER ENTRY     ENTRY waits until SENDER's alias exists
--   known SENDER          SENDER's alias exists
--   unknown SENDER        SENDER's alias does not exist any more
--   unpark SENDER COUNT   SENDER's first COUNT waiting entries are settled
--   dead REASON AT TO MESSAGE DECISION REQUEST ANSWER   given up on
--   note ID MESSAGE        MESSAGE joins the outbox for the ledger, unless the entry ID was settled before
--   row SENDER LINE HEAD   the ledger's next row, and what SENDER's chain of rows ends with now
--   close                  the rows up to here make the open segment
--   sealed SEGMENT         the oldest closed segment is in a file
--   removed SEGMENT LAST   the oldest sealed segment, up to the row LAST, is removed
--   erasure SENDER HEAD    the chain that ends with HEAD is to be erased: noted until `erased SENDER HEAD`
--   erase ROW LINE         LINE takes the place of a row that is not sealed
--   forget SENDER AT       of SENDER only opt-outs, blocks and what was written after AT (in µs) are kept
-- Turns only grow while one holds the lease: what comes under one that is not beyond the last (0 for none) was recorded before,
-- or nobody stands by it any more, and is not recorded.
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

local function settled(id)
  local ahead = redis.call('HGET', shard .. 'ahead', destination) or ''
  local position = redis.call('HGET', positions, destination) or '0-0'
  return not before(position, id) or string.find(ahead, '"' .. id .. '"', 1, true) ~= nil
end

-- The ledger: rows that are not sealed, oldest first. `state` has rows: how many there ever were, sealed_rows, closed, sealed and
-- removed: numbers of segments, end:SEGMENT: the last row of one that is closed and not sealed yet.
local ledger, state, erasures = shard .. 'ledger', shard .. 'ledger:state', shard .. 'ledger:erasures'

local function count(field)
  return tonumber(redis.call('HGET', state, field) or 0)
end

-- A pending opt-in that would lapse back to an opt-out is one.
local function suppression(kept)
  local now, since, later = string.match(kept, '^(%a+) (%d+):?%d*:?(%a*)$')
  if now == 'unsubscribed' or now == 'choosing' or (now == 'pending' and later == 'unsubscribed') then
    return 'unsubscribed ' .. since, tonumber(since)
  end
  return nil, tonumber(since)
end

local function forget(person, at)
  local kept = redis.call('HGETALL', person)
  for i = 1, #kept, 2 do
    local field, value = kept[i], kept[i + 1]
    if string.match(field, '^consent:') then
      local opted_out, since = suppression(value)
      if opted_out and (since or 0) <= at then
        redis.call('HSET', person, field, opted_out)
      elseif (since or 0) <= at then
        redis.call('HDEL', person, field)
      end
    elseif field ~= 'ledger' and not string.match(field, '^block:') then
      redis.call('HDEL', person, field)
    end
  end
  if redis.call('HLEN', person) == redis.call('HEXISTS', person, 'ledger') then
    redis.call('DEL', person)
  end
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
  unknown = {1, function(sender)
    local person = shard .. 'person:' .. sender
    redis.call('HDEL', person, 'alias:' .. destination)
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
  dead = {7, function(reason, at, to, message, decision, request, answer)
    redis.call('XADD', shard .. 'dead', '*', 'reason', reason, 'at', at, 'to', to, 'message', message,
      'decision', decision, 'request', request, 'answer', answer)
  end},
  note = {2, function(id, message)
    if not settled(id) then
      redis.call('XADD', shard .. 'outbox', '*', 'to', '@ledger', 'known', '', 'message', message, 'decision', '{}')
    end
  end},
  row = {3, function(sender, line, head)
    redis.call('RPUSH', ledger, line)
    redis.call('HINCRBY', state, 'rows', 1)
    redis.call('HSET', shard .. 'person:' .. sender, 'ledger', head)
  end},
  close = {0, function()
    redis.call('HSET', state, 'end:' .. redis.call('HINCRBY', state, 'closed', 1), count('rows'))
  end},
  sealed = {1, function(segment)
    local last = redis.call('HGET', state, 'end:' .. segment)
    if last then
      redis.call('LTRIM', ledger, tonumber(last) - count('sealed_rows'), -1)
      redis.call('HSET', state, 'sealed', segment, 'sealed_rows', last)
      redis.call('HDEL', state, 'end:' .. segment)
    end
  end},
  removed = {2, function(segment, last)
    redis.call('HSET', state, 'removed', segment, 'removed_rows', last)
  end},
  erasure = {2, function(sender, head)
    redis.call('HSET', erasures, sender, head)
  end},
  erased = {2, function(sender, head)
    if redis.call('HGET', erasures, sender) == head then
      redis.call('HDEL', erasures, sender)
    end
  end},
  erase = {2, function(row, line)
    local index = tonumber(row) - count('sealed_rows') - 1
    if index >= 0 then
      redis.call('LSET', ledger, index, line)
    end
  end},
  forget = {2, function(sender, at)
    forget(shard .. 'person:' .. sender, tonumber(at))
  end},
}

local turn, turns = tonumber(ARGV[4]), shard .. 'turns'
local holder, last = string.match(redis.call('HGET', turns, destination) or '', '^(.*):(%d+)$')
local repeated = turn > 0 and holder == ARGV[1] and turn <= tonumber(last)
local i = 5
while i <= #ARGV do
  local name = ARGV[i]
  local width, run = steps[name][1], steps[name][2]
  if not repeated then
    run(unpack(ARGV, i + 1, i + width))
  elseif name == 'unpark' then
    results[#results + 1] = redis.call('LLEN', parked .. ':' .. ARGV[i + 1])
  end
  i = i + 1 + width
end
if turn > 0 and not repeated then
  redis.call('HSET', turns, destination, ARGV[1] .. ':' .. ARGV[4])
end
return results
