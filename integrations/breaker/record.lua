-- Records the outcome of a call. ARGV 5 and 6: the epoch that admitted the call, outcome.
-- include: adopt_newer_state.lua
local MIN_CALLS, FAILURE_RATE = 25, 0.5
local outcome = ARGV[6]
if epoch ~= tonumber(ARGV[5]) then return answer(1) end
if state == 'half-open' then  -- only the probe has this epoch
  if outcome == 'bad' then
    open()
  elseif outcome == 'nothing' then
    change('open', now, streak)  -- the next call is another probe
  else
    change('closed', 0, 0)
  end
elseif state == 'closed' and (outcome == 'good' or outcome == 'bad') then
  redis.call('LPUSH', KEYS[2], outcome .. ' ' .. text(now))
  redis.call('LTRIM', KEYS[2], 0, WINDOW - 1)
  redis.call('EXPIRE', KEYS[2], MAX_AGE / 1000000)
  local calls, failures = count_outcomes()
  -- A success does not open it: the failures before it are over.
  if outcome == 'bad' and calls >= MIN_CALLS and failures >= FAILURE_RATE * calls then open() end
end
return answer(1)
