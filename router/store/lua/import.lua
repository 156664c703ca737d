-- Takes imported rows about people of one shard. What changes is written, and joins the outbox as one entry.
--
-- KEYS[1]  the shard's outbox; all else that is touched shares its tag
-- ARGV     now in µs
--   2 the date of the states in µs; 0 for none: every opt-out on record is later then
--   3 before when opt-outs are overridden, in µs; 0 for none        4 1 if nothing is to be written
--   5 destination of the entry            6 the entry before its rows   7 the entry behind them
--   8 how many targets there are; then for each: program, state, fields of consent (the program's, then those that bear
--     on it too, comma between)
--   last, for each row a line of sender, number of its target or 0 for none, language or '', line of the file; comma between
-- Returns {rows that changed something, rows that did not, people who were not known, and for each row that gives way to
-- what the person has said: line, state, since}.
--
-- Running it again changes nothing more.

local now = tonumber(ARGV[1])
local as_of, overrides_before, dry = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local shard = string.match(KEYS[1], '^(.-}:)')

-- The language comes last among the fields; rows without a target have that alone.
local targets = {[0] = {fields = {'lang'}}}
local first = 9
for i = 1, tonumber(ARGV[8]) do
  local fields = {}
  for field in string.gmatch(ARGV[first + 2], '[^,]+') do
    fields[#fields + 1] = field
  end
  fields[#fields + 1] = 'lang'
  targets[i] = {program = ARGV[first], state = ARGV[first + 1], fields = fields}
  first = first + 3
end

-- Who may still name what to keep has opted out like all others.
local function opted_out(state)
  return state == 'unsubscribed' or state == 'choosing'
end

local function says_the_same(current, target)
  return current.state == target.state or (target.state == 'unsubscribed' and opted_out(current.state))
end

-- What was said later stays; between an opt-out and a row of the same time, the opt-out does.
local function stays(current)
  if opted_out(current.state) then
    return current.since >= overrides_before and (as_of == 0 or current.since >= as_of)
  end
  return as_of > 0 and current.state ~= 'none' and current.since > as_of
end

local changed, unchanged, new = 0, 0, 0
local given_way, entry = {}, {}

local function take(sender, target, language, line)
  local person = shard .. 'person:' .. sender
  local kept = redis.call('HMGET', person, unpack(target.fields))
  local written = {}
  if target.state then
    local current = latest_state(kept, 1, #target.fields - 2, now)
    if not says_the_same(current, target) then
      if stays(current) then
        given_way[#given_way + 1] = {line, current.state, string.format('%.0f', current.since)}
        return
      end
      local since = math.max(as_of > 0 and as_of or now, current.since + 1)
      written = {target.fields[1], write_state(target.state, since, 0)}
      entry[#entry + 1] = string.format('["%s","%s","%s","%s",%.0f,%s]', sender, target.program, current.state,
        target.state, since, line)
    end
  end
  if language ~= '' and language ~= kept[#kept] then
    written[#written + 1] = 'lang'
    written[#written + 1] = language
  end
  if #written == 0 then
    unchanged = unchanged + 1
    return
  end
  changed = changed + 1
  if redis.call('EXISTS', person) == 0 then
    new = new + 1
  end
  if not dry then
    redis.call('HSET', person, unpack(written))
  end
end

for sender, target, language, line in string.gmatch(ARGV[first], '([^,\n]+),(%d+),([^,\n]*),(%d+)') do
  take(sender, targets[tonumber(target)], language, line)
end
if #entry > 0 and not dry then
  redis.call('XADD', KEYS[1], '*', 'to', ARGV[5], 'known', '', 'message', ARGV[6] .. table.concat(entry, ',') .. ARGV[7],
    'decision', '{}')
end
return {changed, unchanged, new, given_way}
