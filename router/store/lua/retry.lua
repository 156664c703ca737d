-- Puts a dead letter back at the end of its shard's outbox, for the one destination that refused it.
--
-- KEYS  the dead letters, the outbox   ARGV  the dead letter's id
-- Returns 1, or 0 if there is no such dead letter.

local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then
  return 0
end
local letter = {}
for i = 1, #found[2], 2 do
  letter[found[2][i]] = found[2][i + 1]
end
redis.call('XADD', KEYS[2], '*', 'to', letter.to, 'known', '', 'message', letter.message, 'decision', letter.decision)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
