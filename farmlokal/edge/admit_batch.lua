-- All that the requests of one batch ask of the keys with the state's hash tag.
-- KEYS: generation, writers, then those of admit(). ARGV: coalesce_ms, then those of admit().
-- Returns {generation or '', then what admit() returns}.
-- include: admit.lua
local current = generation(KEYS[1], KEYS[2], tonumber(ARGV[1]))
return {current or '', admit(current, 2)}
