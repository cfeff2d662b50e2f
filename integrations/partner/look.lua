-- Finds a quote, and takes the lock that allows to call the partner.
-- KEYS: quote, lock, the breaker's record. ARGV: owner, lock_ms, fresh_us, since (only later failures count; 0: none).
-- quote is a hash: quote, made (when, in us), failure, failed (when, in us).
-- Returns {quote or '', 1 if fresh, us until the breaker lets a probe through, failure or '', 1 if the caller has the
-- lock, now, and the breaker's state if it is open}.
-- include: ../../farmlokal/redis/clock.lua
-- include: ../../farmlokal/single_flight.lua
-- include: ../breaker/wait.lua
local quote, made, failure, failed = unpack(redis.call('HMGET', KEYS[1], 'quote', 'made', 'failure', 'failed'))
local age = now - tonumber(made or 0)
local stamp = string.format('%.0f', now)
if quote and age >= 0 and age < tonumber(ARGV[3]) then return {quote, 1, 0, '', 0, stamp} end
local wait, seen = breaker_wait(KEYS[3])
if wait > 0 then return {quote or '', 0, wait, '', 0, stamp, unpack(seen)} end
local since = tonumber(ARGV[4])
if failed and since > 0 and tonumber(failed) > since then return {quote or '', 0, 0, failure, 0, stamp} end
return {quote or '', 0, 0, '', lock(KEYS[2], ARGV[1], ARGV[2]) and 1 or 0, stamp}
