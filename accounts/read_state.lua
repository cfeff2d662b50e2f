-- KEYS: record, a hash: number (of the fetch), state (after it; see shared_state.py).
-- Returns {Redis's time in us, state or ''}.
-- include: ../farmlokal/redis/clock.lua
return {string.format('%.0f', now), redis.call('HGET', KEYS[1], 'state') or ''}
