-- KEYS: key. Deletes it; returns {1} if it existed, else {0}.
return {redis.call('DEL', KEYS[1])}
