-- admit(current, skipped): limits calls, and finds pages of the generation `current` (nil: no page is valid).
-- KEYS, after the `skipped` first ones: bucket..., (page, lock)...
-- ARGV, after the first one: lock_ms, owner of the locks, number of buckets, (quota, interval, calls) per bucket, then
--   per page the call that wants it: the number of its bucket (0: it has none here), and its number among the calls of
--   that bucket. A call that its bucket refuses gets no lock, because it will not render the page.
-- Returns {room, wait, ...}, {what find() returns for the first page, ...}.
-- include: ../redis/clock.lua
-- include: ../ratelimit/gcra.lua
-- include: ../page_cache/find.lua
local function admit(current, skipped)
  local count = tonumber(ARGV[4])
  local limits, pages = {}, {}
  for n = 1, count do
    limits[2 * n - 1], limits[2 * n] =
      limit(KEYS[skipped + n], tonumber(ARGV[2 + 3 * n]), tonumber(ARGV[3 + 3 * n]), tonumber(ARGV[4 + 3 * n]))
  end
  for n = 0, (#KEYS - count - skipped) / 2 - 1 do
    local bucket, call = tonumber(ARGV[5 + 3 * count + 2 * n]), tonumber(ARGV[6 + 3 * count + 2 * n])
    local is_admitted = bucket == 0 or limits[2 * bucket - 1] >= call
    local page, lock_name = KEYS[skipped + count + 2 * n + 1], KEYS[skipped + count + 2 * n + 2]
    pages[3 * n + 1], pages[3 * n + 2], pages[3 * n + 3] =
      find(page, lock_name, current, is_admitted and ARGV[3] or '', ARGV[2])
  end
  return limits, pages
end
