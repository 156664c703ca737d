-- Accepts texts: each is recorded once, moves its sender's state, and joins its shard's outbox.
--
-- KEYS[i]  the i-th sender's record, `PREFIX:{SHARD}:person:SENDER`; all else that is touched shares its tag.
-- ARGV     now in µs, the number of arguments of each text, then these for each text:
--   1 digest of the message id    2 how many buckets back it may have been seen
--   3 field of the consent        4 fields of consent that bear on it too, comma between
--   5 destinations, comma between, or '' for no outbox entry
--   6 those of them that need an alias, comma between
--   7 the message                 8 record of a text that nobody is delivered, or ''
--   9 how many of those are kept  10 replies allowed an hour
--  11 when a late text was written, in µs; 0 for one that comes in its turn
--  12 the rows: four times state, next state, 1 if that is written even when it is the same, seconds until it expires
--     or 0, seconds in which its reply, a question, is put once or 0, decision, what is decided if that may not be or ''
-- Returns for each text {1 first time | 0 repeat, the decision taken the first time}.
--
-- What marks the text as seen is written last: were the script cut short, the carrier's retry would still be taken.

-- The dedupe window is kept in buckets of this many seconds, so that it expires without a look at each text.
local BUCKET = 21600

local now, width = tonumber(ARGV[1]), tonumber(ARGV[2])
local hour = string.format('%.0f', math.floor(now / 3600e6))
local newest_bucket = math.floor(now / 1e6 / BUCKET)

local function bucket_keys(shard, index)
  local name = string.format('%d:%.0f', BUCKET, index)
  return shard .. 'seen:' .. name, shard .. 'answers:' .. name
end

local function seen_before(shard, text)
  for index = newest_bucket, newest_bucket - text.buckets, -1 do
    local seen, answers = bucket_keys(shard, index)
    local answer = redis.call('HGET', seen, text.digest)
    if answer then
      return redis.call('HGET', answers, answer)
    end
  end
end

-- A state is kept as STATE SINCE [: LAPSES AT : STATE THEN]; times in µs.
local function read_state(kept)
  local state, since, lapses, fallback = string.match(kept or 'none 0', '^(%a+) (%d+):?(%d*):?(%a*)$')
  if lapses ~= '' and now >= tonumber(lapses) then
    state = fallback
  end
  if fallback == '' then
    fallback = state
  end
  return {state = state, since = tonumber(since), fallback = fallback}
end

-- Of the fields that bear on a sender (its program's, its account's), the one written last holds.
local function current_state(kept, last)
  local current = read_state(kept[1])
  for i = 2, last do
    local other = read_state(kept[i])
    if other.since > current.since then
      current = other
    end
  end
  return current
end

-- A new state is later than all that it may have to overrule, whatever the clocks of those who wrote them.
local function later_than_all(person, text, current, last)
  local latest = current.since
  if last == 1 then
    for _, kept in ipairs(redis.call('HVALS', person)) do
      local since = string.match(kept, '^%a+ (%d+)')
      latest = math.max(latest, tonumber(since) or 0)
    end
  end
  return math.max(text.late > 0 and text.late or now, latest + 1)
end

local function apply(person, text, row, current, last)
  if row.after == current.state and row.renews == '0' then
    return
  end
  local kept = string.format('%s %.0f', row.after, later_than_all(person, text, current, last))
  if row.expires_in > 0 then
    kept = string.format('%s:%.0f:%s', kept, now + row.expires_in * 1e6, current.fallback)
  end
  redis.call('HSET', person, text.consent, kept)
end

-- Two machines that answer each other are cut off: past the limit the text counts, and gets no reply.
local function within_reply_limit(person, kept, limit)
  local count = 0
  local in_hour, replies = string.match(kept or '', '^(%d+):(%d+)$')
  if in_hour == hour then
    count = tonumber(replies)
  end
  if count >= limit then
    return false
  end
  redis.call('HSET', person, 'replies', hour .. ':' .. (count + 1))
  return true
