-- Accepts texts: each is recorded once, moves its sender's state, and joins its shard's outbox.
--
-- KEYS[i]  the i-th sender's record, `PREFIX:{SHARD}:person:SENDER`; all else that is touched shares its tag.
-- ARGV     now in µs; how many shapes of kinds follow, and for each two:
--   1 lines:  destinations, comma between, or '' for none
--             how many buckets back a text may have been seen
--             how many records of texts that nobody is told of are kept
--             replies allowed an hour
--   2 lines:  how many others overrule each of the consents that it may be about, comma between
--             the destinations that need an alias
--             the state that the consent it is about is sought by, in the order of preference, comma between
--             what is written: '' the one it is about, 'each' all of them, or the name of a consent that overrules them
--             the languages of the replies, if there are several: the person's own counts
--             whether there are other rows for somebody who is subscribed to several of the consents: 1 or 0
--             then for each consent a line for each state (see `read_row`); the other rows are those of further consents
--  Then how many kinds of text follow, and for each three:
--   1 which shape it has
--   2 lines:  the consents that it may be about, comma between
--             the fields of a person that bear on it: each consent, behind it those that overrule it, then the aliases,
--             then the language, if it counts
--             the programs of the account that is written to, if it is one
--             then a line for each decision that differs from others in more than the states (see `read_decision`)
--   3 whose block of the person it may set or clear, `ACCOUNT/NUMBER`: the number is ours, and has the limit of replies
--  Then for each text: which kind it is of, the digest of its message id, the message, the record of a text that nobody is
--  told of, or '', and when a late text was written, in µs, or 0 for one that comes in its turn.
-- Returns for each text the decision, and for a repeat {the decision taken the first time, and for each consent that it may
-- be about, its state by now and for how many µs}.
--
-- What marks texts as seen is written last: were the script cut short, the carrier's retry would still be taken.

-- How many characters of a digest stand for all of a decision but its states; a letter for each of these makes ANSWER.
local DIGEST = 14

local now = tonumber(ARGV[1])

-- What is the same for many texts of a call is looked up once.
local answers_of, references, lists = {}, {}, {}

