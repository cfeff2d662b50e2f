-- Everything that the requests of one batch ask of Redis.
-- KEYS: generation, writers, bucket..., page...
-- ARGV: coalesce_ms, number of buckets, (quota, interval, calls) per bucket, generation of the copy at hand per page.
-- Returns {generation or '', {room, wait, ...}, {page or '', ms until it is stale, ...}}.
-- A page is sent if it is of the current generation and the copy at hand is not.
-- include: ../redis/clock.lua
-- include: ../ratelimit/gcra.lua
-- include: ../page_cache/generation.lua
local current = generation(KEYS[1], KEYS[2], tonumber(ARGV[1])) or ''
local count = tonumber(ARGV[2])
local limits, pages = {}, {}
for n = 1, count do
  limits[2 * n - 1], limits[2 * n] =
    limit(KEYS[2 + n], tonumber(ARGV[3 * n]), tonumber(ARGV[1 + 3 * n]), tonumber(ARGV[2 + 3 * n]))
end
for n = 1, #KEYS - count - 2 do
  local page, left = '', 0
  if current ~= '' and ARGV[2 + 3 * count + n] ~= current then
    local stored = redis.call('GET', KEYS[2 + count + n])
    local of_generation, of_left = of_page(stored)
    if of_generation == current then page, left = stored, of_left end
  end
  pages[2 * n - 1], pages[2 * n] = page, left
end
return {current, limits, pages}
