-- Runs when a process starts. Keeps the generation if this is the same run of Redis as at the last start, and MySQL has
-- noted no missed write since. Otherwise ends it.
-- KEYS: generation, origin. ARGV: the number of missed writes, or '' if MySQL is away.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
local origin = run and ARGV[1] ~= '' and run .. ' ' .. ARGV[1]
if origin and redis.call('GET', KEYS[2]) == origin then return end
redis.call('DEL', KEYS[1], KEYS[2])
if origin then redis.pcall('SET', KEYS[2], origin) end
