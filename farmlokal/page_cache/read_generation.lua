-- KEYS: generation, writers. ARGV: coalesce_ms. Returns {generation or ''}.
-- include: ../redis/clock.lua
-- include: generation.lua
return {generation(KEYS[1], KEYS[2], tonumber(ARGV[1])) or ''}
