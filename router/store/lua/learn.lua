-- Notes which people external ids of one shard mean.
--
-- KEYS[1]  the beginning of the names of the hashes
-- ARGV[1]  for each id: its digest (the first two bytes name the hash, all are the field), the length of the sender as a
--          byte, the sender
-- ARGV[2]  how long a digest is

local all, length = ARGV[1], tonumber(ARGV[2])
local at = 1
while at <= #all do
  local digest = string.sub(all, at, at + length - 1)
  at = at + length
  local sender = string.sub(all, at + 1, at + string.byte(all, at))
  at = at + 1 + #sender
  redis.call('HSET', KEYS[1] .. string.format('%02x%02x', string.byte(digest, 1, 2)), digest, sender)
end
return redis.status_reply('OK')
