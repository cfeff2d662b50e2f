-- After a commit: ends the announcement, and the generation.
-- KEYS: generation, writers. ARGV: coalesce_ms, writer. Returns {1}.
-- include: end_generation.lua
redis.call('ZREM', KEYS[2], ARGV[2])
end_generation(KEYS[1], tonumber(ARGV[1]))
return {1}
