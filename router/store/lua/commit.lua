-- Accepts texts: each is recorded once, moves its sender's state, and joins its shard's outbox.
--
-- KEYS[i]  the i-th sender's record, `PREFIX:{SHARD}:person:SENDER`; all else that is touched shares its tag.
-- ARGV     now in µs, how many kinds of text follow, and for each kind how many arguments it has, and these:
--   1 lines:  destinations, comma between, or '' for none
--             those of them that need an alias
--             how many buckets back a text may have been seen
--             how many records of texts that nobody is told of are kept
--             replies allowed an hour
--             the consents that it may be about, comma between
--             those that overrule each of them, semicolon between
--             the programs of the account that is written to, if it is one
--             the state that the one it is about is sought by, in the order of preference, comma between
--             what is written: '' the one it is about, 'each' all of them, or the name of a consent that overrules them
--             the languages of the replies, if there are several: the person's own counts
--             how many decisions there are that differ in more than the states
--   2 our number, for the limit of replies
--   3 whose block of the person it may set or clear, `ACCOUNT/NUMBER`
--   4 for each decision what stands before the states, and what behind them
--   then for each consent its rows (see `read_row`); once more as many, if there are others for somebody who is subscribed
--   to several of the consents.
--  Then for each text: which kind it is of, the digest of its message id, the message, the record of a text that nobody is
--  told of, or '', and when a late text was written, in µs, or 0 for one that comes in its turn.
-- Returns for each text the decision, and for a repeat {the decision taken the first time, and for each consent that it may
-- be about, its state by now and for how many µs}.
--
-- What marks the text as seen is written last: were the script cut short, the carrier's retry would still be taken.

-- The dedupe window is kept in buckets of this many seconds, so that it expires without a look at each text.
local BUCKET = 21600
-- How many characters of a decision's digest stand for it.
local ANSWER = 16

local now = tonumber(ARGV[1])
local hour = string.format('%.0f', math.floor(now / 3600e6))
local newest_bucket = math.floor(now / 1e6 / BUCKET)

-- What is the same for many texts of a call is looked up once.
local bucket_names, written_answers, lasts_for, digests = {}, {}, {}, {}

local function bucket_keys(shard, index)
  local name = bucket_names[index]
  if not name then
    name = string.format('%d:%.0f', BUCKET, index)
    bucket_names[index] = name
  end
  return shard .. 'seen:' .. name, shard .. 'answers:' .. name
end

-- The decision that was taken on a text when it first came, and, for the confirmation of an opt-out, when, in seconds.
local function seen_before(shard, text)
  for index = newest_bucket, newest_bucket - text.buckets, -1 do
    local seen, answers = bucket_keys(shard, index)
    local answer = redis.call('HGET', seen, text.digest)
    if answer then
      return redis.call('HGET', answers, string.sub(answer, 1, ANSWER)), tonumber(string.sub(answer, ANSWER + 1))
    end
  end
end

