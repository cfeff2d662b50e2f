-- Stores the result of a call, and releases the lock.
-- KEYS: quote (a hash, see find_quote.lua), lock. ARGV: owner, quote or '', failure or '', seconds to keep each.
-- Returns {1} if the lock was the caller's, else {0}.
-- include: ../../farmlokal/redis/clock.lua
-- include: ../../farmlokal/single_flight.lua
local stamp = string.format('%.0f', now)
if ARGV[2] ~= '' then
  redis.pcall('HSET', KEYS[1], 'quote', ARGV[2], 'made', stamp)
  redis.call('EXPIRE', KEYS[1], ARGV[4])
elseif ARGV[3] ~= '' then
  redis.pcall('HSET', KEYS[1], 'failure', ARGV[3], 'failed', stamp)
  if redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
end
return {unlock(KEYS[2], ARGV[1]) and 1 or 0}
