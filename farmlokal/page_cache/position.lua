-- The position in MySQL's log of changes that belongs to a generation.
-- KEYS: generation, position. ARGV: a generation, its position or '', seconds until the note ends.
-- Notes the position if that generation is still the current one. Returns {the noted position of it or the given one}.
local name, noted = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (.*)$')
if name == ARGV[1] then return {noted} end
if ARGV[2] ~= '' and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.pcall('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[3])
end
return {ARGV[2]}
