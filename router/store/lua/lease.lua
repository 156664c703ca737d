-- Takes, renews or gives up a shard's lease. One worker holds a shard at a time; whoever takes it gets a number higher than
-- every holder before, and what is written under an older number is refused (settle.lua).
--
-- KEYS[1]  the lease   KEYS[2]  the counter of leases given
-- ARGV     owner, how long the lease lasts in ms (0 gives it up)
-- Returns the fencing token, or 0 if somebody else holds the lease.

local holder = redis.call('GET', KEYS[1])
if holder then
  local owner, token = string.match(holder, '^(.*):(%d+)$')
  if owner ~= ARGV[1] then
    return 0
  end
  if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(token)
end
if ARGV[2] == '0' then
  return 0
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'PX', ARGV[2])
return token
