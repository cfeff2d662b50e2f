-- Defines breaker_wait(record): the microseconds until the breaker lets a call through (0: it does now), and the fields
-- epoch, state, ends and streak for Breaker.see().
local MAX_OPEN = 60000000
local function breaker_wait(record)
  local fields = redis.call('HMGET', record, 'epoch', 'state', 'ends', 'streak')
  local state, wait = fields[2] or 'closed', tonumber(fields[3] or 0) - now
  if state == 'held' then return MAX_OPEN, fields end
  -- A longer wait means that the clock was set back.
  return state ~= 'closed' and wait > 0 and wait <= MAX_OPEN and wait or 0, fields
end
