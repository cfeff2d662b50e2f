-- Releases the lock, and stores a page (unless it is ''). Does nothing if the lock is no longer the caller's.
-- KEYS: page, lock. ARGV: owner, generation, fresh_ms, kept_ms, page. Returns {1} if the lock was the caller's, else {0}.
-- include: ../redis/clock.lua
-- include: ../single_flight.lua
if not unlock(KEYS[2], ARGV[1]) then return {0} end
if ARGV[5] ~= '' then
  local stale_at = string.format('%.0f', now + tonumber(ARGV[3]) * 1000)
  redis.pcall('SET', KEYS[1], ARGV[2] .. ' ' .. stale_at .. '\n' .. ARGV[5], 'PX', ARGV[3] + ARGV[4])
end
return {1}