-- Who asks again for a list gets the same table.
local function split(list)
  local items = lists[list]
  if not items then
    items = {}
    for item in string.gmatch(list, '[^,]+') do
      items[#items + 1] = item
    end
    lists[list] = items
  end
  return items
end

-- A decision is a line `=PLACE DIGEST JSON` without its end: the states before and after, and what changes. It is referred to
-- as PLACE:STATE:STATE. The digest and the first letters of the states stand for it.
local function read_decision(kind, written)
  local decision = kind.decisions[written]
  if not decision then
    local reference = references[written]
    if not reference then
      local place, before, after = string.match(written, '^(%d+):(%a+):(%a+)$')
      reference = {
        line = '\n=' .. place .. ' ', states = '"' .. before .. '","' .. after .. '"]',
        letters = string.sub(before, 1, 1) .. string.sub(after, 1, 1),
      }
      references[written] = reference
    end
    local _, at = string.find(kind.lines, reference.line, kind.body, true)
    local line_end = string.find(kind.lines, '\n', at, true)
    decision = string.sub(kind.lines, at + DIGEST + 2, line_end - 1) .. reference.states
    kind.decisions[written] = decision
    answers_of[decision] = string.sub(kind.lines, at + 1, at + DIGEST) .. reference.letters
  end
  return decision
end

-- The row of a consent for a state. `decisions` refers to one decision for each language, or one for all; `otherwise` to that
-- taken if the reply is one too many or the text is late, and is nil where neither makes a difference.
local function read_row(shape, consent, state, several)
  local place = consent + (several and #shape.overruling or 0)
  local rows = shape.rows[place]
  if not rows then
    rows = {}
    shape.rows[place] = rows
  end
  local row = rows[state]
  if not row then
    local _, at = string.find(shape.lines, string.format('\n%d %s ', place, state), shape.body, true)
    local after, renews, expires_in, lapses_to, asks_again_in, recorded, language, block, otherwise, decisions =
      string.match(shape.lines, '^(%a+) (%d) (%d+) (%a*) (%d+) (%d) (%S*) (%a*) (%S+) (%S+)', at + 1)
    row = {
      after = after, renews = renews == '1', expires_in = tonumber(expires_in), lapses_to = lapses_to,
      asks_again_in = tonumber(asks_again_in), recorded = recorded == '1', language = language, block = block,
      otherwise = otherwise ~= '-' and otherwise or nil, decisions = split(decisions),
    }
    rows[state] = row
  end
  return row
end

-- What the store knows of the sender, as far as it bears on the text: the state of each consent, the destinations at which
-- they are known, comma between, and their language.
local function read_person(person, kind)
  local kept = redis.call('HMGET', person, unpack(kind.fields))
  local overruling, need_alias = kind.shape.overruling, kind.shape.need_alias
  local states, known, at = {}, {}, 1
  for i = 1, #overruling do
    states[i] = latest_state(kept, at, overruling[i], now)
    at = at + 1 + overruling[i]
  end
  for i = 1, #need_alias do
    known[#known + 1] = kept[at + i - 1] and need_alias[i] or nil
  end
  return states, table.concat(known, ','), kept[at + #need_alias]
end

-- Of several consents a text is about one: that in the state sought first, and of those the latest.
local function about(shape, states)
  if #states == 1 then
    return 1
  end
  for _, wanted in ipairs(split(shape.sought)) do
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

local function write_consent(person, kind, text, name, row, current, overrules)
  if row.after == current.state and not row.renews then
    return
  end
  local lapses_at = row.expires_in > 0 and now + row.expires_in * 1e6 or 0
  local fallback = row.lapses_to ~= '' and row.lapses_to or current.fallback
  local since = since_when(person, text, current, overrules)
  local written = write_state(row.after, since, lapses_at, fallback)
  redis.call('HSET', person, 'consent:' .. name, written)
  -- An opt-out of an account must hold also once a program of it has moved to another account.
  for _, program in ipairs(split(kind.covers)) do
    if redis.call('HEXISTS', person, 'consent:' .. program) == 1 then
      redis.call('HSET', person, 'consent:' .. program, written)
    end
  end
end

local function change(name, before, after)
  return string.format('["%s","%s","%s"]', name, before, after)
end

-- Writes what follows for every consent that is meant; what changed, as JSON, where that is more than one program's.
local function apply(person, kind, text, chosen, row, states, several)
  local writes = kind.shape.writes
  if writes ~= '' and writes ~= 'each' then
    write_consent(person, kind, text, writes, row, states[chosen], true)
    return change(writes, states[chosen].state, row.after)
  end
  if writes == '' or #kind.consents == 1 then
    write_consent(person, kind, text, kind.consents[chosen], row, states[chosen], kind.overrules)
    return kind.overrules and change(kind.consents[chosen], states[chosen].state, row.after) or ''
  end
  local changes = {}
  for i, name in ipairs(kind.consents) do
    local own = i == chosen and row or read_row(kind.shape, i, states[i].state, several)
    write_consent(person, kind, text, name, own, states[i], false)
    changes[i] = change(name, states[i].state, own.after)
  end
  return table.concat(changes, ',')
end

-- Two machines that answer each other are cut off: past the limit the text counts, and gets no reply.
local function within_reply_limit(text)
  return count_reply(text) <= text.kind.shape.reply_limit
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

local function may_reply(text, name, row)
  return (row.asks_again_in == 0 or may_ask(text.person, name, row)) and within_reply_limit(text)
end

local function spoken(tag)
  return string.match(string.lower(tag), '^%a*')
end

-- The decision in the person's language, as far as there is one; who speaks fr-CA also reads fr.
local function in_language(kind, row, language)
  local alike
  if language and row.decisions[2] then
    for i, name in ipairs(split(kind.shape.languages)) do
      local decision = row.decisions[i]
      if decision and name == language then
        return read_decision(kind, decision)
      end
      alike = alike or spoken(name) == spoken(language) and decision
    end
  end
  return read_decision(kind, alike or row.decisions[1])
end

local function note(person, kind, text, row, known_language)
  if row.language ~= '' and row.language ~= known_language then
    redis.call('HSET', person, 'lang', row.language)
  end
  if row.block == 'set' then
    redis.call('HSET', person, 'block:' .. kind.block, string.format('%.0f', text.late > 0 and text.late or now))
  elseif row.block == 'clear' then
    redis.call('HDEL', person, 'block:' .. kind.block, 'block:' .. string.match(kind.block, '^[^/]*/'))
  end
end

local function record(kind, text, decision, known, recorded)
  local destinations = kind.shape.destinations
  if recorded then
    destinations = destinations == '' and '@ledger' or destinations .. ',@ledger'
  end
  if destinations ~= '' then
    redis.call('XADD', text.shard.outbox, '*', 'to', destinations, 'known', known, 'message', text.message,
      'decision', decision)
  end
  if text.undelivered ~= '' then
    redis.call('XADD', text.shard.prefix .. 'unhandled', 'MAXLEN', kind.shape.undelivered_kept, '*', 'record', text.undelivered)
  end
end

-- What stands for a decision among those of a bucket.
local function answer_of(decision)
  local answer = answers_of[decision] or string.sub(redis.sha1hex(decision), 1, ANSWER)
  answers_of[decision] = answer
  return answer
end

-- The states by now are for who still has to answer: the person may have opted out since the text first came.
-- How old the answer is counts from that text where it is known, and else from when the state began.
local function repeated(person, kind, decision, came)
  local result = {decision}
  for _, current in ipairs((read_person(person, kind))) do
    result[#result + 1] = current.state
    result[#result + 1] = now - (came and came * 1e6 or current.since)
  end
  return result
end

local function commit(text)
  local person, kind = text.person, text.kind
  local first_answer, came = seen_before(text)
  if first_answer then
    return repeated(person, kind, first_answer, came)
  end

  local states, known, language = read_person(person, kind)
  local chosen = about(kind.shape, states)
  local current = states[chosen]
  local several = kind.shape.others and subscribed_to_several(states)
  local row = read_row(kind.shape, chosen, current.state, several)
  local decision, recorded
  if text.late == 0 or not row.otherwise or text.late >= current.since then
    if text.late > 0 or not row.otherwise or may_reply(text, kind.consents[chosen], row) then
      decision = in_language(kind, row, row.language == '' and language or nil)
    else
      decision = read_decision(kind, row.otherwise)
    end
    local changes = apply(person, kind, text, chosen, row, states, several)
    if changes ~= '' then
      decision = string.sub(decision, 1, -2) .. ',' .. changes .. ']'
    end
    note(person, kind, text, row, language)
    recorded = row.recorded
  else -- what the person has said since holds
    decision = read_decision(kind, row.otherwise)
  end
  record(kind, text, decision, known, recorded)
  local opts_out = row.after == 'unsubscribed' or row.after == 'choosing'
  local confirms = opts_out and row.otherwise and row.after ~= current.state
  mark_seen(text, decision, answer_of(decision), confirms and now / 1e6 or nil)
  return decision
end

local SETTINGS = '^' .. string.rep('([^\n]*)\n', 4) .. '$'
local SHAPE = '^' .. string.rep('([^\n]*)\n', 6) .. '()'
local KIND = '^' .. string.rep('([^\n]*)\n', 3) .. '()'

local function numbers(list)
  local found = {}
  for i, item in ipairs(split(list)) do
    found[i] = tonumber(item)
  end
  return found
end

local function read_shape(settings, lines)
  local destinations, buckets, undelivered_kept, reply_limit = string.match(settings, SETTINGS)
  local overruling, need_alias, sought, writes, languages, others, behind = string.match(lines, SHAPE)
  return {
    destinations = destinations, buckets = tonumber(buckets), undelivered_kept = undelivered_kept,
    reply_limit = tonumber(reply_limit), overruling = numbers(overruling), need_alias = split(need_alias), sought = sought,
    writes = writes, languages = languages, others = others == '1', lines = lines, body = behind - 1, rows = {},
  }
end

local function read_kind(shape, lines, block)
  local consents, fields, covers, behind = string.match(lines, KIND)
  return {
    shape = shape, consents = split(consents), fields = split(fields), covers = covers, lines = lines, body = behind - 1,
    block = block, number = string.match(block, '/(.*)$'), overrules = string.sub(consents, 1, 1) == '@', decisions = {},
  }
end

local shapes, kinds = {}, {}
local at = 3
for i = 1, tonumber(ARGV[2]) do
  shapes[i] = read_shape(ARGV[at], ARGV[at + 1])
  at = at + 2
end
local count = tonumber(ARGV[at])
at = at + 1
for i = 1, count do
  kinds[i] = read_kind(shapes[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end

local shards, texts, results = {}, {}, {}
for i, person in ipairs(KEYS) do
  local prefix, sender = string.match(person, '^(.-}:)person:(.*)$')
  shards[prefix] = shards[prefix] or new_shard(prefix, now)
  local kind = kinds[tonumber(ARGV[at])]
  texts[i] = {
    person = person, shard = shards[prefix], kind = kind, replies = sender .. ':' .. kind.number,
    digest = ARGV[at + 1], message = ARGV[at + 2], undelivered = ARGV[at + 3], late = tonumber(ARGV[at + 4]),
  }
  table.insert(shards[prefix].texts, texts[i])
  at = at + 5
end
-- Should one text fail, those before it have been recorded, and count as seen.
local whole, problem = pcall(function()
  for i, text in ipairs(texts) do
    results[i] = commit(text)
  end
end)
for _, shard in pairs(shards) do
  write_shard(shard)
end
if not whole then
  error(problem, 0)
end
return results
