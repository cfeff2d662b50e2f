-- limit(key, quota, interval, calls): a token bucket by the generic cell rate algorithm (GCRA).
-- interval: what one call costs, in microseconds. The bucket holds `quota` calls and regains one per interval.
-- Returns how many calls there was room for, of which at most `calls` are now used, and the microseconds until there is
-- room for one more. Returns -2 if Redis accepts no writes.
local function limit(key, quota, interval, calls)
  local ends = math.max(tonumber(redis.call('GET', key) or now) or now, now)
  if ends > now + quota * interval then ends = now end  -- the clock was set back: the bucket is full again
  local spare = now + quota * interval - ends
  local room = math.max(math.floor(spare / interval), 0)
  if room > 0 then
    ends = ends + math.min(room, calls) * interval
    local written = redis.pcall('SET', key, string.format('%.0f', ends), 'PX',
      string.format('%.0f', math.ceil((ends - now) / 1000)))
    if written.err then return -2, 0 end
  end
  return room, (room + 1) * interval - spare
end
