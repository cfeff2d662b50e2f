-- Finds a quote, and takes the lock that allows to call the partner.
-- KEYS: quote, lock, and the breaker's record if it has the same hash tag.
-- ARGV: owner, lock_ms, fresh_us, waited_us (older failures do not count).
-- quote is a hash: quote, made (when, in us), failure, failed (when, in us).
-- Returns {quote or '', 1 if fresh, us until the breaker lets a probe through, failure or '', 1 if the caller has the
-- lock, and the breaker's state if it is open}.
-- include: ../../farmlokal/redis/clock.lua
-- include: ../../farmlokal/single_flight.lua
-- include: ../breaker/wait.lua
local quote, made, failure, failed = unpack(redis.call('HMGET', KEYS[1], 'quote', 'made', 'failure', 'failed'))
local age = now - tonumber(made or 0)
if quote and age >= 0 and age < tonumber(ARGV[3]) then return {quote, 1, 0, '', 0} end
local wait, state = 0
if KEYS[3] then wait, state = breaker_wait(KEYS[3]) end
if wait > 0 then return {quote or '', 0, wait, '', 0, unpack(state)} end
if failed and now - tonumber(failed) < tonumber(ARGV[4]) then return {quote or '', 0, 0, failure, 0} end
return {quote or '', 0, 0, '', lock(KEYS[2], ARGV[1], ARGV[2]) and 1 or 0}
