-- A lock in Redis: its value is its owner's name, and it expires.

-- lock(name, owner, ms): true if the owner has the lock now, or if Redis cannot store locks.
local function lock(name, owner, ms)
  local answer = redis.pcall('SET', name, owner, 'NX', 'PX', ms)
  return type(answer) == 'table'
end

-- unlock(name, owner): false if the lock was no longer the owner's.
local function unlock(name, owner)
  if redis.call('GET', name) ~= owner then return false end
  redis.call('DEL', name)
  return true
end
