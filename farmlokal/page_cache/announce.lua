-- Before a commit: announces a writer, and ends the generation.
-- KEYS: generation, writers. ARGV: coalesce_ms, writer, seconds until the announcement ends by itself. Returns {1}.
-- include: ../redis/clock.lua
-- include: end_generation.lua
redis.call('ZREM', KEYS[2], ARGV[2])  -- first: a full Redis lets a script add data only after another write
redis.pcall('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3] * 1000000), ARGV[2])
end_generation(KEYS[1], tonumber(ARGV[1]))
return {1}
