-- Everything that the requests of one batch ask of Redis.
-- KEYS: generation, writers, bucket..., (page, lock)...
-- ARGV: coalesce_ms, lock_ms, owner of the locks, number of buckets, (quota, interval, calls) per bucket, then per page
--   the call that wants it: the number of its bucket (0: no limit), and its number among the calls of that bucket.
--   A refused call gets no lock, because it will not render the page.
-- Returns {generation or '', {room, wait, ...}, {what find() returns for the first page, ...}}.
-- include: ../redis/clock.lua
-- include: ../ratelimit/gcra.lua
-- include: ../page_cache/find.lua
local current = generation(KEYS[1], KEYS[2], tonumber(ARGV[1]))
local count = tonumber(ARGV[4])
local limits, pages = {}, {}
for n = 1, count do
  limits[2 * n - 1], limits[2 * n] =
    limit(KEYS[2 + n], tonumber(ARGV[2 + 3 * n]), tonumber(ARGV[3 + 3 * n]), tonumber(ARGV[4 + 3 * n]))
end
for n = 0, (#KEYS - count - 2) / 2 - 1 do
  local bucket, call = tonumber(ARGV[5 + 3 * count + 2 * n]), tonumber(ARGV[6 + 3 * count + 2 * n])
  local is_admitted = bucket == 0 or limits[2 * bucket - 1] >= call
  pages[3 * n + 1], pages[3 * n + 2], pages[3 * n + 3] =
    find(KEYS[3 + count + 2 * n], KEYS[4 + count + 2 * n], current, is_admitted and ARGV[3] or '', ARGV[2])
end
return {current or '', limits, pages}
