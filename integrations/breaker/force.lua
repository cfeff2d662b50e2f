-- Sets the state for an operator. ARGV 5 and 6: state, '1' to forget the streak and the retries.
-- include: adopt_newer_state.lua
local is_reset = ARGV[6] == '1'
change(ARGV[5], 0, is_reset and 0 or streak)
if is_reset then redis.call('HDEL', KEYS[1], 'retries') end
return answer(1)
