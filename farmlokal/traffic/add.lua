-- Adds what one process has counted to the current minute and the current ten minutes, by Redis's clock.
-- KEYS: prefix of the keys. ARGV: step and lifetime of both, step and lifetime of the lists of clients, most clients in
-- a list, number of fields, (field, count) per field, (client, refusals) per client. Steps and lifetimes are seconds.
-- Returns {1}, or {0} if Redis accepts no writes: that must not look like an outage, because hits need no writes.
-- include: ../redis/clock.lua
local last_field = 8 + 2 * ARGV[8]

local function record(kind, step) return KEYS[1] .. ':' .. kind .. ':' .. math.floor(now / 1000000 / step) end

local function add_counts(step, lifetime)
  local counts = record(step, step)
  for n = 9, last_field, 2 do redis.call('HINCRBY', counts, ARGV[n], ARGV[n + 1]) end
  redis.call('EXPIRE', counts, lifetime)
end

local function add_clients(step, lifetime)
  local clients = record('clients', step)
  for n = last_field + 1, #ARGV, 2 do redis.call('ZINCRBY', clients, ARGV[n + 1], ARGV[n]) end
  redis.call('ZREMRANGEBYRANK', clients, 0, -1 - ARGV[7])
  redis.call('EXPIRE', clients, lifetime)
end

local is_added = pcall(function()
  add_counts(ARGV[1], ARGV[2])
  add_counts(ARGV[3], ARGV[4])
  if last_field < #ARGV then add_clients(ARGV[5], ARGV[6]) end
end)
return {is_added and 1 or 0}
