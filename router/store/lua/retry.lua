-- Puts a dead letter back at the end of its shard's outbox, for the one destination that refused it.
--
-- KEYS  the dead letters, the outbox, the person
-- ARGV  the dead letter's id, then in turn fields of the person and what was found in them (empty: nothing)
-- Returns 1; 0 if there is no such dead letter; 2 if a field holds something else by now. Looked at in a call of its own,
-- the person could say something in between, and the letter would overrule it.

local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then
  return 0
end
for i = 2, #ARGV, 2 do
  if (redis.call('HGET', KEYS[3], ARGV[i]) or '') ~= ARGV[i + 1] then
    return 2
  end
end
local letter = {}
for i = 1, #found[2], 2 do
  letter[found[2][i]] = found[2][i + 1]
end
redis.call('XADD', KEYS[2], '*', 'to', letter.to, 'known', '', 'message', letter.message, 'decision', letter.decision)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
