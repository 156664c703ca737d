-- Accepts texts: each is recorded once, moves its sender's state, and joins its shard's outbox.
--
-- KEYS[i]  the i-th sender's record, `PREFIX:{SHARD}:person:SENDER`; all else that is touched shares its tag.
-- ARGV     now in ms, the number of arguments of each text, then these for each text:
--   1 digest of the message id    2 length of a dedupe bucket in seconds
--   3 field of the consent        4 field of the account's consent where that is another one, or ''
--   5 destinations, comma between, or '' for no outbox entry
--   6 those of them that need an alias, comma between
--   7 the message                 8 record of a text that nobody is delivered, or ''
--   9 how many of those are kept  10 replies allowed an hour
--  11 the rows: four times state, next state, 1 if that is written even when it is the same, seconds until it expires
--     or 0, decision, the same without its reply or ''
-- Returns for each text {1 first time | 0 repeat, the decision taken the first time}.
--
-- What marks the text as seen is written last: were the script cut short, the carrier's retry would still be taken.

local BUCKETS_BACK = 4

local now, width = tonumber(ARGV[1]), tonumber(ARGV[2])
local hour = string.format('%.0f', math.floor(now / 3600000))

local function seen_before(shard, text)
  local newest = math.floor(now / 1000 / text.bucket)
  for index = newest, newest - BUCKETS_BACK, -1 do
    local bucket = string.format('%d:%.0f', text.bucket, index)
    local answer = redis.call('HGET', shard .. 'seen:' .. bucket, text.digest)
    if answer then
      return redis.call('HGET', shard .. 'answers:' .. bucket, answer)
    end
  end
end

-- A state is kept as STATE SINCE [: LAPSES AT : STATE THEN]; times in ms.
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

-- Of two fields that bear on a sender (its program's, its account's), the one written last holds.
local function current_state(own, other)
  local first, second = read_state(own), read_state(other)
  if second.since > first.since then
    return second
  end
  return first
end

-- A new state is later than all that it may have to overrule, whatever the clocks of those who wrote them.
local function later_than_all(person, text, current)
  local latest = current.since
  if text.account_consent == '' then
    for _, kept in ipairs(redis.call('HVALS', person)) do
      local since = string.match(kept, '^%a+ (%d+)')
      latest = math.max(latest, tonumber(since) or 0)
    end
  end
  return math.max(now, latest + 1)
end

local function apply(person, text, row, current)
  if row.after == current.state and row.renews == '0' then
    return
  end
  local kept = string.format('%s %.0f', row.after, later_than_all(person, text, current))
  if row.expires_in > 0 then
    kept = string.format('%s:%.0f:%s', kept, now + row.expires_in * 1000, current.fallback)
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

local function record(shard, text, decision, known)
  if text.destinations ~= '' then
    redis.call('XADD', shard .. 'outbox', '*', 'to', text.destinations, 'known', known, 'message', text.message,
      'decision', decision)
  end
  if text.undelivered ~= '' then
    redis.call('XADD', shard .. 'unhandled', 'MAXLEN', text.undelivered_kept, '*', 'record', text.undelivered)
  end
end

local function mark_seen(shard, text, decision)
  local bucket = string.format('%d:%.0f', text.bucket, math.floor(now / 1000 / text.bucket))
  local seen, answers = shard .. 'seen:' .. bucket, shard .. 'answers:' .. bucket
  local answer = string.sub(redis.sha1hex(decision), 1, 16)
  if redis.call('HSETNX', answers, answer, decision) == 1 and redis.call('HLEN', answers) == 1 then
    redis.call('EXPIRE', answers, text.bucket * (BUCKETS_BACK + 1))
  end
  redis.call('HSET', seen, text.digest, answer)
  if redis.call('HLEN', seen) == 1 then
    redis.call('EXPIRE', seen, text.bucket * (BUCKETS_BACK + 1))
  end
end

local function commit(person, text, rows)
  local shard = string.match(person, '^(.-}:)')
  local first_answer = seen_before(shard, text)
  if first_answer then
    return {0, first_answer}
  end

  local fields = {text.consent, text.account_consent ~= '' and text.account_consent or text.consent, 'replies'}
  local aliases = {}
  for destination in string.gmatch(text.need_alias, '[^,]+') do
    aliases[#aliases + 1] = destination
    fields[#fields + 1] = 'alias:' .. destination
  end
  local kept = redis.call('HMGET', person, unpack(fields))
  local current = current_state(kept[1], kept[2])
  local known = {}
  for i, destination in ipairs(aliases) do
    if kept[3 + i] then
      known[#known + 1] = destination
    end
  end

  local row = rows[current.state]
  local decision = row.decision
  if row.silent ~= '' and not within_reply_limit(person, kept[3], text.reply_limit) then
    decision = row.silent
  end
  apply(person, text, row, current)
  record(shard, text, decision, table.concat(known, ','))
  mark_seen(shard, text, decision)
  return {1, decision}
end

local results = {}
for i, person in ipairs(KEYS) do
  local at = 2 + (i - 1) * width
  local text = {
    digest = ARGV[at + 1], bucket = tonumber(ARGV[at + 2]), consent = ARGV[at + 3], account_consent = ARGV[at + 4],
    destinations = ARGV[at + 5], need_alias = ARGV[at + 6], message = ARGV[at + 7], undelivered = ARGV[at + 8],
    undelivered_kept = ARGV[at + 9], reply_limit = tonumber(ARGV[at + 10]),
  }
  local rows = {}
  for r = at + 11, at + width, 6 do
    rows[ARGV[r]] = {
      after = ARGV[r + 1], renews = ARGV[r + 2], expires_in = tonumber(ARGV[r + 3]), decision = ARGV[r + 4],
      silent = ARGV[r + 5],
    }
  end
  results[i] = commit(person, text, rows)
end
return results
