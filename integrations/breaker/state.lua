-- What all scripts of the breaker begin with. Times are microseconds by Redis's clock. KEYS: record, outcomes.
-- Record, a hash:
--   epoch    the number of this state, higher than all before it: of two states the one with the higher epoch is newer
--   state    closed; open until `ends`; half-open: a probe has until `ends`; held: open until an operator closes it
--   streak   how often in a row the breaker has opened
--   retries  how many are left
-- Outcomes, a list, the newest first: 'good 1763890000000000'.
-- All scripts return {verdict, us to wait, epoch, state, ends, streak}.
-- include: ../../farmlokal/redis/clock.lua
-- include: wait.lua
local OPEN, MAX_AGE, WINDOW = 5000000, 60000000, 50
local epoch, state, ends, streak = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'state', 'ends', 'streak'))
epoch, state, ends, streak = tonumber(epoch or 0), state or 'closed', tonumber(ends or 0), tonumber(streak or 0)

local function text(number) return string.format('%.0f', number) end

local function enter(new_epoch, new_state, new_ends, new_streak)
  epoch, state, ends, streak = new_epoch, new_state, new_ends, new_streak
  redis.call('HSET', KEYS[1], 'epoch', text(epoch), 'state', state, 'ends', text(ends), 'streak', text(streak))
  redis.call('DEL', KEYS[2])
end

local function change(...) enter(math.max(epoch + 1, now), ...) end

local function open()
  change('open', now + math.min(OPEN * 2 ^ math.min(streak, 10), MAX_OPEN), streak + 1)
end

local function answer(verdict, wait) return {verdict, wait or 0, text(epoch), state, text(ends), streak} end

local function count_outcomes()
  local calls, failures = 0, 0
  for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, WINDOW - 1)) do
    local outcome, at = string.match(entry, '^(%a+) (%d+)$')
    if now - tonumber(at) < MAX_AGE then
      calls = calls + 1
      if outcome == 'bad' then failures = failures + 1 end
    end
  end
  return calls, failures
end
