-- Keeps the parts of a long text until all are there or their time is over. What is joined is closed first: no part is added
-- to it any more, so everybody who reads it reads the same. It is only forgotten once the joined text is accepted.
--
-- KEYS[1]  the parts: hash of `first` (the id of the part that came first), `closed`, and for each number ID CONTENT RECORD
-- KEYS[2]  what was joined before: hash of a part's id → what is known of the text that it completed, or ''
-- KEYS[3]  deadlines: sorted set of the names of parts that wait
-- ARGV     the name of the parts, then one of
--   add ID CONTENT NUMBER TOTAL RECORD DEADLINE   ID and CONTENT are 24 characters long
--     {'known', what is known}  the part was joined before
--     {'waits'}                 others are still to come
--     {'whole', hash}           closed: all are there
--     {'other', hash}           closed, and the part is not among them: they are another text's
--   close NOW                   closed if their time is over by then: {'whole', hash}; {'gone'} if not
--   forget FIRST ID KNOWN SECONDS   forgets them if FIRST came first, but for the ids; ID completed the text
--
-- Repeating a step changes nothing.

local parts, joined, deadlines = unpack(KEYS)
local name = ARGV[1]

local function closed(how)
  redis.call('HSET', parts, 'closed', '1')
  return {how, redis.call('HGETALL', parts)}
end

local steps = {
  add = function(id, content, number, total, record, deadline)
    local known = redis.call('HGET', joined, id)
    if known then
      return {'known', known}
    end
    local kept = redis.call('HGET', parts, number)
    local same = kept and string.sub(kept, 1, 24) == id
    if redis.call('HEXISTS', parts, 'closed') == 1 then
      return closed(same and 'whole' or 'other')
    end
    if kept then
      -- The same words under another id are a repeat; others are the next text, of a phone that counts badly.
      return (same or string.sub(kept, 26, 49) == content) and {'waits'} or closed('other')
    end
    redis.call('HSETNX', parts, 'first', id)
    redis.call('HSET', parts, number, id .. ' ' .. content .. ' ' .. record)
    redis.call('ZADD', deadlines, 'NX', deadline, name)
    if redis.call('HLEN', parts) - 1 == tonumber(total) then
      return closed('whole')
    end
    return {'waits'}
  end,

  close = function(now)
    local deadline = redis.call('ZSCORE', deadlines, name)
    if not deadline or tonumber(deadline) > tonumber(now) then
      return {'gone'}
    end
    return closed('whole')
  end,

  forget = function(first, id, known, seconds)
    if redis.call('HGET', parts, 'first') ~= first then
      return {'gone'}
    end
    local kept = redis.call('HGETALL', parts)
    for i = 1, #kept, 2 do
      if tonumber(kept[i]) then
        local part = string.sub(kept[i + 1], 1, 24)
        redis.call('HSET', joined, part, part == id and known or '')
      end
    end
    redis.call('EXPIRE', joined, seconds)
    redis.call('DEL', parts)
    redis.call('ZREM', deadlines, name)
    return {'done'}
  end,
}

return steps[ARGV[2]](unpack(ARGV, 3))
