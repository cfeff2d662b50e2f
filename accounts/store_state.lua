-- Stores the state after a fetch, unless there is one after a later fetch.
-- KEYS: record (see read_state.lua). ARGV: number of the fetch, state, seconds to keep it. Returns {1} if stored, else {0}.
if tonumber(redis.call('HGET', KEYS[1], 'number') or 0) > tonumber(ARGV[1]) then return {0} end
redis.pcall('HSET', KEYS[1], 'number', ARGV[1], 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {1}
