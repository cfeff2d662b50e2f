-- find(page, lock_name, current, owner, lock_ms): finds a page of the current generation. If it is missing or stale, takes
-- the lock for rendering it; an empty owner takes no lock.
-- Returns the page or '', the ms until it is stale (below 0: it is), 1 if the owner has the lock, else 0.
-- include: ../single_flight.lua
-- include: generation.lua
local function find(page, lock_name, current, owner, lock_ms)
  local stored = redis.call('GET', page)
  local of_generation, left = of_page(stored)
  local is_found = of_generation and of_generation == current
  local is_fresh = is_found and left > 0
  local is_locked = current and owner ~= '' and not is_fresh and lock(lock_name, owner, lock_ms)
  return is_found and stored or '', left or 0, is_locked and 1 or 0
end
