-- What the scripts that write begin with. Returns {-1} if Redis accepts no writes.
-- ARGV 1 to 4: epoch, state, ends and streak as the caller saw them last. If they are newer than the record, Redis was
-- emptied or restored from an older copy.
-- include: state.lua
local KEPT_SECONDS = 30 * 24 * 3600
if type(redis.pcall('HSET', KEYS[1], 'epoch', text(epoch))) == 'table' then return {-1} end
redis.call('EXPIRE', KEYS[1], KEPT_SECONDS)
if tonumber(ARGV[1]) > epoch then enter(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])) end
