-- KEYS: key. Shows that Redis runs scripts and accepts writes.
redis.call('SET', KEYS[1], '', 'PX', 1000)
return {redis.call('DEL', KEYS[1])}
