-- Finds a page. If it is missing or stale, takes the lock for rendering it.
-- KEYS: generation, writers, page, lock. ARGV: coalesce_ms, owner, lock_ms.
-- Returns {generation or '', then what find() returns}.
-- include: ../redis/clock.lua
-- include: find.lua
local current = generation(KEYS[1], KEYS[2], tonumber(ARGV[1]))
return {current or '', find(KEYS[3], KEYS[4], current, ARGV[2], ARGV[3])}
