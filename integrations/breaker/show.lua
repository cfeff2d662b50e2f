-- Returns calls and failures, too. Writes nothing. The state is half-open if the next call would be a probe.
-- include: state.lua
local wait = breaker_wait(KEYS[1])
if state == 'open' and wait == 0 then state = 'half-open' end
return {1, wait, text(epoch), state, text(ends), streak, count_outcomes()}
