-- KEYS: prefix of the keys. ARGV: step, number of steps, step of the lists of clients, most clients of a list.
-- Returns {seconds of Redis's clock, {fields and counts of the oldest step, ...}, {clients and refusals of a list, ...}};
-- the lists cover at least the same time.
-- include: ../redis/clock.lua
local seconds = math.floor(now / 1000000)
local step, steps, hour = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last, counts, clients = math.floor(seconds / step), {}, {}
for number = last - steps + 1, last do
  counts[#counts + 1] = redis.call('HGETALL', KEYS[1] .. ':' .. ARGV[1] .. ':' .. number)
end
for number = math.floor((last - steps + 1) * step / hour), math.floor(seconds / hour) do
  clients[#clients + 1] = redis.call('ZREVRANGE', KEYS[1] .. ':clients:' .. number, 0, ARGV[4] - 1, 'WITHSCORES')
end
return {seconds, counts, clients}
