-- find(page, lock_name, current, owner, lock_ms): a page of the current generation, and the lock that allows to render
-- it if it is missing or stale. An empty owner takes no lock.
-- Returns freshness (2 fresh, 1 stale, 0 none), the page or '', the ms until it is stale, 1 if the owner has the lock.
-- include: ../single_flight.lua
-- include: generation.lua
local function find(page, lock_name, current, owner, lock_ms)
  local stored = redis.call('GET', page)
  local freshness, of_generation, left = 0, of_page(stored)
  if of_generation and of_generation == current then freshness = left > 0 and 2 or 1 end
  local is_locked = current and owner ~= '' and freshness < 2 and lock(lock_name, owner, lock_ms)
  return freshness, freshness > 0 and stored or '', left or 0, is_locked and 1 or 0
end
