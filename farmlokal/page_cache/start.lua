-- A process starts: ends the generation unless it has missed no write. It has missed none if this is still the same run
-- of Redis, and no write was noted in MySQL since the last start.
-- KEYS: generation, origin. ARGV: the number of noted writes, or '' if MySQL is away. Returns {1} if it ended, else {0}.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
local origin = run and ARGV[1] ~= '' and run .. ' ' .. ARGV[1]
if origin and redis.call('GET', KEYS[2]) == origin then return {0} end
redis.call('DEL', KEYS[1], KEYS[2])
if origin then redis.pcall('SET', KEYS[2], origin) end
return {1}