end

-- A question that the person has not answered is not put again and again.
local function may_ask(person, text, row)
  local field = string.gsub(text.consent, '^consent', 'asked')
  local asked = tonumber(redis.call('HGET', person, field) or '')
  if asked and now - asked < row.asks_again_in * 1e6 then
    return false
  end
  redis.call('HSET', person, field, string.format('%.0f', now))
  return true
end

local function may_reply(person, text, row, replies)
  return (row.asks_again_in == 0 or may_ask(person, text, row)) and within_reply_limit(person, replies, text.reply_limit)
end

local function record(shard, text, decision, known)
  if text.destinations ~= '' then
    redis.call('XADD', shard .. 'outbox', '*', 'to', text.destinations, 'known', known, 'message', text.message,
      'decision', decision)
  end
  if text.undelivered ~= '' then
    redis.call('XADD', shard .. 'unhandled', 'MAXLEN', text.undelivered_kept, '*', 'record', text.undelivered)
  end
end

local function expire(key, text)
  local seconds = BUCKET * (text.buckets + 1)
  if redis.call('TTL', key) < seconds - BUCKET then
    redis.call('EXPIRE', key, seconds)
  end
end

local function mark_seen(shard, text, decision)
  local seen, answers = bucket_keys(shard, newest_bucket)
  local answer = string.sub(redis.sha1hex(decision), 1, 16)
  redis.call('HSETNX', answers, answer, decision)
  expire(answers, text)
  redis.call('HSET', seen, text.digest, answer)
  expire(seen, text)
end

local function commit(person, text, rows)
  local shard = string.match(person, '^(.-}:)')
  local first_answer = seen_before(shard, text)
  if first_answer then
    return {0, first_answer}
  end

  local fields = {text.consent}
  for field in string.gmatch(text.account_consent, '[^,]+') do
    fields[#fields + 1] = field
  end
  local last = #fields
  fields[last + 1] = 'replies'
  local aliases = {}
  for destination in string.gmatch(text.need_alias, '[^,]+') do
    aliases[#aliases + 1] = destination
    fields[#fields + 1] = 'alias:' .. destination
  end
  local kept = redis.call('HMGET', person, unpack(fields))
  local current = current_state(kept, last)
  local known = {}
  for i, destination in ipairs(aliases) do
    if kept[last + 1 + i] then
      known[#known + 1] = destination
    end
  end

  local row = rows[current.state]
  local decision = row.decision
  if text.late > 0 and row.otherwise ~= '' and text.late < current.since then
    decision = row.otherwise -- what the person has said since holds
  else
    if text.late == 0 and row.otherwise ~= '' and not may_reply(person, text, row, kept[last + 1]) then
      decision = row.otherwise
    end
    apply(person, text, row, current, last)
  end
  record(shard, text, decision, table.concat(known, ','))
  mark_seen(shard, text, decision)
  return {1, decision}
end

local results = {}
for i, person in ipairs(KEYS) do
  local at = 2 + (i - 1) * width
  local text = {
    digest = ARGV[at + 1], buckets = tonumber(ARGV[at + 2]), consent = ARGV[at + 3], account_consent = ARGV[at + 4],
    destinations = ARGV[at + 5], need_alias = ARGV[at + 6], message = ARGV[at + 7], undelivered = ARGV[at + 8],
    undelivered_kept = ARGV[at + 9], reply_limit = tonumber(ARGV[at + 10]), late = tonumber(ARGV[at + 11]),
  }
  local rows = {}
  for r = at + 12, at + width, 7 do
    rows[ARGV[r]] = {
      after = ARGV[r + 1], renews = ARGV[r + 2], expires_in = tonumber(ARGV[r + 3]),
      asks_again_in = tonumber(ARGV[r + 4]), decision = ARGV[r + 5], otherwise = ARGV[r + 6],
    }
  end
  results[i] = commit(person, text, rows)
end
return results
