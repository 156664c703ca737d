-- How states of consent are kept and read. Stands before every script that touches them.
--
-- A person's record has a field `consent:NAME` for each program, account (`@ACCOUNT`) or everything (`@all`) that they have
-- said something about: STATE SINCE[:LAPSES AT:STATE THEN], times in µs. Of the fields that bear on a program, the one
-- written last holds.

local NOTHING_SAID = {state = 'none', since = 0, fallback = 'none'}

local function read_state(kept, now)
  if not kept then
    return NOTHING_SAID
  end
  local state, since, lapses, fallback = string.match(kept, '^(%a+) (%d+):?(%d*):?(%a*)$')
  if lapses ~= '' and now >= tonumber(lapses) then
    state = fallback
  end
  if fallback == '' then
    fallback = state
  end
  return {state = state, since = tonumber(since), fallback = fallback}
end

-- The latest of a state and of those that overrule it: so many behind its place in what is kept.
local function latest_state(kept, place, overruling, now)
  local latest = read_state(kept[place], now)
  for other = place + 1, place + overruling do
    local state = read_state(kept[other], now)
    if state.since > latest.since then
      latest = state
    end
  end
  return latest
end

-- A state that lapses is given when it does, in µs, and to what; the others 0.
local function write_state(state, since, lapses_at, fallback)
  if lapses_at > 0 then
    return string.format('%s %.0f:%.0f:%s', state, since, lapses_at, fallback)
  end
  return string.format('%s %.0f', state, since)
end

-- When the person last said anything, about whatever.
local function last_word(person)
  local latest = 0
  for _, kept in ipairs(redis.call('HVALS', person)) do
    local since = string.match(kept, '^%a+ (%d+)')
    latest = math.max(latest, tonumber(since) or 0)
  end
  return latest
end
