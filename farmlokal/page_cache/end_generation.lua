-- end_generation(key, coalesce_ms): ends it now, or coalesce_ms after the first write that it has missed.
local function end_generation(key, coalesce)
  if coalesce == 0 then
    redis.call('DEL', key)
  elseif redis.call('PTTL', key) == -1 then
    redis.call('PEXPIRE', key, coalesce)
  end
end
