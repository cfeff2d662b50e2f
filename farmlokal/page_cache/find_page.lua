-- Finds a page, and takes the lock that allows to render it if the page is missing or stale.
-- KEYS: generation, writers, page, lock. ARGV: coalesce_ms, owner, lock_ms.
-- Returns {generation or '', freshness, page or '', 1 if the caller has the lock, ms until the page is stale}.
-- freshness: 2 fresh, 1 stale, 0 of another generation, or no page.
-- include: ../redis/clock.lua
-- include: ../single_flight.lua
-- include: generation.lua
local current = generation(KEYS[1], KEYS[2], tonumber(ARGV[1]))
local page = redis.call('GET', KEYS[3])
local freshness = 0
local of_generation, left = of_page(page)
if of_generation and of_generation == current then freshness = left > 0 and 2 or 1 end
local is_locked = current and freshness < 2 and lock(KEYS[4], ARGV[2], ARGV[3])
return {current or '', freshness, of_generation and page or '', is_locked and 1 or 0, left or 0}
