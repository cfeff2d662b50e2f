-- generation(key, writers, coalesce_ms): the current generation, or a new one if there is none.
-- Nil while a writer is announced, unless coalesce_ms allows stale pages. Nil also while Redis accepts no writes: we
-- could not end a generation then.
local function generation(key, writers, coalesce)
  local name = string.format('%.0f', now)
  local purged = redis.pcall('ZREMRANGEBYSCORE', writers, '-inf', name)
  if type(purged) == 'table' then return nil end
  local found = redis.call('GET', key)
  if found then return found end
  -- An announcement lasts seconds. One that would last longer is from before the clock was set back.
  local is_written = redis.call('ZCOUNT', writers, '-inf', string.format('%.0f', now + 60000000)) > 0
  if is_written and coalesce == 0 then return nil end
  local begun = is_written and redis.pcall('SET', key, name, 'PX', coalesce) or redis.pcall('SET', key, name)
  if begun.err then return nil end
  return name
end

-- of_page(stored): the generation of a stored page, and the milliseconds until it is stale. Nil if it is no page.
local function of_page(stored)
  local of_generation, stale_at = string.match(stored or '', '^(%d+) (%d+)\n')
  if of_generation then return of_generation, math.floor((tonumber(stale_at) - now) / 1000) end
end
