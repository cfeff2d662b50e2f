-- Decides whether a call may go out. ARGV 5 and 6: permit_us, is_retry.
-- verdict: 1 call, 0 the breaker is open, 2 no retry now.
-- include: adopt_newer_state.lua
-- Of all processes together: two retries at once, and one more for every 25 calls. So an outage causes less than a tenth
-- more calls until the breaker opens.
local RETRIES, RETRIES_PER_CALL = 2, 0.04
local permit_us, is_retry = tonumber(ARGV[5]), ARGV[6] == '1'
if state ~= 'closed' then
  local wait = breaker_wait(KEYS[1])
  if wait > 0 or is_retry then return answer(0, wait) end
  change('half-open', now + math.min(permit_us, MAX_OPEN), streak)
  return answer(1)
end
local retries = tonumber(redis.call('HGET', KEYS[1], 'retries') or RETRIES)
if is_retry and retries < 1 then return answer(2) end
retries = is_retry and retries - 1 or math.min(retries + RETRIES_PER_CALL, RETRIES)
redis.call('HSET', KEYS[1], 'retries', string.format('%.4f', retries))
return answer(1)