local function split(list)
  local items = {}
  for item in string.gmatch(list, '[^,]+') do
    items[#items + 1] = item
  end
  return items
end

local function split_lists(lists)
  local found = {}
  for list in string.gmatch(lists, '[^;]+') do
    found[#found + 1] = split(list)
  end
  return found
end

-- A decision is written PLACE:BEFORE:AFTER, the place among those of its kind; `-` is none.
local function read_decision(text, written)
  if written == '-' then
    return ''
  end
  if not text.read[written] then
    local place, before, after = string.match(written, '^(%d+):(%a+):(%a+)$')
    local at = text.parts + 2 * tonumber(place)
    text.read[written] = string.format('%s"before":"%s","after":"%s"%s', ARGV[at], before, after, ARGV[at + 1])
  end
  return text.read[written]
end

-- The rows of a consent are lines, one for each state; only those that count are taken apart. `otherwise` is what is decided if
-- the reply is one too many or the text is late, `decisions` one for each language, or one for all.
local function read_row(text, consent, state, several)
  local place = consent + (several and #text.consents or 0)
  local name = place .. state
  if not text.read[name] then
    local line = string.match(ARGV[text.rows + place - 1], '\n' .. state .. ' ([^\n]*)')
    local after, renews, expires_in, lapses_to, asks_again_in, recorded, language, block, otherwise, decisions =
      string.match(line, '^(%a+) (%d) (%d+) (%a*) (%d+) (%d) (%S*) (%a*) (%S+) (%S+)$')
    text.read[name] = {
      after = after, renews = renews == '1', expires_in = tonumber(expires_in), lapses_to = lapses_to,
      asks_again_in = tonumber(asks_again_in), recorded = recorded == '1', language = language, block = block,
      otherwise = read_decision(text, otherwise), decisions = split(decisions),
    }
  end
  return text.read[name]
end

-- The fields of a person that bear on texts of a kind.
local function fields_of(kind)
  local fields = {}
  for i, name in ipairs(kind.consents) do
    fields[#fields + 1] = 'consent:' .. name
    for _, other in ipairs(kind.overruled_by[i] or {}) do
      fields[#fields + 1] = 'consent:' .. other
    end
  end
  for _, destination in ipairs(kind.need_alias) do
    fields[#fields + 1] = 'alias:' .. destination
  end
  if kind.languages ~= '' then
    fields[#fields + 1] = 'lang'
  end
  return fields
end

-- What the store knows of the sender, as far as it bears on the text.
local function read_person(person, text)
  local kept = redis.call('HMGET', person, unpack(text.fields))
  local states, known, at = {}, {}, 1
  for i = 1, #text.consents do
    local overruling = {}
    for place = 1, #(text.overruled_by[i] or {}) do
      overruling[place] = read_state(kept[at + place], now)
    end
    states[i] = latest_state(read_state(kept[at], now), overruling)
    at = at + 1 + #overruling
  end
  for i, destination in ipairs(text.need_alias) do
    if kept[at + i - 1] then
      known[#known + 1] = destination
    end
  end
  return {states = states, known = table.concat(known, ','), language = kept[at + #text.need_alias]}
end

-- Of several consents a text is about one: that in the state sought first, and of those the latest.
local function about(text, states)
  if #states == 1 then
    return 1
  end
  for _, wanted in ipairs(split(text.sought)) do
    local found
    for i, current in ipairs(states) do
      if current.state == wanted and (not found or current.since > states[found].since) then
        found = i
      end
    end
    if found then
      return found
    end
  end
  return 1
end

local function subscribed_to_several(states)
  local count = 0
  for _, current in ipairs(states) do
    count = count + (current.state == 'subscribed' and 1 or 0)
  end
  return count > 1
end

-- A new state is later than all that the person has said, whatever the clocks of those who wrote it: of two programs it is
-- told so which was spoken of last. What one text changes has one time.
local function since_when(person, text, current, overrules)
  if text.late > 0 then
    return math.max(text.late, (overrules and last_word(person) or current.since) + 1)
  end
  text.since = text.since or math.max(now, last_word(person) + 1)
  return text.since
end

local function write_consent(person, text, name, row, current, overrules)
  if row.after == current.state and not row.renews then
    return
  end
  local lapses_at = row.expires_in > 0 and now + row.expires_in * 1e6 or 0
  local fallback = row.lapses_to ~= '' and row.lapses_to or current.fallback
  local since = since_when(person, text, current, overrules)
  local written = write_state(row.after, since, lapses_at, fallback)
  redis.call('HSET', person, 'consent:' .. name, written)
  -- An opt-out of an account must hold also once a program of it has moved to another account.
  for _, program in ipairs(split(text.covers)) do
    if redis.call('HEXISTS', person, 'consent:' .. program) == 1 then
      redis.call('HSET', person, 'consent:' .. program, written)
    end
  end
end

local function change(name, before, after)
  return string.format('{"program":"%s","before":"%s","after":"%s"}', name, before, after)
end

-- Writes what follows for every consent that is meant; what changed, as JSON, where that is more than one program's.
local function apply(person, text, chosen, row, states, several)
  local overrules = string.sub(text.consents[1], 1, 1) == '@'
  if text.writes ~= '' and text.writes ~= 'each' then
    write_consent(person, text, text.writes, row, states[chosen], true)
    return change(text.writes, states[chosen].state, row.after)
  end
  if text.writes == '' or #text.consents == 1 then
    write_consent(person, text, text.consents[chosen], row, states[chosen], overrules)
    return overrules and change(text.consents[chosen], states[chosen].state, row.after) or ''
  end
  local changes = {}
  for i, name in ipairs(text.consents) do
    local own = i == chosen and row or read_row(text, i, states[i].state, several)
    write_consent(person, text, name, own, states[i], false)
    changes[i] = change(name, states[i].state, own.after)
  end
  return table.concat(changes, ',')
end

-- Two machines that answer each other are cut off: past the limit the text counts, and gets no reply.
local function within_reply_limit(person, text)
  local key = string.gsub(person, 'person:', 'replies:' .. hour .. ':', 1) .. ':' .. text.number
  local replies = redis.call('INCR', key)
  if replies == 1 then
    redis.call('EXPIRE', key, 3600)
  end
  return replies <= text.reply_limit
end

-- A question that the person has not answered is not put again and again.
local function may_ask(person, name, row)
  local asked = tonumber(redis.call('HGET', person, 'asked:' .. name) or '')
  if asked and now - asked < row.asks_again_in * 1e6 then
    return false
  end
  redis.call('HSET', person, 'asked:' .. name, string.format('%.0f', now))
  return true
end

local function may_reply(person, text, name, row)
  return (row.asks_again_in == 0 or may_ask(person, name, row)) and within_reply_limit(person, text)
end

local function spoken(tag)
  return string.match(string.lower(tag), '^%a*')
end

-- The decision in the person's language, as far as there is one; who speaks fr-CA also reads fr.
local function in_language(text, row, language)
  local alike
  if language and row.decisions[2] then
    for i, name in ipairs(split(text.languages)) do
      local decision = row.decisions[i]
      if decision and name == language then
        return read_decision(text, decision)
      end
      alike = alike or spoken(name) == spoken(language) and decision
    end
  end
  return read_decision(text, alike or row.decisions[1])
end

local function note(person, text, row, known_language)
  if row.language ~= '' and row.language ~= known_language then
    redis.call('HSET', person, 'lang', row.language)
  end
  if row.block == 'set' then
    redis.call('HSET', person, 'block:' .. text.block, string.format('%.0f', text.late > 0 and text.late or now))
  elseif row.block == 'clear' then
    redis.call('HDEL', person, 'block:' .. text.block, 'block:' .. string.match(text.block, '^[^/]*/'))
  end
end

local function record(shard, text, decision, known, recorded)
  local destinations = text.destinations
  if recorded then
    destinations = destinations == '' and '@ledger' or destinations .. ',@ledger'
  end
  if destinations ~= '' then
    redis.call('XADD', shard .. 'outbox', '*', 'to', destinations, 'known', known, 'message', text.message,
      'decision', decision)
  end
  if text.undelivered ~= '' then
    redis.call('XADD', shard .. 'unhandled', 'MAXLEN', text.undelivered_kept, '*', 'record', text.undelivered)
  end
end

local function expire(key, text)
  local seconds = BUCKET * (text.buckets + 1)
  lasts_for[key] = lasts_for[key] or redis.call('TTL', key)
  if lasts_for[key] < seconds - BUCKET then
    redis.call('EXPIRE', key, seconds)
    lasts_for[key] = seconds
  end
end

local function mark_seen(shard, text, decision, confirms)
  local seen, answers = bucket_keys(shard, newest_bucket)
  local answer = digests[decision] or string.sub(redis.sha1hex(decision), 1, ANSWER)
  digests[decision] = answer
  if not written_answers[answers .. answer] then
    redis.call('HSETNX', answers, answer, decision)
    written_answers[answers .. answer] = true
  end
  expire(answers, text)
  redis.call('HSET', seen, text.digest, confirms and string.format('%s%.0f', answer, now / 1e6) or answer)
  expire(seen, text)
end

-- The states by now are for who still has to answer: the person may have opted out since the text first came.
-- How old the answer is counts from that text where it is known, and else from when the state began.
local function repeated(person, text, decision, came)
  local result = {decision}
  for _, current in ipairs(read_person(person, text).states) do
    result[#result + 1] = current.state
    result[#result + 1] = now - (came and came * 1e6 or current.since)
  end
  return result
end

local function commit(person, text)
  local shard = string.sub(person, 1, (select(2, string.find(person, '}:', 1, true))))
  local first_answer, came = seen_before(shard, text)
  if first_answer then
    return repeated(person, text, first_answer, came)
  end

  local known = read_person(person, text)
  local chosen = about(text, known.states)
  local current = known.states[chosen]
  local several = text.others and subscribed_to_several(known.states)
  local row = read_row(text, chosen, current.state, several)
  local decision, recorded = row.otherwise, false
  if text.late == 0 or row.otherwise == '' or text.late >= current.since then
    if text.late > 0 or row.otherwise == '' or may_reply(person, text, text.consents[chosen], row) then
      decision = in_language(text, row, row.language == '' and known.language or nil)
    end
    local changes = apply(person, text, chosen, row, known.states, several)
    if changes ~= '' then
      decision = string.sub(decision, 1, -3) .. changes .. ']}'
    end
    note(person, text, row, known.language)
    recorded = row.recorded
  end -- else what the person has said since holds
  record(shard, text, decision, known.known, recorded)
  local opts_out = row.after == 'unsubscribed' or row.after == 'choosing'
  mark_seen(shard, text, decision, opts_out and row.otherwise ~= '' and row.after ~= current.state)
  return decision
end

local at = 3

local LINES = '^' .. string.rep('([^\n]*)\n', 12)

local function read_kind(width)
  local destinations, need_alias, buckets, undelivered_kept, reply_limit, consents, overruled_by, covers, sought, writes,
    languages, decisions = string.match(ARGV[at], LINES)
  local kind = {
    destinations = destinations, need_alias = split(need_alias), buckets = tonumber(buckets),
    undelivered_kept = undelivered_kept, reply_limit = tonumber(reply_limit), consents = split(consents),
    overruled_by = split_lists(overruled_by), covers = covers, sought = sought, writes = writes, languages = languages,
    number = ARGV[at + 1], block = ARGV[at + 2], parts = at + 3, rows = at + 3 + 2 * tonumber(decisions), read = {},
  }
  kind.others = at + width - kind.rows > #kind.consents
  kind.fields = fields_of(kind)
  kind.__index = kind  -- its texts have what it has
  return kind
end

local kinds = {}
for i = 1, tonumber(ARGV[2]) do
  local width = tonumber(ARGV[at])
  at = at + 1
  kinds[i] = read_kind(width)
  at = at + width
end

local results = {}
for i, person in ipairs(KEYS) do
  local text = {digest = ARGV[at + 1], message = ARGV[at + 2], undelivered = ARGV[at + 3], late = tonumber(ARGV[at + 4])}
  results[i] = commit(person, setmetatable(text, kinds[tonumber(ARGV[at])]))
  at = at + 5
end
return results
