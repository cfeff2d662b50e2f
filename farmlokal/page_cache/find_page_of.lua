-- Finds a page of a generation that another node has named. If it is missing or stale, takes the lock for rendering it.
-- KEYS: page, lock. ARGV: generation, owner, lock_ms. Returns {what find() returns}.
-- include: ../redis/clock.lua
-- include: find.lua
return {find(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])}
