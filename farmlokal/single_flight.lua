-- A lock in Redis: its value is its owner's name, and it expires.

-- lock(name, owner, ms): true if the owner has the lock now, also from before, or if Redis cannot store locks.
local function lock(name, owner, ms)
  local answer = redis.pcall('SET', name, owner, 'NX', 'PX', ms)
  if type(answer) == 'table' then return true end
  return redis.call('GET', name) == owner and redis.call('PEXPIRE', name, ms) == 1
end

-- unlock(name, owner): false if the lock was no longer the owner's.
local function unlock(name, owner)
  if redis.call('GET', name) ~= owner then return false end
  redis.call('DEL', name)
  return true
end
