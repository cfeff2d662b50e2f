-- end_generation(generations, coalesce_ms): ends it now, or coalesce_ms after the first write that it has missed.
local function end_generation(generations, coalesce)
  if coalesce == 0 then
    redis.call('DEL', generations)
  elseif redis.call('PTTL', generations) == -1 then
    redis.call('PEXPIRE', generations, coalesce)
  end
end
