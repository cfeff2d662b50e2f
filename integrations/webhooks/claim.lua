-- KEYS: claim. ARGV: owner, lease_ms, the value that means done. Returns {'done'}, {'taken'} or {'ours'}.
local value = redis.call('GET', KEYS[1])
if value then return {value == ARGV[3] and 'done' or 'taken'} end
redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'ours'}
